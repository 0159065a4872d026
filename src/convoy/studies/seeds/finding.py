"""The finding of a study of seeds: spread by source of randomness, and seeds needed for a comparison.

X. Bouthillier et al., "Accounting for Variance in Machine Learning Benchmarks", MLSys 2021.
https://arxiv.org/abs/2103.03098
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean
from typing import Literal

from convoy.notebook import html_of
from convoy.power import seeds_needed
from convoy.runs import Member, Study
from convoy.stats import spread_interval
from convoy.text.labels import SOURCES


class Source(StrEnum):
    """The source of randomness that is varied while all others keep their seed."""

    ALL = "all"  # the three others at once
    INITIALISATION = "initialisation"  # the initial weights
    ORDER = "order"  # the order of the images, augmentation and dropout
    SPLIT = "split"  # the assignment of images to training and validation

    @property
    def label(self) -> str:
        """The label of its runs, in English; `label_text` translates it."""
        return SOURCES[self]


@dataclass(frozen=True)
class Spread:
    """Accuracies are fractions, one per seed; the first is the same run for every source."""

    source: Source
    accuracies: tuple[float, ...]
    sd: float
    sd_low: float  # 95 % interval of the standard deviation, from the chi-squared distribution
    sd_high: float

    @property
    def mean(self) -> float:
        return fmean(self.accuracies)


@dataclass(frozen=True)
class SeedsNeeded:
    """Seeds per model for which a two-sided t test at 5 % detects a difference of accuracies with a power of 80 %.

    None: more than power.MAX_SEEDS.
    """

    difference: float  # a fraction
    seeds: int | None  # two independent models with the measured standard deviation
    seeds_at_high: int | None  # the same with the upper end of the interval of the standard deviation


@dataclass(frozen=True)
class SeedsFinding:
    label: str  # label of the recipe
    data: str  # name of the data set
    part: Literal["test", "validation"]  # the part on which the accuracies are computed
    images: int  # number of images of that part
    spreads: tuple[Spread, ...]  # one per source of randomness
    needed: tuple[SeedsNeeded, ...]  # seeds needed for a comparison, by difference
    limit: int | None  # number of images to which the data were limited
    kind: Literal["seeds"] = "seeds"
    schema: int = 1
    _repr_html_ = html_of

    def of(self, source: Source) -> Spread:
        return next(spread for spread in self.spreads if spread.source is source)

    @property
    def image_sd(self) -> float:
        """The standard deviation of an accuracy over random samples of images of this size (binomial)."""
        mean = self.of(Source.ALL).mean
        return math.sqrt(mean * (1 - mean) / self.images)


def conclude(
    accuracies: Mapping[Source, Sequence[float]],
    *,
    label: str,
    data: str,
    part: Literal["test", "validation"],
    images: int,
    differences: Sequence[float],
    limit: int | None = None,
) -> SeedsFinding:
    """`accuracies` and `differences` are fractions. Raises ValueError for fewer than two seeds."""
    spreads = tuple(spread_of(source, values) for source, values in accuracies.items())
    resolution = 1 / (images * math.sqrt(12))  # standard deviation of rounding to a whole number of images
    total = next(spread for spread in spreads if spread.source is Source.ALL)
    sds = max(total.sd, resolution), max(total.sd_high, resolution)
    needed = tuple(SeedsNeeded(each, *(seeds_needed(each, sd) for sd in sds)) for each in differences)
    return SeedsFinding(label, data, part, images, spreads, needed, limit)


def find(members: Sequence[Member], *, differences: Sequence[float]) -> SeedsFinding:
    """Computes the finding from finished runs with test or validation scores, ordered by source of randomness, then by
    seed."""
    first = members[0].run
    scores = [member.run.scores for member in members]
    n = len(members) // len(Source)
    part: Literal["test", "validation"] = "test" if all("test" in score for score in scores) else "validation"
    return conclude(
        {
            source: [score[part].accuracy for score in scores[place * n : (place + 1) * n]]
            for place, source in enumerate(Source)
        },
        label=first.recipe.label,
        data=first.data.name,
        part=part,
        images=scores[0][part].n,
        differences=differences,
        limit=first.recipe.data.limit,
    )


def recompute(stated: SeedsFinding, study: Study) -> SeedsFinding:
    return find(study.members, differences=[needed.difference for needed in stated.needed])


def spread_of(source: Source, accuracies: Sequence[float]) -> Spread:
    """Raises ValueError for fewer than two accuracies."""
    estimate = spread_interval(accuracies)
    return Spread(source, tuple(accuracies), estimate.mean, *estimate.span)

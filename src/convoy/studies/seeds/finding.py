"""How much other seeds change: the spread by each source of randomness, and the seeds needed for a comparison.

X. Bouthillier et al., "Accounting for Variance in Machine Learning Benchmarks", MLSys 2021.
https://arxiv.org/abs/2103.03098
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean
from typing import Literal

from convoy.notebook import html_of
from convoy.power import POWER
from convoy.stats import TAILS, spread_interval

MAX_SEEDS = 10_000


class Source(StrEnum):
    """What is drawn again while everything else keeps its seed."""

    ALL = "all"  # the three below at once
    INITIALISATION = "initialisation"  # the initial weights
    ORDER = "order"  # the order of the images, augmentation and dropout
    SPLIT = "split"  # which images train and which validate


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
class Needed:
    """Seeds per model with which a two-sided t test at 5 % finds a difference of accuracies with a power of 80 %.

    None: more than MAX_SEEDS.
    """

    difference: float  # a fraction
    seeds: int | None  # two independent models with the measured standard deviation
    seeds_at_high: int | None  # with the upper end of its interval


@dataclass(frozen=True)
class SeedsFinding:
    label: str  # of the recipe
    data: str  # name of the data set
    part: Literal["test", "validation"]  # whose accuracies these are
    images: int  # of that part
    spreads: tuple[Spread, ...]  # one per source of randomness
    needed: tuple[Needed, ...]  # seeds needed for a comparison, by difference
    limit: int | None  # images that the data were limited to
    kind: Literal["seeds"] = "seeds"
    schema: int = 1
    _repr_html_ = html_of

    def of(self, source: Source) -> Spread:
        return next(spread for spread in self.spreads if spread.source is source)

    @property
    def image_sd(self) -> float:
        """The standard deviation of one accuracy when the images of this part are drawn again (binomial)."""
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
    grain = 1 / (images * math.sqrt(12))  # accuracies are counts of images: equal ones can hide this much
    total = next(spread for spread in spreads if spread.source is Source.ALL)
    sds = max(total.sd, grain), max(total.sd_high, grain)
    needed = tuple(Needed(each, *(seeds_needed(each, sd) for sd in sds)) for each in differences)
    return SeedsFinding(label, data, part, images, spreads, needed, limit)


def spread_of(source: Source, accuracies: Sequence[float]) -> Spread:
    """Raises ValueError for fewer than two accuracies."""
    estimate = spread_interval(accuracies)
    return Spread(source, tuple(accuracies), estimate.mean, *estimate.span)


def seeds_needed(difference: float, sd: float) -> int | None:
    """Seeds per model for POWER, by the noncentral t distribution; None for more than MAX_SEEDS."""
    seeds = bisect_left(range(MAX_SEEDS + 1), POWER, key=lambda seeds: power_of(difference, sd, seeds))
    return seeds if seeds <= MAX_SEEDS else None


def power_of(difference: float, sd: float, seeds: int) -> float:
    """The power of the two-sided two-sample t test at 5 % with `seeds` runs of each model; 0 for fewer than two."""
    from scipy.special import nctdtr, stdtrit

    if seeds < 2:
        return 0.0
    freedom = 2 * seeds - 2
    shift = abs(difference) / (sd * math.sqrt(2 / seeds))
    critical = float(stdtrit(freedom, TAILS[1]))
    if shift > 5 * critical:
        return 1.0  # above 0.99
    # The other tail is below 1e-6 where the shift is large, and nctdtr is not a number there.
    other_tail = float(nctdtr(freedom, shift, -critical)) if shift < 4 else 0.0
    return 1 - float(nctdtr(freedom, shift, critical)) + other_tail

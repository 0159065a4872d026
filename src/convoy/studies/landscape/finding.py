"""The finding of a landscape: width of each loss band, ratios of the widths, smoothness along the step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations, islice, product
from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import AliasChoices, Field

from convoy.notebook import html_of
from convoy.runs import Member, Run, Study
from convoy.stats import Estimate, t_interval
from convoy.studies.compare import ablation
from convoy.studies.landscape import arrays, band
from convoy.studies.landscape.arrays import FigureArrays, Kind, Probes
from convoy.studies.landscape.band import EARLY_STEPS, WINDOW, Curves, Measure, Ratio, Verdict
from convoy.studies.landscape.design import Cut, Design


class StepRange(StrEnum):
    """The steps over which a width is averaged."""

    ALL = "all"
    EARLY = "early"  # the first EARLY_STEPS, if there are more


@dataclass(frozen=True)
class Smoothness:
    """Along the step; lower is smoother. None without probes, or if most probes had a loss that is not finite."""

    loss_variation: Estimate | None = None
    gradient_change: Estimate | None = None
    beta: Estimate | None = None
    own_beta: Estimate | None = None  # over the optimizer's own step


@dataclass(frozen=True)
class Band:
    """The loss band of one recipe."""

    label: str
    lr: float  # learning rate of the probed run
    run: str
    steps: int  # number of steps of the drawn band
    widths: dict[Measure, dict[StepRange, Estimate | None]]  # None: no step had a finite loss at every rate
    smoothness: Smoothness
    # Number of probes along the step; "looks" in earlier findings.
    probes: Annotated[int, Field(validation_alias=AliasChoices("probes", "looks"))]
    surfaces: tuple[Kind, ...]
    explained: tuple[float, ...]  # explained fractions of the training path's variance


@dataclass(frozen=True)
class BandPair:
    a: str
    b: str
    ratios: dict[Measure, dict[StepRange, Ratio]]  # width of b divided by the width of a

    @property
    def narrower(self) -> str | None:
        verdict = self.ratios[Measure.LOSS][StepRange.ALL].verdict
        return self.b if verdict is Verdict.NARROWER else self.a if verdict is Verdict.WIDER else None


@dataclass(frozen=True)
class Factor:
    """The effect of a key on the width: width at value b / width at value a, averaged over the other keys' values."""

    key: str
    a: str
    b: str
    ratios: dict[Measure, dict[StepRange, Ratio]]


@dataclass(frozen=True)
class Steps:
    """Numbers of steps of the runs, and of the steps covered by the widths."""

    runs: int
    diverged: int  # runs
    shortest: int
    longest: int
    cut: int  # number of steps to which all runs are truncated
    stopped_early: int  # number of runs with fewer steps than the longest
    finite: int  # steps with a finite loss at every rate, in the band with the fewest such steps
    left_out: int  # recorded steps with a non-finite loss, summed over all bands


@dataclass(frozen=True)
class LandscapeFinding:
    lrs: tuple[float, ...]  # learning rates
    seeds: int  # number of repeats
    own_seeds: bool  # each run had its own seed
    cut: Cut  # where the bands end
    steps: Steps
    early_steps: int | None
    window: int  # number of steps over which the loss is smoothed
    images: int  # number of images of a surface; 0 without surfaces
    step_sizes: tuple[float, ...]  # multiples of the gradient at which the probes measure
    reduced: bool  # the runs were trained on fewer images, so there are no verdicts
    archived: bool  # some runs have no weights and only some of their steps
    flags: tuple[str, ...]  # flags of the runs
    recipes: tuple[Band, ...]  # the band of each recipe
    pairs: tuple[BandPair, ...]  # ratios of the widths of two bands
    factors: tuple[Factor, ...] = ()  # effects of the varied keys
    kind: Literal["landscape"] = "landscape"
    schema: int = 1
    _repr_html_ = html_of


class Landscape(NamedTuple):
    """The results of one recipe."""

    label: str
    runs: list[list[Run]]  # per seed, one per learning rate
    probed: list[Run]  # per seed, the probed run
    curves: list[Curves]  # per seed, all of the same length
    figures: FigureArrays  # numbers of the figures; the band ends according to `Design.cut`

    @property
    def probed_run(self) -> Run:
        return self.probed[0]

    def widths(self, measure: Measure, steps: int | None) -> list[np.ndarray]:
        return [
            band.width(curves, measure)[: None if steps is None else np.searchsorted(curves.step, steps, "right")]
            for curves in self.curves
        ]


def gathered(rates: Mapping[str, float], members: Sequence[Member], design: Design) -> list[Landscape]:
    """Groups the runs of each recipe by repeat. Their curves end as specified by `Design.cut`.

    `rates`: the rate of the probed runs, by label. `members`: in the order of `Design.settings`.
    """
    runs: dict[str, list[list[Run]]] = {label: [[] for _repeat in range(design.seeds)] for label in rates}
    settings = product(rates, design.lrs, range(design.seeds))
    for (label, _lr, repeat), member in zip(settings, members, strict=True):
        runs[label][repeat].append(member.run)
    cut = iter(band.aligned([group for groups in runs.values() for group in groups]))
    results = []
    for label, groups in runs.items():
        probed = [next(run for run in group if run.recipe.optim.lr == rates[label]) for group in groups]
        curves = list(islice(cut, len(groups)))
        band_curves = band.aligned(groups)[0] if design.cut == "each" else curves[0]
        figures = FigureArrays(band.edges_of(band_curves), Probes.of(probed[0].arrays))
        results.append(Landscape(label, groups, probed, curves, figures))
    return results


def recompute(stated: LandscapeFinding, study: Study) -> LandscapeFinding:
    """Takes the surfaces from landscape.npz."""
    members = study.members
    lrs = tuple(dict.fromkeys(member.run.recipe.optim.lr for member in members))
    rates = {each.label: each.lr if each.lr in lrs else lrs[0] for each in stated.recipes}
    design = Design(lrs, stated.seeds, stated.cut, stated.own_seeds)
    results, figures = gathered(rates, members, design), arrays.read(study.path / arrays.NAME, [*rates])
    for each in results:
        each.figures.surfaces.update(figures[each.label].surfaces)
    keys = dict.fromkeys(factor.key for factor in stated.factors)
    varied = ablation.Design.of([*keys], stated.factors, [*rates]) if keys else None
    return conclude(results, design, images=stated.images, step_sizes=stated.step_sizes, varied=varied)


def conclude(
    results: Sequence[Landscape],
    design: Design,
    *,
    images: int,
    step_sizes: Sequence[float],
    varied: ablation.Design | None = None,
) -> LandscapeFinding:
    """`images`: number of images of a surface, 0 without surfaces. `step_sizes`: of the probes along the step.

    `varied`: the varied keys, if the recipes are combinations of their values.
    """
    runs = [run for each in results for group in each.runs for run in group]
    cut = int(results[0].curves[0].step[-1])
    spans: dict[StepRange, int | None] = {StepRange.ALL: None}
    spans |= {StepRange.EARLY: EARLY_STEPS} if cut > EARLY_STEPS else {}
    reduced = any(run.data.limit for run in runs)
    return LandscapeFinding(
        lrs=tuple(design.lrs),
        seeds=len(results[0].runs),
        own_seeds=design.own_seeds,
        cut=design.cut,
        steps=_steps(results, runs, cut),
        early_steps=EARLY_STEPS if StepRange.EARLY in spans else None,
        window=WINDOW,
        images=min([images, *(each.probed_run.data.counts["train"] for each in results)]),
        step_sizes=tuple(step_sizes),
        reduced=reduced,
        archived=any(run.is_archived for run in runs),
        flags=tuple(dict.fromkeys(flag for run in runs for flag in run.status.flags)),
        recipes=tuple(_band(each, spans) for each in results),
        pairs=tuple(_pair(a, b, spans, reduced=reduced) for a, b in combinations(results, 2)),
        factors=tuple(_factors(results, varied, spans, reduced=reduced)) if varied is not None else (),
    )


def _steps(results: Sequence[Landscape], runs: Sequence[Run], cut: int) -> Steps:
    lengths = [run.status.steps for run in runs]
    finite = [(np.isfinite(curves.loss).all(0), curves.spacing) for each in results for curves in each.curves]
    return Steps(
        runs=len(runs),
        diverged=sum(run.status.diverged for run in runs),
        shortest=min(lengths),
        longest=max(lengths),
        cut=cut,
        stopped_early=sum(length < max(lengths) for length in lengths),
        finite=min(round(int(steps.sum()) * spacing) for steps, spacing in finite),
        left_out=sum(int((~steps).sum()) for steps, _ in finite),
    )


def _band(each: Landscape, spans: dict[StepRange, int | None]) -> Band:
    run, surfaces = each.probed_run, each.figures.surfaces
    path, probes = surfaces.get("path"), each.figures.probes
    return Band(
        label=each.label,
        lr=run.recipe.optim.lr,
        run=run.name,
        steps=int(each.figures.edges.step[-1]),
        widths={
            measure: {span: band.mean_width(each.widths(measure, steps)) for span, steps in spans.items()}
            for measure in Measure
        },
        smoothness=smoothness(each.probed),
        probes=len(probes.step) if probes else 0,
        surfaces=tuple(surfaces),
        explained=() if path is None or path.explained is None else tuple(path.explained.tolist()),
    )


def _pair(a: Landscape, b: Landscape, spans: dict[StepRange, int | None], *, reduced: bool) -> BandPair:
    def ratio(measure: Measure, steps: int | None) -> Ratio:
        return band.ratio((b.widths(measure, steps), a.widths(measure, steps)), reduced=reduced)

    by_measure = {measure: {span: ratio(measure, steps) for span, steps in spans.items()} for measure in Measure}
    return BandPair(a.label, b.label, by_measure)


def _factors(
    results: Sequence[Landscape], varied: ablation.Design, spans: dict[StepRange, int | None], *, reduced: bool
) -> Iterator[Factor]:
    by_levels = {varied.levels[each.label]: each for each in results}
    for place, (key, values) in enumerate(zip(varied.keys, varied.values, strict=True)):
        for a, b in combinations(values, 2):
            at_a = [levels for levels in by_levels if levels[place] == a]
            at_b = [(*levels[:place], b, *levels[place + 1 :]) for levels in at_a]
            both = [(by_levels[first], by_levels[second]) for first, second in zip(at_b, at_a, strict=True)]

            def ratio(measure: Measure, steps: int | None, both: list[tuple[Landscape, Landscape]] = both) -> Ratio:
                widths = [(first.widths(measure, steps), second.widths(measure, steps)) for first, second in both]
                return band.ratio(*widths, reduced=reduced)

            ratios = {measure: {span: ratio(measure, steps) for span, steps in spans.items()} for measure in Measure}
            yield Factor(key, a, b, ratios)


def smoothness(runs: Sequence[Run]) -> Smoothness:
    """Returns means over seeds of each run's median over probes. The median is robust to probes at which the loss
    diverges.
    """
    medians: list[tuple[float, ...]] = []
    for run in runs:
        probes = Probes.of(run.arrays)
        if probes is None:
            return Smoothness()
        loss = probes.loss.astype(np.float64)
        variation = np.where(np.isfinite(loss).all(1), loss.max(1) - loss.min(1), np.inf)
        own_beta = np.full(len(probes.beta), np.inf) if probes.own_beta is None else probes.own_beta
        measured = (variation, probes.gradient_change.max(1), probes.beta, own_beta)
        medians.append(tuple(map(_median, measured)))
    return Smoothness(
        *(t_interval(values) if np.isfinite(values).all() else None for values in zip(*medians, strict=True))
    )


def _median(values: np.ndarray) -> float:
    return float(np.median(np.where(np.isfinite(values), values.astype(np.float64), np.inf)))

"""Text of the finding: sentence, caveats, names and captions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from convoy.reporting.about import About
from convoy.stats import Estimate
from convoy.studies.landscape.arrays import Surface
from convoy.studies.landscape.band import Measure, Verdict
from convoy.studies.landscape.finding import BandPair, Factor, LandscapeFinding, StepRange
from convoy.text import gettext as _
from convoy.text.lists import joined, listed

CAP = 100.0  # maximum of a drawn loss: far above the loss of guessing, ln(classes)


def measure_name(measure: Measure) -> str:
    names = {Measure.LOSS: _("Loss"), Measure.SMOOTHED: _("Smoothed loss"), Measure.LOG: _("Log of the smoothed loss")}
    return names[measure]


def step_range_name(span: StepRange, finding: LandscapeFinding) -> str:
    return _("all steps") if span is StepRange.ALL else _("first {n:,} steps", n=finding.early_steps or 0)


def verdict_name(verdict: Verdict) -> str:
    names = {
        Verdict.NARROWER: _("narrower"),
        Verdict.WIDER: _("wider"),
        Verdict.INCONCLUSIVE: _("inconclusive"),
        Verdict.ONE_SEED: _("no verdict (one seed)"),
        Verdict.REDUCED: _("no verdict (limited data)"),
    }
    return names[verdict]


def ratio_name(ratio: Factor | BandPair) -> str:
    text = _("{a} / {b}", a=ratio.b, b=ratio.a)
    return f"{ratio.key}: {text}" if isinstance(ratio, Factor) else text


def sentence(finding: LandscapeFinding) -> str:
    return "; ".join(_clauses(finding))


def _clauses(finding: LandscapeFinding) -> Iterator[str]:
    steps, rates = finding.steps, _("learning rates {low:g} to {high:g}", low=min(finding.lrs), high=max(finding.lrs))
    widths = {each.label: each.widths[Measure.LOSS][StepRange.ALL] for each in finding.recipes}
    means = {label: width.mean for label, width in widths.items() if width is not None}
    if not means:
        yield _("No band can be measured: at {rates}, no step had a finite loss in every run", rates=rates)
    elif len(means) == 1:
        ((label, mean),) = means.items()
        yield _(
            "Over {rates}, the loss band of {label} has a mean width of {mean:.3g} (maximum minus minimum training "
            "loss, averaged over the steps)",
            rates=rates,
            label=label,
            mean=mean,
        )
    elif finding.factors:
        factor = max(finding.factors, key=_strength)
        ratio = factor.ratios[Measure.LOSS][StepRange.ALL]
        yield _(
            "Over {rates}, the width of the loss band depends most on {key}: with {b}, the band is {ratio} times as "
            "wide as with {a} ({verdict})",
            rates=rates,
            key=factor.key,
            a=factor.a,
            b=factor.b,
            ratio=_ratio(ratio.ratio, flipped=False),
            verdict=verdict_name(ratio.verdict),
        )
    else:
        narrow, *_others, wide = sorted(means, key=means.__getitem__)  # two labels, even if both widths are equal
        pair = next(pair for pair in finding.pairs if {pair.a, pair.b} == {narrow, wide})
        if pair.narrower == wide:  # over the steps that both bands have
            narrow, wide = wide, narrow
        ratios = {span: _ratio(each.ratio, flipped=pair.b == wide) for span, each in pair.ratios[Measure.LOSS].items()}
        verdict = Verdict.NARROWER if pair.narrower else pair.ratios[Measure.LOSS][StepRange.ALL].verdict
        yield _(
            "Over {rates}, the loss band of {narrow} is {ratio} times as wide as the band of {wide}: {verdict}",
            rates=rates,
            narrow=narrow,
            wide=wide,
            ratio=ratios[StepRange.ALL],
            verdict=verdict_name(verdict),
        )
        if StepRange.EARLY in ratios:
            yield _("in the first {n:,} steps it is {ratio}", n=finding.early_steps, ratio=ratios[StepRange.EARLY])
    if steps.diverged or steps.left_out:
        yield _(
            "the widths cover only {finite:,} of {longest:,} steps ({diverged} of {runs} runs diverged)",
            finite=steps.finite,
            longest=steps.longest,
            diverged=steps.diverged,
            runs=steps.runs,
        )


def _strength(factor: Factor) -> float:
    """Returns the size of the effect on the width, regardless of its sign."""
    ratio = factor.ratios[Measure.LOSS][StepRange.ALL].ratio
    return 0.0 if ratio is None else abs(math.log(ratio.mean))


def _ratio(ratio: Estimate | None, *, flipped: bool) -> str:
    if ratio is None:
        return _("unknown")
    ratio = ratio.inverse() if flipped else ratio
    digits = 2 if ratio.mean >= 0.1 else 4
    number, ends = ratio.parts(digits=digits)
    return _("{number} (95 % interval {interval})", number=number, interval=ends) if ends else number


def about() -> About:
    return About(lambda cite: _("The analysis follows the literature{citation}.", citation=cite("landscape")))


def caveats(finding: LandscapeFinding) -> list[str]:
    return [*finding.flags, *_caveats(finding)]


def _caveats(finding: LandscapeFinding) -> Iterator[str]:
    steps = finding.steps
    drawn = [each.surfaces for each in finding.recipes if each.surfaces]
    if finding.seeds == 1:
        yield _("One seed gives neither an interval nor a verdict, because the spread between seeds is unknown")
    for pair in finding.pairs if not finding.factors else ():
        loss, log = (pair.ratios[measure][StepRange.ALL].verdict for measure in (Measure.LOSS, Measure.LOG))
        if {loss, log} == {Verdict.NARROWER, Verdict.WIDER}:
            yield _(
                "The result depends on the scale. For the logarithm of the loss, the band of {a} compared with the "
                "band of {b} is {verdict}",
                a=pair.b,
                b=pair.a,
                verdict=verdict_name(log),
            )
    if steps.longest > steps.cut:
        yield _(
            "{n} of {runs} runs stopped before step {longest:,}: the widths cover the first {cut:,} steps",
            n=steps.stopped_early,
            runs=steps.runs,
            longest=steps.longest,
            cut=steps.cut,
        )
    if n := steps.left_out:
        yield _("{n:,} steps with a non-finite loss are left out of the bands", n=n)
    if finding.archived:
        yield _("Archived runs keep only some steps and no weights, so there are no surfaces for them")
    if drawn:
        yield _(
            "Surfaces show one seed, {n:,} images and only two of the many dimensions of weight space", n=finding.images
        )
    if any("path" not in surfaces for surfaces in drawn):
        yield _(
            "The training path is not drawn: it needs at least two epochs, and weights that are not on one "
            "straight line"
        )
    if finding.cut == "each":
        ends = joined(_("{label} at {n:,} steps", label=each.label, n=each.steps) for each in finding.recipes)
        yield _("In the figure, each band ends with the shortest run of its recipe: {ends}", ends=ends)
    if finding.own_seeds:
        yield _("Each run has its own seed, so the bands include differences of initial weights and batches")


def intervals_note(finding: LandscapeFinding) -> str:
    if finding.seeds == 1:
        return _("One seed: no interval and no verdict.")
    return _("95 % intervals over {n} seeds (Student's t).", n=finding.seeds)


# ---- captions ----


def band_caption(finding: LandscapeFinding, points: int | None) -> str:
    """`points`: the number of drawn points, if each spans several steps."""
    texts = [
        _("Minimum and maximum of the loss at each step over the learning rates, for the first seed."),
        _("Right: after smoothing each run over {n} steps.", n=finding.window),
    ]
    texts += [_("Dashed: the first {n:,} steps.", n=finding.early_steps)] if finding.early_steps else []
    texts += [_("Each of the {n} points spans several steps.", n=points)] if points else []
    return " ".join(texts)


def probe_caption(finding: LandscapeFinding) -> str:
    rates = {each.label: f"{each.lr:g}" for each in finding.recipes if each.probes}
    distinct = {*rates.values()}
    return _(
        "The weights after a step (learning rate {rates}) are moved against the gradient of its "
        "batch, by {first:g} to {last:g} times the gradient. Loss: minimum and maximum along the "
        "move. Gradient predictiveness: distance of the gradients from the gradient at the start. "
        "Effective beta-smoothness: maximum of that distance divided by the distance moved. A lower "
        "and narrower band means a smoother loss (Santurkar et al. 2018, figure 4). Non-finite "
        "values are drawn at {cap:g}.",
        rates=joined(distinct if len(distinct) == 1 else (f"{label}: {rate}" for label, rate in rates.items())),
        first=finding.step_sizes[0],
        last=finding.step_sizes[-1],
        cap=CAP,
    )


def surface_caption(surfaces: Mapping[str, Surface], images: int) -> str:
    sides = {f"{len(each.y)} × {len(each.x)}" for each in surfaces.values()}
    text = _(
        "Training loss on {n:,} images in evaluation mode, {sides} points. The saved weights are at the origin.",
        n=images,
        sides=listed(sorted(sides)),
    )
    explained = {label: each.explained for label, each in surfaces.items() if each.explained is not None}
    directions = _("Random, filter-normalised directions (Li et al. 2018).")
    if explained:
        directions = _(
            "The plane is spanned by the first two principal components of the weights of all epochs. "
            "They explain {shares} of the variance of the path; the path itself leaves the plane. Norm "
            "layers use the same statistics everywhere; far from the origin these do not match the "
            "weights.",
            shares=listed([f"{100 * shares.sum():.1f} % ({label})" for label, shares in explained.items()]),
        )
    return " ".join([text, directions, scale_note(surfaces)])


def scale_note(surfaces: Mapping[str, Surface]) -> str:
    capped = {label: int((each.loss > CAP).sum()) for label, each in surfaces.items()}
    scale = _("Logarithmic scale of the loss.")
    if counts := joined(f"{label}: {n:,}" for label, n in capped.items() if n):
        return f"{scale} " + _("Points above {cap:g} are drawn at that value ({counts}).", cap=CAP, counts=counts)
    return scale

"""The finding in words: its sentence and its caveats."""

from __future__ import annotations

from convoy.stats import Estimate
from convoy.studies.landscape.band import Measure, Verdict
from convoy.studies.landscape.finding import LandscapeFinding, Span

NO_VERDICT = {Verdict.ONE_SEED: "one seed", Verdict.REDUCED: "fewer images"}


def sentence(finding: LandscapeFinding) -> str:
    return _of_bands(finding) + _left_out_steps(finding)


def _of_bands(finding: LandscapeFinding) -> str:
    rates = f"learning rates {min(finding.lrs):g} to {max(finding.lrs):g}"
    widths = {each.label: each.widths[Measure.LOSS][Span.ALL] for each in finding.recipes}
    known = {label: width.mean for label, width in widths.items() if width is not None}
    if not known:
        return f"At {rates} no step had a finite loss in every run: no band can be measured"
    if len(known) == 1:
        ((label, mean),) = known.items()
        return f"Over {rates} the loss of {label} differs by {mean:.3g} on average over {finding.steps.finite:,} steps"
    narrow, *_, wide = sorted(known, key=known.__getitem__)  # two labels, even if both widths are equal
    pair = next(pair for pair in finding.pairs if {pair.a, pair.b} == {narrow, wide})
    if pair.narrower == wide:  # over the steps that both bands have
        narrow, wide = wide, narrow
    ratios, flipped = pair.ratios[Measure.LOSS], pair.b == wide
    times = _times(ratios[Span.ALL].ratio, flipped=flipped)
    early = f", {_times(ratios[Span.EARLY].ratio, flipped=flipped)}" if Span.EARLY in ratios else ""
    more = f"{early} in the first {finding.early_steps:,} steps" if early else ""
    verdict = ratios[Span.ALL].verdict
    if verdict in NO_VERDICT:
        return (
            f"Over {rates} the loss band of {narrow} is {times} times as wide as that of {wide}{more} "
            f"({NO_VERDICT[verdict]}: no verdict)"
        )
    if pair.narrower is None:
        return (
            f"Over {rates} the comparison of the loss bands of {narrow} and {wide} is inconclusive: the first is "
            f"{times} times as wide as the second"
        )
    return f"Over {rates} the loss band of {narrow} is narrower than that of {wide}: {times} times as wide{more}"


def _times(ratio: Estimate | None, *, flipped: bool) -> str:
    if ratio is None:
        return "an unknown number of"
    ratio = ratio.inverse() if flipped else ratio
    digits = 2 if ratio.mean >= 0.1 else 4
    interval = "" if ratio.low is None else f" (95 % interval {ratio.ends(digits=digits)})"
    return f"{ratio.mean:.{digits}f}{interval}"


def _left_out_steps(finding: LandscapeFinding) -> str:
    """How many steps the widths cover, if steps with a loss that is not finite were left out; else ""."""
    steps = finding.steps
    if not steps.diverged and not steps.left_out:
        return ""
    diverged = f"{steps.diverged} of {steps.runs} runs diverged"
    why = diverged if steps.diverged else "a loss was not finite at the other steps"
    return f"; over only {steps.finite:,} of {steps.longest:,} steps: {why}"


def caveats(finding: LandscapeFinding) -> list[str]:
    texts = list(finding.flags)
    steps = finding.steps
    if finding.seeds == 1:
        texts.append(
            "One seed: how much the widths differ between seeds is unknown, so it has no interval and no verdict"
        )
    for pair in finding.pairs:
        loss, log = (pair.ratios[measure][Span.ALL].verdict for measure in (Measure.LOSS, Measure.LOG))
        if {loss, log} == {Verdict.NARROWER, Verdict.WIDER}:
            texts.append(
                f"The result depends on the scale: for the logarithm of the loss the band of {pair.b} is "
                f"{log} than that of {pair.a}"
            )
    if steps.longest > steps.cut:
        texts.append(
            f"Runs of {steps.shortest:,} to {steps.longest:,} steps ({steps.stopped_early} of {steps.runs} stopped "
            f"early): all are cut to {steps.cut:,}"
        )
    if steps.left_out:
        texts.append(
            f"{steps.left_out:,} steps with a loss that is not finite are excluded from the widths: they would widen "
            "the band"
        )
    if finding.archived:
        texts.append("Archived runs keep only some of the steps, and no weights, which a surface needs")
    drawn = [each.surfaces for each in finding.recipes if each.surfaces]
    if drawn:
        basis = f"{finding.images:,} training images"
        texts.append(f"Surfaces are slices of a very high-dimensional space, on {basis}, of one seed")
    if any("path" not in surfaces for surfaces in drawn):
        texts.append("A training path needs two epochs or more and weights that do not move along a straight line")
    if finding.cut == "each":
        ends = ", ".join(f"{each.label} at {each.steps:,} steps" for each in finding.recipes)
        texts.append(f"In the figure each band ends at the shortest run of its recipe: {ends}")
    if finding.own_seeds:
        texts.append("Each run has its own seed: the bands include differences of initial weights and batches")
    return texts

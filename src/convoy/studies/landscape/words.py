"""The finding in words: its sentence, its caveats, its names and its captions."""

from __future__ import annotations

from collections.abc import Mapping

from convoy.reporting.quantities import listed
from convoy.stats import Estimate
from convoy.studies.landscape.arrays import Surface
from convoy.studies.landscape.band import Measure, Verdict
from convoy.studies.landscape.finding import LandscapeFinding, Span
from convoy.text import gettext as _

CAP = 100.0  # of a drawn loss: far above the loss of guessing, ln(classes)


def measure_name(measure: Measure) -> str:
    names = {
        Measure.LOSS: _("Loss"),
        Measure.SMOOTHED: _("Smoothed loss"),
        Measure.LOG: _("Log of the smoothed loss"),
    }
    return names[measure]


def span_name(span: Span, finding: LandscapeFinding) -> str:
    return _("all steps") if span is Span.ALL else _("first {n:,} steps", n=finding.early_steps or 0)


def verdict_name(verdict: Verdict) -> str:
    names = {
        Verdict.NARROWER: _("narrower"),
        Verdict.WIDER: _("wider"),
        Verdict.INCONCLUSIVE: _("inconclusive"),
        Verdict.ONE_SEED: _("one seed: no verdict"),
        Verdict.REDUCED: _("fewer images: no verdict"),
    }
    return names[verdict]


def sentence(finding: LandscapeFinding) -> str:
    return "; ".join([*_of_bands(finding), *_left_out_steps(finding)])


def _of_bands(finding: LandscapeFinding) -> list[str]:
    rates = _("learning rates {low:g} to {high:g}", low=min(finding.lrs), high=max(finding.lrs))
    widths = {each.label: each.widths[Measure.LOSS][Span.ALL] for each in finding.recipes}
    known = {label: width.mean for label, width in widths.items() if width is not None}
    if not known:
        return [_("At {rates} no step had a finite loss in every run: no band can be measured", rates=rates)]
    if len(known) == 1:
        ((label, mean),) = known.items()
        return [
            _(
                "Over {rates} the loss of {label} differs by {mean:.3g} on average over {steps:,} steps",
                rates=rates,
                label=label,
                mean=mean,
                steps=finding.steps.finite,
            )
        ]
    narrow, *_others, wide = sorted(known, key=known.__getitem__)  # two labels, even if both widths are equal
    pair = next(pair for pair in finding.pairs if {pair.a, pair.b} == {narrow, wide})
    if pair.narrower == wide:  # over the steps that both bands have
        narrow, wide = wide, narrow
    all_steps, early = (pair.ratios[Measure.LOSS].get(span) for span in (Span.ALL, Span.EARLY))
    assert all_steps is not None
    times = _times(all_steps.ratio, flipped=pair.b == wide)
    if all_steps.verdict is Verdict.INCONCLUSIVE:
        return [
            _(
                "Over {rates} the comparison of the loss bands of {narrow} and {wide} is inconclusive: width of the "
                "first over that of the second {times}",
                rates=rates,
                narrow=narrow,
                wide=wide,
                times=times,
            )
        ]
    if pair.narrower is None:
        text = _(
            "Over {rates} the loss band of {narrow} is {times} times as wide as that of {wide} ({verdict})",
            rates=rates,
            narrow=narrow,
            times=times,
            wide=wide,
            verdict=verdict_name(all_steps.verdict),
        )
    else:
        text = _(
            "Over {rates} the loss band of {narrow} is narrower than that of {wide}: {times} times as wide",
            rates=rates,
            narrow=narrow,
            wide=wide,
            times=times,
        )
    if early is None:
        return [text]
    times = _times(early.ratio, flipped=pair.b == wide)
    return [text, _("in the first {n:,} steps the factor is {times}", n=finding.early_steps, times=times)]


def _times(ratio: Estimate | None, *, flipped: bool) -> str:
    if ratio is None:
        return _("unknown")
    ratio = ratio.inverse() if flipped else ratio
    digits = 2 if ratio.mean >= 0.1 else 4
    number = f"{ratio.mean:.{digits}f}"
    if ratio.low is None:
        return number
    return _("{number} (95 % interval {ends})", number=number, ends=ratio.ends(digits=digits))


def _left_out_steps(finding: LandscapeFinding) -> list[str]:
    """How many steps the widths cover, if steps with a loss that is not finite were left out."""
    steps = finding.steps
    if steps.diverged:
        return [
            _(
                "the widths cover only {finite:,} of {longest:,} steps: {diverged} of {runs} runs diverged",
                finite=steps.finite,
                longest=steps.longest,
                diverged=steps.diverged,
                runs=steps.runs,
            )
        ]
    if steps.left_out:
        return [
            _(
                "the widths cover only {finite:,} of {longest:,} steps: a loss was not finite at the others",
                finite=steps.finite,
                longest=steps.longest,
            )
        ]
    return []


def caveats(finding: LandscapeFinding) -> list[str]:
    texts = list(finding.flags)
    steps = finding.steps
    if finding.seeds == 1:
        texts.append(
            _("One seed: how much the widths differ between seeds is unknown, so it has no interval and no verdict")
        )
    for pair in finding.pairs:
        loss, log = (pair.ratios[measure][Span.ALL].verdict for measure in (Measure.LOSS, Measure.LOG))
        if {loss, log} == {Verdict.NARROWER, Verdict.WIDER}:
            texts.append(
                _(
                    "The result depends on the scale: for the logarithm of the loss the band of {a} is {verdict} than "
                    "that of {b}",
                    a=pair.b,
                    verdict=verdict_name(log),
                    b=pair.a,
                )
            )
    if steps.longest > steps.cut:
        texts.append(
            _(
                "Runs of {shortest:,} to {longest:,} steps ({n} of {runs} stopped early): all are cut to {cut:,}",
                shortest=steps.shortest,
                longest=steps.longest,
                n=steps.stopped_early,
                runs=steps.runs,
                cut=steps.cut,
            )
        )
    if steps.left_out:
        texts.append(
            _(
                "{n:,} steps with a loss that is not finite are excluded from the widths: they would widen the band",
                n=steps.left_out,
            )
        )
    if finding.archived:
        texts.append(_("Archived runs keep only some of the steps, and no weights, which a surface needs"))
    drawn = [each.surfaces for each in finding.recipes if each.surfaces]
    if drawn:
        texts.append(
            _(
                "Surfaces are slices of a very high-dimensional space, on {n:,} training images, of one seed",
                n=finding.images,
            )
        )
    if any("path" not in surfaces for surfaces in drawn):
        texts.append(_("A training path needs two epochs or more and weights that do not move along a straight line"))
    if finding.cut == "each":
        ends = [_("{label} at {steps:,} steps", label=each.label, steps=each.steps) for each in finding.recipes]
        texts.append(_("In the figure each band ends at the shortest run of its recipe: {ends}", ends=", ".join(ends)))
    if finding.own_seeds:
        texts.append(_("Each run has its own seed: the bands include differences of initial weights and batches"))
    return texts


def intervals_note(finding: LandscapeFinding) -> str:
    if finding.seeds > 1:
        return _("95 % intervals over {n} seeds (Student's t).", n=finding.seeds)
    return _("One seed: no interval and no verdict.")


# ---- captions ----


def band_caption(finding: LandscapeFinding, seed: int, thinned_to: int) -> str:
    """`thinned_to`: the number of drawn points, if each spans several steps; else 0."""
    texts = [
        _(
            "Minimum and maximum of the loss at each step over the learning rates {rates}.",
            rates=listed([f"{lr:g}" for lr in sorted(finding.lrs)]),
        ),
        _("Each run has its own seed.") if finding.own_seeds else _("Seed {seed}.", seed=seed),
        _("Right: after smoothing each run over {n} steps.", n=finding.window),
    ]
    if finding.early_steps:
        texts.append(_("Dashed: the first {n:,} steps.", n=finding.early_steps))
    if thinned_to:
        texts.append(_("Each of the {n} points spans several steps.", n=thinned_to))
    return " ".join(texts)


def probe_caption(finding: LandscapeFinding, *, capped: bool) -> str:
    rates = [_("{label} at {lr:g}", label=each.label, lr=each.lr) for each in finding.recipes if each.looks]
    texts = [
        _(
            "The weights after a step ({rates}) are moved against the gradient of its batch, by {first:g} to {last:g} "
            "times the gradient.",
            rates=listed(rates),
            first=finding.step_sizes[0],
            last=finding.step_sizes[-1],
        ),
        _("Loss: minimum and maximum along the move."),
        _("Gradient predictiveness: distance of the gradients from the first one."),
        _("Effective beta-smoothness: maximum of that distance divided by the distance moved."),
        _("Lower and narrower is smoother (Santurkar et al. 2018, figure 4)."),
    ]
    return " ".join([*texts, *([_("Values that are not finite are drawn at {cap:g}.", cap=CAP)] if capped else [])])


def surface_caption(surfaces: Mapping[str, Surface], images: int) -> str:
    some = next(iter(surfaces.values()))
    texts = [
        _(
            "Training loss on {n:,} images, evaluation mode, {side} × {side} points. Cross: saved weights.",
            n=images,
            side=len(some.x),
        )
    ]
    if some.explained is None:
        texts.append(_("Along two random directions with the filter norms of the network (Li et al. 2018)."))
    else:
        explained = {label: each.explained for label, each in surfaces.items() if each.explained is not None}
        shares = [f"{100 * values.sum():.1f} % ({label})" for label, values in explained.items()]
        texts += [
            _(
                "In the plane of the first two principal directions of the weights of all epochs, which explain "
                "{shares} of the variance of the path; the path itself is off the plane.",
                shares=listed(shares),
            ),
            _("Norm layers keep their statistics everywhere, which do not fit weights far from the cross."),
        ]
    return " ".join([*texts, scale_note(surfaces)])


def line_caption(lines: Mapping[str, Surface], images: int) -> str:
    text = _(
        "Training loss on {n:,} images, evaluation mode, along one random direction with the filter norms of the "
        "network (Li et al. 2018). 0: saved weights.",
        n=images,
    )
    return f"{text} {scale_note(lines)}"


def scale_note(surfaces: Mapping[str, Surface]) -> str:
    counts = [
        _("{n:,} of {total:,} ({label})", n=n, total=each.loss.size, label=label)
        for label, each in surfaces.items()
        if (n := int((each.loss > CAP).sum()))
    ]
    if not counts:
        return _("Logarithmic scale of the loss.")
    return _(
        "Logarithmic scale of the loss; points above {cap:g} are drawn at {cap:g}: {counts}.",
        cap=CAP,
        counts=listed(counts),
    )

"""The finding of a landscape: width of each loss band, which is narrower, smoothness along the step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from convoy.prediction import Verdict
from convoy.runs import Run
from convoy.stats import Estimate, t_interval
from convoy.studies import loss_band
from convoy.studies.landscape_design import Design
from convoy.studies.loss_band import EARLY_STEPS, MEASURES, Curves, Ratio
from convoy.training.step.probe import STEP_SIZES

NO_VERDICT = {Verdict.ONE_SEED: "one seed", Verdict.REDUCED: "fewer images"}
SMOOTHNESS = ("loss_variation", "gradient_change", "beta")  # of one probe along the step; lower is smoother


class Landscape(NamedTuple):
    """The results of one recipe."""

    label: str
    runs: list[list[Run]]  # per seed, one per learning rate
    probed: list[Run]  # per seed, the probed run
    curves: list[Curves]  # per seed, all of the same length
    drawn: list[Curves]  # in the figure, perhaps up to the recipe's own shortest run
    surfaces: dict[str, dict[str, np.ndarray]]  # of the first seed, by kind

    @property
    def probed_run(self) -> Run:
        return self.probed[0]

    def widths(self, measure: str, steps: int | None) -> list[np.ndarray]:
        return [
            loss_band.width(curves, measure)[: None if steps is None else np.searchsorted(curves.step, steps, "right")]
            for curves in self.curves
        ]


def conclude(found: Sequence[Landscape], design: Design, images: int) -> dict[str, Any]:
    """The finding as JSON. `images`: number of images of a surface, 0 without surfaces."""
    lrs, steps = design.lrs, int(found[0].curves[0].step[-1])
    images = min([images, *(each.probed_run.data.counts["train"] for each in found)])
    spans: dict[str, int | None] = {"all": None} | ({"early": EARLY_STEPS} if steps > EARLY_STEPS else {})
    reduced = any(run.data.limit for each in found for group in each.runs for run in group)
    pairs = [_pair(a, b, spans, reduced=reduced) for a, b in combinations(found, 2)]
    return {
        "kind": "landscape",
        "quick": reduced,
        "sentence": _sentence(found, pairs, lrs) + _left_out_steps(found),
        "caveats": _caveats(found, pairs, steps, images) + _drawn_further(found, design),
        "lrs": list(lrs),
        "seeds": len(found[0].runs),
        "own_seeds": design.own_seeds,
        "cut": design.cut,
        "steps": steps,
        "early_steps": EARLY_STEPS if "early" in spans else None,
        "window": loss_band.WINDOW,
        "images": images,
        "recipes": [_recipe(each, spans) for each in found],
        "pairs": pairs,
    }


def _recipe(each: Landscape, spans: dict[str, int | None]) -> dict[str, Any]:
    run = each.probed_run
    widths = {
        measure: {span: _json(loss_band.mean_width(each.widths(measure, steps))) for span, steps in spans.items()}
        for measure in MEASURES
    }
    path = each.surfaces.get("path", {})
    return {
        "label": each.label,
        "lr": run.recipe.optim.lr,
        "run": run.name,
        "steps": int(each.drawn[0].step[-1]),
        "widths": widths,
        "smoothness": {name: _json(value) for name, value in smoothness(each.probed).items()},
        "looks": len(run.arrays.get("probe_step", ())),
        "step_sizes": list(STEP_SIZES),
        "surfaces": list(each.surfaces),
        "explained": [float(share) for share in path.get("explained", ())],
    }


def _pair(a: Landscape, b: Landscape, spans: dict[str, int | None], *, reduced: bool) -> dict[str, Any]:
    """Width of the second band over the first, by measure and span."""
    ratios = {
        measure: {
            span: _ratio_json(loss_band.ratio(b.widths(measure, steps), a.widths(measure, steps)), reduced=reduced)
            for span, steps in spans.items()
        }
        for measure in MEASURES
    }
    verdict = (ratios["loss"]["all"] or {}).get("verdict")
    narrower = b.label if verdict == Verdict.NARROWER else a.label if verdict == Verdict.WIDER else None
    return {"a": a.label, "b": b.label, "ratios": ratios, "narrower": narrower}


def smoothness(runs: Sequence[Run]) -> dict[str, Estimate | None]:
    """Mean over seeds of each run's median over probes; medians, because single probes may meet a diverging loss.

    None if a run was not probed, or if most probes met a loss that is not finite.
    """
    medians: dict[str, list[float]] = {name: [] for name in SMOOTHNESS}
    for run in runs:
        arrays = run.arrays
        if "probe_loss" not in arrays:
            return dict.fromkeys(SMOOTHNESS)
        loss = arrays["probe_loss"].astype(np.float64)
        variation = np.where(np.isfinite(loss).all(1), loss.max(1) - loss.min(1), np.inf)
        change = arrays["probe_gradient_change"].astype(np.float64).max(1)
        for name, values in zip(SMOOTHNESS, (variation, change, arrays["probe_beta"].astype(np.float64)), strict=True):
            medians[name].append(float(np.median(np.where(np.isfinite(values), values, np.inf))))
    return {name: t_interval(values) if np.isfinite(values).all() else None for name, values in medians.items()}


def _sentence(found: Sequence[Landscape], pairs: Sequence[dict[str, Any]], lrs: Sequence[float]) -> str:
    rates = f"learning rates {min(lrs):g} to {max(lrs):g}"
    widths = {each.label: loss_band.mean_width(each.widths("loss", None)) for each in found}
    known = {label: width.mean for label, width in widths.items() if width is not None}
    if not known:
        return f"At {rates} no step had a finite loss in every run: no band can be measured"
    if len(known) == 1:
        ((label, mean),) = known.items()
        return f"Over {rates} the loss of {label} differs by {mean:.3g} on average over {_counted(found):,} steps"
    narrow, *_, wide = sorted(known, key=known.__getitem__)  # two labels, even if both widths are equal
    pair = next(pair for pair in pairs if {pair["a"], pair["b"]} == {narrow, wide})
    if pair["narrower"] is not None:  # over the steps that both bands have
        narrow, wide = sorted((narrow, wide), key=lambda label: label != pair["narrower"])
    ratio = pair["ratios"]["loss"]["all"]
    times = _between(ratio, flipped=pair["b"] == wide)
    early = pair["ratios"]["loss"].get("early")
    more = f", {_between(early, flipped=pair['b'] == wide)} in the first {EARLY_STEPS:,} steps" if early else ""
    if ratio is not None and ratio["verdict"] in NO_VERDICT:
        return (
            f"Over {rates} the loss band of {narrow} is {times} times as wide as that of {wide}{more} "
            f"({NO_VERDICT[ratio['verdict']]}: no verdict)"
        )
    if pair["narrower"] is None:
        return (
            f"Over {rates} the comparison of the loss bands of {narrow} and {wide} is inconclusive: the first is "
            f"{times} times as wide as the second"
        )
    return f"Over {rates} the loss band of {narrow} is narrower than that of {wide}: {times} times as wide{more}"


def _left_out_steps(found: Sequence[Landscape]) -> str:
    """How many steps the widths cover, if steps with a loss that is not finite were left out; else ""."""
    runs = [run for each in found for group in each.runs for run in group]
    diverged = sum(run.status.diverged for run in runs)
    curves = [curves for each in found for curves in each.curves]
    if not diverged and all(np.isfinite(each.loss).all() for each in curves):
        return ""
    longest = max(int(run.status.steps) for run in runs)
    why = f"{diverged} of {len(runs)} runs diverged" if diverged else "a loss was not finite at the other steps"
    return f"; over only {_counted(found):,} of {longest:,} steps: {why}"


def _counted(found: Sequence[Landscape]) -> int:
    """Steps with a finite loss at every rate, in the band that has fewest."""
    curves = [curves for each in found for curves in each.curves]
    return min(round(int(np.isfinite(each.loss).all(0).sum()) * each.spacing) for each in curves)


def _between(ratio: dict[str, Any] | None, *, flipped: bool) -> str:
    if ratio is None:
        return "an unknown number of"
    known = [ratio["ratio"]] if ratio["low"] is None else [ratio["low"], ratio["ratio"], ratio["high"]]
    if flipped:
        known = [1 / value for value in reversed(known)]
    if len(known) == 1:
        return f"{known[0]:.2f}"
    return f"{known[1]:.2f} (95 % interval {known[0]:.2f} to {known[2]:.2f})"


def _caveats(found: Sequence[Landscape], pairs: Sequence[dict[str, Any]], steps: int, images: int) -> list[str]:
    runs = [run for each in found for group in each.runs for run in group]
    seeds = len(found[0].runs)
    caveats = list(dict.fromkeys(flag for run in runs for flag in run.status.flags))
    if seeds == 1:
        caveats.append(
            "One seed: how much the widths differ between seeds is unknown, so it has no interval and no verdict"
        )
    for pair in pairs:
        verdicts = {m: spans["all"]["verdict"] for m, spans in pair["ratios"].items() if spans["all"]}
        if {verdicts.get("loss"), verdicts.get("log_loss")} == {Verdict.NARROWER, Verdict.WIDER}:
            caveats.append(
                f"The result depends on the scale: for the logarithm of the loss the band of {pair['b']} is "
                f"{verdicts['log_loss']} than that of {pair['a']}"
            )
    lengths = [int(run.status.steps) for run in runs]
    if max(lengths) > steps:
        early = sum(length < max(lengths) for length in lengths)
        caveats.append(
            f"Runs of {min(lengths):,} to {max(lengths):,} steps ({early} of {len(runs)} stopped early): "
            f"all are cut to {steps:,}"
        )
    left_out = sum(int((~np.isfinite(curves.loss)).any(0).sum()) for each in found for curves in each.curves)
    if left_out:
        caveats.append(
            f"{left_out:,} steps with a loss that is not finite are excluded from the widths: they would widen the band"
        )
    if any(run.is_archived for run in runs):
        caveats.append("Archived runs keep only some of the steps, and no weights, which a surface needs")
    drawn = [each for each in found if each.surfaces]
    if drawn:
        basis = f"{images:,} training images"
        caveats.append(f"Surfaces are slices of a very high-dimensional space, on {basis}, of one seed")
    if any("path" not in each.surfaces for each in drawn):
        caveats.append("A training path needs two epochs or more and weights that do not move along a straight line")
    return caveats


def _drawn_further(found: Sequence[Landscape], design: Design) -> list[str]:
    notes = []
    if design.cut == "each":
        ends = ", ".join(f"{each.label} at {int(each.drawn[0].step[-1]):,} steps" for each in found)
        notes.append(f"In the figure each band ends at the shortest run of its recipe: {ends}")
    if design.own_seeds:
        notes.append("Each run has its own seed: the bands include differences of initial weights and batches")
    return notes


def _json(value: Estimate | None) -> dict[str, Any] | None:
    return None if value is None else value.as_json()


def _ratio_json(value: Ratio | None, *, reduced: bool) -> dict[str, Any] | None:
    if value is None or not math.isfinite(value.ratio):
        return None
    return {**value._asdict(), "verdict": value.verdict(reduced=reduced).value}

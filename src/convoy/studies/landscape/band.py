"""The band between the lowest and the highest loss over learning rates, at each step, and its width.

The figure is from S. Santurkar et al., "How Does Batch Normalization Help Optimization?", 2018,
https://arxiv.org/abs/1805.11604; the width of the band tests the claim of that paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from convoy.runs import Run
from convoy.stats import Estimate, t_interval
from convoy.studies.landscape.arrays import Edges

WINDOW = 25  # steps; the loss of a single batch is noisy
MIN_LOSS = 1e-7  # lower bound before taking the logarithm; smaller values are rounding errors of float32
EARLY_STEPS = 4000  # where the published bands differ most


class Measure(StrEnum):
    LOSS = "loss"
    SMOOTHED = "smoothed_loss"
    LOG = "log_loss"  # the logarithm of the smoothed loss


class Verdict(StrEnum):
    """Verdict on the width of one band compared with another."""

    NARROWER = "narrower"
    WIDER = "wider"
    INCONCLUSIVE = "inconclusive"
    ONE_SEED = "one_seed"
    REDUCED = "reduced"  # the runs were trained on fewer images


class Curves(NamedTuple):
    """Losses of one recipe and seed, one run per learning rate, truncated to the same length."""

    step: np.ndarray  # int64 [T], completed steps; an archived run has only some of them
    loss: np.ndarray  # float64 [rates, T]; not finite for a skipped step

    @property
    def spacing(self) -> float:
        """Steps between two points: 1, or more for archived runs."""
        return float(np.diff(self.step).mean()) if len(self.step) > 1 else 1.0


@dataclass(frozen=True)
class Ratio:
    """Ratio of the widths of two bands, over seeds; None if one has no width."""

    ratio: Estimate | None
    verdict: Verdict  # verdict on the first band compared with the second


def aligned(runs: Sequence[Sequence[Run]]) -> list[Curves]:
    """Returns the losses of groups of runs, truncated to the shortest of all runs."""
    steps = [[run.steps for run in group] for group in runs]
    numbers = [[arrays.get("step", np.arange(len(arrays["loss"]))) + 1 for arrays in group] for group in steps]
    shortest = min(int(number[-1]) for group in numbers for number in group)
    # All curves are sampled at the steps recorded by the run with the fewest.
    step = min((number[number <= shortest] for group in numbers for number in group), key=len)
    return [
        Curves(
            step.astype(np.int64),
            np.stack([np.interp(step, at, f["loss"].astype(np.float64)) for at, f in zip(number, group, strict=True)]),
        )
        for number, group in zip(numbers, steps, strict=True)
    ]


def edges(loss: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns minimum and maximum [T] over the rates, from losses [rates, T]; NaN if a loss is not finite."""
    finite = np.isfinite(loss).all(0)
    return np.where(finite, loss.min(0), np.nan), np.where(finite, loss.max(0), np.nan)


def edges_of(curves: Curves) -> Edges:
    return Edges(curves.step, *edges(curves.loss), *edges(smoothed(curves.loss, curves.spacing)))


def width(curves: Curves, measure: Measure) -> np.ndarray:
    """Returns the width of the band at each step, float64 [T]; NaN if a loss is not finite."""
    low, high = edges(curves.loss if measure is Measure.LOSS else smoothed(curves.loss, curves.spacing))
    if measure is Measure.LOG:
        low, high = (np.log(np.maximum(edge, MIN_LOSS)) for edge in (low, high))
    return np.where(np.isfinite(curves.loss).all(0), high - low, np.nan)


def smoothed(loss: np.ndarray, spacing: float = 1.0) -> np.ndarray:
    """Returns centred means over WINDOW steps, [rates, T]; windows are truncated at the ends.

    `spacing`: steps between two points. The window covers the same number of steps, and thus fewer points.
    """
    finite = np.isfinite(loss)
    kernel = np.ones(min(max(1, round(WINDOW / spacing)), loss.shape[1]))
    sums = np.stack([np.convolve(row, kernel, mode="same") for row in np.where(finite, loss, 0.0)])
    counts = np.stack([np.convolve(row, kernel, mode="same") for row in finite.astype(np.float64)])
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def mean_width(widths: Sequence[np.ndarray]) -> Estimate | None:
    """Returns the mean over steps of the widths [T] of each seed, with Student's t interval over the seeds.

    Returns None if no step had a finite loss at every rate.
    """
    finite = [values[np.isfinite(values)] for values in widths]
    if not all(len(values) for values in finite):
        return None
    return t_interval([float(values.mean()) for values in finite])


def ratio(*pairs: tuple[Sequence[np.ndarray], Sequence[np.ndarray]], reduced: bool) -> Ratio:
    """Returns the ratio of the mean widths of two bands, first over second, from widths [T] of each seed.

    For several pairs, the ratio is their geometric mean. The interval is the t interval of the logarithm over seeds,
    paired because runs with the same seed use the same batches.
    """
    logs = [[_log_ratio(a, b) for a, b in zip(first, second, strict=True)] for first, second in pairs]
    if not np.isfinite(logs).all():
        return Ratio(None, Verdict.INCONCLUSIVE)
    estimate = t_interval(np.mean(logs, axis=0).tolist()).exp()
    return Ratio(estimate, Verdict.REDUCED if reduced else _verdict(estimate))


def _log_ratio(a: np.ndarray, b: np.ndarray) -> float:
    """Uses the steps at which both widths are finite. Returns NaN without such steps, or if a band has no width."""
    finite = np.isfinite(a) & np.isfinite(b)
    if not finite.any() or a[finite].mean() <= 0 or b[finite].mean() <= 0:
        return float("nan")
    return float(np.log(a[finite].mean() / b[finite].mean()))


def _verdict(estimate: Estimate) -> Verdict:
    if estimate.low is None:
        return Verdict.ONE_SEED
    if not estimate.excludes(1):
        return Verdict.INCONCLUSIVE
    return Verdict.NARROWER if estimate.mean < 1 else Verdict.WIDER

"""The band between the least and the greatest loss over learning rates, step by step, and a number for its width.

The figure is the one that S. Santurkar et al. ("How Does Batch Normalization Help Optimization?", 2018,
https://arxiv.org/abs/1805.11604) made known and many courses draw; the width is what its claim can be tested by.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from convoy.prediction import Verdict
from convoy.runs import Run
from convoy.stats import Estimate, t_interval

WINDOW = 25  # steps; a single batch's loss is as much noise as rate
LEAST_LOSS = 1e-7  # below it float32 has no cross-entropy, and a logarithm would be of rounding
EARLY_STEPS = 4000  # in which the published bands differ most
MEASURES = ("loss", "smoothed_loss", "log_loss")  # the last: the logarithm of the smoothed one


class Curves(NamedTuple):
    """Losses of the runs of one recipe and one seed, one a learning rate, cut to one length."""

    step: np.ndarray  # int64 [T], updates done; those of an archived run are not every one
    loss: np.ndarray  # float64 [rates, T]; not finite where an update was left out

    @property
    def spacing(self) -> float:
        """Updates from one point to the next: 1, or more where an archived run kept some only."""
        return float(np.diff(self.step).mean()) if len(self.step) > 1 else 1.0


class Ratio(NamedTuple):
    """How many times as wide one band is as another; one seed has no interval."""

    ratio: float
    low: float | None
    high: float | None
    n: int  # seeds

    def verdict(self, *, reduced: bool) -> Verdict:
        """Of the first band against the second."""
        if reduced:
            return Verdict.REDUCED
        if self.low is None or self.high is None:
            return Verdict.ONE_SEED
        if self.low <= 1 <= self.high:
            return Verdict.INCONCLUSIVE
        return Verdict.NARROWER if self.high < 1 else Verdict.WIDER


def aligned(runs: Sequence[Sequence[Run]]) -> list[Curves]:
    """The losses of groups of runs, all cut to the shortest run among them."""
    steps = [[run.steps for run in group] for group in runs]
    numbers = [[found.get("step", np.arange(len(found["loss"]))) + 1 for found in group] for group in steps]
    shortest = min(int(number[-1]) for group in numbers for number in group)
    # Where archived runs have fewer points, all are read at those of the run that has fewest.
    step = min((number[number <= shortest] for group in numbers for number in group), key=len)
    return [
        Curves(
            step.astype(np.int64),
            np.stack([np.interp(step, at, f["loss"].astype(np.float64)) for at, f in zip(number, group, strict=True)]),
        )
        for number, group in zip(numbers, steps, strict=True)
    ]


def edges(loss: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest [T] of losses [rates, T]; NaN where one of them is not finite."""
    known = np.isfinite(loss).all(0)
    return np.where(known, loss.min(0), np.nan), np.where(known, loss.max(0), np.nan)


def width(curves: Curves, measure: str) -> np.ndarray:
    """The band's width at each step, float64 [T]; NaN where a run had no finite loss."""
    low, high = edges(curves.loss if measure == "loss" else smoothed(curves.loss, curves.spacing))
    if measure == "log_loss":
        low, high = (np.log(np.maximum(edge, LEAST_LOSS)) for edge in (low, high))
    return np.where(np.isfinite(curves.loss).all(0), high - low, np.nan)


def smoothed(loss: np.ndarray, spacing: float = 1.0) -> np.ndarray:
    """Means over WINDOW steps about each one, [rates, T]; at the ends over as many as there are.

    `spacing` is how many steps lie from one point to the next: the window is as wide, and holds fewer points.
    """
    finite = np.isfinite(loss)
    kernel = np.ones(min(max(1, round(WINDOW / spacing)), loss.shape[1]))
    sums = np.stack([np.convolve(row, kernel, mode="same") for row in np.where(finite, loss, 0.0)])
    counts = np.stack([np.convolve(row, kernel, mode="same") for row in finite.astype(np.float64)])
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def mean_width(widths: Sequence[np.ndarray]) -> Estimate | None:
    """The mean over steps, of widths [T] one a seed, with Student's t interval over the seeds.

    None where no step had a finite loss at every rate.
    """
    finite = [values[np.isfinite(values)] for values in widths]
    if not all(len(values) for values in finite):
        return None
    return t_interval([float(values.mean()) for values in finite])


def ratio(first: Sequence[np.ndarray], second: Sequence[np.ndarray]) -> Ratio | None:
    """The first band's mean width over the second's, of widths [T] one a seed; None where one of them has none.

    The interval is the t interval of the logarithm, paired by seed, for a seed gives all runs the same batches.
    """
    pairs = []
    for a, b in zip(first, second, strict=True):
        known = np.isfinite(a) & np.isfinite(b)
        pairs.append(np.stack([a[known], b[known]]))
    if not all(pair.shape[1] and (pair.mean(1) > 0).all() for pair in pairs):
        return None
    estimate = t_interval([float(np.log(pair[0].mean() / pair[1].mean())) for pair in pairs])
    low, high = (None if end is None else math.exp(end) for end in (estimate.low, estimate.high))
    return Ratio(math.exp(estimate.mean), low, high, len(pairs))

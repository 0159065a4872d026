"""Compares curves that a report publishes epoch by epoch with the as-published runs.

A published curve is a single run. The test of the complete curve compares its mean over epochs with the prediction
interval for one more run, mean ± t sd sqrt(1 + 1/n), computed from the means of n runs. The band shows the same
interval at each epoch. On average, one more run is outside the band at 5 % of the epochs, which are mostly adjacent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev
from typing import Literal

from convoy.agreement import prediction_interval
from convoy.reporting.figures_curves import values_by_epoch
from convoy.runs import Run
from convoy.stats import holm, is_significant, t_interval

Quantity = Literal["accuracy", "loss"]
PARTS = ("train", "validation", "test")
QUANTITIES: tuple[Quantity, ...] = ("accuracy", "loss")


@dataclass(frozen=True)
class PublishedCurve:
    """One value per epoch, from the first on; accuracies are fractions."""

    label: str  # label of the model
    part: str
    quantity: Quantity
    values: tuple[float, ...]


@dataclass(frozen=True)
class CurveTest:
    """A published curve compared with the as-published runs."""

    label: str
    part: str
    quantity: Quantity
    epochs: int  # compared epochs: published, and reached by all runs
    runs: int
    difference: float  # published minus measured, mean over these epochs
    outside: tuple[int, ...]  # epochs whose published value is outside the band
    p: float | None  # two-sided; None for one run
    p_holm: float | None = None  # corrected for all curves of the experiment

    @property
    def differs(self) -> bool:
        return self.p_holm is not None and is_significant(self.p_holm)


def published_curves(label: str, numbers: Mapping[str, float | Sequence[float]]) -> list[PublishedCurve]:
    """Selects the curves among a model's published numbers, such as "test_accuracy_by_epoch" with its list."""
    curves = []
    for part in PARTS:
        for quantity in QUANTITIES:
            values = numbers.get(f"{part}_{quantity}_by_epoch")
            if isinstance(values, Sequence):
                curves.append(PublishedCurve(label, part, quantity, tuple(values)))
    return curves


def values_of(curve: PublishedCurve, runs: Sequence[Run]) -> tuple[dict[int, list[float]], float]:
    """Returns the values of all runs by epoch, for published epochs reached by all runs, and their resolution."""
    metrics = [run.metrics for run in runs]
    tables = [values_by_epoch(each, curve.part, curve.quantity) for each in metrics]
    grains = [1 / score.total for each in metrics for epoch in each if (score := epoch.of(curve.part)) is not None]
    values = {
        epoch: [table[epoch] for table in tables]
        for epoch in range(1, len(curve.values) + 1)
        if tables and all(math.isfinite(table.get(epoch, math.nan)) for table in tables)
    }
    return values, max(grains, default=0.0) if curve.quantity == "accuracy" else 0.0


def band(curve: PublishedCurve, runs: Sequence[Run]) -> dict[int, tuple[float, float]]:
    """Returns the 95 % prediction interval for one more run, by epoch; empty for one run."""
    values, step = values_of(curve, runs)
    if len(runs) < 2:
        return {}
    return {epoch: prediction_interval(t_interval(own, step=step)).span for epoch, own in values.items()}


def compare_curve(curve: PublishedCurve, runs: Sequence[Run]) -> CurveTest | None:
    """Returns None without an epoch to compare."""
    from scipy.special import stdtr

    values, step = values_of(curve, runs)
    if not values:
        return None
    means = [fmean(own) for own in zip(*values.values(), strict=True)]  # mean of each run over epochs
    difference, n = fmean(curve.values[epoch - 1] for epoch in values) - fmean(means), len(means)
    outside: tuple[int, ...] = ()
    p = None
    if n > 1:
        ends = band(curve, runs)
        outside = tuple(e for e, (low, high) in ends.items() if not low <= curve.values[e - 1] <= high)
        error = max(stdev(means), step / math.sqrt(12 * len(values))) * math.sqrt(1 + 1 / n)
        p = 2 * float(stdtr(n - 1, -abs(difference) / error)) if error else float(difference == 0)
    return CurveTest(curve.label, curve.part, curve.quantity, len(values), n, difference, outside, p)


def corrected(tests: Sequence[CurveTest]) -> tuple[CurveTest, ...]:
    """Applies Holm's correction over all tests that have a p value."""
    adjusted = iter(holm([test.p for test in tests if test.p is not None]))
    return tuple(test if test.p is None else replace(test, p_holm=next(adjusted)) for test in tests)

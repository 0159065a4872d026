"""The finding of a range test: the rates at which the loss falls fastest, is lowest, and rises again."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from convoy.notebook import html_of
from convoy.runs import Run, Study
from convoy.text import gettext as _

MIN_STEPS = 100  # needed for smoothing; determines the number of epochs
ERRORS_OF_A_FALL = 10  # minimum decrease, in standard errors of the smoothed loss; noise alone gives 4 over 25 windows
CURVE_POINTS = 300


@dataclass(frozen=True)
class Curve:
    """One point per step with a finite loss, at most CURVE_POINTS points."""

    lr: tuple[float, ...]
    loss: tuple[float, ...]  # losses of single batches
    smoothed: tuple[float, ...]


@dataclass(frozen=True)
class LrRangeFinding:
    """Rates are values of `optim.lr`. If the loss did not fall, all three are None."""

    label: str  # label of the recipe
    data: str  # name of the data set
    steepest_lr: float | None  # rate at which the loss fell fastest
    lowest_loss_lr: float | None  # rate at which the loss was lowest
    # rate at which the loss, after its minimum, had risen by half of its total decrease; None: not reached
    diverges_lr: float | None
    curve: Curve  # rate and loss by step
    flags: tuple[str, ...]  # flags of the run
    kind: Literal["lr_range"] = "lr_range"
    schema: int = 1
    _repr_html_ = html_of


def conclude(label: str, run: Run) -> LrRangeFinding:
    """Raises ValueError if too few steps had a finite loss."""
    lr, loss = (run.steps[key].astype(np.float64) for key in ("lr", "loss"))
    finite = np.isfinite(loss)
    if finite.sum() < MIN_STEPS // 4:
        raise ValueError(
            _("{path}: only {n} steps had a finite loss: start at a lower rate", path=run.path, n=finite.sum())
        )
    unbounded = lr[~finite]
    lr, loss = lr[finite], loss[finite]
    smooth, error = smoothed(loss)
    lowest = int(smooth.argmin())
    slope = np.gradient(smooth, np.log(lr))
    steepest = int(slope[: lowest + 1].argmin())
    fell = smooth[0] - smooth[lowest] > ERRORS_OF_A_FALL * error
    risen = lr[lowest:][smooth[lowest:] > (smooth[0] + smooth[lowest]) / 2]
    diverging = [*risen[:1], *unbounded[unbounded > lr[lowest]][:1]]
    at = np.unique(np.linspace(0, len(lr) - 1, min(len(lr), CURVE_POINTS)).astype(int))
    return LrRangeFinding(
        label=label,
        data=run.data.name,
        steepest_lr=float(lr[steepest]) if fell else None,
        lowest_loss_lr=float(lr[lowest]) if fell else None,
        diverges_lr=float(min(diverging)) if fell and diverging else None,
        curve=Curve(tuple(lr[at].tolist()), tuple(loss[at].tolist()), tuple(smooth[at].tolist())),
        flags=tuple(run.status.flags),
    )


def recompute(stated: LrRangeFinding, study: Study) -> LrRangeFinding:
    (member,) = study.members
    return conclude(stated.label, member.run)


def smoothed(loss: np.ndarray) -> tuple[np.ndarray, float]:
    """Returns the centred moving average over 1/25 of the run, and the standard error of one average."""
    width = max(5, len(loss) // 25)
    means = np.convolve(loss, np.full(width, 1 / width), mode="valid")
    middle = np.clip(np.arange(len(loss)) - width // 2, 0, len(means) - 1)  # the ends use the nearest full window
    smooth = means[middle]
    return smooth, float(np.median(np.abs(loss - smooth)) * 1.4826 / math.sqrt(width))

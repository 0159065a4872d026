"""The learning-rate range test: a short run with a rising rate; where does the loss fall, and where does it diverge?

L. N. Smith, "Cyclical Learning Rates for Training Neural Networks", 2017, section 3.3. https://arxiv.org/abs/1506.01186
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from convoy.data.batches import steps_per_epoch
from convoy.files import write_json
from convoy.recipe import Recipe
from convoy.runs import Member, Run, Study, Workspace, model_label
from convoy.studies.execute import execute
from convoy.training.plan import plan
from convoy.training.run_one import Event

FEWEST_STEPS = 100  # smoothing needs as many; sets the number of epochs
ERRORS_OF_A_FALL = 10  # standard errors of a smoothed loss; noise alone falls by 4 over 25 windows
CURVE_POINTS = 300


def lr_range(
    recipe: Recipe,
    out: str | Path,
    *,
    lowest: float,
    highest: float,
    command: str,
    fresh: bool = False,
    interrupted: Callable[[], bool] = lambda: False,
    show: Callable[[int, Event], None] = lambda position, event: None,
) -> Study | None:
    """Runs the test; the test set stays closed. None if interrupted. Raises ValueError: recipe, rates."""
    rising = _rising(recipe, lowest, highest)
    for _, event in execute([rising], out, where="here", fresh=fresh, test=False, interrupted=interrupted):
        show(0, event)
    if event.values["state"] != "finished":
        return None
    run = Run(Path(event.values["run"]))
    label = model_label(recipe)
    name = f"lr-range-{label}-{hashlib.sha256(run.status['fingerprint'].encode()).hexdigest()[:8]}"
    table = {"kind": "lr_range", "command": command}
    study = Workspace(out).write_study(name, table, [Member(label, rising.seed, run)])
    write_json(study.path / "finding.json", conclude(label, run))
    return study


def _rising(recipe: Recipe, lowest: float, highest: float) -> Recipe:
    """The recipe with a rising rate, without early stopping, and with enough epochs."""
    if not 0 < lowest < highest < math.inf:
        raise ValueError(f"expected 0 < lowest < highest rate, got {lowest:g} and {highest:g}")
    rising = recipe.override(
        {
            "optim.lr": highest,
            "schedule": {"name": "range", "start_factor": lowest / highest, "warmup_epochs": 0.0},
            "protocol.faults": [],  # no selection, and the test set stays closed
            "stop": {"patience_epochs": 0, "target_accuracy": 0.0, "max_seconds": 0.0},
            "train.epochs": 1,
        }
    )
    steps = steps_per_epoch(len(plan(rising).prepared.train), rising.train.batch_size)
    return rising.override({"train.epochs": math.ceil(FEWEST_STEPS / steps)})


def conclude(label: str, run: Run) -> dict[str, Any]:
    """The finding as JSON. Rates are values of `optim.lr`."""
    lr, loss = (run.steps[key].astype(np.float64) for key in ("lr", "loss"))
    finite = np.isfinite(loss)
    if finite.sum() < FEWEST_STEPS // 4:
        raise ValueError(f"{run.path}: only {finite.sum()} steps had a finite loss: start at a lower rate")
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
    return {
        "kind": "lr_range",
        "sentence": _sentence(label, run, lr, steepest, lowest) if fell else _nothing_learned(label, lr),
        "caveats": [
            "One run of one seed: a starting point for a search, not evidence that another rate is worse",
            *run.status.get("flags", []),
        ],
        "steepest_lr": float(lr[steepest]) if fell else None,
        "lowest_loss_lr": float(lr[lowest]) if fell else None,
        "diverges_lr": float(min(diverging)) if fell and diverging else None,
        "curve": {"lr": lr[at].tolist(), "loss": loss[at].tolist(), "smoothed": smooth[at].tolist()},
    }


def smoothed(loss: np.ndarray) -> tuple[np.ndarray, float]:
    """Centred mean over 1/25 of the run, and the standard error of such a mean."""
    width = max(5, len(loss) // 25)
    means = np.convolve(loss, np.full(width, 1 / width), mode="valid")
    middle = np.clip(np.arange(len(loss)) - width // 2, 0, len(means) - 1)  # the ends use the nearest full window
    smooth = means[middle]
    return smooth, float(np.median(np.abs(loss - smooth)) * 1.4826 / math.sqrt(width))


def _sentence(label: str, run: Run, lr: np.ndarray, steepest: int, lowest: int) -> str:
    return (
        f"The loss of {label} on {run.data['name']} falls steepest at a learning rate of {lr[steepest]:.2g} "
        f"and is lowest at {lr[lowest]:.2g}"
    )


def _nothing_learned(label: str, lr: np.ndarray) -> str:
    return f"{label} learned nothing at any learning rate from {lr[0]:.2g} to {lr[-1]:.2g}: the loss did not fall"

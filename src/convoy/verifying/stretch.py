"""Trains the first epochs of a run again and compares steps, metrics and weights.

A finished run keeps the weights of the best and the last epoch (of every epoch with `probe.keep_weights`), but not the
state of the optimizer. Training therefore starts from the initial weights, which depend only on the seed. Every step is
compared, and all weights that the run saved up to the last retrained epoch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from convoy import record
from convoy.archive import rounded
from convoy.checkpoint import load_weights
from convoy.events import Ended
from convoy.run_contents import PartScore, part_name
from convoy.run_files import Contradiction
from convoy.runs import WEIGHTS, Run
from convoy.text import gettext as _
from convoy.text import ngettext
from convoy.training.run import finish
from convoy.training.run.plan import Plan, plan_one
from convoy.training.run.run_one import run_one
from convoy.verifying.result import Check, CheckResult, Gap, comparison, not_checkable
from convoy.verifying.run import recipe_of, tolerance_of

GROWTH = 100  # largest factor by which rounding differences may grow per step; measured beyond TOLERANCE: up to 20


def verify_training(run: Run, epochs: int, *, trust_code: bool = False) -> CheckResult:
    """Trains the first `epochs` epochs again, in a temporary workspace, where openings of the test set are counted.

    On the same processor, with the same thread count and version of torch, everything must be bit-identical. Otherwise,
    differences of up to `tolerance_of` times the largest value are allowed, and only the steps before rounding
    differences grow beyond this are compared. Raises ValueError if the run has fewer epochs.
    """
    if not run.finished:
        return not_checkable(run.name, Check.TRAINING, _("the run is not finished"))
    try:
        complete = len(run.metrics)
    except ValueError as error:
        return not_checkable(run.name, Check.TRAINING, str(error))
    if not 1 <= epochs <= complete:
        raise ValueError(
            _(
                "--stretch {epochs}: expected 1 to {n}, the complete epochs of {name}",
                epochs=epochs,
                n=complete,
                name=run.name,
            )
        )
    try:
        plan = _retrainable(run, trust_code=trust_code)
        with TemporaryDirectory(prefix="convoy-verify-") as folder:
            again = _train(plan, epochs, Path(folder))
            return _compare(run, again, plan, epochs)
    except (ValueError, OSError) as error:
        return not_checkable(run.name, Check.TRAINING, str(error))


def _retrainable(run: Run, *, trust_code: bool) -> Plan:
    """The plan of the run, with its thread count, the weights of each epoch saved, and no time limit."""
    changes = {"compute.threads": run.environment.threads, "probe.keep_weights": True, "stop.max_seconds": 0.0}
    return plan_one(recipe_of(run, trust_code=trust_code).override(changes))


def _train(plan: Plan, epochs: int, folder: Path) -> Run:
    opens_test = any(fault.info.opens_test for fault in plan.recipe.protocol.faults)
    events = run_one(plan, folder, test=opens_test, until=epochs)
    *_others, ended = events
    assert isinstance(ended, Ended)
    assert ended.run is not None
    return Run(ended.run)


def _compare(run: Run, again: Run, plan: Plan, epochs: int) -> CheckResult:
    tolerance, largest, count = tolerance_of(run, plan), 0.0, 0
    different: list[Contradiction] = []
    pairs = list(_pairs(run, again, plan, epochs))
    steps = [(stated, found) for file, _quantity, stated, found in pairs if file == record.STEPS]
    if tolerance and (comparable := _steps_before_growth(steps, tolerance)) is not None:
        reason = _(
            "the first {comparable:,} of {n:,} steps agree to {tolerance:g}; after that, the rounding "
            "differences between the two kinds of machine have grown too large for a comparison",
            comparable=comparable,
            n=len(steps[0][0]),
            tolerance=tolerance,
        )
        return not_checkable(run.name, Check.TRAINING, reason)
    for file, quantity, stated, found in pairs:
        gap, count = _gap(stated, found), count + 1
        largest = max(largest, gap)
        if gap > tolerance:
            different.append(
                Contradiction(run.name, file, _("the retrained epochs"), quantity, _sum(stated), _sum(found))
            )
    words = ngettext(
        "{n} retrained epoch, {values} arrays of steps, metrics and weights",
        "{n} retrained epochs, {values} arrays of steps, metrics and weights",
        epochs,
        values=count,
    )
    return comparison(run.name, Check.TRAINING, words, different, Gap(largest, tolerance))


def _pairs(run: Run, again: Run, plan: Plan, epochs: int) -> Iterator[tuple[str, str, np.ndarray, np.ndarray]]:
    """Yields file, quantity, stated and recomputed values."""
    ends = again.metrics[epochs - 1].step
    stated, found = run.steps, again.steps
    for name in ("loss", "lr", "grad_norm"):
        if "step" in stated:  # an archived run has only some of the steps, rounded
            at = stated["step"][stated["step"] < ends]
            yield record.STEPS, name, stated[name][: len(at)], rounded(found[name][at])
        else:
            yield record.STEPS, name, stated[name][:ends], found[name][:ends]
    for before, now in zip(run.metrics[:epochs], again.metrics[:epochs], strict=True):
        for part in ("train", "validation", "test"):
            with suppress(AttributeError):  # not scored
                quantity = _("{part} of epoch {epoch}", part=part_name(part), epoch=now.epoch)
                yield record.METRICS, quantity, _values(before.of(part)), _values(now.of(part))
    weight_files = {f"weights/epoch-{epoch:05}.safetensors": epoch for epoch in range(epochs + 1)}
    best = finish.kept_epoch(plan, run.status.best_epoch, run.status.steps)
    if best < len(run.metrics) or run.metrics[-1].step == run.status.steps:  # the best epoch is complete
        weight_files[WEIGHTS] = best
    if run.metrics[-1].step == run.status.steps:
        weight_files["last.safetensors"] = len(run.metrics)
    for name, epoch in weight_files.items():
        if epoch <= epochs and (run.path / name).is_file():
            retrained = load_weights(again.path / "weights" / f"epoch-{epoch:05}.safetensors")
            yield name, _("weights"), _flat(load_weights(run.file(name))), _flat(retrained)


def _steps_before_growth(steps: Sequence[tuple[np.ndarray, np.ndarray]], tolerance: float) -> int | None:
    """The number of steps until gradually growing differences exceed the tolerance; None if they do not exceed it, or
    jump.
    """
    if any(stated.shape != found.shape for stated, found in steps):
        return None
    gaps = np.max([_gaps(stated, found) for stated, found in steps], axis=0)
    first = int((gaps > tolerance).argmax())
    grew = first and gaps[first] <= GROWTH * max(gaps[:first].max(), tolerance / GROWTH)
    return first if grew else None


def _values(score: PartScore | None) -> np.ndarray:
    """Rounded as in an archived run. Raises AttributeError without a score."""
    assert score is None or score.total
    return np.array([float(f"{score.loss or 0:.6g}"), score.correct], np.float64)  # type: ignore[union-attr]


def _flat(weights: Mapping[str, torch.Tensor]) -> np.ndarray:
    return np.concatenate([weights[name].double().flatten().numpy() for name in sorted(weights)])


def _gap(stated: np.ndarray, found: np.ndarray) -> float:
    """The largest of `_gaps`; infinite if the shapes differ."""
    return float(_gaps(stated, found).max(initial=0)) if stated.shape == found.shape else float("inf")


def _gaps(stated: np.ndarray, found: np.ndarray) -> np.ndarray:
    """The differences relative to the largest value; infinite where only one of the two is finite."""
    finite = np.isfinite(found)
    scale = max(float(np.abs(found[finite]).max(initial=0)), 1e-30)
    both = finite & np.isfinite(stated)
    gaps = np.abs(np.where(both, stated, 0).astype(np.float64) - np.where(both, found, 0)) / scale
    return np.where(finite == np.isfinite(stated), gaps, np.inf)


def _sum(values: np.ndarray) -> float:
    """The sum of the finite values, to show a difference in one number."""
    return float(values[np.isfinite(values)].astype(np.float64).sum())

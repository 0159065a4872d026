"""Compares the files of a run with each other: hashes, predictions, scores, curves, status. No torch.

Detects an edited file, even if its hash in status.json was edited too, because other files contradict it.
`convoy verify` also recomputes predictions from the weights (convoy.verifying).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import cached_property

import numpy as np

from convoy import run_files
from convoy.counts import agree, epoch_mean
from convoy.run_contents import EpochMetrics, PartScore, RunData, Score, Status, part_name
from convoy.run_files import CONTENT, STATUS, Contradiction
from convoy.runs import SCORES, Run
from convoy.text import gettext as _

RECIPE, PREDICTIONS, DATA = "recipe.toml", "predictions.npz", "data.json"
METRICS, STEPS = "metrics.jsonl", "steps.npz"
# The saved weights are scored in another memory format than in training, which changes the last bits of the outputs.
CHANGED_IMAGES = 0.001  # share of images whose class may change
LOSS_TOLERANCE = 1e-3  # relative
MEAN_TOLERANCE = 1e-6  # relative, of means of float32 values
NAME = re.compile(r"-s(\d+)-([0-9a-f]{12})$")  # the end of a run folder's name: seed and fingerprint


class Aspect(StrEnum):
    """What is compared."""

    FILES = "files"
    STATUS = "status"
    SCORES = "scores"
    CURVES = "curves"


def contradictions(run: Run) -> tuple[Contradiction, ...]:
    """Returns the contradictions between the files of a run. Raises ValueError if status.json is damaged."""
    files = Readable(run)
    return tuple(each for aspect in Aspect for each in _compared(files, aspect))


def contradictions_in(run: Run, aspect: Aspect) -> tuple[Contradiction, ...]:
    """Like `contradictions`, for one aspect. A file that has changed or cannot be read is not compared with others."""
    return _compared(Readable(run), aspect)


def _compared(files: Readable, aspect: Aspect) -> tuple[Contradiction, ...]:
    if aspect is Aspect.FILES:
        return files.changed
    if not files.finished:
        return ()
    try:
        return tuple(COMPARED[aspect](files))
    except (ValueError, KeyError, TypeError, IndexError) as error:  # a damaged file of a run without hashes
        return (Contradiction(files.run.name, aspect, STATUS, CONTENT, found=str(error)),)


def scores_of(run: Run) -> dict[str, Score]:
    """Returns the scores on held-out parts. Scores that contradict the predictions are recomputed from them.

    Raises ValueError for a damaged file, and if scores.json has changed but agrees with the predictions.
    """
    counted = {part: score for part, score, _difference in run.contradicted_scores()}
    if not counted:
        run.check_file(SCORES)
    return {part: counted.get(part, score) for part, score in run.stated_scores.items() if part != "train"}


class Readable:
    """The files of a run, each read once, and which of them can be compared.

    Raises ValueError if status.json is damaged.
    """

    def __init__(self, run: Run) -> None:
        self.run, self.changed = run, run_files.changed(run.path)
        self._names_of_changed = {each.file for each in self.changed}

    def has(self, *names: str) -> bool:
        return not self._names_of_changed & {*names} and all((self.run.path / name).is_file() for name in names)

    @cached_property
    def finished(self) -> bool:
        return self.run.finished

    @cached_property
    def status(self) -> Status:
        return self.run.status

    @cached_property
    def data(self) -> RunData:
        return self.run.data

    @cached_property
    def metrics(self) -> list[EpochMetrics]:
        return self.run.metrics

    @cached_property
    def steps(self) -> dict[str, np.ndarray]:
        return self.run.steps


def _status(files: Readable) -> Iterator[Contradiction]:
    run, status = files.run, files.status
    name = NAME.search(run.name)
    if name is not None and not status.fingerprint.startswith(name[2]):
        yield Contradiction(run.name, STATUS, _("the folder's name"), "fingerprint", status.fingerprint[:12], name[2])
    if files.has(RECIPE):
        if name is not None and run.recipe.seed != int(name[1]):
            yield Contradiction(run.name, RECIPE, _("the folder's name"), "seed", run.recipe.seed, int(name[1]))
        elif status.label and run.recipe.seed != status.seed:
            yield Contradiction(run.name, STATUS, RECIPE, "seed", status.seed, run.recipe.seed)
        if status.stopped == "epochs" and status.epochs not in (0, run.recipe.train.epochs):
            yield Contradiction(run.name, STATUS, RECIPE, "epochs", status.epochs, run.recipe.train.epochs)
        if files.has(DATA) and len(status.flags) < (warnings := _warnings(files)):
            yield Contradiction(run.name, STATUS, RECIPE, "warnings", len(status.flags), warnings)
    if files.has(METRICS) and status.epochs:  # 0 in early archived runs
        metrics = files.metrics
        best = max((each.epoch for each in metrics if each.best), default=0)
        pairs = {"epochs": (status.epochs, len(metrics)), "best_epoch": (status.best_epoch, best)}
        for quantity, (stated, found) in pairs.items():
            if stated != found:
                yield Contradiction(run.name, STATUS, METRICS, quantity, stated, found)
    if files.has(STEPS) and status.steps:
        steps = files.steps
        count = int(steps["step"][-1]) + 1 if "step" in steps else len(steps["loss"])
        if count != status.steps:
            yield Contradiction(run.name, STATUS, STEPS, "steps", status.steps, count)


def _warnings(files: Readable) -> int:
    """Returns the minimum number of flags in status.json: one for limited data, and one per fault if there are any
    flags.
    """
    limited = files.data.limit is not None
    return limited + len(files.run.recipe.protocol.faults) if files.status.flags else int(limited)


def _scores(files: Readable) -> Iterator[Contradiction]:
    run = files.run
    # A changed scores.json is compared too, because this reports which of its values changed.
    if files.has(PREDICTIONS, DATA) and (run.path / SCORES).is_file():
        yield from (difference for _part, _score, difference in run.contradicted_scores())
    # Not compared with the workspace's log of openings, because the run may have been trained in another workspace.
    if files.has(DATA, SCORES, METRICS):
        stated, least = files.data.test_openings, own_openings(run.stated_scores, files.metrics, files.data)
        if stated < least:
            yield Contradiction(run.name, DATA, SCORES, "test_openings", stated, least)


def own_openings(scores: Collection[str], metrics: Sequence[EpochMetrics], data: RunData) -> int:
    """How often a finished run must have opened the test set: once for its score, and once for each epoch scored on it.
    A run that selects the best epoch by the test set opens it once for all epochs. `scores`: the scored parts.
    """
    epochs = sum(epoch.test is not None for epoch in metrics)
    return ("test" in scores) + (min(epochs, 1) if data.selection == "test" else epochs)


def _curves(files: Readable) -> Iterator[Contradiction]:
    run = files.run
    if not files.has(METRICS, RECIPE):
        return
    metrics = files.metrics
    yield from _within(run, metrics)
    if files.has(STEPS) and "step" not in (steps := files.steps):  # an archived run has only some of the steps
        yield from _means(run, metrics, steps)
    if not files.has(SCORES, DATA) or (part := files.data.selection) is None:
        return
    keeps_last = run.recipe.protocol.keeps_last(files.status.best_epoch)
    kept_epoch = len(metrics) if keeps_last else files.status.best_epoch
    epoch = next((each for each in metrics if each.epoch == kept_epoch), None)
    if keeps_last and (epoch is None or epoch.step != files.status.steps):
        return  # the last epoch is incomplete and has no line
    curve, score = None if epoch is None else epoch.of(part), run.stated_scores.get(part)
    if curve is not None and score is not None:
        yield from _kept_epoch(run, part, kept_epoch, curve, score)


def _kept_epoch(run: Run, part: str, kept: int, curve: PartScore, score: Score) -> Iterator[Contradiction]:
    """Compares the metrics of the saved epoch with the score of its weights."""
    name = _("{part} of epoch {epoch}", part=part_name(part), epoch=kept)
    if curve.total != score.n:
        yield Contradiction(run.name, METRICS, SCORES, _("{name}: images", name=name), curve.total, score.n)
    elif abs(curve.correct - score.correct) > images_that_may_change(score.n):
        yield Contradiction(
            run.name, METRICS, SCORES, _("{name}: correct images", name=name), curve.correct, score.correct
        )
    both = curve.loss is not None and score.loss is not None
    if both and not math.isclose(curve.loss or 0, score.loss or 0, rel_tol=LOSS_TOLERANCE, abs_tol=1e-6):
        yield Contradiction(run.name, METRICS, SCORES, _("{name}: loss", name=name), curve.loss, score.loss)


def _within(run: Run, metrics: list[EpochMetrics]) -> Iterator[Contradiction]:
    """Checks that each accuracy is a number of correct images divided by the number of images, and that each best epoch
    is the most accurate so far.
    """
    part = "test" if any(fault.info.selects_on_test for fault in run.recipe.protocol.faults) else "validation"
    most = -1.0
    for number, each in enumerate(metrics, start=1):
        if each.epoch != number:
            quantity = _("epoch of line {n}", n=number)
            yield Contradiction(run.name, METRICS, METRICS, quantity, each.epoch, number)
        for name in ("train", "validation", "test"):
            score = each.of(name)
            if score is not None and not agree_rounded(score.accuracy, share := score.correct / max(score.total, 1)):
                quantity = _("{part} accuracy of epoch {epoch}", part=part_name(name), epoch=number)
                yield Contradiction(run.name, METRICS, METRICS, quantity, score.accuracy, share)
        selecting = each.of(part)
        if selecting is not None:
            if each.best != (selecting.accuracy > most):
                quantity = _("best of epoch {epoch}", epoch=number)
                yield Contradiction(run.name, METRICS, METRICS, quantity, each.best, selecting.accuracy > most)
            most = max(most, selecting.accuracy)


def _means(run: Run, metrics: list[EpochMetrics], steps: Mapping[str, np.ndarray]) -> Iterator[Contradiction]:
    """Checks that the training loss of an epoch is the mean over the steps that were not skipped."""
    start = 0
    for each in metrics:
        loss, norm = (steps[name][start : each.step].astype(np.float64) for name in ("loss", "grad_norm"))
        updated = np.isfinite(loss + norm)
        start = each.step
        count, faults = int(updated.sum()), run.recipe.protocol.faults
        mean = epoch_mean(float(loss[updated].sum()), count, each.train.total, faults) if count else None
        stated = each.train.loss
        both = mean is not None and stated is not None
        if (mean is None) != (stated is None) or (
            both and not math.isclose(stated or 0, mean or 0, rel_tol=MEAN_TOLERANCE, abs_tol=1e-9)
        ):
            quantity = _("train loss of epoch {epoch}", epoch=each.epoch)
            yield Contradiction(run.name, METRICS, STEPS, quantity, stated, mean)


def images_that_may_change(images: int) -> float:
    """How many predicted classes may differ between two evaluations of the same weights."""
    return max(1, CHANGED_IMAGES * images)


def agree_rounded(stated: float, value: float) -> bool:
    """Whether two values agree. Allows for an archived run, whose curves have six significant digits."""
    return agree(stated, value) or math.isclose(stated, value, rel_tol=1e-5)


COMPARED: Mapping[Aspect, Callable[[Readable], Iterator[Contradiction]]] = {
    Aspect.STATUS: _status,
    Aspect.SCORES: _scores,
    Aspect.CURVES: _curves,
}

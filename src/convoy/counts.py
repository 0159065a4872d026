"""Computes scores from labels and predicted classes, and compares them with scores.json. No torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from convoy.run_contents import ClassScore, Score
from convoy.runs import Run
from convoy.text import gettext as _

NO_CLASS = -1  # the prediction for an image whose outputs contain NaN
COUNTED = ("accuracy", "correct", "n", "per_class", "macro_f1", "mcc", "confusion")


def count_scores(labels: np.ndarray, predicted: np.ndarray, classes: Sequence[str]) -> Score:
    """Computes scores from labels and predicted classes, both int64 [N]. NO_CLASS counts as wrong.

    per_class: 0 for a class without predictions or images. mcc: multiclass Matthews correlation coefficient (Gorodkin
    2004), 0 if undefined.
    """
    confusion = confusion_matrix(labels, predicted, len(classes))
    correct = int(confusion.trace())
    per_class = _per_class(confusion, np.bincount(labels, minlength=len(classes)), classes)
    return Score(
        accuracy=correct / len(labels),
        correct=correct,
        n=len(labels),
        per_class=per_class,
        macro_f1=sum(row.f1 for row in per_class) / len(per_class),
        mcc=_mcc(confusion),
        confusion=confusion.tolist(),
    )


@dataclass(frozen=True)
class ScoreDifference:
    """A score in scores.json that differs from the one computed from predictions.npz."""

    run: str
    part: str
    score: str
    stated: Any
    counted: Any

    def __str__(self) -> str:
        if isinstance(self.counted, list | tuple):
            return _(
                "scores.json of {run} and its predictions differ in {score} on the {part} part; the value from the "
                "predictions is reported",
                run=self.run,
                score=self.score,
                part=self.part,
            )
        return _(
            "scores.json of {run} and its predictions differ in {score} on the {part} part: scores.json has {stated}, "
            "the predictions give {counted}, which is reported",
            run=self.run,
            score=self.score,
            part=self.part,
            stated=_number(self.stated),
            counted=_number(self.counted),
        )


class Recount(NamedTuple):
    scores: dict[str, Score]  # of Run.scores, with those computed from the predictions where they differ
    differences: tuple[ScoreDifference, ...]  # the first of each part


def recount(run: Run) -> Recount:
    """Compares a run's scores with its predictions.

    Raises ValueError for a damaged file, and if scores.json has changed but agrees with the predictions.
    """
    scores = {part: score for part, score in run.stated_scores.items() if part != "train"}
    arrays, differences = run.predictions, []
    for part, stated in scores.items():
        if f"{part}_labels" not in arrays:
            continue
        score = count_scores(*run.predicted(part), run.data.classes)
        pairs = {name: (getattr(stated, name), getattr(score, name)) for name in COUNTED}
        wrong = [name for name, pair in pairs.items() if not _agree(*pair)]
        if wrong:
            differences.append(ScoreDifference(run.name, part, wrong[0], *pairs[wrong[0]]))
            scores[part] = replace(score, loss=stated.loss, top_k=stated.top_k, not_finite=stated.not_finite)
    if not differences:
        run.check_file("scores.json")
    return Recount(scores, tuple(differences))


def _agree(stated: Any, value: Any) -> bool:
    if isinstance(value, ClassScore):
        return isinstance(stated, ClassScore) and _agree(astuple(stated), astuple(value))
    if isinstance(value, list | tuple):
        return isinstance(stated, list | tuple) and len(stated) == len(value) and all(map(_agree, stated, value))
    if isinstance(value, float):
        return isinstance(stated, int | float) and math.isclose(stated, value, rel_tol=1e-9, abs_tol=1e-12)
    return bool(stated == value)


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else repr(value)


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Returns the confusion matrix, int64 [true class, predicted class], without NO_CLASS predictions."""
    named = (predicted >= 0) & (predicted < classes)  # an archive may store NO_CLASS as an unsigned integer
    labels, predicted = labels[named], predicted[named]
    return np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def _per_class(confusion: np.ndarray, true: np.ndarray, classes: Sequence[str]) -> tuple[ClassScore, ...]:
    hits, predicted = confusion.diagonal(), confusion.sum(axis=0)
    precision, recall = hits / np.maximum(predicted, 1), hits / np.maximum(true, 1)
    f1 = 2 * hits / np.maximum(true + predicted, 1)
    columns = (classes, precision.tolist(), recall.tolist(), f1.tolist(), true.tolist())
    return tuple(ClassScore(*row) for row in zip(*columns, strict=True))


def _mcc(confusion: np.ndarray) -> float:
    true, predicted = confusion.sum(axis=1).astype(float), confusion.sum(axis=0).astype(float)
    n = true.sum()
    covariance = confusion.trace() * n - true @ predicted
    spread = math.sqrt((n**2 - true @ true) * (n**2 - predicted @ predicted))
    return float(covariance / spread) if spread else 0.0

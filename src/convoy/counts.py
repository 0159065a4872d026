"""Scores computed from labels and predicted classes, and their comparison with those in scores.json. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from convoy.run_contents import Score, score_of
from convoy.runs import Run
from convoy.text import gettext as _

MOST_CONFUSED = 10
NO_CLASS = -1


def counted(labels: np.ndarray, predicted: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
    """Scores of predicted classes [N] against labels [N], as fractions. NO_CLASS counts as wrong.

    per_class: 0 for a class without predictions or images. mcc: Matthews correlation for several classes (Gorodkin
    2004), 0 if undefined.
    """
    confusion = confusion_matrix(labels, predicted, len(classes))
    correct = int(confusion.trace())
    per_class = _per_class(confusion, np.bincount(labels, minlength=len(classes)), classes)
    return {
        "accuracy": correct / len(labels),
        "correct": correct,
        "n": len(labels),
        "per_class": per_class,
        "macro_f1": sum(row["f1"] for row in per_class) / len(per_class),
        "mcc": _mcc(confusion),
        "confusion": confusion.tolist(),
        "most_confused": _most_confused(confusion, classes),
    }


@dataclass(frozen=True)
class ScoreDifference:
    """A score in scores.json that the run's own predictions contradict."""

    run: str
    part: str
    score: str
    stated: Any
    counted: Any

    def __str__(self) -> str:
        if isinstance(self.counted, list):
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
    scores: dict[str, Score]  # as Run.scores, but computed from the predictions where they differ
    differences: tuple[ScoreDifference, ...]  # the first of each part


def recount(run: Run) -> Recount:
    """Compares a run's scores with its predictions.

    Raises ValueError for a damaged file, or if scores.json has changed but agrees with the predictions.
    """
    stated, arrays = run.stated_scores, run.predictions
    scores = {part: score for part, score in stated.items() if part != "train"}
    differences = []
    for part, score in scores.items():
        if f"{part}_labels" not in arrays:
            continue
        truth = counted(*run.predicted(part), run.data.classes)
        wrong = [key for key, value in truth.items() if key in score and not _agree(score[key], value)]
        if wrong:
            differences.append(ScoreDifference(run.name, part, wrong[0], score[wrong[0]], truth[wrong[0]]))
            scores[part] = score | truth
    if not differences:
        run.file("scores.json")
    return Recount({part: score_of(score) for part, score in scores.items()}, tuple(differences))


def _agree(stated: Any, value: Any) -> bool:
    if isinstance(value, Mapping):
        return isinstance(stated, Mapping) and all(key in stated and _agree(stated[key], value[key]) for key in value)
    if isinstance(value, list):
        return isinstance(stated, list) and len(stated) == len(value) and all(map(_agree, stated, value))
    if isinstance(value, float):
        return isinstance(stated, int | float) and math.isclose(stated, value, rel_tol=1e-9, abs_tol=1e-12)
    return bool(stated == value)


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else repr(value)


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Counts int64 [classes, classes]: rows are true, columns predicted; NO_CLASS predictions are omitted."""
    named = (predicted >= 0) & (predicted < classes)  # an archive may hold NO_CLASS as an unsigned number
    labels, predicted = labels[named], predicted[named]
    return np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def _per_class(confusion: np.ndarray, true: np.ndarray, classes: Sequence[str]) -> list[dict[str, Any]]:
    hits, predicted = confusion.diagonal(), confusion.sum(axis=0)
    precision = hits / np.maximum(predicted, 1)
    recall = hits / np.maximum(true, 1)
    f1 = 2 * hits / np.maximum(true + predicted, 1)
    return [
        {"class": name, "precision": float(p), "recall": float(r), "f1": float(f), "n": int(n)}
        for name, p, r, f, n in zip(classes, precision, recall, f1, true, strict=True)
    ]


def _mcc(confusion: np.ndarray) -> float:
    true, predicted = confusion.sum(axis=1).astype(float), confusion.sum(axis=0).astype(float)
    n = true.sum()
    covariance = confusion.trace() * n - true @ predicted
    spread = math.sqrt((n**2 - true @ true) * (n**2 - predicted @ predicted))
    return float(covariance / spread) if spread else 0.0


def _most_confused(confusion: np.ndarray, classes: Sequence[str]) -> list[dict[str, Any]]:
    wrong = confusion - np.diag(confusion.diagonal())
    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_CONFUSED]
    pairs = [divmod(int(flat), len(classes)) for flat in order]
    return [
        {"true": classes[true], "predicted": classes[predicted], "count": int(wrong[true, predicted])}
        for true, predicted in pairs
        if wrong[true, predicted] > 0
    ]

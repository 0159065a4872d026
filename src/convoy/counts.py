"""Computes scores from labels and predicted classes, and compares them with those of a run. Does not import torch."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import astuple, replace
from typing import Any

import numpy as np

from convoy.recipe.faults import Fault
from convoy.run_contents import ClassScore, Score
from convoy.run_files import Contradiction

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


def contradicted_scores(
    run: str, stated: Mapping[str, Score], arrays: Mapping[str, np.ndarray], classes: Sequence[str]
) -> Iterator[tuple[str, Score, Contradiction]]:
    """Yields part, recomputed score and first difference for each part whose score does not match the predictions.

    `arrays` are those of predictions.npz. Loss, top-k accuracies and values missing from `stated` are not compared.
    """
    for part, score in stated.items():
        if f"{part}_labels" not in arrays:
            continue
        counted = count_scores(*predicted_in(arrays, part), classes)
        stated_names = [name for name in COUNTED if getattr(score, name) not in (None, (), [])]
        pairs = {name: (getattr(score, name), getattr(counted, name)) for name in stated_names}
        if wrong := [name for name, pair in pairs.items() if not agree(*pair)]:
            first = Contradiction(run, "scores.json", "predictions.npz", f"{part}.{wrong[0]}", *pairs[wrong[0]])
            yield part, replace(counted, loss=score.loss, top_k=score.top_k, not_finite=score.not_finite), first


def predicted_in(arrays: Mapping[str, np.ndarray], part: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns labels and predicted classes of a part of predictions.npz, int64 [N] each. KeyError if it is missing."""
    labels, name = arrays[f"{part}_labels"], f"{part}_predicted"
    predicted = arrays[name] if name in arrays else arrays[f"{part}_logits"].argmax(1)
    return labels.astype(np.int64), predicted.astype(np.int64)


def divides_twice(faults: Collection[Fault]) -> bool:
    """Whether the reported losses are the sum of the batches' mean losses, divided by the number of images."""
    return Fault.LOSS_DIVIDED_TWICE in faults


def epoch_mean(total: float, steps: int, images: int, faults: Collection[Fault]) -> float:
    """The reported training loss of an epoch, from the sum of the losses of its steps."""
    return total / (images if divides_twice(faults) else steps)


def agree(stated: Any, value: Any) -> bool:
    """Whether two values are equal up to the rounding of decimal text."""
    if stated == value:  # the fast path for large confusion matrices
        return True
    if isinstance(value, ClassScore):
        return isinstance(stated, ClassScore) and agree(astuple(stated), astuple(value))
    if isinstance(value, list | tuple):
        return isinstance(stated, list | tuple) and len(stated) == len(value) and all(map(agree, stated, value))
    if isinstance(value, float):
        return isinstance(stated, int | float) and math.isclose(stated, value, rel_tol=1e-9, abs_tol=1e-12)
    return False


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

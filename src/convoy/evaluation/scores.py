"""Scores of a classifier from its logits, as plain numbers that go into JSON.

numpy instead of scikit-learn: its import takes 1.5 s in every worker process, and all of this follows from one
confusion matrix. The tests hold it against scikit-learn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

TOP_K = (3, 5)
MOST_CONFUSED = 10
NO_CLASS = -1


def score(
    logits: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None,
    predicted: np.ndarray | None = None,
) -> dict[str, Any]:
    """Scores of logits [N, classes] against labels [N]; all qualities are fractions.

    loss: mean over the N images of the given function, of cross-entropy if none; None where it is not finite, which
    JSON cannot say. not_finite, only where there are any: images with NaN or +inf among their logits; an image with NaN
    has no predicted class, counts as wrong, and is in no column of the confusion.
    predicted: the classes named, int64 [N], where they are not those of `predicted_classes`; top_k goes by
    the logits all the same, for those of 3 and 5 that are fewer than the classes. per_class: 0 where nothing was
    predicted or nothing is there. mcc: Matthews correlation for many classes (Gorodkin 2004), 0 where it is undefined.
    """
    predicted = predicted_classes(logits) if predicted is None else predicted
    confusion = confusion_matrix(labels, predicted, len(classes))
    correct = int(confusion.trace())
    value = float((loss or F.cross_entropy)(torch.tensor(logits), torch.tensor(labels)))
    per_class = _per_class(confusion, np.bincount(labels, minlength=len(classes)), classes)
    not_finite = int((np.isnan(logits) | np.isposinf(logits)).any(axis=1).sum())  # -inf masks a class
    return {
        "accuracy": correct / len(labels),
        "correct": correct,
        "n": len(labels),
        "loss": value if math.isfinite(value) else None,
        "top_k": {str(k): _top_k(logits, labels, k) for k in TOP_K if k < len(classes)},
        "per_class": per_class,
        "macro_f1": sum(row["f1"] for row in per_class) / len(per_class),
        "mcc": _mcc(confusion),
        "confusion": confusion.tolist(),
        "most_confused": _most_confused(confusion, classes),
        **({"not_finite": not_finite} if not_finite else {}),
    }


def predicted_classes(logits: np.ndarray) -> np.ndarray:
    """The class with the largest logit, int64 [N]; NO_CLASS for an image with NaN among its logits."""
    return np.where(np.isnan(logits).any(axis=1), NO_CLASS, logits.argmax(axis=1))


def probabilities(outputs: np.ndarray) -> np.ndarray:
    """Softmax over the classes, float64 [N, classes]; what a network that ends in one gives out stays as it is."""
    values = outputs.astype(np.float64)
    if (values >= 0).all() and np.allclose(values.sum(axis=1), 1, rtol=0, atol=1e-4):
        return values
    return torch.softmax(torch.from_numpy(values), dim=1).numpy()


def sampled_classes(likely: np.ndarray, seed: int) -> np.ndarray:
    """A class for each image, drawn with the probabilities [N, classes]; int64 [N]."""
    cumulated = likely.cumsum(axis=1, dtype=np.float64)
    drawn = np.random.RandomState(seed).random_sample((len(likely), 1))
    return (cumulated < drawn * cumulated[:, -1:]).sum(axis=1)


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Counts int64 [classes, classes]: rows are true, columns predicted; images without a class are left out."""
    labels, predicted = labels[predicted != NO_CLASS], predicted[predicted != NO_CLASS]
    return np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def hardest(logits: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """Indices of the `count` images with the highest cross-entropy, the hardest first; a loss of NaN counts as that."""
    losses = F.cross_entropy(torch.tensor(logits), torch.tensor(labels), reduction="none").numpy()
    return np.argsort(-np.nan_to_num(losses, nan=np.inf), kind="stable")[:count]


def _top_k(logits: np.ndarray, labels: np.ndarray, k: int) -> float:
    """The fraction of images whose class is among the k largest logits; of equal logits the lower class comes first."""
    best = np.argsort(-logits, axis=1, kind="stable")[:, :k]
    return float((best == labels[:, None]).any(axis=1).mean())


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

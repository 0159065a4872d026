"""A classifier of small pictures that is fitted in a fraction of a second: ridge regression on random features.

The features are rectified random projections of the leading principal components of the pixels (Rahimi and Recht 2008,
Weighted sums of random kitchen sinks). It is less accurate than a network, but accurate enough to check labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SIDE = 14  # pixels, at most
COMPONENTS, FEATURES = 40, 500
RIDGE = 3.0


@dataclass(frozen=True)
class PixelClassifier:
    mean: np.ndarray
    components: np.ndarray  # float32 [pixels, COMPONENTS], whitening
    projection: np.ndarray
    weights: np.ndarray

    @classmethod
    def fitted(cls, images: np.ndarray, labels: np.ndarray, classes: int) -> PixelClassifier:
        """`images`: uint8 [N, C, H, H]."""
        pixels = _thumbnails(images)
        mean = pixels.mean(0)
        power, vectors = np.linalg.eigh(np.cov((pixels - mean).T))
        count = min(COMPONENTS, len(power))
        components = (vectors[:, -count:] / np.sqrt(power[-count:] + 0.01 * power[-1] + 1e-6)).astype(np.float32)
        projection = np.random.RandomState(0).normal(0, 1, (count + 1, FEATURES)).astype(np.float32)
        x = _features((pixels - mean) @ components, projection)
        targets = np.eye(classes)[labels]
        weights = np.linalg.solve(x.T @ x + RIDGE * len(x) / 100 * np.eye(x.shape[1]), x.T @ targets)
        return cls(mean, components, projection, weights)

    def outputs(self, images: np.ndarray) -> np.ndarray:
        """Returns float64 [N, classes], approximately the probabilities."""
        outputs: np.ndarray = (
            _features((_thumbnails(images) - self.mean) @ self.components, self.projection) @ self.weights
        )
        return outputs

    def predicted(self, images: np.ndarray) -> np.ndarray:
        """Returns the classes, int64 [N]."""
        classes: np.ndarray = self.outputs(images).argmax(1)
        return classes


def out_of_fold(images: np.ndarray, labels: np.ndarray, classes: int, folds: int = 2) -> np.ndarray:
    """Returns outputs [N, classes]; each half (or fold) is predicted from the others."""
    outputs = np.zeros((len(labels), classes))
    order = np.random.RandomState(0).permutation(len(labels)) % folds
    for fold in range(folds):
        train = order != fold
        outputs[~train] = PixelClassifier.fitted(images[train], labels[train], classes).outputs(images[~train])
    return outputs


def halves(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns masks of two random halves; the same in every call."""
    half = np.random.RandomState(0).permutation(count) % 2 == 0
    return half, ~half


def relation(outputs: np.ndarray, labels: np.ndarray) -> float:
    """Returns how many standard errors better the outputs agree with the labels than with permuted labels.

    The statistic is the sum of each image's output for its label. Its mean and variance over all permutations within a
    half are known (Hoeffding 1951, A combinatorial central limit theorem).
    """
    total, variance = 0.0, 0.0
    for half in halves(len(labels)):
        values, own = outputs[half], labels[half]
        counts = np.bincount(own, minlength=values.shape[1])
        centred = values - values.mean(0)
        centred -= (centred @ counts / len(own))[:, None]
        total += centred[np.arange(len(own)), own].sum()
        variance += (counts * centred**2).sum() / (len(own) - 1)
    return float(total / np.sqrt(variance + 1e-12))


def _features(inputs: np.ndarray, projection: np.ndarray) -> np.ndarray:
    ones = np.ones((len(inputs), 1), np.float32)
    rectified = np.maximum(np.concatenate([inputs, ones], 1) @ projection, 0) / np.sqrt(len(projection))
    return np.concatenate([rectified, inputs, ones], 1).astype(np.float64)


def _thumbnails(images: np.ndarray) -> np.ndarray:
    """Returns the pixels, averaged to at most SIDE x SIDE, float32 [N, C * side * side] from 0 to 1."""
    step = -(-images.shape[2] // SIDE)
    side = images.shape[2] // step
    start = (images.shape[2] - side * step) // 2
    cut = images[:, :, start : start + side * step, start : start + side * step]
    small = cut.reshape(*cut.shape[:2], side, step, side, step).mean((3, 5), dtype=np.float32)
    pixels: np.ndarray = small.reshape(len(small), -1) / 255
    return pixels

"""Calibration: how well the confidence of a network matches its accuracy, and temperature scaling.

Computed from stored outputs when a page is made, without torch. Sources: expected calibration error of the predicted
class and temperature scaling, Guo et al. (2017), arXiv 1706.04599; bins of equal mass, Nixon et al. (2019), arXiv
1904.01685; comparison with a calibrated network, Bröcker and Smith (2007).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from convoy.runs import Run
from convoy.stats import TAILS, Estimate, wilson
from convoy.text import gettext as _

BINS = 15
RESAMPLES = 1000  # of the bootstrap, and draws of labels for a calibrated network
MIN_PROBABILITY = 2.0**-149  # the smallest float32; replaces a probability of 0 in the log-likelihood
TEMPERATURES = 0.02, 50.0  # limits of the search
MIN_IMAGES = 20  # with fewer, there are no bootstrap intervals, and no temperature is fitted


@dataclass(frozen=True)
class Bin:
    """Images with similar confidence."""

    confidence: float  # mean confidence
    accuracy: Estimate  # over the images (Wilson)


@dataclass(frozen=True)
class Calibration:
    """Calibration of the probabilities of one part. Errors and confidences are fractions."""

    n: int  # number of images
    excluded: int  # number of images with NaN or +inf among their outputs
    confidence: float  # mean confidence in the predicted class
    accuracy: float
    ece: Estimate  # expected calibration error: mean over the bins of |accuracy - confidence|
    chance_ece: float  # 95 % quantile of the ECE of a calibrated network with the same confidences
    brier: Estimate  # mean squared distance from the true class, summed over the classes: 0 to 2
    nll: Estimate  # mean negative log-likelihood in nats
    bins: tuple[Bin, ...]  # at most BINS, of equal numbers of images, the lowest confidence first
    has_softmax: bool = False  # the network ends in a softmax, so that its outputs are probabilities

    @property
    def is_distinguishable(self) -> bool:
        """Whether the ECE is larger than `chance_ece`."""
        return self.ece.mean > self.chance_ece


@dataclass(frozen=True)
class Temperature:
    """The number by which the logits are divided; the predicted classes stay the same."""

    value: float  # above 1 for a network that is overconfident
    n: int  # number of images that it was fitted on


@dataclass(frozen=True)
class PartCalibration:
    part: str  # test, fold or validation
    raw: Calibration
    temperature: Temperature | None = None  # None: no validation outputs, or no temperature can be fitted to them
    scaled: Calibration | None = None  # with the temperature; also None for the part that it was fitted on


def of_run(run: Run, part: str) -> PartCalibration | None:
    """Calibration of the stored outputs of a part. The temperature is fitted on the validation set only.

    None if the run has no outputs of the part, such as an archived run, or none that are finite.
    """
    arrays = run.predictions
    return of_outputs(part, *arrays_of(arrays, part), arrays) if f"{part}_logits" in arrays else None


def of_outputs(
    part: str, outputs: np.ndarray, labels: np.ndarray, stored: Mapping[str, np.ndarray]
) -> PartCalibration | None:
    """Like `of_run`, for outputs [N, classes] and labels [N]. `stored` may have the outputs of the validation set."""
    if not _finite(outputs).any():
        return None
    raw = calibration(outputs, labels)
    temperature = _temperature(stored)
    if temperature is None or part == "validation":
        return PartCalibration(part, raw, temperature)
    return PartCalibration(part, raw, temperature, calibration(outputs, labels, temperature=temperature.value))


def without_probabilities(run: Run, part: str) -> tuple[int, int]:
    """Returns the number of images of a part whose outputs contain NaN or +inf, and the number of all its images; zeros
    without stored outputs."""
    outputs = run.predictions.get(f"{part}_logits")
    return (0, 0) if outputs is None else (int((~_finite(outputs)).sum()), len(outputs))


class Points(NamedTuple):
    """The calibration of one part without intervals, which take longer."""

    ece: float
    brier: float
    nll: float
    temperature: float | None
    scaled_ece: float | None


def points_of_run(run: Run, part: str) -> Points | None:
    """Like `of_run`, without intervals."""
    stored = run.predictions
    if f"{part}_logits" not in stored:
        return None
    outputs, labels = arrays_of(stored, part)
    if not _finite(outputs).any():
        return None
    own, temperature = _scored(outputs, labels), _temperature(stored)
    ece, (brier, nll) = _ece(own.confidence, own.hits), own.losses.mean(axis=0).tolist()
    if temperature is None or part == "validation":
        return Points(ece, brier, nll, None if temperature is None else temperature.value, None)
    scaled = _scored(outputs, labels, temperature.value)
    return Points(ece, brier, nll, temperature.value, _ece(scaled.confidence, scaled.hits))


def _temperature(stored: Mapping[str, np.ndarray]) -> Temperature | None:
    return fit_temperature(*arrays_of(stored, "validation")) if "validation_logits" in stored else None


def arrays_of(stored: Mapping[str, np.ndarray], part: str) -> tuple[np.ndarray, np.ndarray]:
    """Outputs float32 [N, classes] and labels int64 [N] in predictions.npz."""
    return stored[f"{part}_logits"], stored[f"{part}_labels"].astype(np.int64)


def are_probabilities(outputs: np.ndarray) -> bool:
    """Whether outputs [N, classes] already are probabilities, because the network ends in a softmax."""
    rows = outputs[_finite(outputs)].astype(np.float64)
    return bool(len(rows) and (rows >= 0).all() and np.allclose(rows.sum(axis=1), 1, rtol=0, atol=1e-4))


def log_probabilities(outputs: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Returns the log probabilities of the classes, float64 [N, classes], from logits or from probabilities.

    Probabilities are converted to logits before the temperature is applied. -inf among logits masks a class. All other
    values must be finite.
    """
    values = outputs.astype(np.float64)
    with np.errstate(divide="ignore"):
        logits = (np.log(values) if are_probabilities(outputs) else values) / temperature
        logits -= logits.max(axis=1, keepdims=True)
        logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return logits


def calibration(outputs: np.ndarray, labels: np.ndarray, *, temperature: float = 1.0, seed: int = 0) -> Calibration:
    """Calibration of outputs [N, classes], logits or probabilities, with labels int64 [N].

    The intervals are bootstrap intervals over images with RESAMPLES resamples. Sampling noise biases an ECE upwards,
    and resampling adds the same bias again. The interval of the ECE is therefore mirrored (basic bootstrap). It begins
    at 0 if the network cannot be distinguished from a calibrated one. Raises ValueError if no image has finite outputs.
    """
    confidence, hits, losses = _scored(outputs, labels, temperature)
    n = len(hits)
    random = np.random.default_rng(seed)
    ece, resampled = _ece(confidence, hits), np.empty((RESAMPLES, 3))
    for row in resampled:
        counts = np.bincount(random.integers(n, size=n), minlength=n)
        chosen = np.repeat(np.arange(n), counts)
        row[:] = _ece(confidence[chosen], hits[chosen]), *(counts @ losses / n)
    low, high = np.quantile(resampled, TAILS, axis=0).tolist()
    calibrated = [_ece(confidence, random.random(n) < confidence) for _ in range(RESAMPLES)]
    chance_ece = float(np.quantile(calibrated, 0.95))
    low_ece = 0.0 if ece <= chance_ece else max(0.0, 2 * ece - high[0])
    means = losses.mean(axis=0).tolist()

    def estimate(mean: float, low: float, high: float) -> Estimate:
        ends = (low, high) if n >= MIN_IMAGES else (None, None)
        return Estimate(mean, None, n, ends[0], ends[1], "bootstrap")

    return Calibration(
        n=n,
        excluded=len(labels) - n,
        confidence=float(confidence.mean()),
        accuracy=float(hits.mean()),
        ece=estimate(ece, low_ece, max(ece, 2 * ece - low[0])),
        chance_ece=chance_ece,
        brier=estimate(means[0], low[1], high[1]),
        nll=estimate(means[1], low[2], high[2]),
        has_softmax=are_probabilities(outputs),
        bins=tuple(
            Bin(float(own.mean()), wilson(int(right.sum()), len(right)))
            for own, right in zip(_in_bins(confidence), _in_bins(hits), strict=True)
        ),
    )


class _Scored(NamedTuple):
    """The N images with finite outputs, sorted by confidence."""

    confidence: np.ndarray  # float64 [N], of the predicted class
    hits: np.ndarray  # bool [N]: the predicted class is the true one
    losses: np.ndarray  # float64 [N, 2]: Brier score and negative log-likelihood


def _scored(outputs: np.ndarray, labels: np.ndarray, temperature: float = 1.0) -> _Scored:
    finite = _finite(outputs)
    if not finite.any():
        raise ValueError(
            _("calibration needs at least one image with finite outputs; none of {n} images has them", n=len(outputs))
        )
    logs, labels = log_probabilities(outputs[finite], temperature), labels[finite]
    probs, log_of_true = np.exp(logs), logs[np.arange(len(labels)), labels]
    brier = (probs**2).sum(axis=1) - 2 * np.exp(log_of_true) + 1
    nll = -np.maximum(log_of_true, math.log(MIN_PROBABILITY))
    confidence, hits = probs.max(axis=1), probs.argmax(axis=1) == labels
    order = np.argsort(confidence, kind="stable")
    return _Scored(confidence[order], hits[order], np.column_stack([brier, nll])[order])


def fit_temperature(outputs: np.ndarray, labels: np.ndarray) -> Temperature | None:
    """The temperature with the lowest negative log-likelihood on outputs [N, classes], logits or probabilities.

    None if there are fewer than MIN_IMAGES images with finite outputs, or if the optimum is outside of TEMPERATURES,
    for example because all images are classified correctly.
    """
    finite = _finite(outputs)
    if finite.sum() < MIN_IMAGES:
        return None
    logs, labels = log_probabilities(outputs[finite]), labels[finite]
    logs = np.maximum(logs, math.log(MIN_PROBABILITY))  # finite, because 0 * -inf is NaN
    of_true = logs[np.arange(len(labels)), labels]

    def slope(log_temperature: float) -> float:
        """Has the sign of the derivative of the log-likelihood, which is concave in 1 / temperature."""
        scaled = logs / math.exp(log_temperature)
        unnormalised = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        expected = (unnormalised * logs).sum(axis=1) / unnormalised.sum(axis=1)
        return float((of_true - expected).mean())

    low, high = (math.log(end) for end in TEMPERATURES)
    if slope(low) >= 0 or slope(high) <= 0:
        return None
    for _halving in range(30):  # reduces the interval from 7.8 to 7e-9
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return Temperature(math.exp((low + high) / 2), len(labels))


def _finite(outputs: np.ndarray) -> np.ndarray:
    """Rows [N] that have probabilities: without NaN and +inf, and with a class that is not masked."""
    return ~(np.isnan(outputs) | np.isposinf(outputs)).any(axis=1) & np.isfinite(outputs).any(axis=1)


def _in_bins(values: np.ndarray) -> list[np.ndarray]:
    return np.array_split(values, min(BINS, len(values)))


def _ece(confidence: np.ndarray, hits: np.ndarray) -> float:
    """The ECE of images sorted by their confidence."""
    n, count = len(hits), min(BINS, len(hits))
    starts = np.arange(count) * (n // count) + np.minimum(np.arange(count), n % count)  # as np.array_split
    return float(np.abs(np.add.reduceat(hits - confidence, starts)).sum() / n)

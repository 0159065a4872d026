"""Compares an exported network with the network of its run, on images of the run that are not in the test set."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from convoy.data import prepare
from convoy.data.batches import Normaliser
from convoy.evaluation.loaded import normaliser_of
from convoy.evaluation.predict import predict
from convoy.exporting.content import LIMIT, Parity
from convoy.runs import Run
from convoy.text import gettext as _

IMAGES = 1000
ROUNDING = 4  # accepted multiple of the rounding error of PyTorch, if that is larger than LIMIT
BATCH = 96  # differs from the batch size with which a network is traced


class Images(NamedTuple):
    part: str  # "validation" or "train"
    pixels: np.ndarray  # uint8 [N, C, H, H]


def images_of(run: Run) -> Images:
    """Returns up to 1,000 evenly spaced validation images, or training images without a validation set.

    If the data set is not available, uses the images in the run folder: up to ten training images of each class.
    """
    shape = (run.data.in_chans, run.data.image_size, run.data.image_size)
    try:
        prepared = prepare(run.recipe.data)
    except (ValueError, OSError) as error:
        if (samples := run.gallery.get("samples_images")) is None:  # a run from the Hugging Face Hub
            raise ValueError(
                _("{path}: no images here to compare the export with: {error}", path=run.path, error=error)
            ) from None
        return Images("train", samples)
    part = prepared.validation or prepared.train
    if part.images.shape[1:] != shape:  # the data have changed
        return Images("train", run.gallery["samples_images"])
    chosen = np.linspace(0, len(part) - 1, min(IMAGES, len(part))).round().astype(int)
    return Images("train" if prepared.validation is None else "validation", part.images[chosen])


def check(run: Run, network: nn.Module, exported: Callable[[np.ndarray], np.ndarray], *, batch: int = BATCH) -> Parity:
    """`exported` maps uint8 [N, C, H, H], N <= `batch`, to logits. Raises ValueError if these differ too much."""
    images = images_of(run)
    expected = predict(network, images.pixels, normaliser_of(run.data))
    batches = range(0, len(images.pixels), batch)
    actual = np.concatenate([exported(images.pixels[start : start + batch]) for start in batches])
    difference, rounding = _difference(actual, expected), None
    if not difference <= LIMIT:  # including NaN
        rounding = _rounding(run, network, images, expected)
    if rounding is not None and not difference <= ROUNDING * rounding:
        raise ValueError(
            _(
                "{path}: the exported network differs from the trained one: on {n:,} images, the logits "
                "differ by up to {difference:.2g} of the largest logit; limit: {limit:g}",
                path=run.path,
                n=len(images.pixels),
                difference=difference,
                limit=LIMIT,
            )
        )
    agreeing = int((actual.argmax(axis=1) == expected.argmax(axis=1)).sum())
    return Parity(len(images.pixels), images.part, difference, agreeing, rounding)


def _difference(actual: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(actual - expected).max() / np.abs(expected).max())


def _rounding(run: Run, network: nn.Module, images: Images, expected: np.ndarray) -> float:
    """Returns the difference between float32 and float64 in PyTorch, e.g. 2e-5 for 164 layers with random weights."""
    normalise = Normaliser(tuple(run.data.mean), tuple(run.data.std), torch.device("cpu"), torch.float64)
    try:
        return _difference(expected, predict(deepcopy(network).double(), images.pixels, normalise))
    except RuntimeError:  # a user's network that computes in float32 only
        return 0.0

"""Computes logits for scores and predictions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np
import torch
from torch import nn

from convoy.evaluation.interruption import ending_early


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Sets evaluation mode and then restores the mode of each submodule; frozen norms are always in evaluation mode."""
    modes = [(submodule, submodule.training) for submodule in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for submodule, mode in modes:
            submodule.training = mode


Watcher = Callable[[int, int], None]  # images scored so far, total
_watcher: ContextVar[Watcher] = ContextVar("watcher", default=lambda done, images: None)


@contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Calls `watcher` after each batch that `predict` scores within this context."""
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


BATCH = 1000  # images
SIDE = 32  # pixels per side; batches of larger images are smaller, so that they do not have more pixels


def images_per_batch(images: np.ndarray, batch_size: int = BATCH) -> int:
    """`batch_size` for images of up to SIDE x SIDE pixels, fewer for larger ones."""
    return max(1, batch_size * SIDE**2 // max(SIDE, images.shape[-1]) ** 2)


def predict(
    module: nn.Module,
    images: np.ndarray,
    normaliser: Callable[[torch.Tensor], torch.Tensor],
    *,
    batch_size: int = BATCH,
) -> np.ndarray:
    """Logits float32 [N, classes] of images uint8 [N, C, H, W], N >= 1.

    Uses evaluation mode and restores the module's mode. The normaliser converts a uint8 batch to the network's input,
    with its device and dtype. `batch_size` applies to images of up to SIDE x SIDE pixels; larger images use fewer.
    """
    batch_size = images_per_batch(images, batch_size)
    logits, watcher = [], _watcher.get()
    with evaluating(module), ending_early(module), torch.inference_mode():
        for start in range(0, len(images), batch_size):
            # torch.from_numpy warns about a read-only memory map, so each batch is copied.
            batch = torch.from_numpy(images[start : start + batch_size].copy())
            logits.append(module(normaliser(batch)).float().cpu().numpy())
            watcher(start + len(batch), len(images))
    return np.concatenate(logits)

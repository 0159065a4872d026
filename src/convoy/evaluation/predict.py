"""The one evaluator: every score of every study comes from these logits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np
import torch
from torch import nn


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode, and back to what each part was in: a frozen norm stays in evaluation while others train."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


Watcher = Callable[[int, int], None]  # of images scored so far, and of all of them
_watcher: ContextVar[Watcher] = ContextVar("watcher", default=lambda done, images: None)


@contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Calls `watcher` after each batch that `predict` scores within this context."""
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


BATCH = 1000  # images of an evaluation that are scored at a time
SIDE = 32  # pixels, of images of which a whole batch is taken at a time; of larger ones as many pixels


def predict(
    module: nn.Module,
    images: np.ndarray,
    normaliser: Callable[[torch.Tensor], torch.Tensor],
    *,
    batch_size: int = BATCH,
) -> np.ndarray:
    """Logits float32 [N, classes] of images uint8 [N, C, H, W], N >= 1, in their order.

    In evaluation mode, and the module's mode is restored. The normaliser turns a uint8 batch into what the network
    was trained on, device and dtype included. `batch_size` is of images of up to SIDE pixels a side.
    """
    batch_size = max(1, batch_size * SIDE**2 // max(SIDE, images.shape[-1]) ** 2)
    logits, watcher = [], _watcher.get()
    with evaluating(module), torch.inference_mode():
        for start in range(0, len(images), batch_size):
            # A copy per batch: torch refuses to share a read-only memory map.
            batch = torch.from_numpy(images[start : start + batch_size].copy())
            logits.append(module(normaliser(batch)).float().cpu().numpy())
            watcher(start + len(batch), len(images))
    return np.concatenate(logits)

"""The first-layer filters of a network."""

from __future__ import annotations

import numpy as np
from torch import nn


def first_layer_filters(module: nn.Module) -> np.ndarray | None:
    """Weights float32 [F, C, h, w] of the convolution that was constructed first; None if there is none."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            return layer.weight.detach().float().cpu().contiguous().numpy().copy()
    return None

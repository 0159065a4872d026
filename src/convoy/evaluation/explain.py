"""What a trained network looks at."""

from __future__ import annotations

import numpy as np
from torch import nn


def first_layer_filters(module: nn.Module) -> np.ndarray | None:
    """Weights float32 [F, C, h, w] of the first convolution in the order of construction; None if there is none."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            return layer.weight.detach().float().cpu().contiguous().numpy().copy()
    return None

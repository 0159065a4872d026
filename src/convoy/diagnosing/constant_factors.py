"""Follows the constants by which a network multiplies its features, until a norm or an activation cancels them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from convoy.diagnosing.feature_axes import tensors_of

# Their outputs do not depend on the scale of their inputs.
RESCALED = {"_softmax", "_log_softmax", "sigmoid", "exp", "log", "native_batch_norm", "native_layer_norm",
            "native_group_norm", "cudnn_batch_norm", "_fused_rms_norm", "mkldnn_rnn_layer"}  # fmt: skip
PRODUCTS = {"mul", "bmm", "mm", "matmul", "baddbmm"}
SUMS = {"add", "sub", "cat", "stack", "maximum", "minimum"}
POWERS = {"rsqrt": -0.5, "sqrt": 0.5, "reciprocal": -1.0, "var": 2.0}


@dataclass(eq=False)
class ConstantFactors:
    _of: dict[int, float] = field(default_factory=dict)  # by address, of tensors that depend on the images

    def start(self, images: torch.Tensor) -> None:
        self._of[images.data_ptr()] = 1.0

    def of(self, tensor: torch.Tensor) -> float | None:
        return self._of.get(tensor.data_ptr())

    def record(self, name: str, args: Any, output: torch.Tensor) -> None:
        factor = self._after(name.rstrip("_") if name[0] != "_" else name, args, output)
        if factor is None or not math.isfinite(factor):
            self._of.pop(output.data_ptr(), None)
        else:
            self._of[output.data_ptr()] = factor

    def _after(self, name: str, args: Any, output: torch.Tensor) -> float | None:
        factors = [(each, factor) for each in tensors_of(args) if (factor := self.of(each)) is not None]
        if not factors:
            return None
        first, factor = factors[0]
        if name in RESCALED:
            return 1.0
        if name in SUMS:
            return max((each for _tensor, each in factors), key=abs)
        if name in POWERS:
            return float(abs(factor) ** POWERS[name]) if factor else None
        if name == "pow" and isinstance(args[1], int | float):
            return float(abs(factor) ** args[1]) if factor else None
        if name == "sum":
            return factor * first.numel() / output.numel()
        if name == "div":
            return factor / _divisor(args, self) if torch.is_tensor(args[0]) and args[0] is first else 1.0
        if name in PRODUCTS:
            return math.prod(each for _tensor, each in factors) * (constant_of(args) if name == "mul" else 1.0)
        return factor


def constant_of(args: Sequence[object]) -> float:
    """Returns the product of the numbers among the arguments; 1 if there are none. Trained numbers do not count."""
    product = 1.0
    for each in args[:2]:
        if isinstance(each, int | float):
            product *= each
        elif isinstance(each, torch.Tensor) and each.numel() == 1 and each.ndim == 0 and not each.requires_grad:
            product *= float(each)
    return product


def _divisor(args: Sequence[Any], factors: ConstantFactors) -> float:
    divisor = args[1]
    factor = factors.of(divisor) if torch.is_tensor(divisor) else None
    value = factor if factor is not None else constant_of([divisor])
    return value or math.inf

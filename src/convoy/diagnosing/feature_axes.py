"""Finds the dimension of a tensor that contains the features of the layer that computed it, to check batch norms."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

LAST = {"addmm", "mm", "linear", "mkldnn_rnn_layer"}  # layers whose features are the last dimension of their output
VIEWS = {"view", "_unsafe_view", "t", "transpose", "permute", "unsqueeze", "squeeze", "detach", "alias", "slice",
         "select", "expand", "as_strided", "reshape"}  # fmt: skip


class Features(NamedTuple):
    axis: int
    per_position: bool = False  # the axis also contains positions: pixels, rows, time steps


@dataclass(eq=False)
class FeatureAxes:
    """Follows features through views, element-wise operations and pooling, as long as their dimension is certain."""

    _of: dict[int, dict[tuple[object, ...], Features]] = field(default_factory=dict)  # by address, shape and stride

    def start(self, images: torch.Tensor) -> None:
        """`images`: [B, C, H, W]."""
        self._of[images.data_ptr()] = {_key(images): Features(1)}

    def of(self, tensor: torch.Tensor) -> Features | None:
        return self._of.get(tensor.data_ptr(), {}).get(_key(tensor))

    def record(self, name: str, args: Any, output: torch.Tensor) -> None:
        features = self._after(name.rstrip("_"), args, output)
        if name not in VIEWS:
            self._of.pop(output.data_ptr(), None)
        if features is not None:
            self._of.setdefault(output.data_ptr(), {})[_key(output)] = features

    def _after(self, name: str, args: Any, output: torch.Tensor) -> Features | None:
        if name == "convolution":
            return Features(1)
        if name in LAST:
            return Features(output.ndim - 1)
        moved = [
            _moved(name, args, tuple(tensor.shape), features, tuple(output.shape))
            for tensor in tensors_of(args)
            if (features := self.of(tensor)) is not None
        ]
        # As in MLP-Mixer, a sum can combine a layer over the features with a layer over the positions.
        return moved[0] if moved and all(each == moved[0] for each in moved) else None


def _key(tensor: torch.Tensor) -> tuple[object, ...]:
    return tuple(tensor.shape), tensor.stride()


def tensors_of(args: Sequence[object]) -> Iterator[torch.Tensor]:
    for each in args:
        if isinstance(each, torch.Tensor):
            yield each
        elif isinstance(each, list | tuple):
            yield from (part for part in each if isinstance(part, torch.Tensor))


def _moved(name: str, args: Any, shape: tuple[int, ...], before: Features, output: tuple[int, ...]) -> Features | None:
    axis, dimensions = before.axis, len(shape)
    if name in ("transpose", "t", "permute"):
        order = list(range(dimensions))
        if name == "permute":
            order = [each % dimensions for each in args[1]]
        else:
            first, second = (args[1], args[2]) if name == "transpose" else (0, -1)
            order[first], order[second] = order[second], order[first]
        return before._replace(axis=order.index(axis))
    if name == "stack":
        return before._replace(axis=axis + (args[1] % len(output) <= axis if len(args) > 1 else 1))
    if len(output) == dimensions and (output[axis] == shape[axis] or name == "cat"):
        return before  # element-wise, pooling, padding
    if output == shape[: len(output)] and axis < len(output):
        return before  # a mean over the positions
    if math.prod(output) != math.prod(shape):
        return None
    after = math.prod(shape[axis + 1 :])
    for place, length in enumerate(output):
        if length == shape[axis] and math.prod(output[place + 1 :]) == after:
            return before._replace(axis=place)
    merged = [math.prod(shape[1:end]) for end in range(3, dimensions + 1)]
    return Features(1, per_position=True) if output[0] == shape[0] and output[1:2] and output[1] in merged else None

"""Finds the activation function and the layer with one output from which the outputs of a network are computed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch

from convoy.diagnosing.constant_factors import constant_of
from convoy.diagnosing.feature_axes import VIEWS, tensors_of

if TYPE_CHECKING:
    from convoy.diagnosing.watch import Place

BOUNDS = {
    "relu": (0.0, math.inf),
    "softplus": (0.0, math.inf),
    "abs": (0.0, math.inf),
    "gelu": (-0.17, math.inf),
    "silu": (-0.28, math.inf),
    "elu": (-1.0, math.inf),
    "log_sigmoid_forward": (-math.inf, 0.0),
    "sigmoid": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "softmax": (0.0, 1.0),
}
CLAMPS = {"clamp", "clamp_min", "clamp_max", "hardtanh"}
AVERAGES = {"mean", "avg_pool2d", "adaptive_avg_pool2d", "max_pool2d_with_indices", "amax"}  # they keep the bounds
COPIES = {*(name.strip("_") for name in VIEWS), "clone", "to_copy"}
REDUCTIONS = {"mean", "amax", "max", "median"}  # one value of several
FRESH = {"empty_like", "zeros_like", "ones_like", "rand_like", "randn_like", "bernoulli_"}  # not computed from values


@dataclass(frozen=True)
class Origin:
    """The activation function that computed a tensor, and the bounds of the tensor."""

    place: Place
    low: float
    high: float
    is_pooled: bool = False  # averages or maxima of the outputs of the activation
    is_scaled: bool = False  # multiplied by constants


@dataclass(frozen=True)
class Narrow:
    """A layer with one output, or an average over all features, through which all information about the images goes."""

    place: Place
    values: int  # per image: 1, or the pixels of its only channel
    averaged: tuple[int, ...] = ()  # the shape of the tensor whose features are averaged; empty for a layer


@dataclass(eq=False)
class Origins:
    _of: dict[int, Origin] = field(default_factory=dict)  # by address
    _narrow: dict[int, Narrow | None] = field(default_factory=dict)  # by address, of tensors that depend on the images

    def start(self, images: torch.Tensor) -> None:
        self._narrow[images.data_ptr()] = None

    def of(self, tensor: torch.Tensor) -> Origin | None:
        return self._of.get(tensor.data_ptr())

    def narrow(self, tensor: torch.Tensor) -> Narrow | None:
        return self._narrow.get(tensor.data_ptr())

    def depends_on_images(self, tensor: torch.Tensor) -> bool:
        return tensor.data_ptr() in self._narrow

    def record(self, name: str, place: Place, args: Sequence[Any], outputs: Sequence[Any], units: int = 0) -> None:
        """`units`: output channels of a layer with weights, 1 for an average over features; 0 for other operations."""
        narrow = self._narrowest(name, args)
        if narrow is not _UNKNOWN and units == 1:
            averaged = tuple(args[0].shape) if name in REDUCTIONS else ()
            narrow = Narrow(place, outputs[0].numel() // len(outputs[0]), averaged)
        origin = self._after(name.strip("_"), place, args)
        for output in tensors_of(outputs):
            _set(self._narrow, output, narrow, _UNKNOWN)
            _set(self._of, output, origin, None)

    def _narrowest(self, name: str, args: Sequence[Any]) -> Any:
        addresses = [each.data_ptr() for each in tensors_of(args)]
        narrow = [self._narrow[address] for address in addresses if address in self._narrow]
        if not narrow or name in FRESH:
            return _UNKNOWN
        return None if None in narrow else min((each for each in narrow if each), key=lambda each: each.values)

    def _after(self, name: str, place: Place, args: Sequence[Any]) -> Origin | None:
        if name in BOUNDS:
            return Origin(place, *BOUNDS[name])
        if name in CLAMPS:
            low, high = (args[index] if len(args) > index else None for index in (1, 2))
            if name == "clamp_max":
                low, high = None, low
            elif name == "hardtanh" and low is None:
                low, high = -1, 1
            return Origin(place, -math.inf if low is None else float(low), math.inf if high is None else float(high))
        origin = self.of(args[0]) if args and isinstance(args[0], torch.Tensor) else None
        if origin is None or name in COPIES:
            return origin
        if name in AVERAGES:
            return replace(origin, is_pooled=True)
        if name in ("mul", "div") and len([*tensors_of(args)]) == 1 + _is_constant(args[1]):
            factor = constant_of([args[1]])
            if not factor:
                return None
            ends = [end * factor if name == "mul" else end / factor for end in (origin.low, origin.high)]
            return replace(origin, low=min(ends), high=max(ends), is_scaled=True)
        if name in ("add", "sub") and len([*tensors_of(args)]) == 1 + _is_constant(args[1]):
            shift = constant_of([args[1]]) * (1 if name == "add" else -1)
            return replace(origin, low=origin.low + shift, high=origin.high + shift, is_scaled=True)
        return origin if name == "mul" and self.is_dropout(*args) else None  # the bounds are those in evaluation

    def is_dropout(self, tensor: torch.Tensor, factor: object) -> bool:
        """Whether a product has a factor of the same shape that depends on neither weights nor images."""
        return (
            isinstance(factor, torch.Tensor)
            and factor.shape == tensor.shape
            and not (factor.requires_grad or self.depends_on_images(factor))
        )


def _is_constant(value: object) -> bool:
    return isinstance(value, torch.Tensor) and value.ndim == 0 and not value.requires_grad


def _set(table: dict[int, Any], tensor: torch.Tensor, value: object, absent: object) -> None:
    if value is absent:
        table.pop(tensor.data_ptr(), None)
    else:
        table[tensor.data_ptr()] = value


_UNKNOWN = object()

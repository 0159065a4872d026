"""Dead and saturated units of activation functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from convoy.diagnosing.watch import Place

RELU = {"relu", "hardtanh", "clamp_min", "threshold"}
SIGMOID, BOUNDED = {"sigmoid", "tanh"}, {"hardsigmoid", "hardtanh"}  # with a slope that is nearly 0, or exactly 0
SMALL_SLOPE = 0.01  # fraction of the maximum slope
MANY_VALUES = 64  # values of a unit, in at least two images, that are needed to call it dead


@dataclass(frozen=True)
class Activation:
    """The outputs of an activation function. A unit is a channel, or one output of a linear layer."""

    place: Place
    units: int
    dead: int  # units that are 0 for all images; 0 if there are too few images
    saturated: float  # share of outputs where the slope is below 1 % of its maximum, but not 0 as in a ReLU at 0


def activation_of(
    name: str, place: Place, args: Sequence[Any], output: torch.Tensor, *, fewest_images: int
) -> Activation | None:
    """`output`: [B, units, ...]. Returns None for other operations."""
    name = name.strip("_")
    if name not in RELU | SIGMOID | BOUNDED:
        return None
    is_relu = name in RELU and not (name == "hardtanh" and _bounds(args)[0] < 0)  # ReLU6 is hardtanh(x, 0, 6)
    dead, saturated = 0, 0.0
    if name in SIGMOID:
        slope = 4 * output * (1 - output) if name == "sigmoid" else 1 - output.square()
        saturated = float((slope < SMALL_SLOPE).float().mean())
    elif name in BOUNDED:
        low, high = (0.0, 1.0) if name == "hardsigmoid" else _bounds(args)
        is_flat = output >= high if is_relu else (output <= low) | (output >= high)
        saturated = float(is_flat.float().mean())
    if is_relu:
        values = output.numel() // output.shape[1]
        if len(output) >= fewest_images or (len(output) > 1 and values >= MANY_VALUES):
            dead = int((output.amax([each for each in range(output.ndim) if each != 1]) <= 0).sum())
    return Activation(place, output.shape[1], dead, saturated)


def _bounds(args: Sequence[Any]) -> tuple[float, float]:
    """Returns the bounds of hardtanh(x, low, high); torch omits those that have their default."""
    return (*args[1:3], *(-1.0, 1.0)[len(args) - 1 :])

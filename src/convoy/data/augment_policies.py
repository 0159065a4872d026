"""Policies: each image draws an operation and how strongly it applies, from a fixed set of 14.

- RandAugment: Cubuk et al. 2020, https://arxiv.org/abs/1909.13719: several operations after another, all of one given
  magnitude.
- TrivialAugment (Wide): Müller & Hutter 2021, https://arxiv.org/abs/2103.10158: one operation, of a random magnitude.

A batch is sorted by the operation that its images drew; each operation then sees its images alone, and those that move
pixels are resampled together. Colours are changed as in `augment_colours`; shears hold the upper left corner, as
Pillow's do.

Differs from the papers' code: moved images are interpolated linearly, and what lies outside is black instead of grey;
levels are not rounded to 8 bits after each operation. Magnitude 0 of `solarize` inverts nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from convoy.data.augment_colours import COLOURS
from convoy.data.augment_geometric import identity, resample, rotation, translation
from convoy.data.augment_kinds import check_number, to_device_of

STEPS = 30  # magnitudes are the whole numbers from 0 to this


def shear_x(amount: Tensor, side: int) -> Tensor:
    maps = identity(len(amount))
    maps[:, 0, 1] = maps[:, 0, 2] = amount
    return maps


def shear_y(amount: Tensor, side: int) -> Tensor:
    maps = identity(len(amount))
    maps[:, 1, 0] = maps[:, 1, 2] = amount
    return maps


def translate_x(pixels: Tensor, side: int) -> Tensor:
    return translation(torch.stack([pixels, torch.zeros_like(pixels)], dim=1) * (2 / side))


def translate_y(pixels: Tensor, side: int) -> Tensor:
    return translation(torch.stack([torch.zeros_like(pixels), pixels], dim=1) * (2 / side))


def rotate(degrees: Tensor, side: int) -> Tensor:
    return rotation(degrees * (math.pi / 180))


MOVES: dict[str, Callable[[Tensor, int], Tensor]] = {
    "shear_x": shear_x,
    "shear_y": shear_y,
    "translate_x": translate_x,
    "translate_y": translate_y,
    "rotate": rotate,
}
OPERATIONS = (*COLOURS, *MOVES)
SIGNED = ("brightness", "colour", "contrast", "sharpness", *MOVES)  # weaker or stronger, left or right: drawn

# The amount of each operation at magnitude 30; at 0 it changes nothing. Posterize: bits. Solarize: levels.
GENTLE = {
    "posterize": 4.0,
    "solarize": 256.0,
    **dict.fromkeys(("brightness", "colour", "contrast", "sharpness"), 0.9),
    **dict.fromkeys(("shear_x", "shear_y"), 0.3),
    "rotate": 30.0,
}
WIDE = {
    "posterize": 6.0,
    "solarize": 256.0,
    **dict.fromkeys(("brightness", "colour", "contrast", "sharpness"), 0.99),
    **dict.fromkeys(("shear_x", "shear_y"), 0.99),
    **dict.fromkeys(("translate_x", "translate_y"), 32.0),  # pixels, whatever the side
    "rotate": 135.0,
}


@dataclass(frozen=True)
class RandAugment:
    """`operations` drawn anew for each image, equally likely, all of `magnitude`; the sign is drawn too."""

    operations: int = 2
    magnitude: int = 9

    def __post_init__(self) -> None:
        check_number("rand_augment", "operations", self.operations, integer=True, low=1, high=16)
        check_number("rand_augment", "magnitude", self.magnitude, integer=True, low=0, high=STEPS)

    @property
    def draws(self) -> int:
        return 2 * self.operations

    def __call__(self, x: Tensor, uniform: Tensor, generator: torch.Generator) -> Tensor:
        # AutoAugment moved images by up to 150 pixels, of 331 as torchvision has it.
        largest = GENTLE | dict.fromkeys(("translate_x", "translate_y"), x.shape[-1] * 150 / 331)
        strength = torch.full((len(x),), self.magnitude / STEPS)
        columns = uniform.unbind(dim=1)
        for which, sign in zip(columns[::2], columns[1::2], strict=True):
            x = apply(x, which, sign, strength, largest)
        return x


@dataclass(frozen=True)
class TrivialAugment:
    """One operation for each image, equally likely, of a magnitude drawn evenly from 0 to 30; the sign is drawn too."""

    draws: ClassVar[int] = 3

    def __call__(self, x: Tensor, uniform: Tensor, generator: torch.Generator) -> Tensor:
        which, sign, magnitude = uniform.unbind(dim=1)
        return apply(x, which, sign, _whole(magnitude, STEPS + 1) / STEPS, WIDE)


def apply(x: Tensor, which: Tensor, sign: Tensor, strength: Tensor, largest: Mapping[str, float]) -> Tensor:
    """Each image its operation. which, sign [B]: uniform draws; strength [B]: the part of `largest`; on the CPU."""
    drawn = _whole(which, len(OPERATIONS)).long()
    order = drawn.argsort(stable=True)
    counts = drawn.bincount(minlength=len(OPERATIONS)).tolist()
    amounts = _amounts(drawn, sign, strength, largest)[order]

    dtype = x.dtype if x.dtype == torch.float64 else torch.float32  # half precision cannot tell 256 levels
    in_order = x.index_select(0, to_device_of(x, order)).to(dtype)
    images = in_order.split(counts)
    on_device = to_device_of(x, amounts).to(dtype)[:, None, None, None].split(counts)
    done = [COLOURS[name](images[at], on_device[at]) for at, name in enumerate(COLOURS) if counts[at]]
    moved = sum(counts[len(COLOURS) :])
    if moved:
        of_moves = amounts.split(counts)[len(COLOURS) :]
        maps = torch.cat([MOVES[name](each, x.shape[-1]) for name, each in zip(MOVES, of_moves, strict=True)])
        done.append(resample(in_order[len(x) - moved :], maps[:, :2], "bilinear"))
    return torch.cat(done).index_select(0, to_device_of(x, order.argsort())).to(x.dtype)


def _amounts(drawn: Tensor, sign: Tensor, strength: Tensor, largest: Mapping[str, float]) -> Tensor:
    scale = torch.tensor([largest.get(name, 0.0) for name in OPERATIONS])[drawn]
    is_signed = torch.tensor([name in SIGNED for name in OPERATIONS])[drawn]
    return torch.where(is_signed & (sign < 0.5), -strength, strength) * scale


def _whole(uniform: Tensor, count: int) -> Tensor:
    """Draws in 0..1 to whole numbers from 0 to count - 1, equally likely."""
    return (uniform * count).floor().clamp(max=count - 1)

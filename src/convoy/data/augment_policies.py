"""Policies: random operations from a fixed set of 14, drawn per image.

- RandAugment: Cubuk et al. 2020, https://arxiv.org/abs/1909.13719: several operations in sequence, all with the same
  fixed magnitude.
- TrivialAugment (Wide): Müller & Hutter 2021, https://arxiv.org/abs/2103.10158: one operation with a random magnitude.

A batch is sorted by operation, so that each operation runs once on its images; all geometric operations share one
resampling. Colour operations are in `augment_colours`. Shears keep the upper left corner fixed, as in Pillow.

Differs from the papers' code: geometric operations use bilinear interpolation, with black instead of grey outside the
image; levels are not rounded to 8 bits after each operation. Magnitude 0 of `solarize` inverts nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from convoy.data.augment_affine import identity, resample, rotation
from convoy.data.augment_colours import COLOUR_OPS
from convoy.data.augment_kinds import PixelTransform, Reorientation, to_device_of

STEPS = 30  # magnitudes are integers from 0 to this


def shear(amount: Tensor, side: int, *, axis: int) -> Tensor:
    maps = identity(len(amount))
    maps[:, axis, 1 - axis] = maps[:, axis, 2] = amount
    return maps


def translate(pixels: Tensor, side: int, *, axis: int) -> Tensor:
    maps = identity(len(pixels))
    maps[:, axis, 2] = pixels * (2 / side)
    return maps


def rotate(degrees: Tensor, side: int) -> Tensor:
    return rotation(degrees * (math.pi / 180))


GEOMETRIC: dict[str, Callable[[Tensor, int], Tensor]] = {
    "shear_x": partial(shear, axis=0),
    "shear_y": partial(shear, axis=1),
    "translate_x": partial(translate, axis=0),
    "translate_y": partial(translate, axis=1),
    "rotate": rotate,
}
OPERATIONS = (*COLOUR_OPS, *GEOMETRIC)
SIGNED = ("brightness", "colour", "contrast", "sharpness", *GEOMETRIC)  # applied with a random sign

# The amount of each operation at magnitude 30: bits of posterize, levels of solarize. Magnitude 0 changes nothing.
RAND_AUGMENT_AMOUNTS = {
    "posterize": 4.0,
    "solarize": 256.0,
    **dict.fromkeys(("brightness", "colour", "contrast", "sharpness"), 0.9),
    **dict.fromkeys(("shear_x", "shear_y"), 0.3),
    "rotate": 30.0,
}
TRIVIAL_AUGMENT_AMOUNTS = {
    "posterize": 6.0,
    "solarize": 256.0,
    **dict.fromkeys(("brightness", "colour", "contrast", "sharpness"), 0.99),
    **dict.fromkeys(("shear_x", "shear_y"), 0.99),
    **dict.fromkeys(("translate_x", "translate_y"), 32.0),  # pixels, for any image size
    "rotate": 135.0,
}


class RandAugment(PixelTransform):
    """Applies `operations` random operations per image, all of the same magnitude, each with a random sign (arXiv
    1909.13719)."""

    operations: Annotated[int, Field(ge=1, le=16)] = 2  # number of operations per image
    magnitude: Annotated[int, Field(ge=0, le=STEPS)] = 9  # magnitude of each operation

    @property
    def draws(self) -> int:
        return 2 * self.operations

    def __call__(self, x: Tensor, uniform: Tensor, generator: torch.Generator) -> Tensor:
        # AutoAugment shifts images by up to 150 pixels; 331 is the image size that torchvision assumes.
        largest = RAND_AUGMENT_AMOUNTS | dict.fromkeys(("translate_x", "translate_y"), x.shape[-1] * 150 / 331)
        strength = torch.full((len(x),), self.magnitude / STEPS)
        columns = uniform.unbind(dim=1)
        for operation, sign in zip(columns[::2], columns[1::2], strict=True):
            x = apply(x, operation, sign, strength, largest)
        return x


class TrivialAugment(PixelTransform):
    """Applies one random operation per image, with a magnitude drawn uniformly from 0 to 30 and a random sign (arXiv
    2103.10158, the "wide" space)."""

    draws: ClassVar[int] = 3

    @property
    def reorientation(self) -> Reorientation | None:
        return Reorientation.ROTATED  # by up to 135 degrees

    def __call__(self, x: Tensor, uniform: Tensor, generator: torch.Generator) -> Tensor:
        operation, sign, magnitude = uniform.unbind(dim=1)
        return apply(x, operation, sign, _integers(magnitude, STEPS + 1) / STEPS, TRIVIAL_AUGMENT_AMOUNTS)


def apply(x: Tensor, operation: Tensor, sign: Tensor, strength: Tensor, largest: Mapping[str, float]) -> Tensor:
    """Applies one operation per image, from uniform draws `operation` and `sign` [B], on the CPU.

    strength [B] is the fraction of the operation's `largest` amount.
    """
    indices = _integers(operation, len(OPERATIONS)).long()
    order = indices.argsort(stable=True)
    counts = indices.bincount(minlength=len(OPERATIONS)).tolist()
    scale = torch.tensor([largest.get(name, 0.0) for name in OPERATIONS])[indices]
    is_signed = torch.tensor([name in SIGNED for name in OPERATIONS])[indices]
    amounts = (torch.where(is_signed & (sign < 0.5), -strength, strength) * scale)[order]
    dtype = x.dtype if x.dtype == torch.float64 else torch.float32  # half precision does not resolve 256 levels
    sorted_x = x.index_select(0, to_device_of(x, order)).to(dtype)
    images = sorted_x.split(counts)
    colour_amounts = to_device_of(x, amounts).to(dtype)[:, None, None, None].split(counts)
    results = [COLOUR_OPS[name](images[i], colour_amounts[i]) for i, name in enumerate(COLOUR_OPS) if counts[i]]
    n_geometric = sum(counts[len(COLOUR_OPS) :])
    if n_geometric:
        geometric_amounts = zip(GEOMETRIC, amounts.split(counts)[len(COLOUR_OPS) :], strict=True)
        maps = torch.cat([GEOMETRIC[name](amount, x.shape[-1]) for name, amount in geometric_amounts])
        results.append(resample(sorted_x[len(x) - n_geometric :], maps[:, :2], "bilinear"))
    return torch.cat(results).index_select(0, to_device_of(x, order.argsort())).to(x.dtype)


def _integers(uniform: Tensor, count: int) -> Tensor:
    """Converts uniform draws to uniform integers from 0 to count - 1."""
    return (uniform * count).floor().clamp(max=count - 1)

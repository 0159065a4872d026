"""Augmentations that hide a part of the image.

- Cutout: DeVries & Taylor 2017, https://arxiv.org/abs/1708.04552.
- Random erasing: Zhong et al. 2020, https://arxiv.org/abs/1708.04896. Differs from the paper: the aspect ratio is drawn
  log-uniformly, as in torchvision and timm, and a rectangle larger than the image is clipped instead of drawn again.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from convoy.data.augment_kinds import ASCENDING, PAIR, Fraction, Pixels, PixelTransform, to_device_of

_Ratio = Annotated[float, Field(ge=0.01, le=100)]


class Cutout(PixelTransform):
    """Blackens a square centred on a random pixel, clipped at the image's edge (arXiv 1708.04552)."""

    size: Pixels = 8  # side of the square

    draws: ClassVar[int] = 2

    def __call__(self, x: Tensor, uniform: Tensor, generator: torch.Generator) -> Tensor:
        side = x.shape[-1]
        first = (to_device_of(x, uniform) * side).floor().clamp(max=side - 1) - self.size // 2  # (B, 2)
        return x * outside_mask(first, first + self.size, x)  # twice as fast as masked_fill with a broadcast mask


class Erase(PixelTransform):
    """Fills a rectangle inside the image with black, the image's mean colour, or noise (arXiv 1708.04896)."""

    probability: Fraction = 0.25  # probability that an image is changed
    # smallest and largest erased fraction of the image
    area: Annotated[tuple[Fraction, Fraction], PAIR, ASCENDING] = (0.02, 0.33)
    # smallest and largest height / width of the rectangle
    aspect: Annotated[tuple[_Ratio, _Ratio], PAIR, ASCENDING] = (0.3, 3.3)
    # black, the image's mean colour, or noise (each value uniform in 0..1)
    fill: Literal["zero", "mean", "noise"] = "noise"

    draws: ClassVar[int] = 5

    def __call__(self, x: Tensor, uniform: Tensor, generator: torch.Generator) -> Tensor:
        erased = (uniform[:, 0] < self.probability).nonzero()[:, 0]
        first, last = self._boxes(uniform[erased, 1:], x.shape[-1])
        indices = to_device_of(x, erased)
        images = x.index_select(0, indices)
        unchanged = outside_mask(to_device_of(x, first), to_device_of(x, last), x)
        return x.index_copy(0, indices, torch.where(unchanged > 0, images, self._fill_values(images, generator)))

    def _boxes(self, uniform: Tensor, side: int) -> tuple[Tensor, Tensor]:
        """Returns corners (y, x) in pixels, [N, 2] each, from draws [N, 4]; a box is empty only if the area is 0."""
        area = self.area[0] + (self.area[1] - self.area[0]) * uniform[:, 0]
        low, high = math.log(self.aspect[0]), math.log(self.aspect[1])
        stretch = torch.exp((low + (high - low) * uniform[:, 1]) / 2)
        sides = side * area.sqrt()[:, None] * torch.stack([stretch, 1 / stretch], dim=1)
        sides = sides.round().clamp(1 if self.area[1] else 0, side)
        first = (uniform[:, 2:] * (side - sides + 1)).floor().minimum(side - sides)
        return first, first + sides

    def _fill_values(self, images: Tensor, generator: torch.Generator) -> Tensor:
        if self.fill == "zero":
            return torch.zeros_like(images)
        if self.fill == "mean":
            return images.mean(dim=(2, 3), keepdim=True).expand_as(images)
        return to_device_of(images, torch.rand(images.shape, generator=generator)).to(images.dtype)


def outside_mask(first: Tensor, last: Tensor, x: Tensor) -> Tensor:
    """Returns a mask [B, 1, H, H] of x's type and device: 1 outside a rectangle, 0 inside.

    first, last: the corners (y, x), [B, 2] on x's device; `last` is exclusive.
    """
    positions = torch.arange(x.shape[-1], device=x.device)
    is_outside = ((positions < first[..., None]) | (positions >= last[..., None])).to(x.dtype)  # (B, 2, H)
    return torch.maximum(is_outside[:, 0, :, None], is_outside[:, 1, None, :])[:, None]

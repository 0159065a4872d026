"""Augmentations that hide a part of the image.

- Cutout: DeVries & Taylor 2017, https://arxiv.org/abs/1708.04552.
- Random erasing: Zhong et al. 2020, https://arxiv.org/abs/1708.04896. Differs from the paper: the aspect is drawn
  evenly on a logarithmic scale, as torchvision and timm draw it, and a rectangle that is longer than the image is cut
  to it instead of drawn again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor

from convoy.data.augment_kinds import check_number, check_range, to_device_of
from convoy.registry import unknown

Fill = Literal["zero", "mean", "noise"]


@dataclass(frozen=True)
class Cutout:
    """Blackens a square about a random pixel; it may reach over the edge."""

    size: int = 8  # pixels, the side of the square

    draws: ClassVar[int] = 2

    def __post_init__(self) -> None:
        check_number("cutout", "size", self.size, integer=True, low=0, high=512)

    def __call__(self, x: Tensor, uniform: Tensor, generator: torch.Generator) -> Tensor:
        side = x.shape[-1]
        first = (to_device_of(x, uniform) * side).floor().clamp(max=side - 1) - self.size // 2  # (B, 2)
        return x * outside(first, first + self.size, x)  # twice as fast as masked_fill with a mask that is broadcast


@dataclass(frozen=True)
class Erase:
    """Fills a rectangle that lies inside the image: black, with the image's mean colour, or with noise."""

    probability: float = 0.25
    area: Sequence[float] = (0.02, 0.33)  # of the image
    aspect: Sequence[float] = (0.3, 3.3)  # height to width
    fill: Fill = "noise"  # each value drawn evenly from 0..1

    draws: ClassVar[int] = 5

    def __post_init__(self) -> None:
        check_number("erase", "probability", self.probability, low=0, high=1)
        check_range("erase", "area", self.area, low=0, high=1)
        check_range("erase", "aspect", self.aspect, low=0.01, high=100)
        if self.fill not in get_args(Fill):
            raise unknown("fill", str(self.fill), get_args(Fill), "the augmentation erase")

    def __call__(self, x: Tensor, uniform: Tensor, generator: torch.Generator) -> Tensor:
        erased = (uniform[:, 0] < self.probability).nonzero()[:, 0]
        first, last = self._boxes(uniform[erased, 1:], x.shape[-1])
        chosen = to_device_of(x, erased)
        part = x.index_select(0, chosen)
        kept = outside(to_device_of(x, first), to_device_of(x, last), x)
        return x.index_copy(0, chosen, torch.where(kept > 0, part, self._filling(part, generator)))

    def _boxes(self, uniform: Tensor, side: int) -> tuple[Tensor, Tensor]:
        """Corners in pixels (y, x), [N, 2] each, from draws [N, 4]; at least a pixel, unless there is no area."""
        area = self.area[0] + (self.area[1] - self.area[0]) * uniform[:, 0]
        low, high = math.log(self.aspect[0]), math.log(self.aspect[1])
        stretch = torch.exp((low + (high - low) * uniform[:, 1]) / 2)
        sides = side * area.sqrt()[:, None] * torch.stack([stretch, 1 / stretch], dim=1)
        sides = sides.round().clamp(1 if self.area[1] else 0, side)
        first = (uniform[:, 2:] * (side - sides + 1)).floor().minimum(side - sides)
        return first, first + sides

    def _filling(self, part: Tensor, generator: torch.Generator) -> Tensor:
        if self.fill == "zero":
            return torch.zeros_like(part)
        if self.fill == "mean":
            return part.mean(dim=(2, 3), keepdim=True).expand_as(part)
        return to_device_of(part, torch.rand(part.shape, generator=generator)).to(part.dtype)


def outside(first: Tensor, last: Tensor, x: Tensor) -> Tensor:
    """Mask [B, 1, H, H] of 1 outside a rectangle and 0 inside, of x's type and device, where the corners must be too.

    first, last: [B, 2], rows and columns (y, x) from the first that is inside to the first that is not any more.
    """
    places = torch.arange(x.shape[-1], device=x.device)
    beside = ((places < first[..., None]) | (places >= last[..., None])).to(x.dtype)  # (B, 2, H)
    return torch.maximum(beside[:, 0, :, None], beside[:, 1, None, :])[:, None]

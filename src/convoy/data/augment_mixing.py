"""Augmentations that mix an image and its label with another of the batch.

- MixUp: Zhang et al. 2018, https://arxiv.org/abs/1710.09412: all of both images, weighted.
- CutMix: Yun et al. 2019, https://arxiv.org/abs/1905.04899: a rectangle of one in the other.

An image's partner is the one before it in the batch, whose order is random already. Differs from the papers: every
image draws its own weight and rectangle instead of one for the batch. Where a recipe names both, each image draws one
of them, equally likely, and then whether that one applies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from convoy.data.augment_erasing import outside
from convoy.data.augment_kinds import Mixer, MixWeights, check_number, to_device_of

QUANTILES = 4096


@dataclass(frozen=True)
class MixUp:
    """Of each pixel an image keeps the same share, which is drawn from Beta(alpha, alpha)."""

    alpha: float = 0.2  # small: mostly one of the two images; 1: any share equally likely
    probability: float = 1.0

    draws: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_number("mixup", "alpha", self.alpha, low=0.01, high=100)
        check_number("mixup", "probability", self.probability, low=0, high=1)

    def kept(self, uniform: Tensor, x: Tensor) -> MixWeights:
        share = beta(uniform[:, 0], self.alpha)
        return MixWeights(to_device_of(x, share).to(x.dtype)[:, None, None, None], share)


@dataclass(frozen=True)
class CutMix:
    """Of a rectangle nothing is kept: its share of the area, before the edge cuts it, is from Beta(alpha, alpha)."""

    alpha: float = 1.0
    probability: float = 1.0

    draws: ClassVar[int] = 3

    def __post_init__(self) -> None:
        check_number("cutmix", "alpha", self.alpha, low=0.01, high=100)
        check_number("cutmix", "probability", self.probability, low=0, high=1)

    def kept(self, uniform: Tensor, x: Tensor) -> MixWeights:
        """The rectangle has the image's aspect and is centred on any pixel; the label counts what lies in the image."""
        side = x.shape[-1]
        half = (side * beta(uniform[:, 0], self.alpha).sqrt()).floor().div(2, rounding_mode="floor")[:, None]
        centre = (uniform[:, 1:] * side).floor()
        first, last = (centre - half).clamp(0, side), (centre + half).clamp(0, side)
        share = 1 - (last - first).prod(dim=1) / side**2
        return MixWeights(outside(to_device_of(x, first), to_device_of(x, last), x), share)


def mix(
    mixers: Sequence[Mixer], x: Tensor, labels: Tensor, classes: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """x float [B, C, H, H] and labels int64 [B], mixed; the labels as probabilities of x's type, [B, classes]."""
    draws = [2, *(mixer.draws for mixer in mixers)]
    choice, *columns = torch.rand(len(x), sum(draws), generator=generator).split(draws, dim=1)
    drawn = (choice[:, 0] * len(mixers)).floor()
    pixels = torch.ones((), dtype=x.dtype, device=x.device)
    share = torch.ones(len(x))
    for at, (mixer, uniform) in enumerate(zip(mixers, columns, strict=True)):
        applies = (drawn == at) & (choice[:, 1] < mixer.probability)
        kept = mixer.kept(uniform, x)
        pixels = torch.where(to_device_of(x, applies)[:, None, None, None], kept.pixels, pixels)
        share = torch.where(applies, kept.share, share)
    own = one_hot(labels, classes).to(x.dtype)
    return (
        torch.lerp(x.roll(1, 0), x, pixels),
        torch.lerp(own.roll(1, 0), own, to_device_of(x, share).to(x.dtype)[:, None]),
    )


def beta(uniform: Tensor, alpha: float) -> Tensor:
    """Draws in 0..1, evenly, to draws from Beta(alpha, alpha): its quantiles, linear between 4,096 steps of it."""
    place = uniform * QUANTILES
    low = place.floor().clamp(max=QUANTILES - 1).long()
    table = _quantiles(alpha)
    return torch.lerp(table[low], table[low + 1], place - low)


@lru_cache(maxsize=16)
def _quantiles(alpha: float) -> Tensor:
    from scipy.special import betaincinv  # only a recipe that mixes should wait for this import

    return torch.from_numpy(betaincinv(alpha, alpha, torch.linspace(0, 1, QUANTILES + 1).double().numpy())).float()

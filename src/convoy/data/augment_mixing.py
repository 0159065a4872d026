"""Augmentations that mix an image and its label with another of the batch.

- MixUp: Zhang et al. 2018, https://arxiv.org/abs/1710.09412: the weighted sum of both images.
- CutMix: Yun et al. 2019, https://arxiv.org/abs/1905.04899: a rectangle of one image is pasted into the other.

An image is mixed with the previous one in the (shuffled) batch. Differs from the papers: weight and rectangle are drawn
per image instead of per batch. If a recipe has both, one of them is drawn per image with equal probability and then
applied with its `probability`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import one_hot

from convoy.data.augment_erasing import outside_mask
from convoy.data.augment_kinds import Mixer, MixWeights, to_device_of

QUANTILES = 4096


class MixUp(Mixer):
    """Blends an image with another one (arXiv 1710.09412). The weight of the image is drawn from Beta(alpha, alpha)."""

    # parameter of the Beta distribution; small: mostly one of the two images; 1: uniform
    alpha: Annotated[float, Field(ge=0.01, le=100)] = 0.2

    draws: ClassVar[int] = 1

    def weights(self, uniform: Tensor, x: Tensor) -> MixWeights:
        weight = beta(uniform[:, 0], self.alpha)
        return MixWeights(to_device_of(x, weight).to(x.dtype)[:, None, None, None], weight)


class CutMix(Mixer):
    """Replaces a rectangle with that of another image (arXiv 1905.04899). The rectangle's fraction of the area, before
    clipping, is drawn from Beta(alpha, alpha)."""

    draws: ClassVar[int] = 3

    def weights(self, uniform: Tensor, x: Tensor) -> MixWeights:
        """The rectangle is a square centred on a random pixel and clipped; the label's weight is the remaining area."""
        side = x.shape[-1]
        half = (side * beta(uniform[:, 0], self.alpha).sqrt()).floor().div(2, rounding_mode="floor")[:, None]
        centre = (uniform[:, 1:] * side).floor()
        first, last = (centre - half).clamp(0, side), (centre + half).clamp(0, side)
        label_weight = 1 - (last - first).prod(dim=1) / side**2
        return MixWeights(outside_mask(to_device_of(x, first), to_device_of(x, last), x), label_weight)


def mix(
    mixers: Sequence[Mixer], x: Tensor, labels: Tensor, classes: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Mixes x, float [B, C, H, H], and labels, int64 [B]; returns labels as probabilities [B, classes] of x's type."""
    draws = [2, *(mixer.draws for mixer in mixers)]
    choice, *columns = torch.rand(len(x), sum(draws), generator=generator).split(draws, dim=1)
    mixer_index = (choice[:, 0] * len(mixers)).floor()
    pixel_weights = torch.ones((), dtype=x.dtype, device=x.device)
    label_weights = torch.ones(len(x))
    for index, (mixer, uniform) in enumerate(zip(mixers, columns, strict=True)):
        applies = (mixer_index == index) & (choice[:, 1] < mixer.probability)
        weights = mixer.weights(uniform, x)
        pixel_weights = torch.where(to_device_of(x, applies)[:, None, None, None], weights.pixels, pixel_weights)
        label_weights = torch.where(applies, weights.label, label_weights)
    targets = one_hot(labels, classes).to(x.dtype)
    return (
        torch.lerp(x.roll(1, 0), x, pixel_weights),
        torch.lerp(targets.roll(1, 0), targets, to_device_of(x, label_weights).to(x.dtype)[:, None]),
    )


def beta(uniform: Tensor, alpha: float) -> Tensor:
    """Converts uniform draws to draws from Beta(alpha, alpha) by linear interpolation between 4,096 quantiles."""
    position = uniform * QUANTILES
    low = position.floor().clamp(max=QUANTILES - 1).long()
    table = _quantiles(alpha)
    return torch.lerp(table[low], table[low + 1], position - low)


@lru_cache(maxsize=16)
def _quantiles(alpha: float) -> Tensor:
    from scipy.special import betaincinv  # slow import, needed only if a recipe mixes images

    return torch.from_numpy(betaincinv(alpha, alpha, torch.linspace(0, 1, QUANTILES + 1).double().numpy())).float()

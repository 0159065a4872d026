"""Batched versions of Pillow's colour operations.

Each takes x, float [B, C, H, H] in 0..1 with one or three channels, and an amount per image, [B, 1, 1, 1]; results are
in 0..1. For brightness, colour, contrast and sharpness, -1 gives a black, grey, uniform or smoothed image, 0 the
unchanged image, and a positive amount enhances it. `colour` does not change grey images.

Differs from Pillow: results are not rounded to 256 levels. posterize, solarize and equalize use the nearest level.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from convoy.data.arrays import LUMINANCE


def unchanged(x: Tensor, amount: Tensor) -> Tensor:
    return x


def brightness(x: Tensor, amount: Tensor) -> Tensor:
    return (x * (1 + amount)).clamp(0, 1)


def colour(x: Tensor, amount: Tensor) -> Tensor:
    return x if x.shape[1] == 1 else _enhanced(_luminance(x), x, amount)


def contrast(x: Tensor, amount: Tensor) -> Tensor:
    return _enhanced(_luminance(x).mean(dim=(1, 2, 3), keepdim=True), x, amount)


def sharpness(x: Tensor, amount: Tensor) -> Tensor:
    """The smoothing filter weights a pixel by 5 and its 8 neighbours by 1; border pixels are unchanged."""
    rows = x[..., :-2, :] + x[..., 1:-1, :] + x[..., 2:, :]  # faster than avg_pool2d on a CPU
    squares = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    smoothed = x.clone()
    smoothed[..., 1:-1, 1:-1] = (squares + 4 * x[..., 1:-1, 1:-1]) / 13
    return _enhanced(smoothed, x, amount)


def posterize(x: Tensor, amount: Tensor) -> Tensor:
    """Sets the lowest `amount` bits of a level to 0; the amount is rounded."""
    step = torch.exp2(amount.round()).round()
    return (_levels(x) / step).floor() * step / 255


def solarize(x: Tensor, amount: Tensor) -> Tensor:
    """Inverts levels from 256 - amount: none for an amount of 0, all for 256."""
    return torch.where(_levels(x) >= 256 - amount, (1 - x).clamp(min=0), x)


def autocontrast(x: Tensor, amount: Tensor) -> Tensor:
    """Stretches each channel to 0..1 unless it is constant."""
    low, high = x.amin(dim=(2, 3), keepdim=True), x.amax(dim=(2, 3), keepdim=True)
    return torch.where(high > low, (x - low) / (high - low), x)


def equalize(x: Tensor, amount: Tensor) -> Tensor:
    """Equalizes each channel's histogram in integer arithmetic, as Pillow does."""
    levels = _levels(x).flatten(2).flatten(0, 1).long()  # (B * C, H * H)
    counts = torch.zeros(len(levels), 256, dtype=torch.int64, device=x.device)
    counts.scatter_add_(1, levels, torch.ones_like(levels))
    brightest = counts.gather(1, levels.amax(dim=1, keepdim=True))
    step = (levels.shape[1] - brightest) // 255  # pixels per level; 0 if (almost) all pixels have the same level
    table = (counts.cumsum(dim=1) - counts + step // 2) // step.clamp(min=1)
    equal = table.clamp(max=255).gather(1, levels).view_as(x).to(x.dtype) / 255
    return torch.where(step.view(*x.shape[:2], 1, 1) > 0, equal, x)


COLOUR_OPS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "identity": unchanged,
    "autocontrast": autocontrast,
    "equalize": equalize,
    "posterize": posterize,
    "solarize": solarize,
    "brightness": brightness,
    "colour": colour,
    "contrast": contrast,
    "sharpness": sharpness,
}


def _enhanced(degenerate: Tensor, x: Tensor, amount: Tensor) -> Tensor:
    return torch.lerp(degenerate, x, 1 + amount).clamp(0, 1)


def _luminance(x: Tensor) -> Tensor:
    if x.shape[1] == 1:
        return x
    red, green, blue = LUMINANCE
    return red * x[:, :1] + green * x[:, 1:2] + blue * x[:, 2:]


def _levels(x: Tensor) -> Tensor:
    return (x * 255).round()

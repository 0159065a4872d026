"""Operations on colours, batched, as Pillow has them on 8-bit images.

Each takes x float [B, C, H, H] in 0..1, one or three channels, and an amount for each image, [B, 1, 1, 1]; the result
stays in 0..1. The amount of an enhancement is -1 for an image that has lost the quality (black, grey, of one grey,
smoothed), 0 for the image itself, and above 0 for more of it. A grey image is its own luminance, and `colour` leaves it
alone.

Differs from Pillow: results are not rounded to the 256 levels. Where a level matters (posterize, solarize, equalize)
it is the nearest one.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

LUMINANCE = (0.299, 0.587, 0.114)  # of red, green and blue: ITU-R BT.601, as Pillow's mode L


def unchanged(x: Tensor, amount: Tensor) -> Tensor:
    return x


def brightness(x: Tensor, amount: Tensor) -> Tensor:
    return (x * (1 + amount)).clamp(0, 1)


def colour(x: Tensor, amount: Tensor) -> Tensor:
    return x if x.shape[1] == 1 else _away_from(_luminance(x), x, amount)


def contrast(x: Tensor, amount: Tensor) -> Tensor:
    return _away_from(_luminance(x).mean(dim=(1, 2, 3), keepdim=True), x, amount)


def sharpness(x: Tensor, amount: Tensor) -> Tensor:
    """The smoothed image weighs a pixel 5 times and its 8 neighbours once; the outermost pixels are left alone."""
    rows = x[..., :-2, :] + x[..., 1:-1, :] + x[..., 2:, :]  # on a CPU avg_pool2d takes longer
    squares = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    smoothed = x.clone()
    smoothed[..., 1:-1, 1:-1] = (squares + 4 * x[..., 1:-1, 1:-1]) / 13
    return _away_from(smoothed, x, amount)


def posterize(x: Tensor, amount: Tensor) -> Tensor:
    """Sets the lowest bits of a level to 0, as many as the amount says when rounded."""
    step = torch.exp2(amount.round()).round()
    return (_levels(x) / step).floor() * step / 255


def solarize(x: Tensor, amount: Tensor) -> Tensor:
    """Inverts the levels from 256 - amount on: none at 0, all at 256."""
    return torch.where(_levels(x) >= 256 - amount, (1 - x).clamp(min=0), x)


def autocontrast(x: Tensor, amount: Tensor) -> Tensor:
    """Stretches each channel to 0..1; a channel of one value stays."""
    low, high = x.amin(dim=(2, 3), keepdim=True), x.amax(dim=(2, 3), keepdim=True)
    return torch.where(high > low, (x - low) / (high - low), x)


def equalize(x: Tensor, amount: Tensor) -> Tensor:
    """Spreads each channel's levels evenly, by whole numbers as Pillow does: of 28 x 28 pixels little is left grey."""
    levels = _levels(x).flatten(2).flatten(0, 1).long()  # (B * C, H * H)
    counts = torch.zeros(len(levels), 256, dtype=torch.int64, device=x.device)
    counts.scatter_add_(1, levels, torch.ones_like(levels))
    brightest = counts.gather(1, levels.amax(dim=1, keepdim=True))
    step = (levels.shape[1] - brightest) // 255  # pixels to a level; 0 where all have one level, or nearly
    table = (counts.cumsum(dim=1) - counts + step // 2) // step.clamp(min=1)
    equal = table.clamp(max=255).gather(1, levels).view_as(x).to(x.dtype) / 255
    return torch.where(step.view(*x.shape[:2], 1, 1) > 0, equal, x)


COLOURS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
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


def _away_from(plain: Tensor, x: Tensor, amount: Tensor) -> Tensor:
    return torch.lerp(plain, x, 1 + amount).clamp(0, 1)


def _luminance(x: Tensor) -> Tensor:
    if x.shape[1] == 1:
        return x
    red, green, blue = LUMINANCE
    return red * x[:, :1] + green * x[:, 1:2] + blue * x[:, 2:]


def _levels(x: Tensor) -> Tensor:
    return (x * 255).round()

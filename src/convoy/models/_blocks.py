"""Parts that several families share, chosen by a word in `model.options`, so that an ablation is an override.

The words are the same in every family: `activation`, `norm`, `pool`, `attention`, `drop_rate`, `upsample`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import nn
from torch.nn.functional import interpolate

from convoy.registry import unknown

Choice = TypeVar("Choice")

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "hardswish": nn.Hardswish,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}
POOLS: dict[str, type[nn.MaxPool2d | nn.AvgPool2d]] = {"max": nn.MaxPool2d, "average": nn.AvgPool2d}
NORMS = ("batch", "group", "none")


def chosen(option: str, word: str, allowed: Mapping[str, Choice]) -> Choice:
    """What a word of `model.options` stands for. Raises ValueError: unknown word."""
    if word not in allowed:
        raise unknown(option, word, allowed, "model.options")
    return allowed[word]


def activation(word: str) -> nn.Module:
    return chosen("activation", word, ACTIVATIONS)()


def norm(word: str, channels: int) -> nn.Module:
    """BatchNorm, GroupNorm (Wu & He 2018, arXiv 1803.08494: 32 groups, fewer where they would not divide), or none.

    A convolution before it needs a bias where the norm is none: `bias=needs_bias(word)`.
    """
    match word:
        case "batch":
            return nn.BatchNorm2d(channels)
        case "group":
            return nn.GroupNorm(math.gcd(32, channels), channels)
        case "none":
            return nn.Identity()
    raise unknown("norm", word, NORMS, "model.options")


def needs_bias(norm_word: str) -> bool:
    return norm_word == "none"


def pool(word: str, kernel: int, stride: int | None = None, padding: int = 0, *, ceil_mode: bool = False) -> nn.Module:
    """`ceil_mode` keeps the last row of an odd map: five halvings of 28 pixels end at 1 and not at 0."""
    return chosen("pool", word, POOLS)(kernel, stride, padding, ceil_mode=ceil_mode)


def checked_rate(option: str, rate: float) -> float:
    """A rate of dropout. Raises ValueError: not in [0, 1)."""
    if not 0 <= rate < 1:
        raise ValueError(f"{option} = {rate} in model.options: must be in [0, 1)")
    return rate


class Upsample(nn.Module):
    """Enlarges images by a whole factor, bilinearly, as the classics experiment feeds MNIST to large networks."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        if factor < 1:
            raise ValueError(f"upsample = {factor} in model.options: must be at least 1")
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.factor == 1:
            return x
        return interpolate(x, scale_factor=self.factor, mode="bilinear", align_corners=False)  # (N, C, fH, fW)


class SqueezeExcitation(nn.Module):
    """Scales channels by a gate made from their means (Hu et al. 2018, arXiv 1709.01507)."""

    def __init__(
        self, channels: int, hidden: int, *, inner: type[nn.Module] = nn.ReLU, gate: type[nn.Module] = nn.Sigmoid
    ) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, hidden, 1)
        self.inner = inner()
        self.expand = nn.Conv2d(hidden, channels, 1)
        self.gate = gate()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        means = x.mean(dim=(2, 3), keepdim=True)  # (N, C, 1, 1)
        return x * self.gate(self.expand(self.inner(self.reduce(means))))


class ConvolutionalAttention(nn.Module):
    """CBAM: a gate over channels, then one over places (Woo et al. 2018, arXiv 1807.06521)."""

    def __init__(self, channels: int, hidden: int, kernel: int = 7) -> None:
        super().__init__()
        self.channel_gate = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=False), nn.ReLU(), nn.Conv2d(hidden, channels, 1, bias=False)
        )
        self.place_gate = nn.Conv2d(2, 1, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled = self.channel_gate(x.mean((2, 3), keepdim=True)) + self.channel_gate(x.amax((2, 3), keepdim=True))
        x = x * pooled.sigmoid()
        places = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], dim=1)  # (N, 2, H, W)
        return x * self.place_gate(places).sigmoid()


def attention(word: str, channels: int, reduction: int = 16) -> nn.Module:
    """A block's attention: none, se or cbam, its bottleneck a sixteenth of the channels."""
    hidden = max(1, channels // reduction)
    match word:
        case "none":
            return nn.Identity()
        case "se":
            return SqueezeExcitation(channels, hidden)
        case "cbam":
            return ConvolutionalAttention(channels, hidden)
    raise unknown("attention", word, ("none", "se", "cbam"), "model.options")

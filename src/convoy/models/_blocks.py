"""Blocks that several families use. `model.options` selects them, so that an ablation only overrides an option.

Options have the same names in every family: `activation`, `norm`, `pool`, `attention`, `drop_rate`, `upsample`.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import nn
from torch.nn.functional import dropout, interpolate

from convoy.registry import unknown
from convoy.text import gettext as _
from convoy.text.lists import joined

Key = TypeVar("Key")
Choice = TypeVar("Choice")

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "hardswish": nn.Hardswish,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}
POOLS: dict[str, type[nn.MaxPool2d | nn.AvgPool2d]] = {"max": nn.MaxPool2d, "average": nn.AvgPool2d}
NORMS: dict[str, Callable[[int, float], nn.Module]] = {  # arguments: channels, epsilon of a BatchNorm
    "batch": nn.BatchNorm2d,
    "group": lambda channels, epsilon: nn.GroupNorm(math.gcd(32, channels), channels),
    "none": nn.Identity,
}
RESNET_BLOCKS = {  # depth -> blocks of each stage; bottlenecks from depth 50 on
    18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3),
}  # fmt: skip
MONOTONIC = ("relu", "leaky_relu", "elu", "tanh", "sigmoid")


def choice(option: str, value: Key, allowed: Mapping[Key, Choice]) -> Choice:
    """Returns `allowed[value]`. Raises ValueError for other values; the message lists close or allowed ones."""
    if value in allowed:
        return allowed[value]
    if isinstance(value, str):
        raise unknown(option, value, map(str, allowed), "model.options")
    raise ValueError(
        _(
            "{option} = {value} in model.options: expected one of {names}",
            option=option,
            value=value,
            names=joined(map(str, allowed)),
        )
    )


def activation(name: str) -> nn.Module:
    return choice("activation", name, ACTIVATIONS)()


def norm(name: str, channels: int, epsilon: float = 1e-5) -> nn.Module:
    """BatchNorm with `epsilon`, GroupNorm (Wu & He 2018, arXiv 1803.08494; at most 32 groups), or none."""
    return choice("norm", name, NORMS)(channels, epsilon)


@dataclass(frozen=True)
class Style:
    """Options common to all blocks of a network. Convolutions with stride 1 preserve the size of the map."""

    norm: str
    activation: str
    epsilon: float = field(default=1e-5, kw_only=True)  # epsilon of batch norms
    residual: bool = field(default=True, kw_only=True)  # False: blocks without shortcuts
    drop_rate: float = field(default=0.0, kw_only=True)  # dropout rate in a block
    attention: str = field(default="none", kw_only=True)  # at the end of a block
    bottleneck: bool = field(default=False, kw_only=True)  # blocks of 1x1, 3x3 and 1x1 convolutions

    @property
    def expansion(self) -> int:
        """Output channels / inner channels of a residual block."""
        return 4 if self.bottleneck else 1

    def conv(self, in_chans: int, out_chans: int, kernel: int, stride: int = 1, *, groups: int = 1) -> nn.Conv2d:
        """A convolution, with a bias only if no norm follows."""
        bias = self.norm == "none"
        return nn.Conv2d(in_chans, out_chans, kernel, stride, padding=kernel // 2, groups=groups, bias=bias)

    def conv_norm(
        self, in_chans: int, out_chans: int, kernel: int, stride: int = 1, *, groups: int = 1
    ) -> nn.Sequential:
        conv = self.conv(in_chans, out_chans, kernel, stride, groups=groups)
        return nn.Sequential(conv, self.norm_of(out_chans))

    def conv_norm_act(
        self, in_chans: int, out_chans: int, kernel: int, stride: int = 1, *, groups: int = 1
    ) -> nn.Sequential:
        return self.conv_norm(in_chans, out_chans, kernel, stride, groups=groups).append(self.act())

    def norm_of(self, channels: int) -> nn.Module:
        return norm(self.norm, channels, self.epsilon)

    def act(self) -> nn.Module:
        return activation(self.activation)

    def norm_act(self, channels: int) -> nn.Sequential:
        return nn.Sequential(self.norm_of(channels), self.act())


def make_pool(name: str, kernel: int, stride: int | None = None, *, ceil_mode: bool = False) -> nn.Module:
    """A pooling layer. `ceil_mode` keeps the last row of an odd map: 28 pixels halved five times give 1, not 0."""
    return choice("pool", name, POOLS)(kernel, stride, ceil_mode=ceil_mode)


def activation_and_pool(
    activation_name: str, pool_name: str, kernel: int, stride: int | None = None, *, ceil_mode: bool = False
) -> tuple[nn.Module, nn.Module]:
    """The last two layers of a stage, in order.

    Max pooling comes before a monotonic activation: the result is the same, and with stride 2 the activation processes
    only a quarter of the values.
    """
    act, pooling = activation(activation_name), make_pool(pool_name, kernel, stride, ceil_mode=ceil_mode)
    return (pooling, act) if pool_name == "max" and activation_name in MONOTONIC else (act, pooling)


def conv_stages(
    in_chans: int, stages: Sequence[Sequence[int]], style: Style, pool: str, *, ceil_mode: bool = False
) -> nn.Sequential:
    """Stages of 3x3 convolutions with bias, norm and activation; each stage ends with 2x2 pooling.

    `stages` lists the output channels of the convolutions. They have a bias even before a norm, so that the option
    `norm` changes nothing else.
    """
    layers = nn.Sequential()
    for *inner, last in stages:
        for channels in inner:
            layers.extend([nn.Conv2d(in_chans, channels, 3, padding=1), *style.norm_act(channels)])
            in_chans = channels
        layers.extend([nn.Conv2d(in_chans, last, 3, padding=1), style.norm_of(last)])
        layers.extend(activation_and_pool(style.activation, pool, 2, ceil_mode=ceil_mode))
        in_chans = last
    return layers


def checked_rate(option: str, rate: float) -> float:
    """Returns the rate. Raises ValueError if it is not in [0, 1)."""
    if not 0 <= rate < 1:
        raise ValueError(_("{option} = {rate} in model.options: expected a value in [0, 1)", option=option, rate=rate))
    return rate


def checked_count(option: str, count: int) -> int:
    """Returns the count. Raises ValueError if it is less than 1."""
    if count < 1:
        raise ValueError(_("{option} = {count} in model.options: expected at least 1", option=option, count=count))
    return count


def checked_factor(option: str, factor: float) -> float:
    """Returns the factor. Raises ValueError unless it is positive and finite."""
    if not 0 < factor < math.inf:
        raise ValueError(_("{option} = {factor} in model.options: expected above 0", option=option, factor=factor))
    return factor


def blocks_of_stage(depth: int, layers: int, others: int) -> int:
    """Returns the blocks per stage: n in `depth = layers * n + others`. Raises ValueError if n is not an integer."""
    blocks, rest = divmod(depth - others, layers)
    if blocks < 1 or rest:
        depths = joined(str(layers * n + others) for n in (1, 2, 3))
        raise ValueError(
            _(
                "depth = {depth} in model.options: expected {layers}n + {others}, with n >= 1: {depths}, ...",
                depth=depth,
                layers=layers,
                others=others,
                depths=depths,
            )
        )
    return blocks


def residual_stages(
    in_chans: int, widths: Sequence[int], counts: Sequence[int], expansion: int = 1
) -> Iterator[tuple[int, int, int]]:
    """Yields input channels, channels and stride of each block. Every stage except the first starts with stride 2.

    A block has `expansion` times `channels` output channels.
    """
    for stage, (channels, count) in enumerate(zip(widths, counts, strict=True)):
        for block in range(count):
            yield in_chans, channels, 2 if stage > 0 and block == 0 else 1
            in_chans = channels * expansion


class Upsample(nn.Module):
    """Bilinear upsampling by an integer factor, as in classics-mnist."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = checked_count("upsample", factor)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.factor == 1:
            return x
        return interpolate(x, scale_factor=self.factor, mode="bilinear", align_corners=False)  # (N, C, fH, fW)


class SqueezeExcitation(nn.Module):
    """Scales channels by a gate computed from their means (Hu et al. 2018, arXiv 1709.01507)."""

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
    """CBAM: a gate over channels, then one over positions (Woo et al. 2018, arXiv 1807.06521)."""

    def __init__(self, channels: int, hidden: int, kernel: int = 7) -> None:
        super().__init__()
        self.channel_gate = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=False), nn.ReLU(), nn.Conv2d(hidden, channels, 1, bias=False)
        )
        self.place_gate = nn.Conv2d(2, 1, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        channels = self.channel_gate(x.mean((2, 3), keepdim=True)) + self.channel_gate(x.amax((2, 3), keepdim=True))
        x = x * channels.sigmoid()
        pooled = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], dim=1)  # (N, 2, H, W)
        return x * self.place_gate(pooled).sigmoid()


def attention(name: str, channels: int, reduction: int = 16) -> nn.Module:
    """Returns the attention module of a block: none, se or cbam."""
    kinds: dict[str, Callable[[int, int], nn.Module]]
    kinds = {"none": nn.Identity, "se": SqueezeExcitation, "cbam": ConvolutionalAttention}
    return choice("attention", name, kinds)(channels, max(1, channels // reduction))


class StochasticDepth(nn.Module):
    """Randomly drops a branch per image and rescales the others (Huang et al. 2016, arXiv 1603.09382)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training or self.rate == 0:
            return x
        ones = x.new_ones(len(x), *[1] * (x.ndim - 1))
        return x * dropout(ones, self.rate)  # 0 or 1 / (1 - rate) per image


class InvertedResidual(nn.Module):
    """1x1 expansion to `hidden` channels, depthwise convolution, gate, linear 1x1 projection, shortcut.

    The block of MobileNetV2 (Sandler et al. 2018, arXiv 1801.04381) with the additions of V3 and EfficientNet.
    """

    def __init__(
        self,
        widths: tuple[int, int, int],  # input, hidden, output
        kernel: int,
        stride: int,
        style: Style,
        gate: nn.Module | None = None,
        *,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        in_chans, hidden, out_chans = widths
        self.branch = nn.Sequential()
        if hidden != in_chans:
            self.branch.append(style.conv_norm_act(in_chans, hidden, 1))
        self.branch.append(style.conv_norm_act(hidden, hidden, kernel, stride, groups=hidden))
        if gate is not None:
            self.branch.append(gate)
        self.branch.append(style.conv_norm(hidden, out_chans, 1))
        self.drop_path = StochasticDepth(drop_path)
        self.residual = style.residual and stride == 1 and in_chans == out_chans

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.branch(x)  # (N, out, H/stride, W/stride)
        return x + self.drop_path(y) if self.residual else y


def scaled_channels(channels: int, factor: float) -> int:
    """Channels times `width_mult`, rounded to a multiple of 8 as in MobileNet. Raises ValueError if it is not > 0."""
    scaled = channels * checked_factor("width_mult", factor)
    nearest = max(8, int(scaled + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * scaled else nearest + 8


def stem_strides(stem: str, paper: Sequence[int]) -> list[int]:
    """Returns the strides of the layers: the paper's for "paper"; for "small", the first two strides of 2 become 1.

    A network with five strides of 2 then reduces 28 pixels to 4x4 instead of 1x1. Both stems have the same weights.
    """
    skipped = choice("stem", stem, {"small": 2, "paper": 0})
    halvings = [index for index, stride in enumerate(paper) if stride == 2]
    return [1 if index in halvings[:skipped] else stride for index, stride in enumerate(paper)]


def imagenet_stem(
    name: str, in_chans: int, out_chans: int, conv: Callable[[int, int, int, int], nn.Sequential]
) -> nn.Sequential:
    """A stem: "paper" is a 7x7 convolution of stride 2 and max pooling, "small" a 7x7 and "3x3" a 3x3 convolution.

    `conv` makes the convolution from input channels, output channels, kernel and stride.
    """
    kernel, stride, pools = choice("stem", name, {"small": (7, 1, False), "3x3": (3, 1, False), "paper": (7, 2, True)})
    stem = conv(in_chans, out_chans, kernel, stride)
    return stem.append(nn.MaxPool2d(3, 2, padding=1)) if pools else stem


def init_for_norm(network: nn.Module, norm_name: str) -> None:
    """Initialises depthwise networks: torch's default with norms, `init_fan_out` without.

    Without norms, signals vanish with torch's default: the 27 layers of MobileNet give the same output for all images.
    With norms, torch's smaller weights learn faster: after 60 steps of AdamW (lr 1e-3, batches of 32 digits) the loss
    of MobileNetV2 was 0.68 instead of 1.25 (means of 3 seeds).
    """
    if norm_name == "none":
        init_fan_out(network)


def init_fan_out(network: nn.Module) -> None:
    """He et al. 2015, arXiv 1502.01852: normal weights with variance 2 / fan-out, in linear layers std 0.01; biases 0.

    The fan-out is computed per group. torch's function ignores groups, so that the initial weights of a depthwise
    convolution of C channels would be sqrt(C) times too small.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels // module.groups * math.prod(module.kernel_size)
            nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
    zero_biases(network)


def init_glorot(network: nn.Module) -> None:
    """Normal weights with variance 2 / (fan-in + fan-out), biases 0 (Glorot and Bengio 2010)."""
    init_weights(network, nn.init.xavier_normal_)


def init_weights(network: nn.Module, init: Callable[[torch.Tensor], object]) -> None:
    """Applies `init` to the weights of convolutions and linear layers, in place; biases 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            init(module.weight)
    zero_biases(network)


def zero_biases(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)


def init_default(network: nn.Module) -> None:
    """Keeps torch's default weights."""


INITS = {"default": init_default, "glorot": init_glorot, "he": init_fan_out}  # values of the option `init`

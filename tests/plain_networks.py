"""The networks as published, in plain PyTorch without Convoy, with torch's default initial weights.

Written from tests/provenance.py. Their names are those of the built-in recipes.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import nn
from torch.nn import BatchNorm1d, BatchNorm2d, Conv2d, Dropout, Flatten, Linear, MaxPool2d, ReLU, Sequential, Sigmoid


class Sum(nn.Module):
    """The sum of a branch and a shortcut, followed by `after`."""

    def __init__(self, branch: nn.Module, shortcut: nn.Module, after: nn.Module) -> None:
        super().__init__()
        self.branch, self.shortcut, self.after = branch, shortcut, after

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.after(self.branch(x) + self.shortcut(x))


class Fork(nn.Module):
    """Branches with concatenated channels."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([branch(x) for branch in self.branches], dim=1)


class Gated(nn.Module):
    """Multiplies channels by the sum of two sigmoid gates, of the average and of the maximum of a channel."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.gate = Sequential(Linear(channels, hidden), ReLU(), Linear(hidden, channels), Sigmoid())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * (self.gate(x.mean((2, 3))) + self.gate(x.amax((2, 3))))[:, :, None, None]


class Borrowed(nn.Module):
    """A convolution of another layer, run again; its weights are counted once."""

    def __init__(self, conv: Conv2d) -> None:
        super().__init__()
        self.conv = [conv]  # in a list, so that it is not registered a second time

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv[0](x)


def unit(inputs: int, outputs: int, kernel: int, stride: int = 1, *, groups: int = 1, relu: bool = True) -> Sequential:
    """Convolution without bias, batch norm and, by default, ReLU."""
    conv = Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return Sequential(conv, BatchNorm2d(outputs), *[ReLU()] * relu)


def doubled() -> nn.Upsample:
    return nn.Upsample(scale_factor=2, mode="bilinear")


def wide_kernel() -> nn.Module:
    return Sequential(
        Conv2d(1, 32, 7, padding=3), ReLU(), MaxPool2d(2), Conv2d(32, 64, 5, padding=2), ReLU(), MaxPool2d(2),
        Flatten(), Linear(3136, 1024), ReLU(), Dropout(0.3), Linear(1024, 10), nn.Softmax(1),
    )  # fmt: skip


def res_attention() -> nn.Module:
    def block(inputs: int, outputs: int) -> nn.Module:
        branch = Sequential(Conv2d(inputs, outputs, 3, padding=1), ReLU(), Conv2d(outputs, outputs, 3, padding=1))
        return Sum(branch, Conv2d(inputs, outputs, 1), nn.Identity())

    return Sequential(
        Conv2d(1, 32, 7, padding=3), ReLU(), BatchNorm2d(32), MaxPool2d(2), block(32, 64), MaxPool2d(2),
        Conv2d(64, 64, (1, 3), padding=(0, 1), groups=64), Conv2d(64, 64, (3, 1), padding=(1, 0), groups=64),
        block(64, 128), MaxPool2d(2), nn.AdaptiveAvgPool2d(1), Gated(128, 32), Flatten(),
        Linear(128, 1024), ReLU(), Dropout(0.3), Linear(1024, 10), nn.Softmax(1),
    )  # fmt: skip


def basic() -> nn.Module:
    stages = [(Conv2d(i, o, 3, padding=1), ReLU(), MaxPool2d(2)) for i, o in ((3, 32), (32, 64), (64, 128))]
    return Sequential(*sum(stages, ()), Flatten(), Linear(2048, 512), ReLU(), Linear(512, 10))


def improved() -> nn.Module:
    layers: list[nn.Module] = []
    for a, b, c in ((3, 64, 128), (128, 256, 256), (256, 512, 512)):
        layers += [Conv2d(a, b, 3, padding=1), BatchNorm2d(b), ReLU(), Conv2d(b, c, 3, padding=1), BatchNorm2d(c)]
        layers += [ReLU(), MaxPool2d(2)]
    head = (Linear(8192, 1024), BatchNorm1d(1024), ReLU(), Dropout(0.5), Linear(1024, 10))
    return Sequential(*layers, Flatten(), *head)


def residual() -> nn.Module:
    def block(inputs: int, outputs: int, stride: int) -> nn.Module:
        branch = Sequential(unit(inputs, outputs, 3, stride), unit(outputs, outputs, 3, relu=False))
        shortcut = nn.Identity() if inputs == outputs else unit(inputs, outputs, 1, stride, relu=False)
        return Sum(branch, shortcut, ReLU())

    widths = ((64, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1))
    blocks = [block(*width) for width in widths]
    return Sequential(unit(3, 64, 3), *blocks, nn.AdaptiveAvgPool2d(4), Flatten(), Linear(4096, 10))


def vgg_a(*, norm: bool) -> nn.Module:
    layers: list[nn.Module] = []
    width = 3
    for channels in (64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0):
        if channels == 0:
            layers.append(MaxPool2d(2))
            continue
        layers += [Conv2d(width, channels, 3, padding=1), *[BatchNorm2d(channels)] * norm, ReLU()]
        width = channels
    return Sequential(
        *layers, Flatten(), Linear(512, 512), ReLU(), Linear(512, 512), ReLU(), Linear(512, 10)
    )  # fmt: skip


class LightResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()

        def block(inputs: int, outputs: int, stride: int) -> nn.Module:
            branch = Sequential(unit(inputs, outputs, 3, stride), unit(outputs, outputs, 3, relu=False))
            projected = Sequential(unit(inputs, outputs, 1, stride, relu=False), Dropout(0.1))
            return Sum(branch, nn.Identity() if inputs == outputs else projected, ReLU())

        widths = ((32, 128, 1), (128, 128, 1), (128, 256, 2), (256, 256, 1), (256, 512, 2), (512, 512, 1))
        blocks = [block(*width) for width in widths]
        self.used = Sequential(unit(1, 32, 3), *blocks, nn.AdaptiveAvgPool2d(1), Flatten(), Linear(512, 10))
        self.never_used = unit(32, 128, 3, relu=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.used(x)


def lenet() -> nn.Module:
    return Sequential(
        Conv2d(1, 6, 5), Sigmoid(), MaxPool2d(2), Conv2d(6, 16, 5), Sigmoid(), MaxPool2d(2),
        Flatten(), Linear(256, 120), Sigmoid(), Linear(120, 84), Sigmoid(), Linear(84, 10),
    )  # fmt: skip


def alexnet(widths: tuple[int, ...], stem: Conv2d, pool: tuple[int, int], scale: int, side: int) -> nn.Module:
    a, b, c, d, e = widths
    return Sequential(
        nn.Upsample(scale_factor=scale, mode="bilinear"), stem, ReLU(), MaxPool2d(*pool),
        Conv2d(a, b, 5, padding=2), ReLU(), MaxPool2d(*pool), Conv2d(b, c, 3, padding=1), ReLU(),
        Conv2d(c, d, 3, padding=1), ReLU(), Conv2d(d, e, 3, padding=1), ReLU(), MaxPool2d(*pool), Flatten(),
        Dropout(0.5), Linear(e * side * side, 4096), ReLU(), Dropout(0.5), Linear(4096, 4096), ReLU(), Linear(4096, 10),
    )  # fmt: skip


def small_alexnet() -> nn.Module:
    return alexnet((48, 128, 192, 192, 128), Conv2d(1, 48, 5, padding=2), (2, 2), scale=2, side=7)


def large_alexnet() -> nn.Module:
    return alexnet((96, 256, 384, 384, 256), Conv2d(1, 96, 11, 4, padding=2), (3, 2), scale=8, side=6)


def resnet18_shared() -> nn.Module:
    def block(inputs: int, outputs: int, stride: int) -> nn.Module:
        branch = Sequential(unit(inputs, outputs, 3, stride), unit(outputs, outputs, 3, relu=False))
        return Sum(branch, nn.Identity() if inputs == outputs else Borrowed(branch[0][0]), ReLU())

    blocks = [block(64, 64, 1), block(64, 64, 1)]
    for width in (64, 128, 256):
        blocks += [block(width, 2 * width, 2), block(2 * width, 2 * width, 1)]
    stem = (doubled(), unit(1, 64, 7, 2), MaxPool2d(3, 2, 1))
    return Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), Flatten(), Dropout(0.5), Linear(512, 10))


def mobilenet_v1() -> nn.Module:
    widths = (32, 64, 128, 128, 256, 256, *[512] * 6, 1024, 1024)
    layers: list[nn.Module] = [unit(1, 32, 3, 2)]
    for place, (inputs, outputs) in enumerate(pairwise(widths)):
        layers += [unit(inputs, inputs, 3, 2 if place in (1, 3, 5, 11) else 1, groups=inputs), unit(inputs, outputs, 1)]
    return Sequential(doubled(), *layers, nn.AdaptiveAvgPool2d(1), Flatten(), Dropout(0.5), Linear(1024, 10))


def googlenet() -> nn.Module:
    def module(inputs: int, a: int, b: int, c: int, d: int, e: int, f: int) -> nn.Module:
        return Fork(
            Sequential(Conv2d(inputs, a, 1), ReLU()),
            Sequential(Conv2d(inputs, b, 1), ReLU(), Conv2d(b, c, 3, padding=1), ReLU()),
            Sequential(Conv2d(inputs, d, 1), ReLU(), Conv2d(d, e, 5, padding=2), ReLU()),
            Sequential(MaxPool2d(3, 1, 1), Conv2d(inputs, f, 1), ReLU()),
        )

    return Sequential(
        doubled(), Conv2d(1, 64, 7, 2, padding=3), ReLU(), MaxPool2d(3, 2, 1), Conv2d(64, 64, 1), ReLU(),
        Conv2d(64, 192, 3, padding=1), ReLU(), MaxPool2d(3, 2, 1),
        module(192, 64, 96, 128, 16, 32, 32), module(256, 128, 128, 192, 32, 96, 64), MaxPool2d(3, 2, 1),
        module(480, 192, 96, 208, 16, 48, 64), module(512, 160, 112, 224, 24, 64, 64),
        module(512, 128, 128, 256, 24, 64, 64), module(512, 112, 144, 288, 32, 64, 64),
        module(528, 256, 160, 320, 32, 128, 128), MaxPool2d(3, 2, 1),
        module(832, 256, 160, 320, 32, 128, 128), module(832, 384, 192, 384, 48, 128, 128),
        nn.AdaptiveAvgPool2d(1), Flatten(), Dropout(0.2), Linear(1024, 10),
    )  # fmt: skip


def two_conv() -> nn.Module:
    return Sequential(
        Conv2d(1, 16, 3, padding=1), BatchNorm2d(16), ReLU(), MaxPool2d(2),
        Conv2d(16, 32, 3, padding=1), BatchNorm2d(32), ReLU(), MaxPool2d(2),
        Flatten(), Linear(1568, 392), ReLU(), Linear(392, 196), ReLU(), Linear(196, 10), nn.Softmax(1),
    )  # fmt: skip


PLAIN: dict[str, Callable[[], nn.Module]] = {
    "course-mnist/wide-kernel-cnn-published": wide_kernel,
    "course-mnist/res-attention-cnn-published": res_attention,
    "cifar-course/basic-cnn-published": basic,
    "cifar-course/improved-cnn-published": improved,
    "cifar-course/residual-cnn-published": residual,
    "cifar-course/vgg-a-published": lambda: vgg_a(norm=False),
    "cifar-course/vgg-a-bn-published": lambda: vgg_a(norm=True),
    "resnet-mnist/published": LightResNet,
    "classics-mnist/lenet-published": lenet,
    "classics-mnist/alexnet-published": small_alexnet,
    "classics-mnist/resnet18-shared-published": resnet18_shared,
    "classics-mnist/mobilenet-v1-published": mobilenet_v1,
    "classics-mnist/googlenet-published": googlenet,
    "classics-mnist/alexnet-large-published": large_alexnet,
    "tensor-mnist/published": two_conv,
}

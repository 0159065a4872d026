"""A small Inception network for CIFAR-10 with two-branch modules, from a paper on networks that fit random labels.

Paper: Zhang, Bengio, Hardt, Recht, Vinyals, "Understanding deep learning requires rethinking generalization", 2016,
appendix A: a small version of the Inception v3 that the paper trains on ImageNet. https://arxiv.org/abs/1611.03530
Differs from the paper: accepts any image size, while the paper crops CIFAR-10 to 28 pixels; downsampling layers pad all
sides. Batch norm has a bias and no scale: the published 1,649,402 parameters are those of the network without norms.
`factorised = true` uses the 1x3 and 3x1 convolutions of Inception v3 (Szegedy et al. 2015, arXiv 1512.00567) instead of
3x3.
"""

from functools import partial

import torch
from torch import nn

from convoy.models._blocks import Style, checked_rate
from convoy.models.entry import Geometry
from convoy.models.network import AveragingNetwork

STEM = 96
# A pair: channels of the 1x1 and of the 3x3 branch. A single number: channels of the 3x3 branch of a downsampling
# module, whose other branch is max pooling.
MODULES: tuple[tuple[int, int] | int, ...] = (
    (32, 32), (32, 48), 80,
    (112, 48), (96, 64), (80, 80), (48, 96), 96,
    (176, 160), (176, 160),
)  # fmt: skip


def conv_module(style: Style, in_chans: int, out_chans: int, kernel: tuple[int, int], stride: int = 1) -> nn.Sequential:
    padding = (kernel[0] // 2, kernel[1] // 2)
    conv = nn.Conv2d(in_chans, out_chans, kernel, stride, padding, bias=style.norm == "none")
    norm = style.norm_of(out_chans)
    if isinstance(norm, nn.BatchNorm2d):
        norm.register_parameter("weight", None)
    return nn.Sequential(conv, norm, style.act())


class Branches(nn.ModuleList):
    """Parallel branches, whose outputs are concatenated along the channels."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([branch(x) for branch in self], dim=1)


class InceptionV3Small(AveragingNetwork):
    def __init__(
        self,
        geometry: Geometry,
        *,
        norm: str = "batch",
        activation: str = "relu",
        drop_rate: float = 0.0,
        factorised: bool = False,
    ) -> None:
        super().__init__()
        conv = partial(conv_module, Style(norm, activation))

        def three(in_chans: int, out_chans: int) -> nn.Sequential:
            if factorised:
                return nn.Sequential(conv(in_chans, out_chans, (1, 3)), conv(out_chans, out_chans, (3, 1)))
            return conv(in_chans, out_chans, (3, 3))

        self.features = nn.Sequential(conv(geometry.in_chans, STEM, (3, 3)))
        width = STEM
        for channels in MODULES:
            if isinstance(channels, int):
                branch = conv(width, channels, (3, 3), stride=2)
                self.features.append(Branches([branch, nn.MaxPool2d(3, 2, padding=1)]))
                width += channels
            else:
                self.features.append(Branches([conv(width, channels[0], (1, 1)), three(width, channels[1])]))
                width = sum(channels)
        self.head = nn.Sequential(
            nn.Dropout(checked_rate("drop_rate", drop_rate)), nn.Linear(width, geometry.num_classes)
        )

"""Residual networks with activation before convolution, so that shortcuts pass signals unchanged.

Paper: He, Zhang, Ren, Sun, "Identity Mappings in Deep Residual Networks", 2016. https://arxiv.org/abs/1603.05027
Differs from the paper: `preact_resnet18`, `34` and `50` combine its block with the depths of the 2015 paper; the paper
does not train these. The first shortcut of 18 and 34 passes the stem's output unchanged, while the paper activates it
first; their stem keeps the size of the map (see resnet.py) unless `stem = "paper"`. `preact_resnet110` and
`preact_resnet164` are the paper's networks for CIFAR; its 1001-layer network is `preact_resnet164` with `depth = 1001`.
Initial weights follow He et al. 2015 (arXiv 1502.01852); the two CIFAR networks are too deep to train without a norm.
"""

import torch
from torch import nn

from convoy.models import _blocks
from convoy.models.entry import Geometry
from convoy.models.network import StemAndBlocks

WIDTHS, CIFAR_WIDTHS = (64, 128, 256, 512), (16, 32, 64)
BLOCKS = {depth: _blocks.RESNET_BLOCKS[depth] for depth in (18, 34, 50)}


class PreActBlock(nn.Module):
    """A projection shortcut reads the activated input; an identity shortcut only with `activated_shortcut`."""

    def __init__(
        self, in_chans: int, channels: int, stride: int, style: _blocks.Style, *, activated_shortcut: bool
    ) -> None:
        super().__init__()
        out_chans = channels * style.expansion
        self.activate = style.norm_act(in_chans)
        if style.bottleneck:
            self.branch = nn.Sequential(
                style.conv(in_chans, channels, 1), style.norm_act(channels),
                style.conv(channels, channels, 3, stride), style.norm_act(channels),
                style.conv(channels, out_chans, 1),
            )  # fmt: skip
        else:
            self.branch = nn.Sequential(
                style.conv(in_chans, channels, 3, stride), style.norm_act(channels),
                style.conv(channels, out_chans, 3),
            )  # fmt: skip
        self.residual = style.residual
        self.shortcut: nn.Module = nn.Identity()
        changes_shape = stride != 1 or in_chans != out_chans
        if style.residual and changes_shape:
            self.shortcut = style.conv(in_chans, out_chans, 1, stride)
        self.activated_shortcut = activated_shortcut or changes_shape

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        activated = self.activate(x)
        if not self.residual:
            return self.branch(activated)
        return self.shortcut(activated if self.activated_shortcut else x) + self.branch(activated)


def trunk(
    in_chans: int, widths: tuple[int, ...], blocks: tuple[int, ...], style: _blocks.Style, *, activates_first: bool
) -> nn.Sequential:
    """Returns all blocks, the last norm and activation. Each stage except the first starts with stride 2."""
    layers = nn.Sequential()
    for shape in _blocks.residual_stages(in_chans, widths, blocks, style.expansion):
        first = activates_first and len(layers) == 0
        layers.append(PreActBlock(*shape, style, activated_shortcut=first))
    return layers.append(style.norm_act(widths[-1] * style.expansion))


class PreActResNet(StemAndBlocks):
    def __init__(
        self,
        geometry: Geometry,
        *,
        depth: int = 18,
        stem: str = "small",
        residual: bool = True,
        norm: str = "batch",
        activation: str = "relu",
    ) -> None:
        super().__init__()
        blocks = _blocks.choice("depth", depth, BLOCKS)
        style = _blocks.Style(norm, activation, residual=residual, bottleneck=depth >= 50)
        self.stem = _blocks.imagenet_stem(
            stem, geometry.in_chans, WIDTHS[0], lambda *shape: nn.Sequential(style.conv(*shape))
        )
        self.blocks = trunk(WIDTHS[0], WIDTHS, blocks, style, activates_first=False)
        self.head = nn.Linear(WIDTHS[-1] * style.expansion, geometry.num_classes)
        _blocks.init_fan_out(self)


class CifarPreActResNet(StemAndBlocks):
    def __init__(
        self,
        geometry: Geometry,
        *,
        depth: int = 110,
        bottleneck: bool = False,
        residual: bool = True,
        norm: str = "batch",
        activation: str = "relu",
    ) -> None:
        super().__init__()
        style = _blocks.Style(norm, activation, residual=residual, bottleneck=bottleneck)
        blocks = (_blocks.blocks_of_stage(depth, 9 if bottleneck else 6, 2),) * len(CIFAR_WIDTHS)
        self.stem = style.conv(geometry.in_chans, CIFAR_WIDTHS[0], 3)
        self.blocks = trunk(CIFAR_WIDTHS[0], CIFAR_WIDTHS, blocks, style, activates_first=True)
        self.head = nn.Linear(CIFAR_WIDTHS[-1] * style.expansion, geometry.num_classes)
        _blocks.init_fan_out(self)

"""The ImageNet residual networks, and variants with an attention gate at the end of each block.

Papers: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", 2015. https://arxiv.org/abs/1512.03385
SE: Hu, Shen, Sun, "Squeeze-and-Excitation Networks", 2018. https://arxiv.org/abs/1709.01507
CBAM: Woo, Park, Lee, Kweon, "Convolutional Block Attention Module", 2018. https://arxiv.org/abs/1807.06521
Differs from the paper: the stem. By default (`stem = "small"`) its 7x7 convolution has stride 1 and no pooling follows,
so that the last map of 28 pixels is 4x4 instead of 1x1. `stem = "paper"` halves the map twice before the first block.
Both stems have the same parameters (`resnet18` has the standard 11,175,370 on MNIST), so the weights of one network
load into the other. `stem = "3x3"` is the convolution of most ResNets for CIFAR (11,173,962 parameters on MNIST). In a
bottleneck that halves the map, the stride is in the 3x3 convolution and not in the first 1x1 convolution, as in
torchvision. CBAM's spatial gate has no norm. Initial weights follow He et al. 2015 (arXiv 1502.01852), as in
torchvision, with `init = "he"`.

`resnet18_shared` is the network of the classics experiment, with faulty shortcuts, enlarged images, dropout of 0.5
before the head, and torch's default initial weights. The same network without the fault is `resnet18` with
`stem = "paper", upsample = 2, drop_rate = 0.5, init = "default"`.
"""

import torch
from torch import nn

from convoy.models import _blocks
from convoy.models.entry import Geometry
from convoy.models.network import Network
from convoy.text import gettext as _

WIDTHS = (64, 128, 256, 512)
SHORTCUTS = {"projection": False, "shared": True}  # whether the shortcut uses the block's first convolution


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, or a bottleneck of 1x1, 3x3 and 1x1, with a shortcut."""

    def __init__(self, in_chans: int, channels: int, stride: int, style: _blocks.Style, *, shares: bool) -> None:
        super().__init__()
        out_chans = channels * style.expansion
        if style.bottleneck:
            self.branch = nn.Sequential(
                *style.conv_norm_act(in_chans, channels, 1),
                *style.conv_norm_act(channels, channels, 3, stride),
                *style.conv_norm(channels, out_chans, 1),
            )
        else:
            self.branch = nn.Sequential(
                *style.conv_norm_act(in_chans, channels, 3, stride), *style.conv_norm(channels, out_chans, 3)
            )
        self.attention = _blocks.attention(style.attention, out_chans)
        self.residual = style.residual
        changes_shape = stride != 1 or in_chans != out_chans
        self.shares = style.residual and shares and changes_shape
        self.shortcut: nn.Module = nn.Identity()
        if style.residual and changes_shape and not shares:
            self.shortcut = style.conv_norm(in_chans, out_chans, 1, stride)
        self.activation = style.act()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.attention(self.branch(x))  # (N, out, H/stride, W/stride)
        if self.shares:
            y = y + self.branch[0](x)  # the first convolution again, without its norm, as in the classics-mnist report
        elif self.residual:
            y = y + self.shortcut(x)
        return self.activation(y)


class ResNet(Network):
    def __init__(
        self,
        geometry: Geometry,
        *,
        depth: int = 18,
        stem: str = "small",
        shortcut: str = "projection",
        residual: bool = True,
        norm: str = "batch",
        activation: str = "relu",
        attention: str = "none",
        drop_rate: float = 0.0,
        upsample: int = 1,
        init: str = "he",
    ) -> None:
        super().__init__()
        counts, bottleneck = _blocks.choice("depth", depth, _blocks.RESNET_BLOCKS), depth >= 50
        shares = _blocks.choice("shortcut", shortcut, SHORTCUTS)
        if shares and bottleneck:
            raise ValueError(
                _("shortcut = 'shared' in model.options: expected depth 18 or 34, got {depth}", depth=depth)
            )
        style = _blocks.Style(norm, activation, residual=residual, attention=attention, bottleneck=bottleneck)
        self.upsample = _blocks.Upsample(upsample)
        self.stem = _blocks.imagenet_stem(stem, geometry.in_chans, WIDTHS[0], style.conv_norm_act)
        shapes = _blocks.residual_stages(WIDTHS[0], WIDTHS, counts, style.expansion)
        self.blocks = nn.Sequential(*(ResidualBlock(*shape, style, shares=shares) for shape in shapes))
        self.dropout = nn.Dropout(_blocks.checked_rate("drop_rate", drop_rate))
        self.head = nn.Linear(WIDTHS[-1] * style.expansion, geometry.num_classes)
        _blocks.choice("init", init, _blocks.INITS)(self)
        if any(block.shares for block in self.blocks):
            self.flaws = (
                _(
                    "in downsampling blocks the shortcut reuses the block's first convolution, without a norm, instead "
                    "of its own projection"
                ),
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.blocks(self.stem(self.upsample(x)))  # (N, width, h, w)
        return self.head(self.dropout(x.mean(dim=(2, 3))))  # (N, classes)

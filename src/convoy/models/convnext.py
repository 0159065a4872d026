"""ConvNeXt: a convolutional network with design choices of vision transformers.

Paper: Liu, Mao, Wu, Feichtenhofer, Darrell, Xie, "A ConvNet for the 2020s", 2022. https://arxiv.org/abs/2201.03545
Differs from the paper: the sizes atto and femto are from timm (Wightman), the paper's smallest is tiny; the stem cuts
the image into patches of 2x2, or 4x4 with `stem = "paper"`; maps with an odd side are zero-padded by a row and a column
before downsampling, so that 28 pixels become 14, 7, 4, 2. The mean over positions is normalised before the head, as in
the authors' code.
Initialisation as in the paper: normal weights with standard deviation 0.02, biases zero, branches scaled by 1e-6.
"""

from functools import partial

import torch
from torch import nn
from torch.nn.functional import layer_norm, pad

from convoy.models._blocks import StochasticDepth, activation, checked_count, checked_rate, choice, init_weights
from convoy.models.entry import Geometry
from convoy.models.network import Network

EXPANSION = 4
EPSILON = 1e-6  # epsilon of all norms
DEPTHS = (2, 2, 6, 2)  # blocks of each stage; each stage has twice the channels of the previous one
STEMS = {"small": 2, "paper": 4}  # the side of a patch


class ChannelNorm(nn.Module):
    """Layer norm over the channels at each position of a map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = layer_norm(x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, EPSILON)  # (N, H, W, C)
        return x.permute(0, 3, 1, 2)


class Patches(nn.Conv2d):
    """A convolution whose stride is its kernel size. Incomplete patches at the right and bottom are zero-padded."""

    def __init__(self, in_chans: int, out_chans: int, size: int) -> None:
        super().__init__(in_chans, out_chans, size, size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        size = self.stride[0]
        right, below = -x.shape[3] % size, -x.shape[2] % size
        return super().forward(pad(x, (0, right, 0, below)) if right or below else x)


class Block(nn.Module):
    def __init__(self, channels: int, act: str, layer_scale: float, drop_path: float) -> None:
        super().__init__()
        hidden = EXPANSION * channels
        self.branch = nn.Sequential(
            nn.Conv2d(channels, channels, 7, padding=3, groups=channels),
            ChannelNorm(channels),
            nn.Conv2d(channels, hidden, 1),
            activation(act),
            nn.Conv2d(hidden, channels, 1),
        )
        self.scale = nn.Parameter(torch.full((channels,), layer_scale))
        self.drop_path = StochasticDepth(drop_path)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.drop_path(self.branch(x) * self.scale[:, None, None])


class ConvNeXt(Network):
    def __init__(
        self,
        geometry: Geometry,
        *,
        width: int = 48,
        stem: str = "small",
        activation: str = "gelu",
        layer_scale: float = 1e-6,
        drop_path_rate: float = 0.0,
        drop_rate: float = 0.0,
    ) -> None:
        super().__init__()
        checked_count("width", width)
        rate_increase = checked_rate("drop_path_rate", drop_path_rate) / (sum(DEPTHS) - 1)  # from block to block
        self.features = nn.Sequential(
            Patches(geometry.in_chans, width, choice("stem", stem, STEMS)), ChannelNorm(width)
        )
        blocks = 0
        for stage, depth in enumerate(DEPTHS):
            if stage > 0:
                self.features.extend([ChannelNorm(width), Patches(width, 2 * width, 2)])
                width *= 2
            for _ in range(depth):
                self.features.append(Block(width, activation, layer_scale, rate_increase * blocks))
                blocks += 1
        self.norm = nn.LayerNorm(width, EPSILON)
        self.head = nn.Sequential(
            nn.Dropout(checked_rate("drop_rate", drop_rate)), nn.Linear(width, geometry.num_classes)
        )
        init_weights(self, partial(nn.init.normal_, std=0.02))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.features(x)  # (N, 8 * width, 2, 2) from 28 pixels
        return self.head(self.norm(x.mean(dim=(2, 3))))  # (N, classes)

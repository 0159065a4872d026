"""The network of the course-mnist experiment: residual blocks, depthwise 1x3 and 3x1 convolutions, channel attention.

Source: a lab report on MNIST; its attention is the channel attention of CBAM, with biases.
Paper: Woo, Park, Lee, Kweon, "CBAM: Convolutional Block Attention Module", 2018.
https://arxiv.org/abs/1807.06521
Differs from the paper: each branch of the attention has its own sigmoid and the two gates are added, while CBAM adds
first and then applies one sigmoid. A channel is therefore scaled by 0 to 2.

`res_attention_cnn_published` has the two flaws of the report. It averages the last map to 1x1 before the attention
(`attention_after_pooling`): the mean and the maximum of one value are equal, so both branches compute the same gate.
It ends in a softmax (`softmax_output`). `res_attention_cnn` applies the attention to the output of the third max
pooling, 3x3 for 28 pixels, and averages the result: the branches differ; layers, parameters and multiply-adds do not.

`residual = false` removes the shortcuts of the blocks; with `depthwise = false`, the 1x3 and 3x1 convolutions read all
channels.

The report's code keeps 0.7 of the hidden units, which is a dropout rate of 0.3.
"""

import torch
from torch import nn

from convoy.models import _blocks
from convoy.models.entry import Geometry
from convoy.models.network import Network
from convoy.text import gettext as _

REDUCTION = 4  # the attention's bottleneck: 128 -> 32 -> 128


class ResidualBlock(nn.Module):
    """The report's residual block: biases, no norm, no activation after the sum."""

    def __init__(self, in_chans: int, out_chans: int, *, residual: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_chans, out_chans, 3, padding=1)
        self.conv2 = nn.Conv2d(out_chans, out_chans, 3, padding=1)
        self.shortcut = nn.Conv2d(in_chans, out_chans, 1) if residual else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv2(self.conv1(x).relu())
        return y if self.shortcut is None else y + self.shortcut(x)


class TwoBranchAttention(nn.Module):
    """Scales channels by the sum of two gates, computed by the same layers from the channels' means and maxima."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels), nn.Sigmoid()
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gates = self.gate(x.mean(dim=(2, 3))) + self.gate(x.amax(dim=(2, 3)))  # (N, C)
        return x * gates[:, :, None, None]


class ResAttentionCNN(Network):
    def __init__(
        self,
        geometry: Geometry,
        *,
        norm: str = "batch",
        attention: str = "two_branch",
        attention_after_pooling: bool = False,
        residual: bool = True,
        depthwise: bool = True,
        drop_rate: float = 0.3,
        softmax_output: bool = False,
    ) -> None:
        super().__init__()
        groups = 64 if depthwise else 1
        self.features = nn.Sequential(
            nn.Conv2d(geometry.in_chans, 32, 7, padding=3), nn.ReLU(), _blocks.norm(norm, 32), nn.MaxPool2d(2),
            ResidualBlock(32, 64, residual=residual), nn.MaxPool2d(2),
            nn.Conv2d(64, 64, (1, 3), padding=(0, 1), groups=groups),
            nn.Conv2d(64, 64, (3, 1), padding=(1, 0), groups=groups),
            ResidualBlock(64, 128, residual=residual), nn.MaxPool2d(2),
        )  # fmt: skip
        attend = (
            TwoBranchAttention(128, 128 // REDUCTION)
            if attention == "two_branch"
            else _blocks.attention(attention, 128, REDUCTION)
        )
        pool = nn.AdaptiveAvgPool2d(1)
        self.neck = nn.Sequential(pool, attend) if attention_after_pooling else nn.Sequential(attend, pool)
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(128, 1024), nn.ReLU(), nn.Dropout(_blocks.checked_rate("drop_rate", drop_rate)),
            nn.Linear(1024, geometry.num_classes),
        )  # fmt: skip
        if attention_after_pooling and attention in ("two_branch", "cbam"):
            self.flaws = (_("attention on a 1x1 map: its average and its maximum branch see the same numbers"),)
        if softmax_output:
            self.end_in_softmax(geometry.num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.neck(self.features(x)))  # (N, C, H, W) -> (N, classes)

"""Network in Network: 1x1 convolutions between larger ones, and global average pooling instead of a linear head.

Paper: Lin, Chen, Yan, "Network In Network", 2013. https://arxiv.org/abs/1312.4400
Differs from the paper: no ReLU between the last convolution and the mean, so that logits can be negative. The paper
does not specify how pooling treats the last row of a map with an odd side; here the row is kept.
"""

import torch
from torch import nn

from convoy.models._blocks import Style, checked_rate, init_fan_out, make_pool
from convoy.models.entry import Geometry
from convoy.models.network import Network

# The kernel of a block's first convolution, and the channels of that and of the 1x1 convolutions that follow. The last
# 1x1 convolution of the last block is the head.
BLOCKS = ((5, (192, 160, 96)), (5, (192, 192, 192)), (3, (192, 192)))
POOLS_OF_BLOCKS = ("max", "average")  # after the first two blocks, 3x3 with stride 2


class NetworkInNetwork(Network):
    def __init__(
        self, geometry: Geometry, *, norm: str = "none", activation: str = "relu", drop_rate: float = 0.5
    ) -> None:
        super().__init__()
        style = Style(norm, activation)
        self.features = nn.Sequential()
        width = geometry.in_chans
        for block, (kernel, widths) in enumerate(BLOCKS):
            for layer, channels in enumerate(widths):
                self.features.append(style.conv_norm_act(width, channels, kernel if layer == 0 else 1))
                width = channels
            if block < len(POOLS_OF_BLOCKS):
                self.features.append(make_pool(POOLS_OF_BLOCKS[block], 3, 2, ceil_mode=True))
                self.features.append(nn.Dropout(checked_rate("drop_rate", drop_rate)))
        self.head = nn.Conv2d(width, geometry.num_classes, 1)
        init_fan_out(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x)).mean(dim=(2, 3))  # (N, classes)

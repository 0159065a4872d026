"""GoogLeNet, the first Inception network: 22 layers, modules of four parallel branches.

Paper: Szegedy et al., "Going Deeper with Convolutions", 2014. https://arxiv.org/abs/1409.4842
Differs from the paper: images are first enlarged 2x, as in the classics experiment; no auxiliary heads and no local
response normalisation; dropout 0.2 instead of 0.4; the downsampling max pools are 3x3 with stride 2 and padding 1, so
the last map of 28 pixels is 2x2. `stem = "small"` halves images once instead of three times, so that images of 28 to 64
pixels need not be enlarged. The options of torchvision's network, which has 3x3 kernels instead of the paper's 5x5, are
`norm = "batch"` (epsilon 1e-3, as in later Inception networks), `pools = "torchvision"` (without padding, the last one
2x2), `largest_kernel = 3` and `upsample = 1`.
Initial weights: torch's default, as in the experiment; the paper does not specify any.
"""

import torch
from torch import nn

from convoy.models._blocks import Style, Upsample, checked_rate, choice
from convoy.models.entry import Geometry
from convoy.models.network import Network
from convoy.text import gettext as _

EPSILON = 1e-3  # epsilon of batch norm in all Inception networks

# The modules after each pooling layer: output channels of the branches 1x1 | 1x1, 3x3 | 1x1, 5x5 | pooling, 1x1.
STAGES: tuple[tuple[tuple[int, ...], ...], ...] = (
    ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
    (
        (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
    ),
    ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
)
# Kernel, padding and ceil_mode of the four pooling layers with stride 2. With ceil_mode, as in the paper's framework,
# 14 pixels become 7, and 7 become 3 or, with kernel 2, 4.
POOLS_BETWEEN_STAGES = {"padded": [(3, 1, False)] * 4, "torchvision": [*[(3, 0, True)] * 3, (2, 0, True)]}
MIN_SIDE = 15  # pixels, for the paper's stem with torchvision's pooling; a smaller image gives an empty map


class Inception(nn.Module):
    def __init__(self, in_chans: int, widths: tuple[int, ...], largest_kernel: int, style: Style) -> None:
        super().__init__()
        conv = style.conv_norm_act
        one, three_in, three, five_in, five, pooled = widths
        self.branch1 = conv(in_chans, one, 1)
        self.branch2 = nn.Sequential(conv(in_chans, three_in, 1), conv(three_in, three, 3))
        self.branch3 = nn.Sequential(conv(in_chans, five_in, 1), conv(five_in, five, largest_kernel))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, padding=1), conv(in_chans, pooled, 1))
        self.out_chans = one + three + five + pooled

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], dim=1)


class GoogLeNet(Network):
    def __init__(
        self,
        geometry: Geometry,
        *,
        stem: str = "paper",
        upsample: int = 2,
        pools: str = "padded",
        norm: str = "none",
        activation: str = "relu",
        drop_rate: float = 0.2,
        largest_kernel: int = 5,
    ) -> None:
        super().__init__()
        largest = choice("largest_kernel", largest_kernel, {3: 3, 5: 5})
        kernel, stride = choice("stem", stem, {"small": (3, 1), "paper": (7, 2)})
        first_pool, *stage_pools = (
            nn.MaxPool2d(size, 2, padding, ceil_mode=ceil_mode)
            for size, padding, ceil_mode in choice("pools", pools, POOLS_BETWEEN_STAGES)
        )
        side = geometry.image_size * upsample
        if (stem, pools) == ("paper", "torchvision") and side < MIN_SIDE:
            raise ValueError(
                _(
                    "upsample = {upsample} in model.options: images of {image_size} pixels become {side}, "
                    "and stem = 'paper' with pools = 'torchvision' needs at least {smallest_side}",
                    upsample=upsample,
                    image_size=geometry.image_size,
                    side=side,
                    smallest_side=MIN_SIDE,
                )
            )
        style = Style(norm, activation, epsilon=EPSILON)
        conv = style.conv_norm_act
        self.stem = nn.Sequential(
            Upsample(upsample),
            conv(geometry.in_chans, 64, kernel, stride),
            first_pool if stem == "paper" else nn.Identity(),
            conv(64, 64, 1),
            conv(64, 192, 3),
        )
        self.features = nn.Sequential()
        width = 192
        for pool, modules in zip(stage_pools, STAGES, strict=True):
            self.features.append(pool)
            for widths in modules:
                module = Inception(width, widths, largest, style)
                self.features.append(module)
                width = module.out_chans
        self.head = nn.Sequential(
            nn.Dropout(checked_rate("drop_rate", drop_rate)), nn.Linear(width, geometry.num_classes)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.features(self.stem(x))  # (N, 1024, 2, 2) from 28 pixels
        return self.head(x.mean(dim=(2, 3)))  # (N, classes)

"""VGG: five stages of 3x3 convolutions, each followed by a max pool, and three linear layers.

Paper: Simonyan, Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2014.
https://arxiv.org/abs/1409.1556
Differs from the paper: for small images the last map is averaged to 1x1 (its size at 32 pixels), followed by linear
layers 512 -> 512 -> classes; `head = "paper"` is the paper's own, which flattens the map (7x7 at 224 pixels) into 4096
-> 4096 -> classes. Max pools keep the last row of an odd map, so that 28 pixels can be pooled five times; for multiples
of 32 nothing changes. The `_bn` variants have a batch norm between each convolution and its activation (Ioffe and
Szegedy 2015); the convolutions keep their biases, as in the published parameter counts.

Initial weights (`init`): "he" is normal with variance 2 / fan-out, as in torchvision; "glorot" is Glorot's normal,
which the paper also mentions; "default" is torch's. With "default", the logits of an untrained VGG without norms hardly
differ between images. `vgg_a` and `vgg_a_bn`, the networks of the cifar-course experiment, use "default", because their
author's code ignores its argument `init_weights`. They have no dropout; otherwise they equal vgg11 and vgg11_bn.
"""

from torch import nn

from convoy.models import _blocks
from convoy.models.entry import Geometry
from convoy.models.network import Network

WIDTHS = (64, 128, 256, 512, 512)
CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}  # in each stage
HIDDEN = {"small": 512, "paper": 4096}


class VGG(Network):
    def __init__(
        self,
        geometry: Geometry,
        *,
        depth: int = 11,
        norm: str = "none",
        activation: str = "relu",
        pool: str = "max",
        head: str = "small",
        drop_rate: float = 0.5,
        init: str = "he",
    ) -> None:
        super().__init__()
        hidden = _blocks.choice("head", head, HIDDEN)
        rate = _blocks.checked_rate("drop_rate", drop_rate)
        counts = _blocks.choice("depth", depth, CONVOLUTIONS)
        stages = [[width] * count for width, count in zip(WIDTHS, counts, strict=True)]
        style = _blocks.Style(norm, activation)
        self.features = _blocks.conv_stages(geometry.in_chans, stages, style, pool, ceil_mode=True)
        side = -(-geometry.image_size // 32) if head == "paper" else 1
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(1) if head == "small" else nn.Identity(), nn.Flatten(),
            nn.Linear(WIDTHS[-1] * side * side, hidden), _blocks.activation(activation), nn.Dropout(rate),
            nn.Linear(hidden, hidden), _blocks.activation(activation), nn.Dropout(rate),
            nn.Linear(hidden, geometry.num_classes),
        )  # fmt: skip
        _blocks.choice("init", init, _blocks.INITS)(self)

"""AlexNet: five convolutions, three overlapping max pools and two hidden layers of 4,096 units.

Paper: Krizhevsky, Sutskever, Hinton, "ImageNet Classification with Deep Convolutional Neural Networks", 2012.
https://papers.nips.cc/paper/4824-imagenet-classification-with-deep-convolutional-neural-networks
Differs from the paper: one tower, so that each convolution reads all channels; no local response normalisation; torch's
default initial weights. Small images are enlarged first. `alexnet`, from the classics-mnist experiment, has half the
widths and a 5x5 stem of stride 1 (`stem = "small"`): the last map is 7x7 for 28 pixels, enlarged to 56. `alexnet_large`
has the paper's widths and its 11x11 stem of stride 4 (`stem = "paper"`): the last map is 6x6, as in the paper, for 28
pixels, enlarged to 224. `widths = "one_tower"` uses the widths of torchvision's AlexNet, from "One weird trick for
parallelizing convolutional neural networks" (Krizhevsky 2014, https://arxiv.org/abs/1404.5997).

The stem also selects the pooling, as in the experiment's code: 2x2 for the small stem, otherwise the paper's 3x3 of
stride 2, including incomplete windows at the edge of the map (the paper's maps have none). Dropout comes before the
first and the second linear layer. A last map larger than 7x7 or 6x6 is average-pooled to that size, so that the first
linear layer, which has most of the weights, does not grow with the image. A smaller map is not changed.
"""

import torch
from torch import nn

from convoy.models import _blocks
from convoy.models.entry import Geometry
from convoy.models.network import Network
from convoy.text import gettext as _

WIDTHS = {
    "half": (48, 128, 192, 192, 128),
    "paper": (96, 256, 384, 384, 256),
    "one_tower": (64, 192, 384, 256, 256),
}
STEMS = {"small": (5, 1, 2, 7), "paper": (11, 4, 3, 6)}  # kernel, stride, pooling kernel, maximum side of the last map
HIDDEN = 4096


class AlexNet(Network):
    def __init__(
        self,
        geometry: Geometry,
        *,
        widths: str = "half",
        stem: str = "small",
        upsample: int = 2,
        activation: str = "relu",
        drop_rate: float = 0.5,
    ) -> None:
        super().__init__()
        first, second, third, fourth, fifth = _blocks.choice("widths", widths, WIDTHS)
        kernel, stride, pooling, largest = _blocks.choice("stem", stem, STEMS)
        rate = _blocks.checked_rate("drop_rate", drop_rate)
        self.upsample = _blocks.Upsample(upsample)
        side = ((geometry.image_size * upsample + 4 - kernel) // stride + 1) // 8
        if side < 1:
            smallest = 7 * stride + kernel - 4
            raise ValueError(
                _(
                    "upsample = {upsample} in model.options: images of {image_size} pixels become {value}, "
                    "and stem = {stem!r} needs at least {smallest}",
                    upsample=upsample,
                    image_size=geometry.image_size,
                    value=geometry.image_size * upsample,
                    stem=stem,
                    smallest=smallest,
                )
            )

        def activation_and_pool() -> tuple[nn.Module, nn.Module]:
            return _blocks.activation_and_pool(activation, "max", pooling, 2, ceil_mode=pooling == 3)

        self.features = nn.Sequential(
            nn.Conv2d(geometry.in_chans, first, kernel, stride, padding=2), *activation_and_pool(),
            nn.Conv2d(first, second, 5, padding=2), *activation_and_pool(),
            nn.Conv2d(second, third, 3, padding=1), _blocks.activation(activation),
            nn.Conv2d(third, fourth, 3, padding=1), _blocks.activation(activation),
            nn.Conv2d(fourth, fifth, 3, padding=1), *activation_and_pool(),
        )  # fmt: skip
        if side > largest:
            # Not AdaptiveAvgPool2d: its gradient is not deterministic on CUDA.
            pool_stride = side // largest
            self.features.append(nn.AvgPool2d(side - (largest - 1) * pool_stride, pool_stride))
            side = largest
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(rate), nn.Linear(fifth * side * side, HIDDEN), _blocks.activation(activation),
            nn.Dropout(rate), nn.Linear(HIDDEN, HIDDEN), _blocks.activation(activation),
            nn.Linear(HIDDEN, geometry.num_classes),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(self.upsample(x)))  # (N, C, H, W) -> (N, classes)

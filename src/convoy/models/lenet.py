"""LeNet-5, the convolutional network for handwritten digits.

Paper: LeCun, Bottou, Bengio, Haffner, "Gradient-Based Learning Applied to Document Recognition", 1998.
http://yann.lecun.com/exdb/publis/pdf/lecun-98.pdf
Differs from the paper: 28x28 input without padding, max pooling, a second convolution in which every output channel
reads all input channels, a plain linear output, and ReLU instead of a scaled tanh.
"""

from functools import partial

from torch import nn

from convoy.models._blocks import activation as make_activation
from convoy.models._blocks import activation_and_pool
from convoy.models.entry import Geometry
from convoy.models.network import Network


class LeNet(Network):
    def __init__(self, geometry: Geometry, *, activation: str = "relu", pool: str = "max") -> None:
        super().__init__()
        act = partial(make_activation, activation)
        side = ((geometry.image_size - 4) // 2 - 4) // 2
        self.features = nn.Sequential(
            nn.Conv2d(geometry.in_chans, 6, 5), *activation_and_pool(activation, pool, 2),
            nn.Conv2d(6, 16, 5), *activation_and_pool(activation, pool, 2),
        )  # fmt: skip
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(16 * side * side, 120), act(),
            nn.Linear(120, 84), act(),
            nn.Linear(84, geometry.num_classes),
        )  # fmt: skip

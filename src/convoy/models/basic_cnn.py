"""Three convolutions with pooling and one hidden layer: the smallest network of the cifar-course experiment.

Source: a lab report on CIFAR-10; the layout follows the first CIFAR networks.
https://www.cs.toronto.edu/~kriz/learning-features-2009-TR.pdf
Differs from the paper: three layers of 3x3 kernels, ReLU and max pooling. The size of the head follows from the image.
With a norm the biases stay, so that the option `norm` changes nothing else.
"""

from torch import nn

from convoy.models import _blocks
from convoy.models.entry import Geometry, Network

WIDTHS = (32, 64, 128)
HIDDEN = 512


class BasicCNN(Network):
    def __init__(
        self,
        geometry: Geometry,
        *,
        norm: str = "none",
        activation: str = "relu",
        pool: str = "max",
        drop_rate: float = 0.0,
    ) -> None:
        super().__init__()
        self.features = nn.Sequential()
        width = geometry.in_chans
        for channels in WIDTHS:
            self.features.extend(
                [
                    nn.Conv2d(width, channels, 3, padding=1),
                    _blocks.norm(norm, channels),
                    *_blocks.activation_and_pool(activation, pool, 2),
                ]
            )
            width = channels
        side = geometry.image_size // 8
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(width * side * side, HIDDEN), _blocks.activation(activation),
            nn.Dropout(_blocks.checked_rate("drop_rate", drop_rate)),
            nn.Linear(HIDDEN, geometry.num_classes),
        )  # fmt: skip

"""Three stages of two convolutions with batch norm and a wide head: the best network of the cifar-course experiment.

Source: a lab report on CIFAR-10; stages of 3x3 kernels as in VGG, with the batch norm of Ioffe and Szegedy 2015.
https://arxiv.org/abs/1502.03167
Differs from the paper: the convolutions have biases, although the batch norm subtracts them again, because the
published parameter count includes them. The size of the head follows from the image.
"""

from torch import nn

from convoy.models import _blocks
from convoy.models.entry import Geometry, Network

STAGES = ((64, 128), (256, 256), (512, 512))  # channels of the convolutions before each pooling
HIDDEN = 1024


class ImprovedCNN(Network):
    def __init__(
        self,
        geometry: Geometry,
        *,
        norm: str = "batch",
        activation: str = "relu",
        pool: str = "max",
        drop_rate: float = 0.5,
    ) -> None:
        super().__init__()
        self.features = nn.Sequential()
        width = geometry.in_chans
        for first, second in STAGES:
            self.features.extend(
                [
                    nn.Conv2d(width, first, 3, padding=1),
                    _blocks.norm(norm, first),
                    _blocks.activation(activation),
                    nn.Conv2d(first, second, 3, padding=1),
                    _blocks.norm(norm, second),
                    *_blocks.activation_and_pool(activation, pool, 2),
                ]
            )
            width = second
        side = geometry.image_size // 8
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(width * side * side, HIDDEN),
            nn.BatchNorm1d(HIDDEN) if norm == "batch" else _blocks.norm(norm, HIDDEN), _blocks.activation(activation),
            nn.Dropout(_blocks.checked_rate("drop_rate", drop_rate)),
            nn.Linear(HIDDEN, geometry.num_classes),
        )  # fmt: skip

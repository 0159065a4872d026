"""The plain networks of the cifar-course experiment: stages of 3x3 convolutions and one hidden layer.

Source: a lab report on CIFAR-10. `basic_cnn`, the report's smallest network, resembles the first CIFAR networks.
Paper: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
https://www.cs.toronto.edu/~kriz/learning-features-2009-TR.pdf
`improved_cnn`, the report's best network, has stages of two convolutions as in VGG, with batch norm.
Batch norm: Ioffe, Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate
Shift", 2015. https://arxiv.org/abs/1502.03167
Differs from the papers: 3x3 kernels, ReLU and max pooling. The convolutions have biases even before a norm, because the
published parameter count includes them. The size of the head depends on the image size.
"""

from torch import nn

from convoy.models import _blocks
from convoy.models.entry import Geometry
from convoy.models.network import Network


class BasicCNN(Network):
    stages: tuple[tuple[int, ...], ...] = ((32,), (64,), (128,))  # channels of the convolutions before each pooling
    hidden, normalises_hidden = 512, False

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
        self.features = _blocks.conv_stages(geometry.in_chans, self.stages, _blocks.Style(norm, activation), pool)
        side = geometry.image_size // 8
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(self.stages[-1][-1] * side * side, self.hidden))
        if self.normalises_hidden:
            self.head.append(nn.BatchNorm1d(self.hidden) if norm == "batch" else _blocks.norm(norm, self.hidden))
        self.head.extend(
            [
                _blocks.activation(activation),
                nn.Dropout(_blocks.checked_rate("drop_rate", drop_rate)),
                nn.Linear(self.hidden, geometry.num_classes),
            ]
        )


class ImprovedCNN(BasicCNN):
    stages = ((64, 128), (256, 256), (512, 512))
    hidden, normalises_hidden = 1024, True

    def __init__(
        self,
        geometry: Geometry,
        *,
        norm: str = "batch",
        activation: str = "relu",
        pool: str = "max",
        drop_rate: float = 0.5,
    ) -> None:
        super().__init__(geometry, norm=norm, activation=activation, pool=pool, drop_rate=drop_rate)

"""Two convolutions and a wide head: the network of the tensor-mnist experiment.

Source: a lab report on MNIST in tensor files; the network uses the layers of this paper.
Paper: LeCun, Bottou, Bengio, Haffner, "Gradient-Based Learning Applied to Document Recognition", 1998.
http://yann.lecun.com/exdb/publis/pdf/lecun-98.pdf
Differs from the paper: the report's network ends in a softmax; here that is an option, because cross-entropy expects
logits.
"""

import torch
from torch import nn

from convoy.models import _blocks
from convoy.models.entry import Geometry
from convoy.models.network import Network


class TwoConvCNN(Network):
    def __init__(
        self,
        geometry: Geometry,
        *,
        norm: str = "batch",
        activation: str = "relu",
        pool: str = "max",
        softmax_output: bool = False,
    ) -> None:
        super().__init__()
        side = geometry.image_size // 4
        # Convolutions have biases even before a norm, as in the report.
        self.features = _blocks.conv_stages(geometry.in_chans, ((16,), (32,)), _blocks.Style(norm, activation), pool)
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(32 * side * side, 392), _blocks.activation(activation),
            nn.Linear(392, 196), _blocks.activation(activation),
            nn.Linear(196, geometry.num_classes),
        )  # fmt: skip
        if softmax_output:
            self.end_in_softmax(geometry.num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> (N, classes); a single image (C, H, W), as the report feeds it, -> (classes)."""
        if x.ndim == 3:
            return self.head(self.features(x[None]))[0]
        return self.head(self.features(x))

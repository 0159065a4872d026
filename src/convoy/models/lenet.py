"""LeNet-5, the first network to read handwritten digits at scale.

Paper: LeCun, Bottou, Bengio, Haffner, "Gradient-Based Learning Applied to Document Recognition", 1998.
http://yann.lecun.com/exdb/publis/pdf/lecun-98.pdf
Differs from the paper: 28x28 input without padding, max pooling, all maps of the first layer feed the second, a plain
linear output, and sigmoid where the paper has a scaled tanh. Activation after pooling: it is monotonic, so that the
numbers are those of the other order, at a quarter of the work.
"""

from __future__ import annotations

import torch
from torch import nn

from convoy.models._blocks import ACTIVATIONS, chosen
from convoy.models.entry import register

MONOTONIC = {word: ACTIVATIONS[word] for word in ("sigmoid", "relu", "tanh")}


@register(
    "lenet",
    summary="LeNet-5 with max pooling; activation sigmoid, relu or tanh",
    source="http://yann.lecun.com/exdb/publis/pdf/lecun-98.pdf",
    parameters=44_426,
    smallest_image=16,
)
class LeNet(nn.Module):
    flaws: tuple[str, ...] = ()

    def __init__(
        self, in_chans: int = 1, num_classes: int = 10, image_size: int = 28, *, activation: str = "sigmoid"
    ) -> None:
        super().__init__()
        act = chosen("activation", activation, MONOTONIC)
        side = ((image_size - 4) // 2 - 4) // 2
        self.features = nn.Sequential(
            nn.Conv2d(in_chans, 6, 5), nn.MaxPool2d(2), act(),
            nn.Conv2d(6, 16, 5), nn.MaxPool2d(2), act(),
        )  # fmt: skip
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(16 * side * side, 120), act(),
            nn.Linear(120, 84), act(),
            nn.Linear(84, num_classes),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x))  # (N, C, H, W) -> (N, classes)

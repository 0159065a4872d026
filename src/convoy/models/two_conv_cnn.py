"""Two convolutions and a wide head: the network of the tensor-mnist experiment.

Source: a lab report on MNIST from tensor files, built on the blocks of LeCun et al. 1998.
http://yann.lecun.com/exdb/publis/pdf/lecun-98.pdf
Differs from the paper: the report ends in a softmax, here an option, because cross-entropy takes logits. ReLU after
pooling: it is monotonic, so that the numbers are those of the other order, at a quarter of the work.
"""

from __future__ import annotations

import torch
from torch import nn

from convoy.models._flaws import softmax_before_loss
from convoy.models.entry import register

SOURCE = "http://yann.lecun.com/exdb/publis/pdf/lecun-98.pdf"


@register(
    "two_conv_cnn_published",
    summary="two_conv_cnn as its report has it: softmax before the loss",
    source=SOURCE,
    parameters=698_942,
    smallest_image=4,
    presets={"softmax_output": True},
)
@register(
    "two_conv_cnn",
    summary="two 3x3 convolutions with batch norm, three linear layers",
    source=SOURCE,
    parameters=698_942,
    smallest_image=4,
)
class TwoConvCNN(nn.Module):
    flaws: tuple[str, ...] = ()

    def __init__(
        self, in_chans: int = 1, num_classes: int = 10, image_size: int = 28, *, softmax_output: bool = False
    ) -> None:
        super().__init__()
        side = image_size // 4
        self.features = nn.Sequential(
            nn.Conv2d(in_chans, 16, 3, padding=1), nn.BatchNorm2d(16), nn.MaxPool2d(2), nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.MaxPool2d(2), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(32 * side * side, 392), nn.ReLU(),
            nn.Linear(392, 196), nn.ReLU(),
            nn.Linear(196, num_classes),
        )  # fmt: skip
        if softmax_output:
            self.head.append(nn.Softmax(dim=-1))
            self.flaws = (softmax_before_loss(num_classes),)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> (N, classes); a single image (C, H, W), as the report feeds it, -> (classes)."""
        if x.ndim == 3:
            return self.head(self.features(x[None]))[0]
        return self.head(self.features(x))

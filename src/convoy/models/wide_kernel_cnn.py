"""A plain CNN with wide kernels and one large linear layer: the baseline of the course-mnist experiment.

Source: a lab report; the layout is that of a TensorFlow 1 tutorial.
Tutorial: TensorFlow, "Deep MNIST for Experts", 2017.
https://github.com/tensorflow/tensorflow/blob/r1.4/tensorflow/examples/tutorials/mnist/mnist_deep.py
Differs from the tutorial: the first kernel is 7x7 instead of 5x5; the softmax at the report's output is an option,
because cross-entropy expects logits. ReLU comes after max pooling, which gives the same result for a quarter of the
values.
"""

from torch import nn

from convoy.models.entry import Geometry
from convoy.models.network import Network
from convoy.text import gettext as _


class WideKernelCNN(Network):
    def __init__(self, geometry: Geometry, *, keep_prob: float = 0.7, softmax_output: bool = False) -> None:
        super().__init__()
        if not 0 < keep_prob <= 1:
            raise ValueError(
                _(
                    "keep_prob = {keep_prob} in model.options of wide_kernel_cnn: expected in (0, 1]",
                    keep_prob=keep_prob,
                )
            )
        side = geometry.image_size // 4
        self.features = nn.Sequential(
            nn.Conv2d(geometry.in_chans, 32, 7, padding=3), nn.MaxPool2d(2), nn.ReLU(),
            nn.Conv2d(32, 64, 5, padding=2), nn.MaxPool2d(2), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(64 * side * side, 1024), nn.ReLU(), nn.Dropout(1 - keep_prob),
            nn.Linear(1024, geometry.num_classes),
        )  # fmt: skip
        if softmax_output:
            self.end_in_softmax(geometry.num_classes)

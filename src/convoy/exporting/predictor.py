"""The last part of network.py in a bundle: loads the weights and classifies images.

`bundle` copies these functions below the definition of the network.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
from torch import nn

from convoy.data.batches import Normaliser
from convoy.data.pixels import Source
from convoy.data.pixels import as_pixels as to_pixels
from convoy.evaluation.scores import probabilities

# A bundle replaces these values, `build` and, for photographs of characters, `to_pixels`.
CLASSES: tuple[str, ...] = ("0", "1")
IN_CHANS, IMAGE_SIZE = 1, 1  # IMAGE_SIZE: pixels
MEAN: tuple[float, ...] = (0.0,)
STD: tuple[float, ...] = (1.0,)


def build() -> nn.Module:
    return nn.Flatten()


@cache
def load() -> nn.Module:
    """Returns the trained network in evaluation mode. It maps normalised images [N, C, H, H] to logits [N, classes]."""
    network = build()
    network.load_state_dict(torch.load(Path(__file__).with_name("weights.pth"), weights_only=True))
    return network.eval()


def preprocess(images: Source | Sequence[Source]) -> torch.Tensor:
    """Returns normalised images, float32 [N, C, H, H], from a path, a Pillow image, a uint8 array, or a list of these.

    An array is [H, W], [H, W, C], [N, H, W] or [N, H, W, C].
    """
    pixels = torch.from_numpy(to_pixels(images, IMAGE_SIZE, IN_CHANS))
    return Normaliser(MEAN, STD, torch.device("cpu"), torch.float32)(pixels)


def predict(images: Source | Sequence[Source]) -> list[tuple[str, float]]:
    """Returns the predicted class and its probability for each image."""
    with torch.inference_mode():
        logits = load()(preprocess(images)).numpy()
    probs = probabilities(logits)
    return [(CLASSES[row.argmax()], float(row.max())) for row in probs]


def main() -> None:
    for path in sys.argv[1:]:
        try:
            ((name, probability),) = predict(path)
        except (ImportError, ValueError) as error:
            sys.exit(str(error))
        print(f"{path}: {name} ({probability:.1%})")

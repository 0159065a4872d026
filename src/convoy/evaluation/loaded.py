"""The trained network of a run, with its preprocessing and its classes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from convoy.data import DATA_SETS, read_images
from convoy.data.batches import Normaliser
from convoy.data.pixels import Source, as_list, as_pixels
from convoy.run_contents import RunData

if TYPE_CHECKING:
    from convoy.data.photo import Ink


class LoadedModel(nn.Module):
    """A trained network: `model(model.preprocess(images))` returns logits [N, classes]."""

    def __init__(self, network: nn.Module, data: RunData) -> None:
        super().__init__()
        self.network = network
        self.data = data
        self.classes = tuple(data.classes)
        self.eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits [N, classes] of normalised images float32 [N, C, H, H]."""
        return self.network(x)

    def preprocess(self, images: Source | Sequence[Source], *, raw: bool = False) -> torch.Tensor:
        """Returns normalised images, float32 [N, C, H, H] on the network's device, converted as in `convoy predict`.

        `images` is one of these or a list of them: the path of an image or a folder, a Pillow image, an array of uint8
        [H, W], [H, W, C], [N, H, W] or [N, H, W, C]. A network trained on MNIST or EMNIST also reads photographs of
        characters, unless `raw`. Raises ValueError.
        """
        normalise = normaliser_of(self.data, next(self.parameters()).device)
        return normalise(torch.from_numpy(self._pixels(as_list(images), raw=raw)))

    def _pixels(self, images: Sequence[Source], *, raw: bool) -> np.ndarray:
        paths = [image for image in images if isinstance(image, str | os.PathLike)]
        size = self.data.image_size
        if len(paths) == len(images):
            return read_for(self.data, [Path(path) for path in paths], raw=raw)[1]
        if reads_photographs(self.data) and not raw:
            from convoy.data.photo import character_pixels

            return character_pixels(images, size)
        return as_pixels(images, size, self.data.in_chans)


def normaliser_of(data: RunData, device: torch.device | str = "cpu") -> Normaliser:
    return Normaliser(tuple(data.mean), tuple(data.std), torch.device(device), torch.float32)


def reads_photographs(data: RunData) -> bool:
    """Whether the data are characters in the format of MNIST, whose networks also read photographs."""
    return data.name in DATA_SETS and DATA_SETS[data.name].is_handwriting


def read_for(
    data: RunData, paths: Iterable[str | Path], *, raw: bool = False
) -> tuple[list[Path], np.ndarray, Sequence[Ink | None]]:
    """Reads image files and folders in the format of a run's data.

    Returns the files, their images uint8 [N, C, H, H], and the ink found in photographs. For the characters of MNIST
    and EMNIST, a photograph is inverted, scaled and centred, unless `raw`.
    """
    if reads_photographs(data) and not raw:
        from convoy.data.photo import read_characters

        return read_characters(paths, data.image_size)
    files, pixels = read_images(paths, size=data.image_size, in_chans=data.in_chans)
    return files, pixels, [None] * len(files)

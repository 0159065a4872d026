"""Draws figures of the guides: `python docs/make_figures.py augmentations mnist`, or `corruptions`.

The second argument is that of `--data`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from convoy.data import load
from convoy.data.augment import build
from convoy.evaluation.corruptions import SEVERITIES, corrupt, kinds_for
from convoy.reporting.content import Gallery, Strip, Tile
from convoy.reporting.figures_images import save_gallery

FOLDER = Path(__file__).parent / "images"
CLASSES = 6
EXAMPLES = [
    {"name": "crop", "padding": 4},
    {"name": "flip", "probability": 0.5},
    {"name": "rotate", "degrees": 20},
    {"name": "shift", "fraction": 0.2},
    {"name": "scale", "range": [0.7, 1.3]},
    {"name": "rand_augment", "operations": 2, "magnitude": 9},
    {"name": "trivial_augment"},
    {"name": "cutout", "size": 12},
    {"name": "erase", "probability": 1.0, "fill": "noise"},
    {"name": "mixup", "alpha": 1.0},
    {"name": "cutmix", "alpha": 1.0},
]


def one_of_each_class(data: str) -> tuple[Tensor, Tensor]:
    train = load(data).train
    indices = [np.flatnonzero(train.labels == index)[1] for index in range(CLASSES)]
    return torch.from_numpy(train.images[indices]), torch.from_numpy(train.labels[indices])


def augmented(spec: dict[str, object], images: Tensor, labels: Tensor) -> Tensor:
    augmentation, generator = build([spec]), torch.Generator().manual_seed(1)
    x, _ = augmentation.mix(augmentation(images / 255, generator), labels, int(labels.max()) + 1, generator)
    return (x * 255).round().byte()


def strip(title: str, images: Tensor) -> Strip:
    return Strip(title, tuple(Tile(image) for image in images.numpy()))


def as_toml(spec: dict[str, object]) -> str:
    pairs = [f'{key} = "{value}"' if isinstance(value, str) else f"{key} = {value}" for key, value in spec.items()]
    return f"{{ {', '.join(pairs)} }}"


def augmentations(data: str) -> Gallery:
    images, labels = one_of_each_class(data)
    strips = [strip("original", images)]
    strips += [strip(as_toml(spec), augmented(spec, images, labels)) for spec in EXAMPLES]
    return Gallery("augmentations", "", tuple(strips), "")


def corruptions(data: str) -> Gallery:
    """Each kind at severities 1 to 5, with the image that it corrupts."""
    images = one_of_each_class(data)[0].numpy()
    strips = []
    for number, kind in enumerate(kinds_for(images.shape[1], images.shape[2])):
        image = images[number % CLASSES][None]
        versions = [image, *(corrupt(image, kind.name, severity) for severity in SEVERITIES)]
        strips.append(strip(kind.name, torch.from_numpy(np.concatenate(versions))))
    return Gallery("corruptions", "", tuple(strips), "", titles_left=True)


def main() -> None:
    figure = {"augmentations": augmentations, "corruptions": corruptions}[sys.argv[1]](sys.argv[2])
    save_gallery(figure, FOLDER)
    path = FOLDER / f"{figure.name}.png"
    picture = Image.open(path).convert("RGB").point(lambda level: min(255, 4 * round(level / 4)))
    picture.save(path, optimize=True)  # 64 levels make the file a quarter smaller; a palette would change colours


if __name__ == "__main__":
    main()

"""The subject of the data checks: the images of each part, as used by a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from convoy.data import DATA_SETS, PreparedData
from convoy.data.imageset import DataSet, ImageSet
from convoy.data.prepare import channel_statistics
from convoy.diagnosing.pixel_classifier import PixelClassifier
from convoy.recipe import Recipe

MAX_SAMPLE = 3000  # images of a part that the classifier uses
# Share of horizontal neighbours of equal colour, median of images: 0.03 in CIFAR-10, 0.74 in MNIST, 0.9 in plain shapes
FLAT, FLAT_SAMPLE = 0.3, 500


@dataclass(frozen=True, eq=False)
class Images:
    recipe: Recipe
    parts: Mapping[str, ImageSet]  # "train", and validation, fold and test if they exist and may be read
    mean: tuple[float, ...]  # mean of the normalisation, by channel
    std: tuple[float, ...]
    files: tuple[Path, ...] = ()  # files of the training images in their order, if the data are an image folder
    group_names: tuple[str, ...] = ()  # paths of the same files relative to the image folder

    @property
    def train(self) -> ImageSet:
        return self.parts["train"]

    @property
    def is_handwriting(self) -> bool:
        name = self.recipe.data.name.partition("=")[0]
        return name in DATA_SETS and DATA_SETS[name].is_handwriting

    @cached_property
    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of the training pixels by channel."""
        return channel_statistics(self.train.images)

    @cached_property
    def is_drawing(self) -> bool:
        """Whether the training images are drawn or rendered: most of them have large areas of one colour."""
        pixels = self.train.images[sample(len(self.train), FLAT_SAMPLE)]
        return float(np.median((pixels[..., 1:] == pixels[..., :-1]).all(1).mean((1, 2)))) >= FLAT

    @cached_property
    def classifier(self) -> PixelClassifier:
        """Fitted on at most MAX_SAMPLE training images."""
        chosen = sample(len(self.train), MAX_SAMPLE)
        return PixelClassifier.fitted(self.train.images[chosen], self.train.labels[chosen], len(self.train.classes))


def images_of(recipe: Recipe, prepared: PreparedData) -> Images:
    """Returns the images without the test set, which stays closed."""
    parts = {"train": prepared.train, "validation": prepared.validation, "fold": prepared.fold}
    present = {name: part for name, part in parts.items() if part is not None}
    return Images(recipe, present, prepared.mean, prepared.std)


def with_test(images: Images, dataset: DataSet, prepared: PreparedData) -> Images:
    """Adds test images and files. This is not counted as an opening, because nothing is trained or selected."""
    split = prepared.split
    parts = {**images.parts, "test": dataset.test_pool.take(split.test)} if len(split.test) else images.parts
    names = () if dataset.paths is None else tuple(dataset.paths[index] for index in split.train)
    root = Path(images.recipe.data.name.partition("=")[2] or images.recipe.data.name).expanduser()
    return replace(images, parts=parts, files=tuple(root / name for name in names), group_names=names)


def sample(count: int, largest: int) -> np.ndarray:
    """Returns at most `largest` sorted indices below `count`; the same in every call."""
    return np.sort(np.random.RandomState(0).permutation(count)[:largest])

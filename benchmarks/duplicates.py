"""How many of 200 changed images the duplicate search of `convoy data show` finds, by kind of change.

    python benchmarks/duplicates.py cifar10 > benchmarks/results/$(date +%F)-duplicates.md

The first 20,000 training images are searched together with 200 changed copies of random ones, one kind of change
after another. Then the unchanged data set is searched for pairs. Nothing is timed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from io import BytesIO

import numpy as np
from PIL import Image, ImageFilter

from convoy.data.duplicates import find_duplicates
from convoy.data.sources import load
from convoy.datasheet.measure import make_sheet

SEARCHED, CHANGED = 20_000, 200
Change = Callable[[Image.Image], Image.Image]


def jpeg(quality: int) -> Change:
    def change(image: Image.Image) -> Image.Image:
        file = BytesIO()
        image.save(file, "JPEG", quality=quality)
        return Image.open(file)

    return change


def resampled(factor: float) -> Change:
    return lambda image: image.resize([round(side * factor) for side in image.size]).resize(image.size)


def cut(fraction: float) -> Change:
    """Crops this fraction of the side on each side and enlarges the rest."""

    def change(image: Image.Image) -> Image.Image:
        border = fraction * image.width
        return image.resize(image.size, Image.Resampling.BILINEAR, (border, border, *(image.width - border,) * 2))

    return change


def moved(pixels: int) -> Change:
    """Shifts to the left and repeats the right border."""

    def change(image: Image.Image) -> Image.Image:
        columns = np.minimum(np.arange(image.width) + pixels, image.width - 1)
        return Image.fromarray(np.asarray(image)[:, columns])

    return change


def noisy(levels: float) -> Change:
    draw = np.random.default_rng(0)

    def change(image: Image.Image) -> Image.Image:
        pixels = np.asarray(image) + draw.normal(0, levels, np.asarray(image).shape)
        return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))

    return change


CHANGES: dict[str, Change] = {
    "saved as JPEG, quality 50": jpeg(50),
    "saved as JPEG, quality 10": jpeg(10),
    "at half the size and back": resampled(0.5),
    "blurred, radius 1 pixel": lambda image: image.filter(ImageFilter.GaussianBlur(1)),
    "noise of 10 levels": noisy(10),
    "noise of 25 levels": noisy(25),
    "40 levels brighter": lambda image: image.point(lambda level: min(255, level + 40)),
    "half the contrast": lambda image: image.point(lambda level: level // 2 + 64),
    "gamma 2": lambda image: image.point(lambda level: level**2 // 255),
    "grey": lambda image: image.convert("L").convert(image.mode),
    "cut by 1/32 all around": cut(1 / 32),
    "cut by 1/16 all around": cut(1 / 16),
    "cut by 1/8 all around": cut(1 / 8),
    "moved by 1 pixel": moved(1),
    "moved by 2 pixels": moved(2),
    "turned by 2 degrees, corners black": lambda image: image.rotate(2, Image.Resampling.BILINEAR),
    "turned by 5 degrees, corners black": lambda image: image.rotate(5, Image.Resampling.BILINEAR),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
}


def changed(images: np.ndarray, change: Change) -> np.ndarray:
    """Both uint8 [N, C, H, H]."""
    pictures = [Image.fromarray(image.transpose(1, 2, 0).squeeze()) for image in images]
    return np.stack([np.asarray(change(picture)).reshape(*picture.size, -1) for picture in pictures]).transpose(
        0, 3, 1, 2
    )


def main() -> None:
    name = sys.argv[1]
    images = load(name).train.images[:SEARCHED]
    chosen = np.sort(np.random.RandomState(0).permutation(len(images))[:CHANGED])
    print(f"| change of an image of {name} | found of {CHANGED} |")
    print("|---|---:|")
    for what, change in CHANGES.items():
        found = find_duplicates([images, changed(images[chosen], change)], lambda share: None)
        pairs = set(map(tuple, np.concatenate([found.same_pixels, found.same_picture]).tolist()))
        wanted = zip(chosen.tolist(), range(len(images), len(images) + CHANGED), strict=True)
        print(f"| {what} | {sum(pair in pairs for pair in wanted)} |")
    print()
    for row in make_sheet(name).facts.duplicates.between:
        print(f"{' and '.join(row.parts)}: {row.same_pixels}, {row.same_picture}, {row.images:,} images")


if __name__ == "__main__":
    main()

"""How many of 200 changed images does the duplicate search of `convoy data show` find, by kind of change?

    python -m benchmarks.duplicates cifar10 > benchmarks/results/$(date +%F)-duplicates.md

For each kind of change, the first 20,000 training images are searched together with changed copies of 200 of them. The
last lines are the pairs in the unchanged data set. Nothing is timed.
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


def resample(factor: float) -> Change:
    return lambda image: image.resize([round(side * factor) for side in image.size]).resize(image.size)


def crop(fraction: float) -> Change:
    """Removes a border of this fraction of the image's width, and resizes the rest to the original size."""

    def change(image: Image.Image) -> Image.Image:
        border = fraction * image.width
        return image.resize(image.size, Image.Resampling.BILINEAR, (border, border, *(image.width - border,) * 2))

    return change


def shift(pixels: int) -> Change:
    """Shifts to the left and repeats the rightmost column."""

    def change(image: Image.Image) -> Image.Image:
        columns = np.minimum(np.arange(image.width) + pixels, image.width - 1)
        return Image.fromarray(np.asarray(image)[:, columns])

    return change


def noise(levels: float) -> Change:
    draw = np.random.default_rng(0)

    def change(image: Image.Image) -> Image.Image:
        pixels = np.asarray(image) + draw.normal(0, levels, np.asarray(image).shape)
        return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))

    return change


CHANGES: dict[str, Change] = {
    "saved as JPEG, quality 50": jpeg(50),
    "saved as JPEG, quality 10": jpeg(10),
    "at half the size and back": resample(0.5),
    "blurred, radius 1 pixel": lambda image: image.filter(ImageFilter.GaussianBlur(1)),
    "noise of 10 levels": noise(10),
    "noise of 25 levels": noise(25),
    "40 levels brighter": lambda image: image.point(lambda level: min(255, level + 40)),
    "half the contrast": lambda image: image.point(lambda level: level // 2 + 64),
    "gamma 2": lambda image: image.point(lambda level: level**2 // 255),
    "grey": lambda image: image.convert("L").convert(image.mode),
    "cropped by 1/32 on each side": crop(1 / 32),
    "cropped by 1/16 on each side": crop(1 / 16),
    "cropped by 1/8 on each side": crop(1 / 8),
    "shifted by 1 pixel": shift(1),
    "shifted by 2 pixels": shift(2),
    "rotated by 2 degrees, corners black": lambda image: image.rotate(2, Image.Resampling.BILINEAR),
    "rotated by 5 degrees, corners black": lambda image: image.rotate(5, Image.Resampling.BILINEAR),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
}


def changed(images: np.ndarray, change: Change) -> np.ndarray:
    """uint8 [N, C, H, H] -> uint8 [N, C, H, H]"""
    pictures = [Image.fromarray(image.transpose(1, 2, 0).squeeze()) for image in images]
    pixels = np.stack([np.asarray(change(picture)).reshape(*picture.size, -1) for picture in pictures])
    return pixels.transpose(0, 3, 1, 2)


def main() -> None:
    name = sys.argv[1]
    images = load(name).train.images[:SEARCHED]
    originals = np.sort(np.random.RandomState(0).permutation(len(images))[:CHANGED])
    print(f"| change of an image of {name} | found of {CHANGED} |")
    print("|---|---:|")
    for kind, change in CHANGES.items():
        duplicates = find_duplicates([images, changed(images[originals], change)], lambda share: None)
        pairs = set(map(tuple, np.concatenate([duplicates.same_pixels, duplicates.same_picture]).tolist()))
        expected = zip(originals.tolist(), range(len(images), len(images) + CHANGED), strict=True)
        print(f"| {kind} | {sum(pair in pairs for pair in expected)} |")
    print()
    for row in make_sheet(name).summary.duplicates.between:
        print(f"{' and '.join(row.parts)}: {row.same_pixels}, {row.same_picture}, {row.images:,} images")


if __name__ == "__main__":
    main()

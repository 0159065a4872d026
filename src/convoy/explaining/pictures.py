"""Converts attributions and feature maps to pictures, uint8 [3, H, W], next to or over the image."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import to_rgb
from PIL import Image

from convoy.reporting.content import Tile
from convoy.reporting.figures_images import mosaic
from convoy.reporting.palette import MODELS

POSITIVE, NEGATIVE = (np.array(to_rgb(MODELS[place][0])) for place in (0, 1))  # blue, orange
HEAT = np.array(to_rgb(MODELS[4][1]))  # colour of class activation maps over a grey image
COVER = 0.75  # maximum opacity


def over_image(image: np.ndarray, cam: np.ndarray) -> np.ndarray:
    """Blends a class activation map [h, w], in colour, over the grey image, uint8 [C, H, W]."""
    grey = image.mean(axis=0) / 255  # (H, W)
    heat = _enlarged(cam, image.shape[1:])
    cover = COVER * np.clip(heat / max(float(heat.max()), 1e-12), 0, 1)[..., None]
    return _as_pixels((1 - cover) * grey[..., None] + cover * HEAT)


def signed(values: np.ndarray, largest: float | None = None) -> np.ndarray:
    """Colours values [H, W]: blue is positive, orange negative, white 0. `largest` gets full colour."""
    if largest is None:
        largest = float(np.quantile(np.abs(values), 0.995))
    shares = np.clip(values / max(largest, 1e-12), -1, 1)[..., None]
    return _as_pixels(1 - np.abs(shares) * (1 - np.where(shares > 0, POSITIVE, NEGATIVE)))


def side_by_side(pictures: list[np.ndarray]) -> np.ndarray:
    """Joins pictures, uint8 [1 or 3, H, W], to a row, uint8 [4, H, W], with transparent gaps."""
    gap = max(1, pictures[0].shape[1] // 14)
    return mosaic([Tile(picture) for picture in pictures], gap=gap).transpose(2, 0, 1)


def _enlarged(values: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Enlarges [h, w] to [H, W] by bilinear interpolation."""
    height, width = size
    picture = Image.fromarray(values.astype(np.float32))
    return np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))


def _as_pixels(colours: np.ndarray) -> np.ndarray:
    """Converts [H, W, 3] in 0..1 to uint8 [3, H, W]."""
    return np.rint(255 * np.clip(colours, 0, 1)).astype(np.uint8).transpose(2, 0, 1)

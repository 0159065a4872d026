"""Fog, frost, snow and spatter. Images are float32 [N, C, H, H] in 0..1."""

from __future__ import annotations

import math

import numpy as np

from convoy.evaluation.corruptions.blur import along_both, along_direction, enlarged, gaussian, interpolation_matrix

MUD = 63 / 255  # grey value
GREY = np.array([0.299, 0.587, 0.114], np.float32)


def octaves(count: int, size: int, decay: float, random: np.random.Generator) -> np.ndarray:
    """Random clouds [count, size, size] in 0..1: noise on grids of 2, 4, 8, ... cells, each `decay` times weaker."""
    clouds = np.zeros((count, size, size), np.float32)
    for number in range(1, max(2, math.ceil(math.log2(size))) + 1):
        cells = 2**number
        grid = random.random((count, cells + 1, cells + 1), np.float32) - 0.5
        places = np.arange(size) * cells / size
        clouds += along_both(grid, interpolation_matrix(cells + 1, places)) * np.float32(decay**-number)
    return _stretched(clouds)


def _stretched(values: np.ndarray) -> np.ndarray:
    low = values.min(axis=(1, 2), keepdims=True)
    return (values - low) / np.maximum(values.max(axis=(1, 2), keepdims=True) - low, 1e-6)


def fog(images: np.ndarray, level: tuple[float, float], random: np.random.Generator) -> np.ndarray:
    """Adds clouds of this brightness and decay, and rescales so that no pixel exceeds the brightest of the image."""
    brightness, decay = level
    largest = images.max(axis=(1, 2, 3), keepdims=True)
    clouds = octaves(len(images), images.shape[-1], decay, random)[:, None]
    return (images + np.float32(brightness) * clouds) * largest / (largest + np.float32(brightness))


def frost(images: np.ndarray, level: tuple[float, float], random: np.random.Generator) -> np.ndarray:
    """Darkens the image and adds bright ridges of clouds, which look like ice crystals."""
    image_weight, added = level
    n, _, size, _ = images.shape
    first, second = (octaves(n, size, 1.6, random) for _ in range(2))
    ridges = (1 - np.abs(2 * first - 1)) ** 3  # thin where the clouds cross their mean
    ice = np.clip(0.2 + 0.35 * second + 0.75 * ridges, 0, 1)[:, None]
    tint = np.array([0.92, 0.97, 1.0], np.float32).reshape(3, 1, 1) if images.shape[1] == 3 else np.float32(1)
    return np.float32(image_weight) * images + np.float32(added) * ice * tint


def snow(images: np.ndarray, level: tuple[float, ...], random: np.random.Generator) -> np.ndarray:
    """Whitens the image and adds flakes that fall in a random direction, and the same flakes rotated by 180 degrees."""
    mean, sd, zoom, threshold, radius, sigma, image_weight = level
    n, channels, size, _ = images.shape
    flakes = mean + np.float32(sd) * random.standard_normal((n, 1, size, size), np.float32)
    flakes = enlarged(flakes, zoom) if zoom > 1 else flakes
    flakes = np.clip(np.where(flakes < threshold, 0, flakes), 0, 1).astype(np.float32)
    flakes = along_direction(flakes, (radius, sigma), (-135, -45), random)
    grey = np.tensordot(images, GREY, (1, 0))[:, None] if channels == 3 else images
    whitened = np.float32(image_weight) * images + np.float32(1 - image_weight) * np.maximum(images, grey * 1.5 + 0.5)
    return whitened + flakes + flakes[:, :, ::-1, ::-1]


def spatter(images: np.ndarray, level: tuple[float, ...], random: np.random.Generator) -> np.ndarray:
    """Covers the image with drops of mud where smoothed noise exceeds a threshold."""
    mean, sd, smoothing, threshold, edge = level
    size = images.shape[-1]
    liquid = mean + np.float32(sd) * random.standard_normal(images.shape, np.float32)
    drops = (gaussian(liquid, smoothing * size / 28) > threshold).astype(np.float32)
    cover = gaussian(drops, edge * size / 28)
    cover[cover < 0.8] = 0
    return images * (1 - cover) + np.float32(MUD) * cover

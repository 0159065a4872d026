"""Blur, and filters for other corruptions. Images are float32 [N, C, H, H] in 0..1.

A filter along one axis of a small image is a product with an H x H matrix, which is faster than a convolution.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F

ANGLE_STEP = 3  # degrees; images with the same angle are blurred together


def along_both(images: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Multiplies rows and columns by a matrix [M, H]; returns [..., M, M]."""
    return matrix @ images @ matrix.T


@cache
def gaussian_matrix(size: int, sigma: float) -> np.ndarray:
    """The matrix of a Gaussian filter along one axis, float32 [size, size]; edge pixels are repeated outwards."""
    radius = max(1, math.ceil(4 * sigma))
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    matrix = np.zeros((size, size))
    for offset, weight in zip(range(-radius, radius + 1), weights / weights.sum(), strict=True):
        np.add.at(matrix, (np.arange(size), np.clip(np.arange(size) + offset, 0, size - 1)), weight)
    return matrix.astype(np.float32)


def gaussian(images: np.ndarray, sigma: float) -> np.ndarray:
    return along_both(images, gaussian_matrix(images.shape[-1], sigma))


def defocus(images: np.ndarray, level: tuple[float, float], random: np.random.Generator) -> np.ndarray:
    """A disk of this radius, smoothed with a Gaussian of this sigma (pixels of a 32-pixel image)."""
    radius, sigma = (value * images.shape[-1] / 32 for value in level)
    reach = math.ceil(radius) + 1
    offsets = np.arange(-reach, reach + 1)
    disk = (offsets[:, None] ** 2 + offsets**2 <= radius**2).astype(np.float32)
    kernel = gaussian(disk[None] / disk.sum(), sigma)
    return _filtered(images, kernel[0])


def _filtered(images: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Correlates all channels with a kernel [2r + 1, 2r + 1]; the border is mirrored."""
    n, channels, size, _ = images.shape
    reach = len(kernel) // 2
    flat = F.pad(torch.from_numpy(images).reshape(n * channels, 1, size, size), (reach,) * 4, mode="reflect")
    return F.conv2d(flat, torch.from_numpy(kernel)[None, None]).reshape(n, channels, size, size).numpy()


def glass(images: np.ndarray, level: tuple[float, int, int], random: np.random.Generator) -> np.ndarray:
    """Blurs, swaps half of the pixels with one up to `reach` pixels away, and blurs again. For grey images.

    Pixels are visited from the last to the first, so that one can move several times.
    """
    sigma, reach, rounds = level
    n, channels, size, _ = images.shape
    sigma = sigma * size / 28
    pixels = gaussian(images, sigma).reshape(n * channels, size * size).T.copy()
    every, span = np.arange(n * channels), np.arange(size - reach, reach, -1)
    for _ in range(rounds):
        shape = (len(span), len(span), n * channels)
        moves = random.integers(-reach, reach, shape) * size + random.integers(-reach, reach, shape)
        moves *= random.random(shape, np.float32) < 0.5
        for row, of_row in zip(span, moves, strict=True):
            for column, move in zip(span, of_row, strict=True):
                here = row * size + column
                pixel = pixels[here].copy()
                pixels[here] = pixels[here + move, every]
                pixels[here + move, every] = pixel
    return gaussian(np.ascontiguousarray(pixels.T).reshape(images.shape), sigma)


def frosted_glass(images: np.ndarray, level: tuple[float, int, int], random: np.random.Generator) -> np.ndarray:
    """Blurs, replaces each pixel by one up to `reach` pixels above and to the left, and blurs again."""
    sigma, reach, rounds = level
    n, _, size, _ = images.shape
    sigma = sigma * size / 32
    pixels = gaussian(images, sigma)
    inner = slice(reach + 1, size)
    rows, columns = np.meshgrid(np.arange(size)[inner], np.arange(size)[inner], indexing="ij")
    for _ in range(rounds):
        down, right = random.integers(-reach, 1, (2, n, *rows.shape))
        moved = pixels[np.arange(n)[:, None, None], :, rows + down, columns + right]  # (N, h, w, C)
        pixels[:, :, inner, inner] = moved.transpose(0, 3, 1, 2)
    return gaussian(pixels, sigma)


def motion(images: np.ndarray, level: tuple[float, float], random: np.random.Generator) -> np.ndarray:
    """Blurs along a random direction between -45 and 45 degrees, with this radius and sigma."""
    return along_direction(images, level, (-45, 45), random)


def along_direction(
    images: np.ndarray, level: tuple[float, float], degrees: tuple[int, int], random: np.random.Generator
) -> np.ndarray:
    """Blurs with a one-sided Gaussian along a random direction; edge pixels are repeated outwards."""
    size = images.shape[-1]
    radius, sigma = level
    weights = np.exp(-0.5 * (np.arange(2 * round(radius) + 1) / sigma) ** 2)
    weights = (weights / weights.sum()).astype(np.float32)
    weights = weights[weights > 1e-3]
    angles = np.arange(degrees[0], degrees[1] + 1, ANGLE_STEP)
    angle_of = random.integers(len(angles), size=len(images))
    reach = len(weights)
    padded = np.pad(images, ((0, 0), (0, 0), (reach, reach), (reach, reach)), mode="edge")
    blurred = np.zeros_like(images)
    for number in np.unique(angle_of):
        own = angle_of == number
        group, angle = padded[own], math.radians(angles[number])
        total = np.zeros_like(images[own])
        for step, weight in enumerate(weights):
            top, left = reach + round(step * math.sin(angle)), reach + round(step * math.cos(angle))
            total += weight * group[:, :, top : top + size, left : left + size]
        blurred[own] = total
    return blurred


def zoom(images: np.ndarray, largest: float, random: np.random.Generator) -> np.ndarray:
    """The mean of the image and of its centre enlarged by 1, 1.01, ..., below `largest`."""
    factors = np.arange(1, largest, 0.01)
    total = images.copy()
    for factor in factors:
        total += enlarged(images, float(factor))
    return total / np.float32(len(factors) + 1)


def enlarged(images: np.ndarray, factor: float) -> np.ndarray:
    """The centre of each image, enlarged with linear interpolation to the original size."""
    size = images.shape[-1]
    places = (size - 1) / 2 + (np.arange(size) - (size - 1) / 2) / factor
    return along_both(images, interpolation_matrix(size, places))


def interpolation_matrix(size: int, places: np.ndarray) -> np.ndarray:
    """The matrix [len(places), size] that interpolates linearly at these coordinates along an axis of `size` pixels."""
    matrix = np.maximum(0, 1 - np.abs(places[:, None] - np.arange(size)))
    return matrix.astype(np.float32)

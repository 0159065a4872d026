"""Brightness, contrast, pixels, JPEG blocks and edges. Images are float32 [N, C, H, H] in 0..1."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
import torch.nn.functional as F

from convoy.evaluation.corruptions.blur import along_both, gaussian

# The tables for quality 50 in annex K of the JPEG standard (ITU-T T.81), by row.
LUMINANCE = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
CHROMINANCE = (
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99,
    47, 66, 99, 99, 99, 99, 99, 99, *(99,) * 32,
)  # fmt: skip
TO_YCC = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32)
LOW, HIGH = 0.1, 0.2  # thresholds of the gradient of Canny's method


def brightness(images: np.ndarray, added: float, random: np.random.Generator) -> np.ndarray:
    """Adds to the value of a pixel (its largest channel) and keeps hue and saturation."""
    value = images.max(axis=1, keepdims=True)
    brighter = np.minimum(1, value + np.float32(added))
    return np.where(value > 0, images / np.maximum(value, 1e-6) * brighter, brighter)


def contrast(images: np.ndarray, factor: float, random: np.random.Generator) -> np.ndarray:
    """Moves pixels towards the mean of their channel in the image."""
    mean = images.mean(axis=(2, 3), keepdims=True)
    return mean + np.float32(factor) * (images - mean)


def pixelate(images: np.ndarray, share: float, random: np.random.Generator) -> np.ndarray:
    """Downsamples the image to this fraction of its size and upsamples it again, with Pillow's box filter."""
    size = images.shape[-1]
    count = int(size * share)
    matrix = _box_matrix(count, size) @ _box_matrix(size, count)
    return along_both(images, matrix.astype(np.float32))


def _box_matrix(size: int, count: int) -> np.ndarray:
    """The matrix [count, size] of a resize to `count` pixels: means of the pixels whose centre is within a new pixel.

    A new pixel is at least as wide as an old one, so it contains at least one centre.
    """
    middles = (np.arange(count) + 0.5) * size / count
    distance = (np.arange(size) + 0.5 - middles[:, None]) / max(1, size / count)
    inside = (distance > -0.5) & (distance <= 0.5)
    return inside / inside.sum(axis=1, keepdims=True)


def jpeg(images: np.ndarray, quality: int, random: np.random.Generator) -> np.ndarray:
    """Rounds the cosine transform of blocks of 8 x 8 pixels as JPEG does, with half the resolution for colour."""
    size = images.shape[-1]
    padding = -size % 16
    full = np.pad(images, ((0, 0), (0, 0), (0, padding), (0, padding)), mode="edge")
    ycc = np.rint(np.tensordot(full, TO_YCC, (1, 1)).transpose(0, 3, 1, 2) * np.float32(255))
    chroma = ycc[:, 1:].reshape(*ycc[:, 1:].shape[:2], len(full[0, 0]) // 2, 2, -1, 2).mean(axis=(3, 5))
    luma = _rounded_blocks(ycc[:, :1] - 128, _table(LUMINANCE, quality)) + 128
    chroma = _rounded_blocks(chroma, _table(CHROMINANCE, quality)).repeat(2, axis=2).repeat(2, axis=3)
    decoded = np.concatenate([luma, chroma], axis=1)
    rgb = np.tensordot(decoded, np.linalg.inv(TO_YCC).astype(np.float32), (1, 1)).transpose(0, 3, 1, 2)
    return rgb[..., :size, :size] / np.float32(255)


def _table(base: tuple[int, ...], quality: int) -> np.ndarray:
    """The quantisation table for a JPEG quality, scaled as in libjpeg."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return np.clip((np.array(base) * scale + 50) // 100, 1, 255).astype(np.float32).reshape(8, 8)


@cache
def _cosines() -> np.ndarray:
    """The orthonormal cosine transform of 8 values, float32 [8, 8]."""
    frequencies = np.arange(8)[:, None]
    matrix = np.cos(np.pi * (2 * np.arange(8) + 1) * frequencies / 16) * np.sqrt(np.where(frequencies, 2, 1) / 8)
    return matrix.astype(np.float32)


def _rounded_blocks(values: np.ndarray, table: np.ndarray) -> np.ndarray:
    n, channels, height, width = values.shape
    blocks = values.reshape(n, channels, height // 8, 8, width // 8, 8).swapaxes(3, 4)
    frequencies = along_both(blocks, _cosines())
    rounded = np.rint(frequencies / table) * table
    return along_both(rounded, _cosines().T).swapaxes(3, 4).reshape(values.shape)


def canny(images: np.ndarray, sigma: float, random: np.random.Generator) -> np.ndarray:
    """White edges on black, by Canny's method (1986), after a Gaussian filter of this sigma (pixels of MNIST)."""
    n, channels, size, _ = images.shape
    smooth = gaussian(images, sigma * size / 28).reshape(n * channels, size, size)
    dx, dy = _derivatives(smooth)
    strength = np.hypot(dx, dy)
    around = np.pad(strength, ((0, 0), (1, 1), (1, 1)))

    def neighbour(down: int, right: int) -> np.ndarray:
        return around[:, 1 + down : 1 + down + size, 1 + right : 1 + right + size]

    # The direction of the gradient: 0 horizontal, 1 diagonal, 2 vertical, 3 the other diagonal.
    direction = np.rint(np.arctan2(dy, dx) / (np.pi / 4)).astype(int) % 4
    steps = ((0, 1), (1, 1), (1, 0), (1, -1))
    is_ridge = np.zeros(strength.shape, bool)
    for number, (down, right) in enumerate(steps):
        is_peak = (strength >= neighbour(down, right)) & (strength > neighbour(-down, -right))
        is_ridge |= (direction == number) & is_peak
    weak = torch.from_numpy(is_ridge & (strength > LOW))
    edges = weak & torch.from_numpy(strength > HIGH)
    while True:  # extends edges by adjacent weak pixels
        grown = weak & (F.max_pool2d(edges[:, None].float(), 3, 1, 1)[:, 0] > 0)
        if torch.equal(grown, edges):
            return edges.numpy().astype(np.float32).reshape(images.shape)
        edges = grown


def _derivatives(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sobel derivatives along x and y; edge pixels are repeated outwards."""
    around = np.pad(images, ((0, 0), (1, 1), (1, 1)), mode="edge")
    across = around[:, :, 2:] - around[:, :, :-2]
    down = around[:, 2:] - around[:, :-2]
    dx = across[:, :-2] + 2 * across[:, 1:-1] + across[:, 2:]
    dy = down[:, :, :-2] + 2 * down[:, :, 1:-1] + down[:, :, 2:]
    return dx, dy

"""Changes of position and shape, and lines. Images are float32 [N, C, H, H] in 0..1; lengths are in pixels of MNIST."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from convoy.evaluation.corruptions.blur import gaussian

SIDE = 28  # pixels per side of an MNIST image; lengths are scaled to other sizes
LINE_REACH = 2.3  # pixels from the centre of a line to its edge


def signs(random: np.random.Generator, *shape: int) -> np.ndarray:
    return 2 * random.integers(2, size=shape) - 1


def affine(images: np.ndarray, matrices: np.ndarray, *, padding: str = "zeros") -> np.ndarray:
    """Warps images with matrices [N, 2, 3] from coordinates of the result to those of the image, (x, y) in -1..1."""
    x = torch.from_numpy(images)
    grid = F.affine_grid(torch.from_numpy(matrices.astype(np.float32)), list(images.shape), align_corners=True)
    return F.grid_sample(x, grid, padding_mode=padding, align_corners=True).numpy()


Entry = np.ndarray | float


def _matrices(count: int, rows: tuple[tuple[Entry, Entry], tuple[Entry, Entry]]) -> np.ndarray:
    """Matrices [count, 2, 3] without translation; each entry is a number or an array [count]."""
    matrices = np.zeros((count, 2, 3))
    for row, entries in enumerate(rows):
        for column, entry in enumerate(entries):
            matrices[:, row, column] = entry
    return matrices


def shear(images: np.ndarray, radians: float, random: np.random.Generator) -> np.ndarray:
    """Tilts vertical lines by this angle, to the left or the right."""
    angles = radians * signs(random, len(images))
    return affine(images, _matrices(len(images), ((1, -np.sin(angles)), (0, np.cos(angles)))))


def rotate(images: np.ndarray, radians: float, random: np.random.Generator) -> np.ndarray:
    angles = radians * signs(random, len(images))
    cos, sin = np.cos(angles), np.sin(angles)
    return affine(images, _matrices(len(images), ((cos, -sin), (sin, cos))))


def scale(images: np.ndarray, factor: float, random: np.random.Generator) -> np.ndarray:
    return affine(images, _matrices(len(images), ((1 / factor, 0), (0, 1 / factor))))


def translate(images: np.ndarray, pixels: int, random: np.random.Generator) -> np.ndarray:
    """Shifts by this many pixels along both axes."""
    size = images.shape[-1]
    matrices = _matrices(len(images), ((1, 0), (0, 1)))
    matrices[:, :, 2] = signs(random, len(images), 2) * 2 * round(pixels * size / SIDE) / (size - 1)
    return affine(images, matrices)


def elastic(images: np.ndarray, level: tuple[float, float, float], random: np.random.Generator) -> np.ndarray:
    """Applies a random affine map and a smooth random shift of each pixel.

    `level`, as fractions of the image size: shift of the pixels before smoothing, sigma of the smoothing, and shift of
    the three points that define the affine map.
    """
    distance, sigma, corners = level
    n, _, size, _ = images.shape
    # The affine map from three points to shifted ones. Coordinates are -1 to 1: 2/3 is a third of the image's side.
    points = np.array([[1.0, 1.0, 1.0], [1.0, -1.0, 1.0], [-1.0, -1.0, 1.0]]) * [2 / 3, 2 / 3, 1]
    shifted = points[:, :2] + 2 * random.uniform(-corners, corners, (n, 3, 2))
    matrices = np.linalg.solve(np.broadcast_to(points, (n, 3, 3)), shifted).transpose(0, 2, 1)
    theta = torch.from_numpy(matrices.astype(np.float32))
    grid = F.affine_grid(theta, [n, 1, size, size], align_corners=True)
    if distance:
        noise = random.uniform(-1, 1, (n, 2, size, size)).astype(np.float32)
        shifts = gaussian(noise, sigma * size) * np.float32(2 * distance * size / (size - 1))
        grid = grid + torch.from_numpy(shifts.transpose(0, 2, 3, 1).copy())
    return F.grid_sample(torch.from_numpy(images), grid, padding_mode="reflection", align_corners=True).numpy()


def stripe(images: np.ndarray, columns: int, random: np.random.Generator) -> np.ndarray:
    """Inverts this many columns on each side."""
    size = images.shape[-1]
    inverted, width = images.copy(), round(columns * size / SIDE)
    for side in (slice(0, width), slice(size - width, size)):
        inverted[..., side] = 1 - inverted[..., side]
    return inverted


def dotted_line(images: np.ndarray, lines: int, random: np.random.Generator) -> np.ndarray:
    """Draws lines from the left to the right edge; every other pair of columns is left out."""
    size = images.shape[-1]
    columns = np.arange(size) * SIDE / size
    marked = images
    for _ in range(lines):
        starts, ends = random.integers(SIDE - 1, size=(2, len(images), 1))
        rows = starts + (ends - starts) * columns / (SIDE - 1)
        marked = np.minimum(1, marked + _line(rows, size) * (columns % 4 >= 2).astype(np.float32))
    return marked


def zigzag(images: np.ndarray, lines: int, random: np.random.Generator) -> np.ndarray:
    """Draws nearly horizontal zigzag lines with a height of 4 pixels and a period of 8."""
    size = images.shape[-1]
    columns = np.arange(size) * SIDE / size
    wave = 2 - np.abs((columns[None] - 2 + 2) % 8 - 4)
    marked = images
    for _ in range(lines):
        starts = random.integers(SIDE - 1, size=(len(images), 1))
        slopes = random.integers(-5, 5, size=(len(images), 1)) / 23
        rows = starts + slopes * (columns - 2) - wave
        drawn = _line(rows, size) * ((columns >= 2) & (columns < 26)).astype(np.float32)
        marked = np.minimum(1, marked + drawn)
    return marked


def _line(rows: np.ndarray, size: int) -> np.ndarray:
    """Brightness [N, 1, size, size] of lines at these rows [N, size], by the vertical distance from their centre."""
    distance = np.abs(np.arange(size)[:, None] * SIDE / size - rows[:, None, :])
    with np.errstate(divide="ignore"):
        bright = 1 + np.log(np.maximum(0, 1 - distance / LINE_REACH))
    return np.maximum(0, bright)[:, None].astype(np.float32)

"""Noise: independent for each pixel and channel. Images are float32 [N, C, H, H] in 0..1."""

from __future__ import annotations

import numpy as np


def gaussian(images: np.ndarray, sd: float, random: np.random.Generator) -> np.ndarray:
    return images + np.float32(sd) * random.standard_normal(images.shape, np.float32)


def shot(images: np.ndarray, photons: float, random: np.random.Generator) -> np.ndarray:
    """Poisson noise; a white pixel receives `photons` on average."""
    counts = np.zeros(images.shape, np.float32)
    lit = images > 0  # a black pixel has no noise; skipping them halves the time on MNIST
    counts[lit] = random.poisson(images[lit] * photons)
    return counts / np.float32(photons)


def impulse(images: np.ndarray, share: float, random: np.random.Generator) -> np.ndarray:
    """Salt and pepper: this share of the pixels becomes white or black."""
    draw = random.random(images.shape, np.float32)
    return np.where(draw < share / 2, np.float32(0), np.where(draw < share, np.float32(1), images))

"""Corruptions of test images: those of MNIST-C for grey images, those of CIFAR-10-C for colour images.

Sources: Mu and Gilmer (2019), MNIST-C, arXiv 1906.02337; Hendrycks and Dietterich (2019), arXiv 1903.12261. The kinds
follow the descriptions and parameters of these papers and their generators, so a corrupted image is similar to a
published one, but not equal. `differences` in reporting/corruptions.py describes the differences.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from convoy.evaluation.corruptions import blur, digital, noise, shapes, weather
from convoy.randomness import derive_seed
from convoy.registry import unknown
from convoy.text import gettext as _

SEVERITIES = (1, 2, 3, 4, 5)
REVISION = 1  # increased when corrupted images change
MIN_SIDE = 12  # pixels per side
CHUNK = 1000  # images per batch; each batch has its own random seed

# Images float32 [N, C, H, H] in 0..1, parameters of the severity, generator -> same shape; values may exceed 0..1
Corruption = Callable[[np.ndarray, Any, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Kind:
    name: str
    function: Corruption
    levels: Sequence[Any]  # the parameters of severities 1 to 5


GREY = (
    Kind("shot_noise", noise.shot, (60, 25, 12, 5, 3)),
    Kind("impulse_noise", noise.impulse, (0.03, 0.06, 0.09, 0.17, 0.27)),
    Kind("glass_blur", blur.glass, ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2))),
    Kind("motion_blur", blur.motion, ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))),
    Kind("shear", shapes.shear, (0.2, 0.4, 0.6, 0.8, 1.0)),
    Kind("scale", shapes.scale, (0.9, 0.8, 0.7, 0.6, 0.5)),
    Kind("rotate", shapes.rotate, (0.2, 0.4, 0.6, 0.8, 1.0)),
    Kind("brightness", digital.brightness, (0.1, 0.2, 0.3, 0.4, 0.5)),
    Kind("translate", shapes.translate, (1, 2, 3, 4, 5)),
    Kind("stripe", shapes.stripe, (3, 5, 7, 9, 11)),
    Kind("fog", weather.fog, ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4))),
    Kind(
        "spatter", weather.spatter,
        ((0.65, 0.3, 4, 0.69, 0.6), (0.65, 0.3, 3, 0.68, 0.6), (0.65, 0.3, 2, 0.68, 0.5), (0.65, 0.3, 1, 0.65, 1.5),
         (0.67, 0.4, 1, 0.65, 1.5)),
    ),
    Kind("dotted_line", shapes.dotted_line, (1, 2, 3, 4, 5)),
    Kind("zigzag", shapes.zigzag, (1, 2, 3, 4, 5)),
    Kind("canny_edges", digital.canny, (0.6, 0.8, 1.0, 1.25, 1.5)),
)  # fmt: skip

COLOUR = (
    Kind("gaussian_noise", noise.gaussian, (0.04, 0.06, 0.08, 0.09, 0.10)),
    Kind("shot_noise", noise.shot, (500, 250, 100, 75, 50)),
    Kind("impulse_noise", noise.impulse, (0.01, 0.02, 0.03, 0.05, 0.07)),
    Kind("defocus_blur", blur.defocus, ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1))),
    Kind("glass_blur", blur.frosted_glass, ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2))),
    Kind("motion_blur", blur.motion, ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5))),
    Kind("zoom_blur", blur.zoom, (1.06, 1.11, 1.16, 1.21, 1.26)),
    Kind(
        "snow", weather.snow,
        ((0.1, 0.2, 1, 0.6, 8, 3, 0.95), (0.1, 0.2, 1, 0.5, 10, 4, 0.9), (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
         (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85), (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8)),
    ),
    Kind("frost", weather.frost, ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45))),
    Kind("fog", weather.fog, ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75))),
    Kind("brightness", digital.brightness, (0.05, 0.1, 0.15, 0.2, 0.3)),
    Kind("contrast", digital.contrast, (0.75, 0.5, 0.4, 0.3, 0.15)),
    Kind(
        "elastic_transform", shapes.elastic,
        ((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
    ),
    Kind("pixelate", digital.pixelate, (0.95, 0.9, 0.85, 0.75, 0.65)),
    Kind("jpeg_compression", digital.jpeg, (80, 65, 58, 50, 40)),
)  # fmt: skip


def kinds_for(channels: int, size: int) -> tuple[Kind, ...]:
    """Those of MNIST-C for grey images, those of CIFAR-10-C (without its four extra kinds) for colour images.

    Raises ValueError for other images, and for images of fewer than MIN_SIDE pixels per side.
    """
    if channels not in (1, 3) or size < MIN_SIDE:
        raise ValueError(
            _(
                "corruptions are for grey and colour images of {smallest} pixels or more, got {channels}x{size}x{size}",
                smallest=MIN_SIDE,
                channels=channels,
                size=size,
            )
        )
    return GREY if channels == 1 else COLOUR


def corrupt(images: np.ndarray, kind: str, severity: int, *, seed: int = 0) -> np.ndarray:
    """Corrupts images uint8 [N, C, H, H], C = 1 or 3, H >= MIN_SIDE, with a kind by name; uint8, same shape.

    The result depends on the images, the kind, the severity (1 to 5) and the seed. Raises ValueError.
    """
    kinds = {each.name: each for each in kinds_for(images.shape[1], images.shape[-1])}
    if kind not in kinds:
        raise unknown(_("corruption"), kind, kinds)
    if severity not in SEVERITIES:
        raise ValueError(_("severity = {severity}: expected 1 to 5", severity=severity))
    chosen = kinds[kind]
    corrupted = np.empty(images.shape, np.uint8)
    for start in range(0, len(images), CHUNK):
        random = np.random.default_rng(derive_seed(seed, f"corrupt {kind} {severity}", start))
        batch = images[start : start + CHUNK].astype(np.float32) / 255
        values = chosen.function(batch, chosen.levels[severity - 1], random)
        corrupted[start : start + CHUNK] = np.rint(255 * np.clip(values, 0, 1))
    return corrupted

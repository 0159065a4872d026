"""The three kinds of augmentations, and the checks of their keys.

An augmentation is a frozen dataclass whose fields are the keys of a recipe's table. `draws` is the number of uniform
random numbers that it needs per image. They are drawn for the full batch on the CPU, so that a generator gives the same
draws on every device. The methods determine the kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

Interpolation = Literal["nearest", "bilinear"]


@runtime_checkable
class Geometric(Protocol):
    """Moves the pixels of an image by an affine map."""

    draws: ClassVar[int]

    @property
    def interpolation(self) -> Interpolation:
        """Nearest if it moves by integer numbers of pixels or was requested."""

    @property
    def is_separate(self) -> bool:
        """Whether it is resampled separately from the adjacent geometric augmentations."""

    def maps(self, uniform: Tensor, side: int) -> Tensor:
        """From draws [B, draws] in 0..1: maps [B, 3, 3] from coordinates in the result to those in the image.

        Coordinates run from -1 to 1 between the outer edges of an image of `side` pixels.
        """


class PixelTransform(Protocol):
    """Changes a single image in any other way."""

    @property
    def draws(self) -> int: ...

    def __call__(self, x: Tensor, uniform: Tensor, generator: torch.Generator) -> Tensor:
        """Transforms x, float [B, C, H, H] in 0..1, with draws [B, draws] in 0..1.

        The generator, on the CPU, is for draws per pixel, which few images of a batch need.
        """


class MixWeights(NamedTuple):
    """The weights of an image when it is mixed with another."""

    pixels: Tensor  # [B, 1, 1 or H, 1 or H] in 0..1, on the device of the images
    label: Tensor  # [B] in 0..1, on the CPU


@runtime_checkable
class Mixer(Protocol):
    """Mixes an image and its label with another of the batch."""

    draws: ClassVar[int]

    @property
    def probability(self) -> float: ...

    def weights(self, uniform: Tensor, x: Tensor) -> MixWeights: ...


def to_device_of(x: Tensor, draws: Tensor) -> Tensor:
    """Copies draws from the CPU to x's device without blocking the host."""
    return draws.to(x.device, non_blocking=True)


def check_number(name: str, key: str, value: object, *, low: float, high: float, integer: bool = False) -> None:
    kind = "an integer" if integer else "a number"
    is_number = isinstance(value, int if integer else int | float) and not isinstance(value, bool)
    if not is_number or not low <= value <= high:  # type: ignore[operator]
        raise ValueError(f"augment {name}: {key} = {value!r}: expected {kind} from {low:g} to {high:g}")


def check_range(name: str, key: str, value: object, *, low: float, high: float) -> None:
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2:
        raise ValueError(f"augment {name}: {key} = {value!r}: expected two numbers, the lower one first")
    for end in value:
        check_number(name, key, end, low=low, high=high)
    if value[0] > value[1]:
        raise ValueError(f"augment {name}: {key} = {value!r}: expected the lower number first")

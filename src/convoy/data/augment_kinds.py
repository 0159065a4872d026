"""The base classes of the three kinds of augmentations, and the types of their keys.

The fields of an augmentation are the keys of its table in a recipe. `draws` is the number of uniform random numbers
that it needs per image. They are drawn for the full batch on the CPU, so that they are the same on every device.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import StrEnum
from typing import Annotated, Any, ClassVar, NamedTuple

import torch
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from torch import Tensor

from convoy.text import gettext as _


def _pair(value: Any) -> tuple[Any, Any]:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ValueError(_("expected two numbers, the lower one first"))
    return value[0], value[1]


def _ascending(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] > value[1]:
        raise ValueError(_("expected the lower number first"))
    return value


ASCENDING = AfterValidator(_ascending)
PAIR = BeforeValidator(_pair)
Fraction = Annotated[float, Field(ge=0, le=1)]
Pixels = Annotated[int, Field(ge=0, le=512)]


class Reorientation(StrEnum):
    """A change of orientation that can turn a character into another one."""

    MIRRORED = "mirrored"
    ROTATED = "rotated"  # by 90 degrees or more


class _Augmentation(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    @property
    def reorientation(self) -> Reorientation | None:
        """The reorientation that this augmentation may apply; None if images stay upright and are not mirrored."""
        return None


class Affine(_Augmentation, ABC):
    """Moves the pixels of an image by an affine map."""

    draws: ClassVar[int]
    is_exact: ClassVar[bool] = False  # moves by integer numbers of pixels

    @property
    def is_separate(self) -> bool:
        """Whether it is resampled separately, from the nearest pixels, as in torchvision."""
        return False

    @abstractmethod
    def maps(self, uniform: Tensor, side: int) -> Tensor:
        """Returns maps [B, 3, 3] from coordinates in the result to coordinates in the image of `side` pixels.

        uniform: draws [B, draws] in 0..1. Coordinates range from -1 to 1 between the outer edges of an image.
        """


class PixelTransform(_Augmentation, ABC):
    """Changes the pixels of an image in a way that is not an affine map."""

    @property
    @abstractmethod
    def draws(self) -> int: ...

    @abstractmethod
    def __call__(self, x: Tensor, uniform: Tensor, generator: torch.Generator) -> Tensor:
        """Transforms x, float [B, C, H, H] in 0..1, with draws float32 [B, draws] in 0..1.

        The result has the shape, dtype and range of x.
        The generator, on the CPU, is for random numbers per pixel, which only a few images of a batch need.
        """


class MixWeights(NamedTuple):
    """The weights of an image that is mixed with another."""

    pixels: Tensor  # [B, 1, 1 or H, 1 or H] in 0..1, on the device of the images
    label: Tensor  # [B] in 0..1, on the CPU


class Mixer(_Augmentation, ABC):
    """Mixes an image and its label with another of the batch."""

    alpha: Annotated[float, Field(ge=0.01, le=100)] = 1.0  # parameter of the Beta distribution; 1: uniform
    probability: Fraction = 1.0  # probability that an image is mixed

    draws: ClassVar[int]

    @abstractmethod
    def weights(self, uniform: Tensor, x: Tensor) -> MixWeights: ...


def to_device_of(x: Tensor, draws: Tensor) -> Tensor:
    """Copies draws from the CPU to x's device without blocking the host."""
    return draws.to(x.device, non_blocking=True)

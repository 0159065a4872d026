"""What an augmentation can be, and how its keys are checked.

An augmentation is a frozen dataclass whose fields are the keys of a recipe's table. It says how many uniform numbers it
needs for an image (`draws`); the batch's are drawn together, on the CPU, so that the same generator gives the same
draws on every device. It is of one of three kinds, told apart by their methods.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

Interpolation = Literal["nearest", "bilinear"]


@runtime_checkable
class Geometric(Protocol):
    """Moves the pixels of an image, as an affine map."""

    draws: ClassVar[int]

    @property
    def interpolation(self) -> Interpolation:
        """Nearest where it only moves by whole pixels, or was asked for."""

    @property
    def is_separate(self) -> bool:
        """Whether it is resampled by itself, instead of together with the geometric augmentations next to it."""

    def maps(self, uniform: Tensor, side: int) -> Tensor:
        """From draws [B, draws] in 0..1: maps [B, 3, 3] from a place in the result to its place in the image.

        Coordinates run from -1 to 1 between the outer edges of an image of `side` pixels.
        """


class PixelTransform(Protocol):
    """Changes an image by itself, in any other way."""

    @property
    def draws(self) -> int: ...

    def __call__(self, x: Tensor, uniform: Tensor, generator: torch.Generator) -> Tensor:
        """x float [B, C, H, H] in 0..1 and draws [B, draws] in 0..1 to the same shape and type.

        The generator, on the CPU, is for draws by the pixel, which few images of a batch need.
        """


class MixWeights(NamedTuple):
    """How much of itself an image keeps where it is mixed with another."""

    pixels: Tensor  # [B, 1, 1 or H, 1 or H] in 0..1, on the device of the images
    share: Tensor  # [B] in 0..1, of the whole image; on the CPU


@runtime_checkable
class Mixer(Protocol):
    """Mixes an image and its label with another of the batch."""

    draws: ClassVar[int]

    @property
    def probability(self) -> float: ...

    def kept(self, uniform: Tensor, x: Tensor) -> MixWeights: ...


def to_device_of(x: Tensor, drawn: Tensor) -> Tensor:
    """What was drawn on the CPU, on x's device; the host does not wait for the copy, as with `.to` alone it would."""
    return drawn.to(x.device, non_blocking=True)


def check_number(name: str, key: str, value: object, *, low: float, high: float, integer: bool = False) -> None:
    kind = "an integer" if integer else "a number"
    is_number = isinstance(value, int if integer else int | float) and not isinstance(value, bool)
    if not is_number or not low <= value <= high:  # type: ignore[operator]
        raise ValueError(f"augment {name}: {key} = {value!r} must be {kind} from {low:g} to {high:g}")


def check_range(name: str, key: str, value: object, *, low: float, high: float) -> None:
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2:
        raise ValueError(f"augment {name}: {key} = {value!r} must be two numbers, the low one first")
    for end in value:
        check_number(name, key, end, low=low, high=high)
    if value[0] > value[1]:
        raise ValueError(f"augment {name}: {key} = {value!r} must have the low number first")

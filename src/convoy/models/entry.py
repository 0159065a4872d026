"""The type of a catalogue row. Does not import torch, so that listing the models is fast."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from convoy.text import gettext as _

if TYPE_CHECKING:
    from torch import nn

Option = bool | int | float | str


class Geometry(NamedTuple):
    """The arguments of a network that are determined by the data; all others are options."""

    in_chans: int
    num_classes: int
    image_size: int  # pixels; images are square


MNIST, CIFAR, IMAGENET = Geometry(1, 10, 28), Geometry(3, 10, 32), Geometry(3, 1000, 224)


def lowest_loss(num_classes: int) -> float:
    """Returns the cross-entropy (nats) of softmax outputs that are one-hot and right, log(1 + (classes - 1) / e)."""
    return math.log1p((num_classes - 1) / math.e)


def floor_of_loss(num_classes: int) -> str:
    """States the lowest cross-entropy of softmax outputs."""
    floor = lowest_loss(num_classes)
    return _("with {n} classes the loss cannot fall below {floor:.3f}", n=num_classes, floor=floor)


@dataclass(frozen=True)
class ModelEntry:
    name: str
    summary: str  # one line for `convoy list models`
    defined_in: str  # the class, as "file.Class"; imported when it is needed
    counted_at: Geometry  # geometry of the paper's or report's data
    parameters: int  # at `counted_at`; checked by the contract test
    smallest_image: int  # pixels; a smaller image would give an empty feature map
    macs: int | None = None  # multiply-adds per image, also checked; only for the networks of the five experiments
    revision: int = 1  # raise when computation, initial weights or defaults change, so that runs are retrained
    presets: Mapping[str, Option] = field(default_factory=dict)  # the options of a variant

    @property
    def factory(self) -> type[nn.Module]:
        file, _, class_name = self.defined_in.partition(".")
        model_class: type[nn.Module] = getattr(import_module(f"convoy.models.{file}"), class_name)
        return model_class

    @property
    def options(self) -> dict[str, Option]:
        """Name -> default."""
        return defaults_of(self.factory) | dict(self.presets)


def defaults_of(factory: Callable[..., object]) -> dict[str, Option]:
    """Option names and defaults from the signature, without types that a recipe cannot have."""
    parameters = inspect.signature(factory).parameters.values()
    return {
        parameter.name: parameter.default
        for parameter in parameters
        if parameter.name not in Geometry._fields and isinstance(parameter.default, Option)
    }


def one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"

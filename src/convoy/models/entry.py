"""Registry entries of models, and the decorator that adds them.

A family is one file with the class and its facts in `@register`, and an import in `convoy.models`. A variant is one
more `register` line with other option values (`presets`); for many variants use a table and a loop.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from torch import nn

from convoy.registry import Registry

Option = bool | int | float | str
GEOMETRY = ("in_chans", "num_classes", "image_size")  # from the data; all other arguments are options

ModuleClass = TypeVar("ModuleClass", bound=type[nn.Module])


@dataclass(frozen=True)
class ModelEntry:
    name: str
    factory: Callable[..., nn.Module]
    summary: str  # one line for `convoy list models`
    source: str  # URL of the paper or report
    parameters: int  # at `counted_at`; pinned by the contract test
    macs: int | None  # multiply-adds per image, also pinned; only for the networks of the five experiments
    counted_at: tuple[int, int, int]  # in_chans, num_classes, image_size of the paper's or report's data
    smallest_image: int  # pixels; below this a feature map would be empty
    options: Mapping[str, Option]  # name -> default, including the presets of a variant
    channels_last: bool  # whether a training step on the CPU is faster in this memory format
    revision: int  # increased if computation, initial weights or defaults change, so that runs are retrained


MODELS: Registry[ModelEntry] = Registry("model")


def register(
    name: str,
    *,
    summary: str,
    source: str,
    parameters: int,
    smallest_image: int,
    macs: int | None = None,
    counted_at: tuple[int, int, int] = (1, 10, 28),
    channels_last: bool = True,
    revision: int = 1,
    presets: Mapping[str, Option] | None = None,
) -> Callable[[ModuleClass], ModuleClass]:
    def add(factory: ModuleClass) -> ModuleClass:
        options = defaults_of(factory) | dict(presets or {})
        entry = ModelEntry(
            name,
            factory,
            summary,
            source,
            parameters,
            macs,
            counted_at,
            smallest_image,
            options,
            channels_last,
            revision,
        )
        MODELS.add(name, entry)
        return factory

    return add


def defaults_of(factory: type[nn.Module]) -> dict[str, Option]:
    """Option names and defaults from the signature, without types that a recipe cannot hold."""
    parameters = inspect.signature(factory).parameters.values()
    return {
        parameter.name: parameter.default
        for parameter in parameters
        if parameter.name not in GEOMETRY and isinstance(parameter.default, Option)
    }

"""Registry entries of models, the decorator that adds them, and the base classes of the families.

A family is one file with the class and its facts in `@register`, and an import in `convoy.models`. A variant is one
more `register` line with other option values (`presets`); for many variants use a table and a loop.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import torch
from torch import nn

from convoy.registry import Registry

Option = bool | int | float | str

ModuleClass = TypeVar("ModuleClass", bound=type[nn.Module])


class Geometry(NamedTuple):
    """What a network takes from the data; all other arguments are options."""

    in_chans: int
    num_classes: int
    image_size: int  # pixels of the side


class Network(nn.Module):
    """Base of the families: images (N, in_chans, image_size, image_size) to logits (N, num_classes).

    Its `forward` is that of a plain network. With a global average pool the weights do not depend on the image size.
    """

    flaws: tuple[str, ...] = ()
    features: nn.Module
    head: nn.Module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x))


class AveragingNetwork(Network):
    """The head reads the mean of the last map."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x).mean(dim=(2, 3)))  # (N, width, h, w) -> (N, width) -> (N, classes)


class StemAndBlocks(Network):
    """A stem, blocks, and a head that reads the mean of the last map."""

    stem: nn.Module
    blocks: nn.Module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.blocks(self.stem(x))  # (N, width, h, w)
        return self.head(x.mean(dim=(2, 3)))  # (N, classes)


@dataclass(frozen=True, kw_only=True)
class ModelEntry:
    name: str
    factory: Callable[..., nn.Module]
    options: Mapping[str, Option]  # name -> default, including the presets of a variant
    summary: str  # one line for `convoy list models`
    source: str  # URL of the paper or report
    parameters: int  # at `counted_at`; pinned by the contract test
    smallest_image: int  # pixels; below this a feature map would be empty
    counted_at: tuple[int, int, int] = (1, 10, 28)  # in_chans, num_classes, image_size of the paper's or report's data
    macs: int | None = None  # multiply-adds per image, also pinned; only for the networks of the five experiments
    revision: int = 1  # increased if computation, initial weights or defaults change, so that runs are retrained


MODELS: Registry[ModelEntry] = Registry("model")


def register(
    name: str, *, presets: Mapping[str, Option] | None = None, **facts: Any
) -> Callable[[ModuleClass], ModuleClass]:
    """Adds a class to MODELS; `facts` are the fields of ModelEntry from `summary` on."""

    def add(factory: ModuleClass) -> ModuleClass:
        options = defaults_of(factory) | dict(presets or {})
        MODELS.add(name, ModelEntry(name=name, factory=factory, options=options, **facts))
        return factory

    return add


def defaults_of(factory: type[nn.Module]) -> dict[str, Option]:
    """Option names and defaults from the signature, without types that a recipe cannot hold."""
    parameters = inspect.signature(factory).parameters.values()
    return {
        parameter.name: parameter.default
        for parameter in parameters
        if parameter.name not in Geometry._fields and isinstance(parameter.default, Option)
    }


def output_for_two_images(module: nn.Module, geometry: Geometry) -> object:
    """One pass over black images in evaluation mode; restores the mode and torch's generator."""
    mode = module.training
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        output = module.eval()(torch.zeros(2, geometry.in_chans, geometry.image_size, geometry.image_size))
    module.train(mode)
    return output


def one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"

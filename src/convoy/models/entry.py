"""What a row of the catalogue holds, and the base classes of the families."""

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import nn

Option = bool | int | float | str


class Geometry(NamedTuple):
    """What a network takes from the data; all other arguments are options."""

    in_chans: int
    num_classes: int
    image_size: int  # pixels of the side


MNIST, CIFAR, IMAGENET = Geometry(1, 10, 28), Geometry(3, 10, 32), Geometry(3, 1000, 224)


class Network(nn.Module):
    """Base of the families: images (N, in_chans, image_size, image_size) to logits (N, num_classes).

    Its `forward` is that of a plain network. With a global average pool the weights do not depend on the image size.
    """

    flaws: tuple[str, ...] = ()
    features: nn.Module
    head: nn.Module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x))

    def end_in_softmax(self, num_classes: int) -> None:
        """The flaw of several published networks."""
        assert isinstance(self.head, nn.Sequential)
        self.head.append(nn.Softmax(dim=-1))
        self.flaws = (*self.flaws, f"softmax output before cross-entropy: {floor_of_loss(num_classes)}")


def floor_of_loss(num_classes: int) -> str:
    """The minimum of cross-entropy with probabilities as logits: log(1 + (classes - 1) / e), for one-hot outputs."""
    floor = math.log1p((num_classes - 1) / math.e)
    return f"with {num_classes} classes the loss cannot fall below {floor:.3f}"


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


@dataclass(frozen=True)
class ModelEntry:
    name: str
    summary: str  # one line for `convoy list models`
    factory: type[nn.Module]
    counted_at: Geometry  # of the paper's or report's data
    parameters: int  # at `counted_at`; pinned by the contract test
    smallest_image: int  # pixels; below this a feature map would be empty
    macs: int | None = None  # multiply-adds per image, also pinned; only for the networks of the five experiments
    revision: int = 1  # increased if computation, initial weights or defaults change, so that runs are retrained
    presets: Mapping[str, Option] = field(default_factory=dict)  # the options of a variant

    @property
    def options(self) -> dict[str, Option]:
        """Name -> default."""
        return defaults_of(self.factory) | dict(self.presets)


def defaults_of(factory: type[nn.Module]) -> dict[str, Option]:
    """Option names and defaults from the signature, without types that a recipe cannot hold."""
    parameters = inspect.signature(factory).parameters.values()
    return {
        parameter.name: parameter.default
        for parameter in parameters
        if parameter.name not in Geometry._fields and isinstance(parameter.default, Option)
    }


def error_of_output(module: nn.Module, geometry: Geometry) -> str:
    """Passes two black images in evaluation mode, which also initialises lazy layers; "" if it returns their logits.

    Restores the mode and torch's generator. Raises what the network raises.
    """
    mode, expected = module.training, [2, geometry.num_classes]
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        output = module.eval()(torch.zeros(2, geometry.in_chans, geometry.image_size, geometry.image_size))
    module.train(mode)
    if not isinstance(output, torch.Tensor):
        return f"expected a tensor of logits, got {type(output).__name__}"
    if list(output.shape) != expected:
        return f"expected {expected} for 2 images and {geometry.num_classes} classes, got {list(output.shape)}"
    return "" if output.is_floating_point() else f"expected floating point, got {output.dtype}"


def one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"

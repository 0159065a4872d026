"""Base classes of the model families, networks without weights, and a check of a network's output."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from convoy.models.entry import Geometry, floor_of_loss
from convoy.text import gettext as _


class Network(nn.Module):
    """Base class of the model families: images (N, in_chans, image_size, image_size) to logits (N, num_classes)."""

    flaws: tuple[str, ...] = ()
    features: nn.Module
    head: nn.Module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x))

    def end_in_softmax(self, num_classes: int) -> None:
        """Appends a softmax, a flaw of several published networks."""
        assert isinstance(self.head, nn.Sequential)
        self.head.append(nn.Softmax(dim=-1))
        floor = floor_of_loss(num_classes)
        self.flaws = (*self.flaws, _("softmax output before cross-entropy: {floor}", floor=floor))


class AveragingNetwork(Network):
    """Its head reads the mean of the last map, so that the weights do not depend on the image size."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x).mean(dim=(2, 3)))  # (N, width, h, w) -> (N, width) -> (N, classes)


class StemAndBlocks(Network):
    """A stem, blocks, and a head that reads the mean of the last map."""

    stem: nn.Module
    blocks: nn.Module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.blocks(self.stem(x))  # (N, width, h, w)
        return self.head(x.mean(dim=(2, 3)))  # (N, classes)


@contextmanager
def without_weights() -> Iterator[None]:
    """Builds the networks of this block on the meta device: shapes without values, which takes no memory."""
    with torch.device("meta"), _NoValues():
        yield


class _NoValues(TorchFunctionMode):
    """Skips initial values. On the meta device, they take longer than the rest: torch computes them step by step."""

    SKIPPED = frozenset({"fill_", "kaiming_uniform_", "normal_", "uniform_", "zero_"})

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func.__name__ in self.SKIPPED:
            return args[0] if args else kwargs.get("tensor")
        return func(*args, **kwargs)


def error_of_output(module: nn.Module, geometry: Geometry) -> str:
    """Describes what is wrong with the output for two black images in evaluation mode; "" if it is correct.

    Initialises lazy layers. Restores the mode and torch's generator. Exceptions of the network are not caught.
    """
    mode, expected = module.training, [2, geometry.num_classes]
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        output = module.eval()(torch.zeros(2, geometry.in_chans, geometry.image_size, geometry.image_size))
    module.train(mode)
    if not isinstance(output, torch.Tensor):
        return _("expected a tensor of logits, got {found}", found=type(output).__name__)
    if list(output.shape) != expected:
        return _(
            "expected {expected} for 2 images and {n} classes, got {found}",
            expected=expected,
            n=geometry.num_classes,
            found=list(output.shape),
        )
    return "" if output.is_floating_point() else _("expected floating point, got {found}", found=output.dtype)

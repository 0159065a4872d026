"""The subject of the network checks: one training step without an update, with properties of all operations."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property, partial
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from convoy.data import Prepared
from convoy.data.batches import Normaliser
from convoy.evaluation import losses
from convoy.evaluation.cost import DispatchMode
from convoy.recipe import Recipe

IMAGES = 16
SECONDS = 0.6  # of the step; a slow network gets fewer images
FEWEST = 2


@dataclass(frozen=True)
class Activation:
    """The outputs of an activation function. A unit is a channel, or one output of a linear layer."""

    layer: str
    operation: str
    units: int
    dead: int  # units that are 0 for all images
    saturated: float  # share of outputs where the slope of a sigmoid or tanh is below 1 % of its maximum


class Gradient(StrEnum):
    """The kind of a parameter's gradient. The values are not stored, because they have the size of the network."""

    NONE = "none"
    ZERO = "zero"
    NONZERO = "nonzero"
    SPARSE = "sparse"

    @classmethod
    def of(cls, gradient: torch.Tensor | None) -> Gradient:
        if gradient is None:
            return cls.NONE
        if gradient.layout != torch.strided:
            return cls.SPARSE
        return cls.NONZERO if bool((gradient != 0).any()) else cls.ZERO


@dataclass(frozen=True)
class FirstStep:
    evaluated: tuple[torch.Tensor, torch.Tensor]  # [1, classes] each, of the same image in evaluation mode
    logits: torch.Tensor  # [B, classes], in training mode
    loss: float
    gradients: dict[str, Gradient]  # of the trained parameters
    activations: tuple[Activation, ...]
    calls: Counter[str]  # of each module with parameters, by name
    opening: tuple[str, ...]  # operations on the images before the first layer with parameters
    last: str | None  # the operation that computed the logits; None if that is not known
    not_finite: tuple[str, str] | None  # layer and operation that first returned NaN or infinity


class Stepped(Protocol):
    """The interface of training.step.learner.StepOutcome."""

    @property
    def loss(self) -> torch.Tensor: ...


class Stepper(Protocol):
    """The interface of training.step.learner.Learner, which this package must not import."""

    @property
    def parameters(self) -> Sequence[nn.Parameter]: ...

    def set_lr_factor(self, factor: float) -> None: ...

    def step(self, x: torch.Tensor, y: torch.Tensor) -> Stepped: ...


@dataclass(frozen=True, eq=False)
class Network:
    """`module` has its initial weights, on the CPU. Checks do not change it."""

    module: nn.Module
    recipe: Recipe
    images: torch.Tensor  # [B, C, H, H], normalised, float32
    labels: torch.Tensor  # int64 [B]
    classes: int
    build: Callable[[], nn.Module]  # another one with the same initial weights
    starts_from_weights: bool = False
    learner: Callable[[], Stepper] | None = None  # trains another one, with the recipe's optimizer and loss

    @cached_property
    def first_step(self) -> FirstStep:
        """Exceptions of the network are not caught."""
        with unchanged(self.module):
            return _first_step(self)

    @property
    def declared_flaws(self) -> tuple[str, ...]:
        return tuple(getattr(self.module, "flaws", ()))


def first_images(recipe: Recipe, prepared: Prepared, count: int = IMAGES) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns up to `count` evenly spaced training images, normalised, float32 [B, C, H, W] on the CPU, and labels."""
    count = min(count, recipe.train.batch_size, len(prepared.train))
    images = prepared.train.take(np.linspace(0, len(prepared.train) - 1, count).astype(np.int64))
    normaliser = Normaliser(prepared.mean, prepared.std, torch.device("cpu"), torch.float32)
    return normaliser(torch.tensor(images.images)), torch.tensor(images.labels)


@contextmanager
def unchanged(module: nn.Module) -> Iterator[None]:
    """Restores running statistics, gradients, mode and torch's generator on exit. The weights must not be updated."""
    buffers = list(module.buffers())
    before = [buffer.clone() for buffer in buffers]
    gradients = [parameter.grad for parameter in module.parameters()]
    modes = [(part, part.training) for part in module.modules()]
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            with torch.no_grad():
                for buffer, old in zip(buffers, before, strict=True):
                    buffer.copy_(old)
            for parameter, gradient in zip(module.parameters(), gradients, strict=False):
                parameter.grad = gradient
            for part, training in modes:
                part.training = training


def _first_step(network: Network) -> FirstStep:
    module, x, y = network.module, network.images, network.labels
    with torch.no_grad():
        first = module.eval()(x[:1])  # one image, as in a last batch or the latency measurement
        started = time.perf_counter()
        second = module(x[:1])
        seconds = time.perf_counter() - started
    count = len(x) if seconds * 3 * len(x) < SECONDS else max(FEWEST, int(SECONDS / (3 * seconds)))
    x, y = x[:count], y[:count]
    module.train()
    watch = Watch(x)
    try:
        with watch.hooked(module), watch:
            logits = module(x)
    except Exception:  # a few networks fail only under `Watch`; without it, errors are the network's own
        watch, logits = Watch(x), module(x)
    for parameter in module.parameters():
        parameter.grad = None
    loss = losses.build(network.recipe.train.loss, faults=network.recipe.protocol.faults)(logits, y)
    loss.backward()
    named = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
    not_finite = None
    if not (torch.isfinite(logits).all() and torch.isfinite(loss)):
        watch_values = Watch(x, looks_for_not_finite=True)
        with torch.no_grad(), watch_values.hooked(module), watch_values:
            module(x)
        not_finite = watch_values.not_finite or ("", network.recipe.train.loss.name)
    return FirstStep(
        evaluated=(first, second),
        logits=logits.detach(),
        loss=float(loss.detach()),
        gradients={name: Gradient.of(parameter.grad) for name, parameter in named.items()},
        activations=tuple(watch.activations),
        calls=watch.calls,
        opening=tuple(watch.opening),
        last=watch.writers.get(logits.data_ptr()),
        not_finite=not_finite,
    )


RELU = {"relu", "relu_", "hardtanh", "hardtanh_", "clamp_min", "threshold"}
SQUASHING = {"sigmoid", "sigmoid_", "tanh", "tanh_"}
WITH_WEIGHTS = {
    "convolution",
    "addmm",
    "mm",
    "bmm",
    "linear",
    "native_batch_norm",
    "native_layer_norm",
    "cudnn_batch_norm",
}
VIEWS = {"view", "_unsafe_view", "t", "transpose", "permute", "unsqueeze", "squeeze", "detach", "alias", "slice",
         "select", "expand", "as_strided", "reshape"}  # fmt: skip


@dataclass(eq=False)
class Watch(DispatchMode):
    """Records the operations of a forward pass."""

    images: torch.Tensor
    looks_for_not_finite: bool = False
    activations: list[Activation] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    opening: list[str] = field(default_factory=list)
    writers: dict[int, str] = field(default_factory=dict)  # address of a tensor's values -> operation
    not_finite: tuple[str, str] | None = None
    _layers: list[str] = field(default_factory=list)
    _opened: bool = False  # a layer with parameters was reached

    def __post_init__(self) -> None:
        super().__init__()

    @contextmanager
    def hooked(self, module: nn.Module) -> Iterator[None]:
        handles = []
        for name, part in module.named_modules():
            handles.append(part.register_forward_pre_hook(partial(self._enter, name)))
            handles.append(part.register_forward_hook(self._leave, always_call=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, name: str, module: nn.Module, args: object) -> None:
        self._layers.append(name)
        if next(module.parameters(recurse=False), None) is not None:
            self.calls[name] += 1

    def _leave(self, module: nn.Module, args: object, output: object) -> None:
        self._layers.pop()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func._overloadpacket.__name__
        output = result[0] if isinstance(result, tuple) and result else result
        if not isinstance(output, torch.Tensor) or not output.is_floating_point():
            return result
        if name in WITH_WEIGHTS:
            self._opened = True
        if not self._opened:
            self.opening.append(name)
        if name not in VIEWS:
            self.writers[output.data_ptr()] = name
        layer = self._layers[-1] if self._layers else ""
        if self.looks_for_not_finite and self.not_finite is None and not torch.isfinite(output).all():
            self.not_finite = layer, name
        if len(output) == len(self.images) and output.ndim >= 2:
            if name in RELU and not (name.startswith("hardtanh") and args[1] < 0):
                dead = (output.detach().transpose(0, 1).flatten(1) <= 0).all(1)
                self.activations.append(Activation(layer, name, len(dead), int(dead.sum()), 0.0))
            elif name in SQUASHING:
                squashed = output.detach()
                slope = 4 * squashed * (1 - squashed) if name.startswith("sigmoid") else 1 - squashed.square()
                share = float((slope < 0.01).float().mean())
                self.activations.append(Activation(layer, name, output.shape[1], 0, share))
        return result

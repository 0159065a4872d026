"""One training step of a network without an update, with properties of all its operations."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import torch
from torch import nn

from convoy.diagnosing.watch import Activation, Place, Watch
from convoy.evaluation import losses
from convoy.recipe import Recipe

SECONDS = 0.6  # of CPU time of the step; a slow network gets fewer images
FEWEST = 2
MOST_EVALUATIONS = 8  # of a network that uses random numbers in evaluation
NOT_LINEAR = {
    "relu", "relu_", "hardtanh", "hardtanh_", "clamp_min", "threshold", "sigmoid", "sigmoid_", "tanh", "tanh_", "gelu",
    "silu", "silu_", "leaky_relu", "leaky_relu_", "elu", "elu_", "_prelu_kernel", "hardswish", "hardswish_", "_softmax",
    "_log_softmax", "max_pool2d_with_indices", "native_layer_norm", "native_group_norm", "exp", "log", "pow", "abs",
}  # fmt: skip


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
class Evaluation:
    """One image, evaluated several times."""

    outputs: tuple[torch.Tensor, ...]  # [1, classes] each: 2, or more if the network uses random numbers
    calls: Counter[str]  # of each module with parameters, by name
    changed_buffers: tuple[str, ...]
    changes_images: bool
    is_random: bool  # it uses random numbers
    seconds: float


@dataclass(frozen=True)
class FirstStep:
    evaluation: Evaluation
    logits: torch.Tensor  # [B, classes], in training mode
    loss: float
    gradients: dict[str, Gradient]  # of the trained parameters
    activations: tuple[Activation, ...]
    calls: Counter[str]  # of each module with parameters, by name
    opening: tuple[str, ...]  # operations on the images before the first layer with parameters
    opening_factor: float  # product of the numbers by which the images are multiplied there
    last: Place | None  # the operation that computed the logits; None if that is not known
    not_finite: Place | None  # the operation that first returned NaN or infinity
    adjacent: tuple[tuple[Place, Place], ...]  # pairs of linear layers without an activation function between them
    is_linear: bool  # all layers together are a linear function of the images
    equal_units: tuple[str, ...]  # weights whose units are equal and have equal gradients
    unseen: float  # share of the pixels on which no output depends, and ...
    unseen_channels: tuple[int, ...]  # channels all of whose pixels are unseen
    written: tuple[Place, ...]  # operations that change weights
    is_random: bool  # it uses random numbers in training
    stays_in_training: bool  # forward does not switch to evaluation mode


@contextmanager
def unchanged(module: nn.Module) -> Iterator[None]:
    """Restores running statistics, gradients, mode and random generators on exit. The weights must not be updated."""
    buffers = list(module.buffers())
    before = [buffer.clone() for buffer in buffers]
    gradients = [parameter.grad for parameter in module.parameters()]
    modes = [(part, part.training) for part in module.modules()]
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
            with torch.no_grad():
                for buffer, old in zip(buffers, before, strict=True):
                    buffer.copy_(old)
            for parameter, gradient in zip(module.parameters(), gradients, strict=False):
                parameter.grad = gradient
            for part, training in modes:
                part.training = training


def first_step(module: nn.Module, x: torch.Tensor, y: torch.Tensor, recipe: Recipe) -> FirstStep:
    """Exceptions of the network are not caught. `x` is float32 [B, C, H, W], normalised."""
    with unchanged(module):
        evaluation = _evaluate(module, x[:1])
        seconds = 3 * evaluation.seconds
        count = len(x) if seconds * len(x) < SECONDS else max(FEWEST, int(SECONDS / seconds))
        return _train(module, x[:count], y[:count], recipe, evaluation)


def _evaluate(module: nn.Module, image: torch.Tensor) -> Evaluation:
    module.eval()
    watch = Watch(image)
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    with torch.no_grad():
        with watch.hooked(module):
            given = image.clone()
            outputs = [module(given)]
        changes_images = not torch.equal(given, image)
        states, started = _random_states(), time.process_time()
        outputs.append(module(image.clone()))
        seconds = time.process_time() - started
        is_random = states != _random_states()
        while is_random and len(outputs) < MOST_EVALUATIONS and torch.equal(outputs[0], outputs[-1]):
            outputs.append(module(image.clone()))
    changed = [
        name
        for name, buffer in module.named_buffers()
        if name in buffers and not torch.equal(torch.nan_to_num(buffer), torch.nan_to_num(buffers[name]))
    ]
    return Evaluation(tuple(outputs), watch.calls, tuple(changed), changes_images, is_random, seconds)


def _random_states() -> tuple[object, ...]:
    numpy = np.random.get_state(legacy=False)
    return torch.get_rng_state().numpy().tobytes(), random.getstate(), str(numpy)


def _train(module: nn.Module, x: torch.Tensor, y: torch.Tensor, recipe: Recipe, evaluation: Evaluation) -> FirstStep:
    module.train()
    before = _addresses(module)
    leaf = x.clone().requires_grad_()
    states, watch = _random_states(), Watch(x)
    try:
        given = leaf * 1  # not the leaf itself, which an operation in place cannot change
        with watch.hooked(module), watch:
            logits = module(given)
    except Exception:  # a few networks fail only under `Watch`; without it, errors are the network's own
        watch, logits = Watch(x), module(x.clone())
    is_random, stays_in_training = states != _random_states(), module.training
    for parameter in module.parameters():
        parameter.grad = None
    loss = losses.build(recipe.train.loss, faults=recipe.protocol.faults)(logits, y)
    loss.backward()
    unseen, unseen_channels = _unseen(leaf.grad)
    not_finite = None
    if not (torch.isfinite(logits).all() and torch.isfinite(loss)):
        not_finite = _not_finite(module, x) or Place(recipe.train.loss.name, "")
    elif not torch.isfinite(evaluation.outputs[0]).all():
        not_finite = _not_finite(module.eval(), x[:1])
    return FirstStep(
        evaluation=evaluation,
        logits=logits.detach(),
        loss=float(loss.detach()),
        gradients={name: Gradient.of(each.grad) for name, each in module.named_parameters() if each.requires_grad},
        activations=tuple(watch.activations),
        calls=watch.calls,
        opening=tuple(watch.opening),
        opening_factor=watch.opening_factor,
        last=watch.writers.get(logits.data_ptr()),
        not_finite=not_finite,
        adjacent=tuple(watch.adjacent),
        is_linear=not watch.operations & NOT_LINEAR and sum(watch.calls.values()) > 1 and _is_linear(module, x),
        equal_units=tuple(name for name, each in module.named_parameters() if _has_equal_units(each)),
        unseen=unseen,
        unseen_channels=unseen_channels,
        written=tuple(watch.writers[address] for address in _addresses(module) & before & watch.writers.keys()),
        is_random=is_random,
        stays_in_training=stays_in_training,
    )


def _addresses(module: nn.Module) -> set[int]:
    """Of the weights. A layer that assigns to .data, as for a maximum norm, has another address after its forward."""
    return {parameter.data_ptr() for parameter in module.parameters() if parameter.numel()}


def _not_finite(module: nn.Module, x: torch.Tensor) -> Place | None:
    watch = Watch(x, looks_for_not_finite=True)
    with torch.no_grad(), watch.hooked(module), watch:
        module(x.clone())
    return watch.not_finite


def _is_linear(module: nn.Module, x: torch.Tensor) -> bool:
    """Whether f(a) + f(b) = f(a + b - c) + f(c) in evaluation."""
    a, b, c = (x[index % len(x)] for index in range(3))
    with torch.no_grad():
        outputs = module.eval()(torch.stack([a, b, a + b - c, c])).double()
    difference = outputs[0] + outputs[1] - outputs[2] - outputs[3]
    variation = float((outputs[0] - outputs[3]).abs().max())
    return variation > 0 and float(difference.abs().max()) < 1e-4 * variation


def _has_equal_units(parameter: nn.Parameter) -> bool:
    """Whether all rows of a weight are equal, and their gradients too, so that every update keeps them equal."""
    gradient = parameter.grad
    if parameter.ndim < 2 or len(parameter) < 2 or gradient is None or gradient.layout != torch.strided:
        return False
    weights = parameter.detach()
    if not torch.equal(weights[0], weights[1]) or not bool(gradient.any()):
        return False
    scale = 1e-4 * float(gradient.abs().max())
    return bool((weights == weights[:1]).all() and ((gradient - gradient[:1]).abs() <= scale).all())


def _unseen(gradient: torch.Tensor | None) -> tuple[float, tuple[int, ...]]:
    """Returns the share of pixels of [B, C, H, W] without a gradient in any image, and the channels without one."""
    if gradient is None or not bool(gradient.any()) or not bool(torch.isfinite(gradient).all()):
        return 0.0, ()
    seen = (gradient != 0).any(0)  # [C, H, W]
    pixels = 1 - float(seen.any(0).float().mean())
    return pixels, tuple(np.flatnonzero(~seen.flatten(1).any(1).numpy()).tolist())

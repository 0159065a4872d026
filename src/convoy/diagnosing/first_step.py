"""One training step of a network without an update, with properties of all its operations."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from convoy.diagnosing.activations import Activation
from convoy.diagnosing.budget import CostCounter, Workload
from convoy.diagnosing.finding import TooSlowError
from convoy.diagnosing.in_place import LEAST_DIFFERENCE, Reused, evaluated_out_of_place
from convoy.diagnosing.not_finite import first_bad_gradient, first_bad_output
from convoy.diagnosing.origins import Narrow, Origin
from convoy.diagnosing.watch import Epsilon, Norm, Patches, Place, Watch
from convoy.evaluation import losses
from convoy.evaluation.cost import countable_attention
from convoy.evaluation.interruption import Interrupted
from convoy.recipe import Recipe

MIN_IMAGES = 8  # minimum to call a unit dead; fewer if the batches of the recipe are smaller
MAX_EVALUATIONS = 8  # evaluations of a network that uses random numbers in evaluation mode
FIRST_VALUES = 1000  # values of a gradient that are tested first
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
    NOT_FINITE = "not finite"

    @classmethod
    def of(cls, gradient: torch.Tensor | None) -> Gradient:
        if gradient is None:
            return cls.NONE
        if gradient.layout != torch.strided:
            return cls.SPARSE
        # A gradient of an output that is not finite spoils all values of a row.
        if not bool(torch.isfinite(gradient if gradient.ndim < 2 else gradient.flatten(1)[:, 0]).all()):
            return cls.NOT_FINITE
        sample = gradient.flatten()[:FIRST_VALUES]  # nearly always enough
        return cls.NONZERO if bool(sample.any()) or bool(gradient.any()) else cls.ZERO


@dataclass(frozen=True)
class Evaluation:
    """One image, evaluated several times."""

    # [1, classes] each: two outputs, more if the network uses random numbers, one if it is slow and uses none
    outputs: tuple[torch.Tensor, ...]
    calls: Counter[str]  # number of calls of each module with parameters, by name
    changed_buffers: tuple[str, ...]
    changes_images: bool
    is_random: bool  # whether it uses random numbers
    reused: Reused | None  # an in-place operation that changes a tensor that is read later


@dataclass(frozen=True)
class Backward:
    gradients: dict[str, Gradient]  # gradients of the trained parameters
    equal_units: tuple[str, ...]  # weights whose units are equal and have equal gradients
    unseen: float  # share of the pixels on which no output depends
    unseen_channels: tuple[int, ...]  # channels in which all pixels are unseen


@dataclass(frozen=True)
class FirstStep:
    evaluation: Evaluation
    backward_or_flops: Backward | int  # FLOPs of an image if a backward pass of this network would take too long
    logits: torch.Tensor  # [B, classes], in training mode
    loss: float
    activations: tuple[Activation, ...]
    before_layers: frozenset[Place]  # activations whose outputs are inputs of a layer with weights
    calls: Counter[str]  # number of calls of each module with parameters, by name
    opening: tuple[str, ...]  # operations on the images before the first layer with parameters
    opening_factor: float  # product of the numbers by which the images are multiplied there
    origin: Origin | None  # the activation function whose outputs are the logits
    narrow: Narrow | None  # a layer with one output, through which all information goes
    softmaxed: tuple[Place, ...]  # layers with weights whose inputs are outputs of a softmax
    misnormalised: tuple[Place, ...]  # products with the softmax over a dimension that they do not sum over
    dropped: dict[str, float]  # channel dropout -> share of images without any channel
    last: Place | None  # the operation that computed the logits; None if that is not known
    not_finite: Place | None  # the operation that first returned NaN or infinity
    gradient_not_finite: Place | None  # the operation that first returned such a gradient, if no output is
    # Of linear layers: the mean difference from the outputs of the first image.
    signals: tuple[tuple[Place, float], ...]
    norms_in_evaluation: tuple[str, ...]  # batch norms that are in evaluation mode during training
    norms: tuple[Norm, ...]  # batch norms whose features are known
    epsilons: tuple[Epsilon, ...]  # large ones
    patches: tuple[Patches, ...]  # made of the images by a reshape alone
    detached: tuple[Place, ...]  # detach() of features of trained weights, used in forward
    factor: float  # product of the constants by which the outputs are multiplied, if no norm follows
    multiplied: Place | None  # the last of them
    adjacent: tuple[tuple[Place, Place], ...]  # pairs of linear layers without an activation function between them
    is_linear: bool  # all layers together are a linear function of the images
    written: tuple[Place, ...]  # operations that change weights
    is_random: bool  # whether it uses random numbers in training
    stays_in_training: bool  # forward does not switch to evaluation mode

    @property
    def backward(self) -> Backward:
        """Raises TooSlowError if there was no backward pass."""
        if isinstance(self.backward_or_flops, int):
            raise TooSlowError(self.backward_or_flops)
        return self.backward_or_flops


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


def first_step(
    module: nn.Module, x: torch.Tensor, y: torch.Tensor, recipe: Recipe, *, may_skip: bool = False
) -> FirstStep:
    """Exceptions of the network are not caught. `x` is float32 [B, C, H, W], normalised.

    Slow networks get fewer images. With `may_skip`, raises TooSlowError, here or in `backward`, for a pass that takes
    too long even for one image.
    """
    with unchanged(module):
        counter = CostCounter(module, may_skip=may_skip)
        first = _evaluated(module, x[:1], counter)
        workload = Workload.within(counter.cost, len(x), may_skip=may_skip)
        if not workload.images:
            raise TooSlowError(counter.flops)
        evaluation = _evaluate_again(module, x[:1], first, workload)
        return _train(module, (x, y), recipe, evaluation, workload, counter.flops)


class _First(NamedTuple):
    """The first evaluation."""

    outputs: torch.Tensor
    calls: Counter[str]
    buffers: dict[str, torch.Tensor]  # before the evaluation
    changes_images: bool
    is_random: bool


def _evaluated(module: nn.Module, image: torch.Tensor, counter: CostCounter) -> _First:
    module.eval()
    watch = Watch(image)
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    states, given = _random_states(), image.clone()
    try:
        with torch.no_grad(), countable_attention(), watch.hooked(module), counter:
            outputs = module(given)
    except Interrupted:
        raise TooSlowError(counter.flops) from None
    return _First(outputs, watch.calls, buffers, not torch.equal(given, image), states != _random_states())


def _evaluate_again(module: nn.Module, image: torch.Tensor, first: _First, workload: Workload) -> Evaluation:
    outputs, reused = [first.outputs], None
    with torch.no_grad(), countable_attention():
        if first.is_random:
            outputs.append(module(image.clone()))
        elif workload.evaluates_again:
            again, place = evaluated_out_of_place(module, image)
            if again is None or not torch.equal(again, first.outputs):
                outputs.append(module(image.clone()))
            else:
                outputs.append(again)
            if place is not None and again is not None and torch.equal(outputs[0], outputs[1]):
                difference = float((again - first.outputs).abs().max()) / (float(first.outputs.abs().max()) or 1.0)
                reused = Reused(place, difference) if difference > LEAST_DIFFERENCE else None
        while first.is_random and len(outputs) < MAX_EVALUATIONS and torch.equal(outputs[0], outputs[-1]):
            outputs.append(module(image.clone()))
    changed = [
        name
        for name, buffer in module.named_buffers()
        if name in first.buffers and not torch.equal(torch.nan_to_num(buffer), torch.nan_to_num(first.buffers[name]))
    ]
    return Evaluation(tuple(outputs), first.calls, tuple(changed), first.changes_images, first.is_random, reused)


def _random_states() -> tuple[object, ...]:
    _, keys, *position = np.random.get_state()
    return torch.get_rng_state().numpy().tobytes(), random.getstate(), np.asarray(keys).tobytes(), *position


def _train(
    module: nn.Module,
    batch: tuple[torch.Tensor, torch.Tensor],
    recipe: Recipe,
    evaluation: Evaluation,
    workload: Workload,
    flops: int,
    *,
    images_have_gradient: bool = True,
) -> FirstStep:
    module.train()
    before = _addresses(module)
    x, y = (each[: workload.images] for each in batch)
    leaf = x.clone().requires_grad_(workload.has_backward and images_have_gradient)
    states, watch = _random_states(), Watch(x, fewest_images=min(MIN_IMAGES, recipe.train.batch_size))
    with torch.set_grad_enabled(workload.has_backward):
        try:
            copy = leaf * 1  # not the leaf itself, which an in-place operation cannot change
            watch.starts_with(copy)
            with watch.hooked(module), watch:
                logits = module(copy)
        except Exception:  # raised by batch norm for one image, by `Watch` in a few networks, or by the network itself
            x, y = (each[: max(2, workload.images)] for each in batch)
            watch, logits = Watch(x), module(x.clone())
        is_random, stays_in_training = states != _random_states(), module.training
        norms_in_evaluation = tuple(
            name
            for name, part in module.named_modules()
            if stays_in_training and isinstance(part, nn.modules.batchnorm._BatchNorm) and not part.training
        )
        loss_of = losses.build(recipe.train.loss, faults=recipe.protocol.faults)
        loss = loss_of(logits, y)
    try:
        backward = _backward(module, loss, leaf) if workload.has_backward else flops
    except RuntimeError:  # operations that change the images in place; in training, images have no gradient
        if not images_have_gradient:
            raise
        return _train(module, batch, recipe, evaluation, workload, flops, images_have_gradient=False)
    not_finite, gradient_not_finite = None, None
    if not (torch.isfinite(logits).all() and torch.isfinite(loss)):
        not_finite = first_bad_output(module, x) or Place(recipe.train.loss.name, "")
    elif not torch.isfinite(evaluation.outputs[0]).all():
        not_finite = first_bad_output(module.eval(), x[:1])
    elif isinstance(backward, Backward) and Gradient.NOT_FINITE in backward.gradients.values():
        gradient_not_finite = first_bad_gradient(module, x, lambda outputs: loss_of(outputs, y))
    return FirstStep(
        evaluation=evaluation,
        backward_or_flops=backward,
        logits=logits.detach(),
        loss=float(loss.detach()),
        activations=tuple(watch.activations),
        before_layers=frozenset(watch.before_layers),
        calls=watch.calls,
        opening=tuple(watch.opening),
        opening_factor=watch.opening_factor,
        origin=watch.origins.of(logits),
        narrow=watch.origins.narrow(logits),
        softmaxed=tuple(watch.softmaxed),
        misnormalised=tuple(watch.misnormalised),
        dropped=watch.dropped,
        last=watch.writers.get(logits.data_ptr()),
        not_finite=not_finite,
        gradient_not_finite=gradient_not_finite,
        signals=tuple(watch.signals),
        norms_in_evaluation=norms_in_evaluation,
        norms=tuple(watch.norms),
        epsilons=tuple(watch.epsilons),
        patches=tuple(watch.patches),
        detached=tuple(watch.detached),
        factor=watch.factors.of(logits) or 1.0,
        multiplied=watch.multiplied,
        adjacent=tuple(watch.adjacent),
        is_linear=not watch.operations & NOT_LINEAR and sum(watch.calls.values()) > 1 and _is_linear(module, x),
        written=tuple(watch.writers[address] for address in _addresses(module) & before & watch.writers.keys()),
        is_random=is_random,
        stays_in_training=stays_in_training,
    )


def _backward(module: nn.Module, loss: torch.Tensor, images: torch.Tensor) -> Backward:
    """Examines each gradient when it is complete, then frees it: all gradients together are as large as the network."""
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    gradients = {name: Gradient.NONE for name, each in module.named_parameters() if each.requires_grad}
    equal_units = []

    def look(parameter: torch.Tensor) -> None:
        name = names[id(parameter)]
        gradients[name] = Gradient.of(parameter.grad)
        if _has_equal_units(parameter):
            equal_units.append(name)
        parameter.grad = None

    handles = []
    for parameter in module.parameters():
        parameter.grad = None
        if parameter.requires_grad:
            handles.append(parameter.register_post_accumulate_grad_hook(look))
    try:
        loss.backward()
    finally:
        for handle in handles:
            handle.remove()
    unseen, unseen_channels = _unseen(images.grad)
    return Backward(gradients, tuple(name for name in gradients if name in equal_units), unseen, unseen_channels)


def _addresses(module: nn.Module) -> set[int]:
    """Addresses of the weights. If forward assigns to .data, for example to limit a norm, the address of the weight
    changes.
    """
    return {parameter.data_ptr() for parameter in module.parameters() if parameter.numel()}


def _is_linear(module: nn.Module, x: torch.Tensor) -> bool:
    """Whether f(a) + f(b) = f(a + b - c) + f(c) in evaluation."""
    a, b, c = (x[index % len(x)] for index in range(3))
    with torch.no_grad():
        outputs = module.eval()(torch.stack([a, b, a + b - c, c])).double()
    difference = outputs[0] + outputs[1] - outputs[2] - outputs[3]
    variation = float((outputs[0] - outputs[3]).abs().max())
    return variation > 0 and float(difference.abs().max()) < 1e-4 * variation


def _has_equal_units(parameter: torch.Tensor) -> bool:
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

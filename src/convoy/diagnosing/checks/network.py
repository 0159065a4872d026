"""Checks of a network during one training step on 16 images, without an update. Subject: a `Network`."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import nn

from convoy.diagnosing.finding import Finding, Severity
from convoy.diagnosing.network import Gradient, Network
from convoy.models.entry import floor_of_loss
from convoy.recipe.sections import CrossEntropy
from convoy.text import gettext as _

MOST = 0.9  # fraction of dead or saturated units in a layer; in an untrained LeNet, up to half of the units are 0
ENOUGH_IMAGES = 8  # minimum to call a unit dead
FEW_IMAGES = 4  # per batch of a batch norm, at most
NAMES = 4  # listed in a sentence


def non_finite_values(network: Network) -> Iterator[Finding]:
    if (place := network.first_step.not_finite) is not None:
        layer, operation = place
        yield Finding(
            Severity.ERROR,
            _(
                "The outputs are NaN or infinite before the first step, first in {operation} of {layer}",
                operation=operation,
                layer=layer or _("the network itself"),
            ),
            _("Look for log(0), a division by 0, exp of a large number, or a scale that is too large there"),
            {"layer": layer, "operation": operation, "loss": network.first_step.loss},
        )


def softmax_before_loss(network: Network) -> Iterator[Finding]:
    logits = network.first_step.logits
    if not isinstance(network.recipe.train.loss, CrossEntropy) or not torch.isfinite(logits).all():
        return
    if are_probabilities(logits):
        text = _("The network ends in a softmax and cross-entropy applies another, which slows down learning")
        if network.recipe.train.class_weights == "none":
            text = f"{text} ({floor_of_loss(logits.shape[1])})"
        floor = math.log1p((logits.shape[1] - 1) / math.e)
        yield Finding(
            Severity.ERROR,
            text,
            _("Remove the last softmax, so that the network returns logits"),
            {"loss": network.first_step.loss, "lowest_loss": floor},
        )
    elif torch.allclose(torch.logsumexp(logits.double(), 1), torch.zeros(len(logits), dtype=torch.float64), atol=1e-4):
        yield Finding(
            Severity.HINT,
            _("The network ends in a log-softmax and cross-entropy applies another, which changes only rounding"),
            _("Remove the last log-softmax"),
            {"loss": network.first_step.loss},
        )


def activation_before_loss(network: Network) -> Iterator[Finding]:
    logits, last = network.first_step.logits, (network.first_step.last or "").rstrip("_")
    if not isinstance(network.recipe.train.loss, CrossEntropy) or last not in ("relu", "sigmoid", "tanh", "hardtanh"):
        return
    ends = {"relu": (0.0, math.inf), "sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "hardtanh": (0.0, 6.0)}
    low, high = ends[last]
    yield Finding(
        Severity.ERROR if last == "relu" else Severity.WARNING,
        _(
            "The last operation is {operation}, so that logits are between {low:g} and {high:g}: cross-entropy needs "
            "numbers without bounds, and classes at a bound have no gradient",
            operation=last,
            low=low,
            high=high,
        ),
        _("Remove the activation after the last layer"),
        {"operation": last, "least": float(logits.min()), "largest": float(logits.max())},
    )


def no_gradient(network: Network) -> Iterator[Finding]:
    """Biases are ignored: the last one has a gradient even if the network ignores its images."""
    gradients = network.first_step.gradients
    parameters = dict(network.module.named_parameters())
    weights = [name for name in gradients if parameters[name].ndim > 1] or list(gradients)
    if not any(gradients[name] in (Gradient.NONZERO, Gradient.SPARSE) for name in weights):
        yield Finding(
            Severity.ERROR,
            _("The network cannot learn: no weight has a gradient for the first images"),
            _("Usual causes are a ReLU whose outputs are all 0, and detach() or torch.no_grad() in forward"),
            {"weights": len(weights), "images": len(network.first_step.logits)},
        )


def unused_parameters(network: Network) -> Iterator[Finding]:
    gradients = network.first_step.gradients
    parameters = dict(network.module.named_parameters())
    unused = [name for name, gradient in gradients.items() if gradient is Gradient.NONE]
    if not unused or len(unused) == len(gradients):  # all: `no_gradient`
        return
    count = sum(parameters[name].numel() for name in unused)
    yield Finding(
        Severity.WARNING,
        _(
            "{count:,} of {total:,} parameters have no gradient, because forward does not use them: {names}",
            count=count,
            total=sum(parameters[name].numel() for name in gradients),
            names=_listed(unused),
        ),
        _("Use these layers in forward, or delete them; a detach() or no_grad() before them has the same effect"),
        {"parameters": count, "tensors": len(unused)},
    )


def frozen_parameters(network: Network) -> Iterator[Finding]:
    if network.recipe.model.freeze:
        return
    frozen = [name for name, each in network.module.named_parameters() if not each.requires_grad and each.ndim > 1]
    if frozen:
        yield Finding(
            Severity.HINT,
            _(
                "{count:,} tensors are not trained (requires_grad = False): {names}",
                count=len(frozen),
                names=_listed(frozen),
            ),
            _("If that is intended, set model.freeze, so that reports show it; otherwise set requires_grad"),
            {"tensors": len(frozen)},
        )


def unregistered_layers(network: Network) -> Iterator[Finding]:
    """Finds layers in a list, tuple or dict. parameters() does not contain them, so that they are never trained."""
    registered = set(network.module.modules())
    missing = []
    for name, part in network.module.named_modules():
        for attribute, value in vars(part).items():
            if attribute.startswith("_") and attribute in vars(nn.Module()):
                continue
            values = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
            if any(
                isinstance(each, nn.Module) and each not in registered and next(each.parameters(), None) is not None
                for each in values
            ):
                missing.append(f"{name}.{attribute}".lstrip("."))
    if missing:
        yield Finding(
            Severity.ERROR,
            _("Layers in a Python list are not trained and not saved: {names}", names=_listed(missing)),
            _("Use nn.ModuleList or nn.ModuleDict instead of list, tuple or dict"),
            {"lists": len(missing)},
        )


def shared_weights(network: Network) -> Iterator[Finding]:
    """Finds layers that one forward pass calls several times, and tensors with several names."""
    modules = dict(network.module.named_modules())
    repeated = [name for name, count in network.first_step.calls.items() if count > 1]
    norms = [name for name in repeated if isinstance(modules[name], nn.modules.batchnorm._BatchNorm)]
    if norms:
        yield Finding(
            Severity.WARNING,
            _(
                "One batch norm is used in several places, and mixes their statistics in evaluation: {names}",
                names=_listed(norms),
            ),
            _("Create a separate batch norm for each place"),
            {"layers": len(norms), "most_calls": max(network.first_step.calls[name] for name in norms)},
        )
    first_names: dict[int, str] = {}
    several = [
        f"{first_names[id(each)]} = {name}"
        for name, each in network.module.named_parameters(remove_duplicate=False)
        if first_names.setdefault(id(each), name) != name and name.rpartition(".")[0] not in repeated
    ]
    others = [name for name in repeated if name not in norms] + several
    if others:
        yield Finding(
            Severity.HINT,
            _("Weights are shared between places: {names}", names=_listed(others)),
            _("If that is not intended, create a separate layer for each place"),
            {"layers": len(others)},
        )


def dead_units(network: Network) -> Iterator[Finding]:
    if len(network.first_step.logits) < min(ENOUGH_IMAGES, network.recipe.train.batch_size):  # a slow network
        return
    measured = [each for each in network.first_step.activations if each.units > 1 and each.dead >= MOST * each.units]
    for each in measured:
        yield Finding(
            Severity.WARNING,
            _(
                "{dead:,} of {units:,} units of {operation} in {layer} are 0 for all of the first images",
                dead=each.dead,
                units=each.units,
                operation=each.operation,
                layer=each.layer or _("the network itself"),
            ),
            _("Check the biases and the scale of the weights before it; usual causes: a large negative bias or input"),
            {"layer": each.layer, "dead": each.dead, "units": each.units},
        )


def saturated_units(network: Network) -> Iterator[Finding]:
    for each in network.first_step.activations:
        if each.saturated >= MOST:
            yield Finding(
                Severity.WARNING,
                _(
                    "{share:.0%} of the outputs of {operation} in {layer} are saturated: their slope is below 1 % of "
                    "its maximum",
                    share=each.saturated,
                    operation=each.operation,
                    layer=each.layer or _("the network itself"),
                ),
                _("Use smaller initial weights or normalised inputs"),
                {"layer": each.layer, "saturated": each.saturated},
            )


def initial_loss(network: Network) -> Iterator[Finding]:
    """An untrained network that favours no class has a loss of about ln(classes)."""
    loss, expected = network.first_step.loss, math.log(network.classes)
    if not isinstance(network.recipe.train.loss, CrossEntropy) or network.starts_from_weights:
        return
    if math.isfinite(loss) and loss > 2 * expected + 2:
        yield Finding(
            Severity.WARNING,
            _(
                "The loss before the first step is {loss:.2f}, far above ln({classes}) = {expected:.2f}: the untrained "
                "network is very sure of wrong classes",
                loss=loss,
                classes=network.classes,
                expected=expected,
            ),
            _("Check that the images are normalised, and the scale of the initial weights of the last layer"),
            {"loss": loss, "expected": expected, "images": len(network.first_step.logits)},
        )


def normalised_again(network: Network) -> Iterator[Finding]:
    opening = {name.rstrip("_") for name in network.first_step.opening}
    if {"sub", "rsub"} & opening and {"div", "mul"} & opening and not {"mean", "std", "var", "amax", "max"} & opening:
        yield Finding(
            Severity.WARNING,
            _("The network first subtracts and scales by constants, but its images are already normalised"),
            _("Remove the normalisation from forward; data.normalise sets mean and standard deviation"),
            {"operations": ", ".join(network.first_step.opening[:6])},
        )


def small_norm_batches(network: Network) -> Iterator[Finding]:
    train = network.recipe.train
    size = max(train.batch_size // train.accumulate, min(2, train.batch_size))
    norms = [
        name
        for name, part in network.module.named_modules()
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.training
    ]
    if norms and size <= FEW_IMAGES:
        yield Finding(
            Severity.WARNING if size == 1 else Severity.HINT,
            _(
                "Batch norm computes its statistics from {images} images at a time (train.batch_size = {batch}, "
                "train.accumulate = {accumulate}): noisy in training, and different in evaluation",
                images=size,
                batch=train.batch_size,
                accumulate=train.accumulate,
            ),
            _("Use larger batches, or a group norm"),
            {"images_per_norm": size, "norms": len(norms)},
        )


def random_in_evaluation(network: Network) -> Iterator[Finding]:
    first, second = network.first_step.evaluated
    difference = float((first - second).abs().max())
    if difference > 1e-4 * float(first.abs().max()):
        yield Finding(
            Severity.ERROR,
            _("Two evaluations of the same images differ by up to {difference:.3g}", difference=difference),
            _("Usual cause: F.dropout without training=self.training; use nn.Dropout"),
            {"difference": difference, "largest_output": float(first.abs().max())},
        )


def are_probabilities(outputs: torch.Tensor) -> bool:
    """Whether each row of [B, classes] is non-negative and sums to one."""
    sums = outputs.double().sum(dim=1)
    return bool((outputs >= 0).all() and torch.allclose(sums, torch.ones_like(sums), atol=1e-4))


def _listed(names: list[str]) -> str:
    more = len(names) - NAMES
    return ", ".join(names[:NAMES]) + (_(" and {more} more", more=more) if more > 0 else "")

"""Checks of a network during one training step on 16 images, without an update. Subject: a `Network`."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import nn

from convoy.diagnosing.finding import Finding, Severity
from convoy.diagnosing.first_step import Gradient
from convoy.diagnosing.network import Network
from convoy.diagnosing.unregistered import unregistered_values
from convoy.diagnosing.watch import Place
from convoy.models.entry import floor_of_loss, lowest_loss
from convoy.recipe.sections import CrossEntropy
from convoy.text import gettext as _
from convoy.text.lists import listed

INACTIVE_SHARE = 0.9  # dead or saturated units of a layer; in an untrained GoogLeNet, up to 72 % of them are 0
SATURATED_SHARE = 0.5  # of the outputs that are inputs of a layer; in gates, as of CBAM, up to 57 % are saturated
VANISHED = 1e-4  # mean difference between the outputs of a layer for two images
NAMES = 4  # listed in a sentence


def non_finite_values(network: Network) -> Iterator[Finding]:
    yield from _non_finite_gradients(network)
    if (place := network.first_step.not_finite) is None:
        return
    evidence = _evidence(place)
    if math.isfinite(network.first_step.loss):
        yield Finding(
            Severity.ERROR,
            _(
                "A single image gives outputs that are NaN or infinite in evaluation, first in {operation} of {layer}",
                operation=place.operation,
                layer=place.in_layer,
            ),
            _("Usual cause: mean, std or a normalisation over dimension 0, the images of the batch"),
            evidence,
        )
        return
    yield Finding(
        Severity.ERROR,
        _(
            "The outputs are NaN or infinite before the first step, first in {operation} of {layer}",
            operation=place.operation,
            layer=place.in_layer,
        ),
        _("Look for log(0), a division by 0, exp of a large number, or a scale that is too large there"),
        {**evidence, "loss": network.first_step.loss},
    )


def _non_finite_gradients(network: Network) -> Iterator[Finding]:
    if (place := network.first_step.gradient_not_finite) is None:
        return
    gradients = network.first_step.backward.gradients
    names = [name for name, gradient in gradients.items() if gradient is Gradient.NOT_FINITE]
    yield Finding(
        Severity.ERROR,
        _(
            "In the first step, the gradient of {operation} in {layer} is NaN or infinite although the outputs are "
            "not, and with it the gradient of {names}",
            operation=place.operation,
            layer=place.in_layer,
            names=listed(names, max_items=NAMES),
        ),
        _(
            "sqrt, log, norm, pow with an exponent below 1 and division have an infinite slope at 0: add a small "
            "number before them, as in sqrt(x + 1e-6), or use clamp(min=1e-6)"
        ),
        {**_evidence(place), "tensors": len(names)},
    )


def _evidence(place: Place) -> dict[str, float | str]:
    return {**({"layer": place.layer} if place.layer else {}), "operation": place.operation}


def softmax_before_loss(network: Network) -> Iterator[Finding]:
    logits = network.first_step.logits
    if not isinstance(network.recipe.train.loss, CrossEntropy) or not torch.isfinite(logits).all():
        return
    if are_probabilities(logits):
        text = _(
            "The network ends in a softmax{where}, and cross-entropy applies another, which slows down learning",
            where=_where(network),
        )
        if network.recipe.train.class_weights == "none":
            text = f"{text} ({floor_of_loss(logits.shape[1])})"
        yield Finding(
            Severity.ERROR,
            text,
            _("Remove the last softmax, so that the network returns logits"),
            {"loss": network.first_step.loss, "lowest_loss": lowest_loss(logits.shape[1])},
        )
    elif torch.allclose(torch.logsumexp(logits.double(), 1), torch.zeros(len(logits), dtype=torch.float64), atol=1e-4):
        yield Finding(
            Severity.HINT,
            _(
                "The network ends in a log-softmax{where}, and cross-entropy applies another, which changes only "
                "rounding",
                where=_where(network),
            ),
            _("Remove the last log-softmax"),
            {"loss": network.first_step.loss},
        )


def no_gradient(network: Network) -> Iterator[Finding]:
    """Ignores biases, because the last one has a gradient even if the outputs do not depend on the images."""
    gradients = network.first_step.backward.gradients
    parameters = dict(network.module.named_parameters())
    weights = [name for name in gradients if parameters[name].ndim > 1] or list(gradients)
    if not any(gradients[name] in (Gradient.NONZERO, Gradient.SPARSE, Gradient.NOT_FINITE) for name in weights):
        yield Finding(
            Severity.ERROR,
            _("The network cannot learn: no weight has a gradient for the first images"),
            _("Usual causes are a ReLU whose outputs are all 0, and detach() or torch.no_grad() in forward"),
            {"weights": len(weights), "images": len(network.first_step.logits)},
        )


def unused_parameters(network: Network) -> Iterator[Finding]:
    step = network.first_step
    parameters = dict(network.module.named_parameters())
    gradients = step.backward.gradients
    unused = [name for name, gradient in gradients.items() if gradient is Gradient.NONE]
    if not unused or len(unused) == len(gradients):  # if all: `no_gradient`
        return
    total = sum(parameters[name].numel() for name in gradients)
    called = [name for name in unused if step.calls[name.rpartition(".")[0]]]
    skipped = [name for name in unused if name not in called]
    if step.is_random:  # stochastic depth skips layers at random
        skipped = [name for name in skipped if not step.evaluation.calls[name.rpartition(".")[0]]]
    if called:
        count = sum(parameters[name].numel() for name in called)
        yield Finding(
            Severity.WARNING,
            _(
                "{count:,} of {total:,} parameters have no gradient, although forward uses them: {names}",
                count=count,
                total=total,
                names=listed(called, max_items=NAMES),
            ),
            _(
                "Remove what cuts the gradient after these layers: detach(), torch.no_grad(), .data, NumPy; "
                "model.freeze freezes layers on purpose. A layer whose result is not used has no gradient either"
            ),
            {"parameters": count, "tensors": len(called)},
        )
    if skipped:
        count = sum(parameters[name].numel() for name in skipped)
        yield Finding(
            Severity.WARNING,
            _(
                "{count:,} of {total:,} parameters have no gradient, because forward does not use them: {names}",
                count=count,
                total=total,
                names=listed(skipped, max_items=NAMES),
            ),
            _("Use these layers in forward, or delete them"),
            {"parameters": count, "tensors": len(skipped)},
        )


def frozen_parameters(network: Network) -> Iterator[Finding]:
    parameters = dict(network.module.named_parameters())
    frozen = [name for name, each in parameters.items() if not each.requires_grad and each.ndim > 1]
    if frozen and network.recipe.model.freeze:
        share = sum(parameters[name].numel() for name in frozen) / sum(each.numel() for each in parameters.values())
        if not network.starts_from_weights:
            yield Finding(
                Severity.WARNING,
                _(
                    "model.freeze keeps {share:.0%} of the parameters at their random initial values: {names}",
                    share=share,
                    names=listed(frozen, max_items=NAMES),
                ),
                _("Start from trained weights with --init or --pretrained, or remove model.freeze"),
                {"share": share, "tensors": len(frozen)},
            )
    elif frozen:
        yield Finding(
            Severity.HINT,
            _(
                "{count:,} tensors are not trained (requires_grad = False): {names}",
                count=len(frozen),
                names=listed(frozen, max_items=NAMES),
            ),
            _("If that is intended, set model.freeze, so that reports show it; otherwise set requires_grad"),
            {"tensors": len(frozen)},
        )


def unregistered_layers(network: Network) -> Iterator[Finding]:
    """Finds layers and tensors that are missing from parameters(), so that they are neither trained nor saved."""
    unregistered = list(unregistered_values(network.module))
    if layers := [name for name, values in unregistered if any(map(_is_layer_with_parameters, values))]:
        yield Finding(
            Severity.ERROR,
            _("Layers in a Python list are not trained and not saved: {names}", names=listed(layers, max_items=NAMES)),
            _("Use nn.ModuleList or nn.ModuleDict instead of list, tuple or dict"),
            {"lists": len(layers)},
        )
    if not any(_is_tensor(value) for _name, values in unregistered for value in values):
        return
    # After a forward pass, there may also be results that forward stores.
    unregistered = list(unregistered_values(network.build()))
    trained = [name for name, values in unregistered if any(map(_is_trained, values))]
    if trained:
        yield Finding(
            Severity.ERROR,
            _(
                "Tensors with requires_grad that are not parameters are not trained and not saved: {names}",
                names=listed(trained, max_items=NAMES),
            ),
            _(
                "Assign nn.Parameter(tensor) to an attribute, or use nn.ParameterList; .to(), .cuda() and "
                "arithmetic turn a parameter into a plain tensor"
            ),
            {"tensors": len(trained)},
        )
    constant = [name for name, values in unregistered if any(map(_is_tensor, values)) and name not in trained]
    if constant:
        yield Finding(
            Severity.HINT,
            _(
                "Tensors that are attributes are not saved and not moved to a GPU: {names}",
                names=listed(constant, max_items=NAMES),
            ),
            _("Use register_buffer for constants and nn.Parameter for weights"),
            {"tensors": len(constant)},
        )


def _is_layer_with_parameters(value: object) -> bool:
    return isinstance(value, nn.Module) and next(value.parameters(), None) is not None


def _is_tensor(value: object) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point()


def _is_trained(value: object) -> bool:
    return isinstance(value, torch.Tensor) and value.requires_grad


def shared_weights(network: Network) -> Iterator[Finding]:
    """Finds layers that one forward pass calls several times, and tensors with several names."""
    modules = dict(network.module.named_modules())
    repeated = [name for name, count in network.first_step.calls.items() if count > 1]
    calls = network.first_step.calls
    # If all earlier layers are called equally often, the network sees several views of the images. Their statistics are
    # the same.
    norms = []
    for name in repeated:
        earlier = {calls[each] for each in [*calls][: [*calls].index(name)]}
        if isinstance(modules[name], nn.modules.batchnorm._BatchNorm) and earlier != {calls[name]}:
            norms.append(name)
    if norms:
        yield Finding(
            Severity.WARNING,
            _(
                "One batch norm is used in several places, and mixes their statistics in evaluation: {names}",
                names=listed(norms, max_items=NAMES),
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
            _("Layers or weights are used in several places: {names}", names=listed(others, max_items=NAMES)),
            _("If that is not intended, create a separate layer for each place"),
            {"layers": len(others)},
        )


def dead_units(network: Network) -> Iterator[Finding]:
    measured = [
        each for each in network.first_step.activations if each.units > 1 and each.dead >= INACTIVE_SHARE * each.units
    ]
    for each in measured:
        yield Finding(
            Severity.WARNING,
            _(
                "{dead:,} of {units:,} units of {operation} in {layer} are 0 for all of the first images",
                dead=each.dead,
                units=each.units,
                operation=each.place.operation,
                layer=each.place.in_layer,
            ),
            _("Check the biases and the scale of the weights before it; usual causes: a large negative bias or input"),
            {"layer": each.place.layer, "dead": each.dead, "units": each.units},
        )


def saturated_units(network: Network) -> Iterator[Finding]:
    step = network.first_step
    for each in step.activations:
        if each.saturated >= (SATURATED_SHARE if each.place in step.before_layers else INACTIVE_SHARE):
            yield Finding(
                Severity.WARNING,
                _(
                    "{share:.0%} of the outputs of {operation} in {layer} are saturated: their slope is below 1 % of "
                    "its maximum",
                    share=each.saturated,
                    operation=each.place.operation,
                    layer=each.place.in_layer,
                ),
                _("Use smaller initial weights or normalised inputs"),
                {"layer": each.place.layer, "saturated": each.saturated},
            )


def vanishing_signal(network: Network) -> Iterator[Finding]:
    """Finds layers whose outputs differ far less between images than the images do: initial weights are too small."""
    # 0: a layer that starts with zeros, or a single image.
    signals = [(place, difference) for place, difference in network.first_step.signals if 0 < difference < math.inf]
    if network.starts_from_weights or not signals:
        return
    place, least = min(signals, key=lambda each: each[1])
    if least < VANISHED:
        yield Finding(
            Severity.HINT,  # GoogLeNet and VGG-A start with such weights
            _(
                "The outputs of {layer} differ between images by only {difference:.1g} on average, whereas the "
                "images differ by about 1: the signal vanishes, and so do the gradients",
                layer=place.in_layer,
                difference=least,
            ),
            _("Use larger initial weights, such as the default of torch, or a norm between the layers"),
            {"layer": place.layer, "difference": least},
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
                "The loss before the first step is {loss:.2f}, far above ln({classes}) = {expected:.2f}: "
                "the untrained network is very confident in wrong classes",
                loss=loss,
                classes=network.classes,
                expected=expected,
            ),
            _("Check that the images are normalised, and the scale of the initial weights of the last layer"),
            {"loss": loss, "expected": expected, "images": len(network.first_step.logits)},
        )


def are_probabilities(outputs: torch.Tensor) -> bool:
    """Whether each row of [B, classes] is non-negative and sums to one."""
    sums = outputs.double().sum(dim=1)
    return bool((outputs >= 0).all() and torch.allclose(sums, torch.ones_like(sums), atol=1e-4))


def _where(network: Network) -> str:
    last = network.first_step.last
    return "" if last is None else last.where

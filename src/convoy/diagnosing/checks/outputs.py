"""Checks of what the outputs are computed from. Subject: a `Network`."""

from __future__ import annotations

import math
from collections.abc import Iterator

from torch import nn

from convoy.diagnosing.checks.network import are_probabilities
from convoy.diagnosing.finding import Finding, Severity
from convoy.diagnosing.network import Network
from convoy.diagnosing.origins import Origin
from convoy.recipe.sections import CrossEntropy
from convoy.text import gettext as _
from convoy.text.lists import joined

FIXED_LENGTH = 4  # length of the logits of an image; after a layer norm, ten logits have 3.16
HARMLESS_LOSS = 1e-3  # lowest possible loss of bounded logits, as with 10 tanh(x)
MAX_DROPOUT = 0.9
SMALL_FACTOR, SMALL_DIFFERENCE = 0.02, 0.01  # constant factor of the outputs; difference of outputs between images
LISTED = 3


def activation_before_loss(network: Network) -> Iterator[Finding]:
    origin = network.first_step.origin
    yield from _unit_vectors(network)
    is_softmax = origin is not None and origin.place.operation == "softmax"
    if (
        not isinstance(network.recipe.train.loss, CrossEntropy)
        or origin is None
        or (is_softmax and are_probabilities(network.first_step.logits))  # `softmax_before_loss`
    ):
        yield from _dropout_before_loss(network)
    elif origin.is_pooled and math.isinf(origin.high):
        yield from _pooled(network, origin)
    elif math.isinf(origin.high - origin.low):
        yield Finding(
            Severity.ERROR if origin.place.operation == "relu" else Severity.WARNING,
            _(
                "The last operation is {operation}, which limits the logits to between {low:g} and {high:g}: "
                "cross-entropy needs unbounded logits, and classes at a bound have no gradient",
                operation=origin.place,
                low=origin.low,
                high=origin.high,
            ),
            _("Remove the activation after the last layer"),
            _evidence(network, origin),
        )
    else:
        # The largest probability is that of a class at the upper bound, with all others at the lower bound.
        loss = math.log1p((network.classes - 1) * math.exp(origin.low - origin.high))
        if loss >= HARMLESS_LOSS:
            yield Finding(
                Severity.WARNING,
                _(
                    "The logits are outputs of {operation}, between {low:g} and {high:g}: the loss of an image "
                    "cannot fall below {loss:.2g}, and classes at a bound have no gradient",
                    operation=origin.place,
                    low=origin.low,
                    high=origin.high,
                    loss=loss,
                ),
                _("Remove the activation after the last layer"),
                {**_evidence(network, origin), "lowest_loss": loss},
            )


def _evidence(network: Network, origin: Origin) -> dict[str, float | str]:
    logits = network.first_step.logits
    return {"operation": origin.place.operation, "least": float(logits.min()), "largest": float(logits.max())}


def _pooled(network: Network, origin: Origin) -> Iterator[Finding]:
    """SqueezeNet and Network in Network are like this on purpose, and learn."""
    share = float((network.first_step.logits == origin.low).float().mean())
    yield Finding(
        Severity.HINT,
        _(
            "The logits are averages or maxima of the outputs of {operation} and never below {low:g}: "
            "before the first step, {share:.0%} of them are at this bound and have no gradient",
            operation=origin.place,
            low=origin.low,
            share=share,
        ),
        _("Average the outputs of the last layer without an activation"),
        {**_evidence(network, origin), "share": share},
    )


def _unit_vectors(network: Network) -> Iterator[Finding]:
    """Finds logits of a fixed length, such as 1 or that of a layer norm, with which no class can become probable."""
    logits = network.first_step.logits
    lengths = logits.norm(dim=1)
    if float((logits - logits[:1]).norm(dim=1).max()) < 0.1 * float(lengths[0]):
        return  # nearly the same logits for all images
    length, is_fixed = float(lengths.mean()), bool((lengths - lengths[0]).abs().max() < 1e-3 * lengths[0])
    is_short = 0 < length < FIXED_LENGTH and network.classes > 2
    if isinstance(network.recipe.train.loss, CrossEntropy) and is_fixed and is_short:
        yield Finding(
            Severity.WARNING,
            _("The logits of each image have length {length:.3g}, so no class can become probable", length=length),
            _("Remove the normalisation of the outputs, or multiply them by a scale, such as 10 or a parameter"),
            {"largest": float(network.first_step.logits.max())},
        )


def _dropout_before_loss(network: Network) -> Iterator[Finding]:
    """Finds dropout of the logits: some of them are exactly 0, but only in training."""
    share = float((network.first_step.logits == 0).float().mean())
    evaluated = float((network.first_step.evaluation.outputs[0] == 0).float().mean())
    if network.first_step.is_random and 0.02 < share < 1 and evaluated == 0:
        yield Finding(
            Severity.WARNING,
            _("In training, {share:.0%} of the logits are 0: dropout is applied to the outputs", share=share),
            _("Move the dropout before the last layer"),
            {"share": share},
        )


def narrow_features(network: Network) -> Iterator[Finding]:
    """All information about an image goes through a layer with one output."""
    narrow = network.first_step.narrow
    if narrow is None or (narrow.values == 1 and network.classes < 3):  # logistic regression needs one number
        return
    evidence: dict[str, float | str] = {"layer": narrow.place.layer, "features": narrow.values}
    if narrow.averaged:
        yield Finding(
            Severity.WARNING,
            _(
                "All outputs are computed from an average or maximum over the features of {shape}, which "
                "leaves only {n:,} values per image: {place}",
                shape=list(narrow.averaged),
                n=narrow.values,
                place=narrow.place,
            ),
            _(
                "Average over the positions instead: dimensions 2 and 3 of feature maps (batch, channels, height, "
                "width), dimension 1 of tokens (batch, tokens, features)"
            ),
            evidence,
        )
    elif narrow.values == 1:
        yield Finding(
            Severity.WARNING,
            _(
                "All outputs are computed from one number per image, the output of {layer}, which must separate "
                "{classes} classes",
                layer=narrow.place.in_layer,
                classes=network.classes,
            ),
            _("Give this layer more outputs, at least as many as classes"),
            evidence,
        )
    else:
        yield Finding(
            Severity.HINT,
            _(
                "All outputs are computed from one channel of {n:,} values, the output of {layer}",
                n=narrow.values,
                layer=narrow.place.in_layer,
            ),
            _("If that is not intended, give this layer more channels"),
            evidence,
        )


def hidden_softmax(network: Network) -> Iterator[Finding]:
    if places := network.first_step.misnormalised:
        yield Finding(
            Severity.WARNING,
            _(
                "A softmax is over the wrong dimension (the weights of each weighted sum do not sum to one): {layers}",
                layers=joined(dict.fromkeys(place.in_layer for place in places[:LISTED])),
            ),
            _("In attention, use softmax(dim=-1) of the product of queries and keys, before the product with values"),
            {"places": len(places)},
        )
    if places := network.first_step.softmaxed:
        yield Finding(
            Severity.HINT,  # the softmax may select from a codebook
            _(
                "A softmax is used as the activation before a layer, so the inputs of the layer are small "
                "and sum to one: {layers}",
                layers=joined(dict.fromkeys(place.in_layer for place in places[:LISTED])),
            ),
            _("Use ReLU between layers, unless the softmax is meant to select one of several values"),
            {"places": len(places)},
        )


def constant_factor(network: Network) -> Iterator[Finding]:
    """Finds outputs that a constant makes so small that only large weights could make a class probable."""
    step = network.first_step
    difference = float((step.logits - step.logits[:1]).abs().mean())
    if abs(step.factor) < SMALL_FACTOR and 0 < difference < SMALL_DIFFERENCE and step.multiplied is not None:
        yield Finding(
            Severity.WARNING,
            _(
                "Constants multiply the outputs by {factor:.2g}, last in {operation}: the outputs differ between "
                "images by only {difference:.1g}, and the gradients are equally small",
                factor=step.factor,
                operation=step.multiplied,
                difference=difference,
            ),
            _("Remove the factor, or put a norm after it; a temperature belongs in the evaluation of trained networks"),
            {"factor": step.factor, "difference": difference},
        )


def strong_dropout(network: Network) -> Iterator[Finding]:
    rates = {
        name: part.p
        for name, part in network.module.named_modules()
        if isinstance(part, nn.modules.dropout._DropoutNd) and part.p >= MAX_DROPOUT
    }
    if rates:
        yield Finding(
            Severity.WARNING,
            _(
                "Dropout sets {share:.0%} of its inputs to 0 in training: {names}",
                share=max(rates.values()),
                names=joined([*rates][:LISTED]),
            ),
            _("In torch, p is the share that is removed, not the share that is kept; common values are 0.1 to 0.5"),
            {"share": max(rates.values()), "layers": len(rates)},
        )
    for name, share in network.first_step.dropped.items():
        yield Finding(
            Severity.WARNING,
            _(
                "{layer} removes complete channels, but its inputs have so few of them that {share:.0%} of "
                "the images lose all in training",
                layer=name,
                share=share,
            ),
            _("Use nn.Dropout there, or move it after a layer with many channels"),
            {"layer": name, "share": share},
        )

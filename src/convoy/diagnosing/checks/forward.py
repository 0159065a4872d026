"""Checks of the side effects and the structure of `forward`. Subject: a `Network`."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from convoy.diagnosing.finding import Finding, Severity
from convoy.diagnosing.first_step import Gradient
from convoy.diagnosing.network import Network
from convoy.text import gettext as _
from convoy.text.lists import joined

UNSEEN = 0.5  # share of the pixels
HIGH_MOMENTUM = 0.9
HARMLESS_EPSILON = 0.3  # relative to the variance: reduces the outputs of a norm by 12 %
PAIRS = 3  # listed
LARGE_FACTOR = 20  # factor by which images are multiplied before the first layer
FEW_IMAGES = 4  # the largest batch of a batch norm that is reported


def random_in_evaluation(network: Network) -> Iterator[Finding]:
    evaluation = network.first_step.evaluation
    first = evaluation.outputs[0]
    difference = max(float((first - other).abs().max()) for other in evaluation.outputs)
    if difference > 1e-4 * float(first.abs().max()):
        yield Finding(
            Severity.ERROR,
            _("Two evaluations of the same images differ by up to {difference:.3g}", difference=difference),
            _(
                "forward draws random numbers in evaluation. Usual causes: F.dropout without training=self.training "
                "(use nn.Dropout), noise or augmentation without `if self.training`, a layer created in forward"
            )
            if evaluation.is_random
            else _("forward has state that changes with each call, such as a counter; remove it"),
            {"difference": difference, "largest_output": float(first.abs().max())},
        )


def changes_itself(network: Network) -> Iterator[Finding]:
    """Finds weights, buffers, images or the mode changed by `forward`."""
    step = network.first_step
    if step.written:
        yield Finding(
            Severity.WARNING,
            _(
                "forward changes weights, in addition to the optimizer: {places}",
                places=joined(dict.fromkeys(str(place) for place in step.written[:PAIRS])),
            ),
            _("Initialise weights in __init__; an operation on weights in forward should not be in place"),
            {"tensors": len(step.written)},
        )
    if not step.stays_in_training:
        yield Finding(
            Severity.WARNING,
            _(
                "forward switches the network to evaluation mode, which disables dropout and the training "
                "mode of batch norm"
            ),
            _("Remove eval() from forward; Convoy switches the mode"),
            {"images": len(step.logits)},
        )
    if names := step.evaluation.changed_buffers:
        yield Finding(
            Severity.WARNING,
            _(
                "Evaluating the network changes its buffers, so results depend on earlier evaluations: {names}",
                names=joined(names[:PAIRS]),
            ),
            _("Update buffers only `if self.training`: F.batch_norm(..., training=self.training)"),
            {"tensors": len(names)},
        )
    if step.evaluation.changes_images:
        yield Finding(
            Severity.HINT,
            _("forward changes its images in place: a second evaluation of the same tensor gives another result"),
            _("Use x = x / 2 instead of x /= 2, and no nn.ReLU(inplace=True) as the first layer"),
            {"images": 1},
        )


def reads_changed_tensor(network: Network) -> Iterator[Finding]:
    if (reused := network.first_step.evaluation.reused) is not None:
        yield Finding(
            Severity.WARNING,
            _(
                "{operation} changes its input in place, and forward reads that input later, as in a shortcut: with a "
                "new tensor, the outputs differ by up to {share:.1%} of the largest output",
                operation=reused.place,
                share=reused.difference,
            ),
            _("Use inplace=False there, or x = x + y instead of x += y"),
            {"operation": reused.place.operation, "difference": reused.difference},
        )


def differs_in_evaluation(network: Network) -> Iterator[Finding]:
    """Compares the outputs of an image in training and in evaluation, unless randomness or batch norm explains it."""
    step = network.first_step
    has_norm = any(isinstance(part, nn.modules.batchnorm._NormBase) for part in network.module.modules())
    if has_norm or step.is_random or step.evaluation.is_random:
        return
    training, evaluation = step.logits[0], step.evaluation.outputs[0][0]
    difference = float((training - evaluation).abs().max()) / (float(training.abs().max()) or 1.0)
    if difference > 0.01:
        yield Finding(
            Severity.HINT,
            _(
                "In evaluation, the outputs of an image differ from those in training by up to {share:.0%} of the "
                "largest output, without dropout or batch norm",
                share=difference,
            ),
            _("If that is not intended, remove what depends on self.training, or on the number of images"),
            {"difference": difference},
        )


def detached_features(network: Network) -> Iterator[Finding]:
    """Finds detached features, where all weights still get a gradient through other features."""
    step = network.first_step
    if step.detached and Gradient.NONE not in step.backward.gradients.values():  # else `unused_parameters`
        yield Finding(
            Severity.HINT,  # the straight-through estimator does this on purpose
            _(
                "forward detaches features, so this path does not train the layers before it: {places}",
                places=joined([*dict.fromkeys(map(str, step.detached))][:PAIRS]),
            ),
            _("Remove detach() or .data, if the path is meant to train them"),
            {"places": len(step.detached)},
        )


def no_activation(network: Network) -> Iterator[Finding]:
    step = network.first_step
    if step.is_linear:
        yield Finding(
            Severity.WARNING,
            _(
                "The network is linear in its images: without activation functions, its {layers} layers are "
                "equivalent to one",
                layers=sum(step.calls.values()),
            ),
            _("Put an activation function, such as F.relu, after each layer except the last"),
            {"layers": sum(step.calls.values())},
        )
    elif step.adjacent:
        yield Finding(
            Severity.HINT,
            _(
                "Layers follow each other without an activation function, so that together they are one linear layer: "
                "{pairs}",
                pairs="; ".join(f"{first} -> {second}" for first, second in step.adjacent[:PAIRS]),
            ),
            _("Put an activation function, such as F.relu, between them"),
            {"pairs": len(step.adjacent)},
        )


def equal_units(network: Network) -> Iterator[Finding]:
    if names := network.first_step.backward.equal_units:
        yield Finding(
            Severity.WARNING,
            _(
                "All units of these layers have the same weights and the same gradients, so that they stay "
                "identical and act as one unit: {names}",
                names=joined(names[:PAIRS]),
            ),
            _("Initialise weights with random numbers (the default of torch), not with a constant"),
            {"tensors": len(names)},
        )


def unseen_pixels(network: Network) -> Iterator[Finding]:
    step, images = network.first_step.backward, len(network.first_step.logits)
    if not step.unseen_channels and step.unseen < UNSEEN:
        return
    yield Finding(
        Severity.WARNING,
        _(
            "The outputs do not depend on {share:.0%} of the pixels (tested with {images} images)",
            share=step.unseen,
            images=images,
        )
        if step.unseen >= UNSEEN
        else _(
            "The outputs do not depend on channel {channels} of the images (from 0)",
            channels=joined(str(channel) for channel in step.unseen_channels),
        ),
        _("Look for a slice that is too small, a stride larger than its kernel, or a detach() in a branch"),
        {"share": step.unseen, "channels": len(step.unseen_channels)},
    )


def normalised_again(network: Network) -> Iterator[Finding]:
    step = network.first_step
    opening = {name.rstrip("_") for name in step.opening}
    evidence: dict[str, float | str] = {"operations": joined(step.opening[:6]), "factor": step.opening_factor}
    if {"sub", "rsub"} & opening and {"div", "mul"} & opening and not {"mean", "std", "var", "amax", "max"} & opening:
        yield Finding(
            Severity.WARNING,
            _("The network first subtracts and scales by constants, but its images are already normalised"),
            _("Remove the normalisation from forward; data.normalise sets mean and standard deviation"),
            evidence,
        )
    elif not 1 / LARGE_FACTOR < abs(step.opening_factor) < LARGE_FACTOR:
        yield Finding(
            Severity.WARNING,
            _(
                "The network first multiplies its images by {factor:.3g}, but they are already normalised",
                factor=step.opening_factor,
            ),
            _("Remove the factor from forward: pixels have mean 0 and standard deviation 1, not values up to 255"),
            evidence,
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


def norm_dimension(network: Network) -> Iterator[Finding]:
    """Batch norm computes a mean and a variance for each index of dimension 1, which must be the features."""
    norms = network.first_step.norms
    if wrong := [norm for norm in norms if norm.features.axis != 1]:
        first = wrong[0]
        yield Finding(
            Severity.WARNING,
            _(
                "Batch norm computes its statistics along dimension 1 of {shape}, but the features of the layer before "
                "it are dimension {axis}: {places}",
                shape=list(first.shape),
                axis=first.features.axis,
                places=joined(dict.fromkeys(str(norm.place) for norm in wrong[:PAIRS])),
            ),
            _("Move the features to dimension 1 before the norm and back after it, or use a layer norm"),
            {"norms": len(wrong), "dimension": first.features.axis},
        )
    if positions := [norm for norm in norms if norm.features.axis == 1 and norm.features.per_position]:
        yield Finding(
            Severity.HINT,
            _(
                "Batch norm has separate statistics for each of {n:,} pixels or positions, not for each feature: "
                "{places}",
                n=positions[0].shape[1],
                places=joined(dict.fromkeys(str(norm.place) for norm in positions[:PAIRS])),
            ),
            _("Normalise before the images are flattened, with as many features as channels"),
            {"norms": len(positions), "features": positions[0].shape[1]},
        )


def patches_by_reshape(network: Network) -> Iterator[Finding]:
    """A reshape alone cannot cut patches: the pixels of a patch are not contiguous in memory."""
    for patches in network.first_step.patches[:1]:
        yield Finding(
            Severity.HINT if patches.are_rows else Severity.WARNING,
            _(
                "A reshape alone divides the images into pieces of {n:,} values, as many as in a patch of "
                "{side} x {side} pixels, but each piece consists of consecutive pixels of rows: {place}",
                n=patches.values,
                side=patches.side,
                place=patches.place,
            ),
            _(
                "Cut patches with nn.Conv2d(C, D, p, stride=p), with F.unfold(x, p, stride=p).transpose(1, 2), or with "
                "a permute between two reshapes"
            ),
            {"values": patches.values, "side": patches.side},
        )


def norm_momentum(network: Network) -> Iterator[Finding]:
    norms = {
        name: part.momentum
        for name, part in network.module.named_modules()
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.track_running_stats and part.momentum is not None
    }
    still = [name for name, momentum in norms.items() if momentum == 0 and network.module.get_submodule(name).training]
    high = [name for name, momentum in norms.items() if momentum >= HIGH_MOMENTUM]
    fixed = network.first_step.norms_in_evaluation
    if fixed and not network.starts_from_weights and not network.recipe.model.freeze:
        yield Finding(
            Severity.WARNING,
            _(
                "Batch norms stay in evaluation mode during training and keep their initial statistics, mean "
                "0 and variance 1: {names}",
                names=joined(fixed[:PAIRS]),
            ),
            _("Remove the call of eval() on these layers; it is only useful with pretrained weights"),
            {"norms": len(fixed)},
        )
    if still:
        yield Finding(
            Severity.WARNING,
            _(
                "Batch norms with momentum = 0 never update their statistics for evaluation: {names}",
                names=joined(still[:PAIRS]),
            ),
            _("In torch, momentum is the weight of the new batch; the default is 0.1"),
            {"norms": len(still)},
        )
    if high:
        yield Finding(
            Severity.WARNING if norms[high[0]] == 1 else Severity.HINT,
            _(
                "Batch norms with momentum = {momentum:g} use almost only the statistics of the last batch "
                "in evaluation: {names}",
                momentum=norms[high[0]],
                names=joined(high[:PAIRS]),
            ),
            _("In torch, momentum is the weight of the new batch: 0.9 in TensorFlow is 0.1 in torch"),
            {"norms": len(high)},
        )


def norm_epsilon(network: Network) -> Iterator[Finding]:
    large = [each for each in network.first_step.epsilons if each.value > HARMLESS_EPSILON * each.variance]
    if large:
        first = large[0]
        yield Finding(
            Severity.WARNING,
            _(
                "Norms add eps = {eps:g} to the variance of their inputs, {variance:.2g}, and hardly normalise: "
                "{places}",
                eps=first.value,
                variance=first.variance,
                places=joined(dict.fromkeys(each.place.in_layer for each in large[:PAIRS])),
            ),
            _("Common values of eps are {values}", values="1e-5–1e-3"),
            {"norms": len(large), "eps": first.value, "variance": first.variance},
        )

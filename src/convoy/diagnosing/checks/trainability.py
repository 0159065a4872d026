"""Checks of a network that take seconds: training on one batch, evaluation in other batches. Subject: a `Network`."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch

from convoy.diagnosing.finding import Finding, Severity
from convoy.diagnosing.first_step import Gradient, unchanged
from convoy.diagnosing.network import Network
from convoy.evaluation import losses
from convoy.text import gettext as _
from convoy.text.lists import joined

RATES = (1e-3, 1e-2, 1e-4)  # learning rates of Adam
STEPS = 150  # per rate
FIRST_STEPS = 4  # after these, gradients have reached all layers, even if a layer starts with zeros
SECONDS = 10.0  # per rate; if they are not enough for STEPS, the check is inconclusive
RATE_STEPS = 40
MIN_CHANGE = 0.02  # fraction of the first loss
RISEN = 1.2  # relative to the first loss; for LeNet on MNIST, 1.5 with Adam at 0.3, and 1 at 0.03
LOWER, HIGHER = (0.1, 1e-2, 1e-3, 1e-4), (1e2, 1e3, 1e4, 1e5, 1e6, 1e7)  # factors of the learning rate
BATCHES = (1, 7, 128)
INVARIANCE_IMAGES = 128
ORDER_IMAGES, SAME_OUTPUT = 4, 1e-4  # images; change of the outputs, relative to the difference between images


def cannot_overfit(network: Network) -> Iterator[Finding]:
    """Trains on up to 16 images. A correct network learns them at one of three learning rates."""
    best, labels = 0.0, network.labels
    if len(labels.unique()) < 2:
        return
    loss_of = losses.build(network.recipe.train.loss, faults=network.recipe.protocol.faults)
    with torch.random.fork_rng(devices=[]):
        for rate in RATES:
            module = network.build().train()
            parameters = [each for each in module.parameters() if each.requires_grad]
            moments = [(torch.zeros_like(each), torch.zeros_like(each)) for each in parameters]
            started, first = time.perf_counter(), None
            for step in range(1, STEPS + 1):
                logits = module(network.images.clone())
                loss = loss_of(logits, labels)
                gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
                _adam(parameters, gradients, moments, rate, step)
                first = first or float(loss.detach())
                best = max(best, float((logits.detach().argmax(1) == labels).float().mean()))
                if best >= 1 - 1 / len(labels) or float(loss.detach()) < 0.3 * first:
                    return
                if time.perf_counter() - started > SECONDS:
                    return
    yield Finding(
        Severity.ERROR,
        _(
            "The network cannot learn {images} images: {accuracy:.0%} are correct after {steps} steps of Adam at the "
            "best of {rates} rates",
            images=len(labels),
            accuracy=best,
            steps=STEPS,
            rates=len(RATES),
        ),
        _("Look for layers that are not used or not trained, dead units, outputs that ignore the image, wrong labels"),
        {"accuracy": best, "images": len(labels), "steps": STEPS},
    )


def untrained_layers(network: Network) -> Iterator[Finding]:
    """Finds weights whose gradient is 0 in the first steps, for example because of round(), sign() or a factor of 0.

    A head or factor that is initialised with zeros has a gradient; after one step, the layers before it have one too.
    """
    first = network.first_step.backward.gradients
    zero = [name for name, gradient in first.items() if gradient is Gradient.ZERO]
    if not zero or len(zero) == len(first):  # all: `no_gradient`
        return
    loss_of = losses.build(network.recipe.train.loss, faults=network.recipe.protocol.faults)
    with torch.random.fork_rng(devices=[]):
        module = network.build().train()
        named = {name: each for name, each in module.named_parameters() if each.requires_grad}
        parameters = list(named.values())
        moments = [(torch.zeros_like(each), torch.zeros_like(each)) for each in parameters]
        for step in range(1, FIRST_STEPS + 1):
            loss = loss_of(module(network.images.clone()), network.labels)
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
            zero = [
                name
                for name, gradient in zip(named, gradients, strict=True)
                if name in zero and named[name].ndim > 1 and gradient is not None and not bool(gradient.any())
            ]
            _adam(parameters, gradients, moments, RATES[0], step)
    if zero:
        yield Finding(
            Severity.WARNING,
            _(
                "The gradient of these weights is exactly 0 in each of the first {steps} steps, so that they do not "
                "learn: {names}",
                steps=FIRST_STEPS,
                names=joined(zero[:4]),
            ),
            _(
                "Look in the operations after them for round(), sign(), argmax(), a comparison, a factor of 0, or "
                "units that are always 0"
            ),
            {"tensors": len(zero), "steps": FIRST_STEPS},
        )


def learning_rate(network: Network) -> Iterator[Finding]:
    """Trains on one batch with the recipe's optimizer, at its learning rate and at others for comparison."""
    if network.learner is None or network.starts_from_weights or network.recipe.schedule.name == "range":
        return
    lr = network.recipe.optim.lr
    own = _falls(network, 1.0)
    if own is None:
        return
    first, last, highest = own
    is_still = not last < (1 - MIN_CHANGE) * first
    ignores_images = last > (1 - MIN_CHANGE) * _entropy(network.labels)
    has_collapsed = highest > RISEN * first and ignores_images
    for factor in (*LOWER, *HIGHER) if is_still else LOWER if has_collapsed else ():
        other = _falls(network, factor)
        if other is None or not other.last < 0.7 * first:
            continue
        yield Finding(
            Severity.WARNING,
            _(
                "At optim.lr = {lr:g}, {steps} steps on one batch change its loss from {first:.3g} to {last:.3g}; at "
                "{other:g} it falls to {lowest:.3g}",
                lr=lr,
                steps=RATE_STEPS,
                first=first,
                last=last,
                other=lr * factor,
                lowest=other.last,
            ),
            _("Use another learning rate; convoy lr-range shows the usable range"),
            {"lr": lr, "first_loss": first, "last_loss": last, "other_lr": lr * factor, "other_loss": other.last},
        )
        return


def _entropy(labels: torch.Tensor) -> float:
    """Returns the lowest loss of outputs that are the same for all images."""
    shares = labels.unique(return_counts=True)[1] / len(labels)
    return -float((shares * shares.log()).sum())


class _Losses(NamedTuple):
    first: float
    last: float  # mean of the last five, or infinity
    highest: float


def _falls(network: Network, factor: float) -> _Losses | None:
    """Returns None if the steps take too long."""
    assert network.learner is not None
    learner = network.learner()
    device = next(iter(learner.parameters)).device
    x, y = network.images.to(device), network.labels.to(device)
    losses, started = [], time.perf_counter()
    warmup_steps = RATE_STEPS // 2 if network.recipe.schedule.warmup_epochs else 1
    with torch.random.fork_rng(devices=[]):
        for step in range(RATE_STEPS):
            learner.set_lr_factor(factor * min(1, (step + 1) / warmup_steps))
            losses.append(float(learner.step(x, y).loss))
            if not math.isfinite(losses[-1]):
                return _Losses(losses[0], math.inf, math.inf)
            if time.perf_counter() - started > SECONDS:
                return None
    return _Losses(losses[0], sum(losses[-5:]) / 5, max(losses))


@torch.no_grad()
def _adam(
    parameters: Sequence[torch.Tensor],
    gradients: Sequence[torch.Tensor | None],
    moments: Sequence[tuple[torch.Tensor, torch.Tensor]],
    rate: float,
    step: int,
) -> None:
    """Updates in place (Kingma & Ba 2015). torch.optim is not used: it imports the compiler, which takes seconds."""
    for parameter, gradient, (mean, square) in zip(parameters, gradients, moments, strict=True):
        if gradient is not None:
            mean.lerp_(gradient, 0.1)
            square.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
            scale = (square / (1 - 0.999**step)).sqrt_().add_(1e-8)
            parameter.addcdiv_(mean, scale, value=-rate / (1 - 0.9**step))


def output_depends_on_batch(network: Network) -> Iterator[Finding]:
    """Evaluates the same images in batches of 1, 7 and 128, and in another order."""
    if network.first_step.evaluation.is_random:
        return  # a finding of `random_in_evaluation`
    x = network.images.repeat(-(-INVARIANCE_IMAGES // len(network.images)), 1, 1, 1)[:INVARIANCE_IMAGES]
    noise = torch.Generator().manual_seed(0)
    x = x + 0.1 * torch.randn(x.shape, generator=noise)  # all images are different
    order = torch.randperm(len(x), generator=noise)
    with unchanged(network.module), torch.no_grad():
        module = network.module.eval()
        started = time.perf_counter()
        module(x[:2].clone())
        if (seconds := time.perf_counter() - started) > SECONDS / len(x):
            count = max(8, int(SECONDS / seconds))
            x, order = x[:count], torch.randperm(count, generator=noise)
        outputs = {str(size): torch.cat([module(part.clone()) for part in x.split(size)]) for size in BATCHES}
        shuffled = torch.empty_like(outputs[str(BATCHES[-1])])
        shuffled[order] = module(x[order])
    outputs["shuffled"] = shuffled
    reference = outputs[str(BATCHES[0])]
    if not torch.isfinite(reference).all():
        return  # a finding of `non_finite_values`
    scale = float(reference.abs().max()) or 1.0
    differences = {name: float((each - reference).abs().max()) / scale for name, each in outputs.items()}
    largest = max(differences.values())
    if largest > 1e-3:
        changed = max(float((each.argmax(1) != reference.argmax(1)).float().mean()) for each in outputs.values())
        yield Finding(
            Severity.ERROR,
            _(
                "In evaluation, the output for an image depends on the other images of its batch: by up to {share:.1%} "
                "of the largest output",
                share=largest,
            ),
            _(
                "Usual causes: a softmax or mean over dimension 0, a batch norm with track_running_stats=False or in "
                "training mode, a reshape that mixes images"
            ),
            {f"difference_{name}": value for name, value in differences.items()} | {"other_class": changed},
        )


def ignores_order(network: Network) -> Iterator[Finding]:
    """Permutes blocks of the images: without position embeddings, attention gives the same outputs.

    Random numbers are added to the weights, because position embeddings and factors of branches often start with zeros.
    Blocks larger than a quarter of the side are not used: a global maximum is often inside such a block.
    """
    x = network.images[:ORDER_IMAGES]
    side = x.shape[2]
    if network.first_step.evaluation.is_random or len(x) < 2 or x.shape[3] != side:
        return
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        module = network.build().eval()
        generator = torch.Generator().manual_seed(0)
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
        outputs, started = module(x.clone()), time.perf_counter()
        variation = float((outputs - outputs[:1]).abs().max())
        if not variation > 0 or not math.isfinite(variation):
            return
        for size in (each for each in range(side // 4, 0, -1) if side % each == 0):
            count = side // size
            order = torch.randperm(count**2, generator=generator)
            blocks = x.reshape(len(x), -1, count, size, count, size).permute(0, 2, 4, 1, 3, 5)  # (N, k, k, C, s, s)
            permuted = blocks.flatten(1, 2)[:, order].unflatten(1, (count, count)).permute(0, 3, 1, 4, 2, 5)
            change = float((module(permuted.reshape(x.shape)) - outputs).abs().max()) / variation
            if change < SAME_OUTPUT:
                yield Finding(
                    Severity.WARNING,
                    _(
                        "The outputs do not depend on where things are in an image: if its blocks of {size} x {size} "
                        "pixels are permuted, they change by less than {change:.2%} of the difference between images",
                        size=size,
                        change=SAME_OUTPUT,
                    ),
                    _("Add a position embedding to the patches; attention alone does not know their order"),
                    {"block": size, "change": change},
                )
                return
            if time.perf_counter() - started > SECONDS:
                return

"""What the first images show about a network: its outputs are already probabilities, or it cannot learn."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from convoy.data import Prepared
from convoy.data.batches import Normaliser
from convoy.evaluation import losses
from convoy.models.entry import floor_of_loss
from convoy.recipe import Recipe
from convoy.recipe.sections import CrossEntropy
from convoy.text import gettext as _

IMAGES = 8


def first_batch(recipe: Recipe, prepared: Prepared) -> tuple[torch.Tensor, torch.Tensor]:
    """Up to 8 training images, spread over the part, normalised [B, C, H, W], and their labels; float32, on the CPU."""
    count = min(IMAGES, recipe.train.batch_size, len(prepared.train))
    images = prepared.train.take(np.linspace(0, len(prepared.train) - 1, count).astype(np.int64))
    normaliser = Normaliser(prepared.mean, prepared.std, torch.device("cpu"), torch.float32)
    return normaliser(torch.tensor(images.images)), torch.tensor(images.labels)


def try_step(module: nn.Module, recipe: Recipe, x: torch.Tensor, y: torch.Tensor) -> list[str]:
    """Runs a forward and a backward pass, which change gradients and statistics. Returns sentences about defects.

    Raises what the network raises.
    """
    with torch.random.fork_rng(devices=[]):
        with torch.no_grad():
            module.eval()(x[:1])  # a last batch and the latency measurement may have one image
        logits = module.train()(x)
    losses.build(recipe.train.loss, faults=recipe.protocol.faults)(logits, y).backward()
    defects = []
    if isinstance(recipe.train.loss, CrossEntropy) and are_probabilities(logits.detach()):
        text = _(
            "the network ends in a softmax and cross-entropy applies another, which slows down learning; remove the "
            "last softmax, so that the network returns logits"
        )
        if recipe.train.class_weights == "none":
            text = f"{text} ({floor_of_loss(logits.shape[1])})"
        defects.append(text)
    if is_dead(module):
        defects.append(
            _(
                "the network cannot learn: no weight has a gradient for the first images; usual causes are a ReLU "
                "whose outputs are all 0, and detach() or torch.no_grad() in forward"
            )
        )
    return defects


def are_probabilities(outputs: torch.Tensor) -> bool:
    """Whether each row of [B, classes] is non-negative and sums to one."""
    sums = outputs.double().sum(dim=1)
    return bool((outputs >= 0).all() and torch.allclose(sums, torch.ones_like(sums), atol=1e-4))


def is_dead(module: nn.Module) -> bool:
    """Whether all trained weights have no gradient or one of exactly 0, after a backward pass.

    Biases do not count: the last one has a gradient even if the network ignores its images.
    """
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    weights = [parameter for parameter in trained if parameter.ndim > 1] or trained
    return not any(parameter.grad is not None and bool((parameter.grad != 0).any()) for parameter in weights)

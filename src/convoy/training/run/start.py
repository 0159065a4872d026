"""The network at the start of a run: initialised, with weights from another run, and with frozen parameters."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

import torch
from torch import nn

from convoy.checkpoint import check_names, load_weights
from convoy.data import Prepared
from convoy.evaluation.load import untrained
from convoy.randomness import derive_seed
from convoy.recipe import Recipe
from convoy.recipe.sections import Model
from convoy.registry import unknown
from convoy.text import gettext as _


def build(recipe: Recipe, prepared: Prepared) -> nn.Module:
    """A new network, initialised from `model.seed` (default: the recipe's seed); on the CPU, float32."""
    seed = recipe.seed if recipe.model.seed is None else recipe.model.seed
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "initialisation"))
        return untrained(recipe, prepared)


def init_and_freeze(module: nn.Module, spec: Model) -> list[str]:
    """Applies `model.init` and `model.freeze` in place. Returns sentences about loaded and frozen weights.

    Raises ValueError: weights of another network, a pattern without a match, nothing left to train.
    """
    notes = []
    if spec.init is not None:
        notes.append(_load_matching(module, Path(spec.init)))
    if spec.freeze:
        notes.append(_freeze(module, spec.freeze))
    return notes


def _load_matching(module: nn.Module, path: Path) -> str:
    """Loads every tensor with the same shape; others, such as a head for other classes, stay random."""
    weights, own = load_weights(path), module.state_dict()
    check_names(path, weights, own)
    mismatched = [name for name, tensor in own.items() if weights[name].shape != tensor.shape]
    if not any(tensor.ndim > 1 and name not in mismatched for name, tensor in own.items()):
        raise ValueError(f"{path}: no tensor has the same shape as in the network")
    module.load_state_dict(weights | {name: own[name] for name in mismatched})
    shapes = [f"{name} ({_shape(weights[name].shape)} -> {_shape(own[name].shape)})" for name in mismatched]
    if not shapes:
        return _("weights from {path}", path=path)
    return _("weights from {path}; random because of another shape: {names}", path=path, names=", ".join(shapes))


def _freeze(module: nn.Module, patterns: tuple[str, ...]) -> str:
    parameters = dict(module.named_parameters())
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in parameters):
            raise unknown("parameter pattern", pattern, parameters, "model.freeze")
    frozen = [name for name in parameters if any(fnmatchcase(name, pattern) for pattern in patterns)]
    if len(frozen) == len(parameters):
        raise ValueError(f"model.freeze = {list(patterns)}: freezes all parameters, so nothing is left to train")
    for name in frozen:
        parameters[name].requires_grad_(False)
    count = sum(parameters[name].numel() for name in frozen)
    return _(
        "frozen: {frozen} of {tensors} tensors, {parameters:,} parameters",
        frozen=len(frozen),
        tensors=len(parameters),
        parameters=count,
    )


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))

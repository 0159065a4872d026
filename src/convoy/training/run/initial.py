"""The initial network of a run: weights of another run or library, frozen parameters, learning rates by depth."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

from torch import nn

from convoy.checkpoint import load_named
from convoy.data import PreparedData
from convoy.models import pretrained
from convoy.models.depth import depth_groups
from convoy.recipe import Recipe
from convoy.recipe.sections import Model, Optim
from convoy.registry import unknown
from convoy.text import gettext as _
from convoy.text.lists import joined, listed
from convoy.training.step.optimizers import lr_factors

ALL_BUT_HEAD = "all-but-head"


def about_pretrained(recipe: Recipe, prepared: PreparedData) -> list[str]:
    """Describes the images that pretrained weights expect. Raises ValueError if there are no weights."""
    if not recipe.model.is_pretrained:
        return []
    if recipe.model.init is not None:
        raise ValueError(
            _("model.options.pretrained and model.init both set the initial weights; expected one of them")
        )
    expected, notes = pretrained.weights_info(recipe.model.name), []
    mean, std = expected.statistics(prepared.in_chans)
    levels, deviations = (", ".join(f"{level:.3f}" for level in values) for values in (mean, std))
    if (prepared.mean, prepared.std) == (mean, std):
        text = _(
            "normalised with the mean {mean} and standard deviation {std} that the pretrained weights expect",
            mean=levels,
            std=deviations,
        )
    else:
        text = _(
            "the pretrained weights expect mean {mean} and standard deviation {std}; data.normalise sets "
            "different values",
            mean=levels,
            std=deviations,
        )
    notes.append(text)
    if prepared.in_chans != len(expected.mean):
        notes.append(_("grey images: the pretrained weights of the first layer are summed over the colours"))
    if prepared.image_size != expected.image_size:
        notes.append(
            _(
                "the pretrained weights are for images of {expected} pixels, these have {size}; data.size = {expected} "
                "enlarges them",
                expected=expected.image_size,
                size=prepared.image_size,
            )
        )
    return notes


def about_layer_decay(module: nn.Module, optim: Optim) -> list[str]:
    factors = set(lr_factors(optim, module).values())
    if not factors:
        return []
    return [
        _(
            "learning rate by depth: {groups} layers or blocks, from {smallest:.3g} times optim.lr at the input to 1 "
            "at the head",
            groups=len(factors),
            smallest=min(factors),
        )
    ]


def init_and_freeze(module: nn.Module, spec: Model) -> list[str]:
    """Applies `model.init` and `model.freeze` in place. Returns a description of loaded and frozen weights.

    Raises ValueError for weights of another network, a pattern without a match, or no parameter left to train.
    """
    notes = []
    if spec.init is not None:
        notes.append(_load_matching(module, Path(spec.init)))
    if spec.freeze:
        notes.append(_freeze(module, spec.freeze))
    return notes


def _load_matching(module: nn.Module, path: Path) -> str:
    """Loads all tensors whose shapes match. Others, such as a head for different classes, keep their random values."""
    own = module.state_dict()
    weights = load_named(path, own)
    mismatched = [name for name, tensor in own.items() if weights[name].shape != tensor.shape]
    if not any(tensor.ndim > 1 and name not in mismatched for name, tensor in own.items()):
        raise ValueError(_("{path}: no tensor has the same shape as in the network", path=path))
    module.load_state_dict(weights | {name: own[name] for name in mismatched})
    shapes = [f"{name} ({_shape(weights[name].shape)} -> {_shape(own[name].shape)})" for name in mismatched]
    if not shapes:
        return _("weights from {path}", path=path)
    return _(
        "weights from {path}; randomly initialised because the shapes differ: {names}",
        path=path,
        names=joined(shapes),
    )


def _freeze(module: nn.Module, patterns: tuple[str, ...]) -> str:
    parameters = dict(module.named_parameters())
    frozen = {name for pattern in patterns for name in _matching(module, pattern)}
    for name in frozen:
        parameters[name].requires_grad_(False)
    trained = [name for name, parameter in parameters.items() if parameter.requires_grad]
    if not trained:
        raise ValueError(
            _("model.freeze = {patterns}: freezes all parameters, so nothing is left to train", patterns=list(patterns))
        )
    layers = list(dict.fromkeys(name.rpartition(".")[0] or name for name in trained))
    return _(
        "{trained:,} of {total:,} parameters are trained ({layers}); frozen: {frozen} of {tensors} tensors",
        trained=sum(parameters[name].numel() for name in trained),
        total=sum(parameter.numel() for parameter in parameters.values()),
        layers=listed(layers, max_items=3),
        frozen=len(frozen),
        tensors=len(parameters),
    )


def _matching(module: nn.Module, pattern: str) -> list[str]:
    """Returns the names of the parameters that match a `model.freeze` pattern. Raises ValueError without a match."""
    if pattern == ALL_BUT_HEAD:
        return [name for group in depth_groups(module)[:-1] for name in group]
    names = [name for name, _ in module.named_parameters()]
    matching = [name for name in names if name.startswith(f"{pattern}.") or fnmatchcase(name, pattern)]
    if not matching:
        raise unknown(_("layer or pattern"), pattern, [ALL_BUT_HEAD, *names], "model.freeze")
    return matching


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))

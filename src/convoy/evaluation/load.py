"""Builds the network of a recipe and loads the trained network of a run."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from torch import nn

from convoy import models
from convoy.checkpoint import load_into
from convoy.data import PreparedData
from convoy.data.cache import cache_folder
from convoy.data.imageset import ImageSet
from convoy.models import pretrained, user
from convoy.models.run_code import RunCode
from convoy.recipe import Recipe
from convoy.registry import is_user_class
from convoy.run_contents import RunData
from convoy.runs import Run
from convoy.text import gettext as _


def build_network(recipe: Recipe, images: ImageSet) -> nn.Module:
    """The recipe's network for these images, with initial weights from torch's current random state."""
    return models.create(
        recipe.model.name,
        in_chans=images.channels,
        num_classes=len(images.classes),
        image_size=images.size,
        options=recipe.model.options,
    )


def with_normalisation(prepared: PreparedData, recipe: Recipe) -> PreparedData:
    """The data, with the mean and standard deviation of the pretrained weights if the recipe uses them."""
    if recipe.data.normalise != "weights":
        return prepared
    mean, std = pretrained.weights_info(recipe.model.name).statistics(prepared.in_chans)
    return replace(prepared, mean=mean, std=std)


def network_of(run: Run, *, trust_code: bool = False) -> nn.Module:
    """The network of a run with its best weights, in evaluation mode.

    A user's class is loaded from the copy in the run folder. Code that was not trained on this machine is executed only
    with `trust_code`. Raises ValueError without it, and for missing or damaged weights.
    """
    weights = best_weights(run)
    module = untrained_network_of(run, trust_code=trust_code)
    load_into(module, weights)
    return module.eval()


def best_weights(run: Run) -> Path:
    """The weights file of a run. Raises ValueError if the run has none."""
    if run.is_archived:
        raise ValueError(_("{path} was archived without weights; train its recipe.toml to get them", path=run.path))
    path = run.file("best.safetensors")
    if not path.is_file():
        raise ValueError(_("{path} has no weights yet; its first epoch is not finished", path=run.path))
    return path


def untrained_network_of(run: Run, *, trust_code: bool = False) -> nn.Module:
    """The network of a run with initial weights from torch's current random state; see `network_of`."""
    name, options = run.recipe.model.name, run.recipe.model.options
    if is_user_class(name):
        spec, code = trusted_code(run, trust_code=trust_code)
        return user.create(spec, geometry_of(run.data), options, code)
    return models.create(name, **geometry_of(run.data)._asdict(), options=options)


def geometry_of(data: RunData) -> models.Geometry:
    return models.Geometry(data.in_chans, len(data.classes), data.image_size)


def trusted_code(run: Run, *, trust_code: bool) -> tuple[str, RunCode]:
    """The user's class in the run folder, as "code/net.py:MyNet" with its full path, and the code."""
    code = RunCode.read(run.path / "code")
    if not (trust_code or _mark(run, code).exists()):
        raise ValueError(
            _("{value} contains code from elsewhere; review it, then use --trust-code", value=run.path / "code")
        )
    return str(run.path / "code" / _entry(run)), code


def remember_code(run: Run, code: RunCode) -> None:
    """Marks the code of a run as trusted on this machine, if the cache is writable.

    The mark is valid only for the same bytes of these files, the same class and the same options of the model.
    """
    with suppress(OSError):
        path = _mark(run, code)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def _mark(run: Run, code: RunCode) -> Path:
    """The file that exists if the code is trusted."""
    return cache_folder() / "own-code" / code.digest(_entry(run), json.dumps(run.recipe.model.options, sort_keys=True))


def _entry(run: Run) -> str:
    """The file in code/ and its class: "net.py:MyNet"."""
    file, _, class_name = run.recipe.model.name.rpartition(":")
    return f"{Path(file).name}:{class_name}"

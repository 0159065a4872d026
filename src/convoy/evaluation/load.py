"""A trained network from a run folder or from saved weights."""

from __future__ import annotations

import json
from pathlib import Path

from torch import nn

from convoy import models
from convoy.checkpoint import load_into
from convoy.data.cache import cache_folder
from convoy.models import user
from convoy.models.run_code import RunCode
from convoy.registry import is_user_class
from convoy.runs import Run


def network_of(run: Run, *, trust_code: bool = False) -> nn.Module:
    """The network of a run with its best weights, in evaluation mode.

    A user's class is loaded from the run folder's own copy. Where this machine has not trained with that very code, it
    is somebody else's: it runs only with `trust_code`. Raises ValueError otherwise, and for damaged weights.
    """
    if run.is_archived:
        raise ValueError(f"{run.path} was archived without its weights; train its recipe.toml again to have them")
    name, data = run.recipe.model.name, run.data
    geometry = {"in_chans": data["in_chans"], "num_classes": len(data["classes"]), "image_size": data["image_size"]}
    options = run.recipe.model.options
    if is_user_class(name):
        code = RunCode.read(run.path / "code")
        if not (trust_code or is_own_code(run, code)):
            raise ValueError(
                f"{run.path / 'code'} holds code that was not trained on this machine; read it, then give --trust-code"
            )
        module = user.create(f"{run.path / 'code' / _entry(run)}", geometry, options, code)
    else:
        module = models.create(name, **geometry, options=options)
    load_into(module, run.file("best.safetensors"))
    return module.eval()


def remember_code(run: Run, code: RunCode) -> None:
    """Marks the code of a run that this machine trains as its own; a cache that cannot be written forgets it.

    The mark trusts these files with these bytes, this class of them and these options of the model, and nothing else
    of the run folder.
    """
    try:
        folder = cache_folder() / "own-code"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _mark(run, code)).touch()
    except OSError:
        return


def is_own_code(run: Run, code: RunCode) -> bool:
    return (cache_folder() / "own-code" / _mark(run, code)).exists()


def _mark(run: Run, code: RunCode) -> str:
    return code.digest(_entry(run), json.dumps(run.recipe.model.options, sort_keys=True))


def _entry(run: Run) -> str:
    """The file in code/ and the class in it: "net.py:MyNet"."""
    file, _, class_name = run.recipe.model.name.rpartition(":")
    return f"{Path(file).name}:{class_name}"

"""A trained network from a run folder or from saved weights."""

from __future__ import annotations

import hashlib
from pathlib import Path

from torch import nn

from convoy import models
from convoy.checkpoint import load_into
from convoy.data.cache import cache_folder
from convoy.registry import is_user_class
from convoy.runs import Run


def network_of(run: Run, *, trust_code: bool = False) -> nn.Module:
    """The network of a run with its best weights, in evaluation mode.

    A user's class is loaded from the run folder's own copy. Where this machine has not trained with that very code, it
    is somebody else's: it runs only with `trust_code`. Raises ValueError otherwise, and for damaged weights.
    """
    if run.slim:
        raise ValueError(f"{run.path} was archived without its weights; train its recipe.toml again to have them")
    name = run.recipe.model.name
    if is_user_class(name):
        if not (trust_code or is_own_code(run)):
            raise ValueError(
                f"{run.path / 'code'} holds code that was not trained on this machine; read it, then give --trust-code"
            )
        file, _, class_name = name.rpartition(":")
        name = f"{run.path / 'code' / Path(file).name}:{class_name}"
    data = run.data
    module = models.create(
        name,
        in_chans=data["in_chans"],
        num_classes=len(data["classes"]),
        image_size=data["image_size"],
        options=run.recipe.model.options,
    )
    load_into(module, run.path / "best.safetensors")
    return module.eval()


def remember_code(run: Run) -> None:
    """Marks the code of a run that this machine trains as its own; a cache that cannot be written forgets it."""
    try:
        folder = cache_folder() / "own-code"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _code_hash(run)).touch()
    except OSError:
        return


def is_own_code(run: Run) -> bool:
    return (cache_folder() / "own-code" / _code_hash(run)).exists()


def _code_hash(run: Run) -> str:
    digest = hashlib.sha256()
    for path in sorted((run.path / "code").rglob("*.py")):
        digest.update(str(path.relative_to(run.path)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()

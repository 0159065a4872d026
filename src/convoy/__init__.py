"""Convoy: train, compare and explain convolutional networks on small images."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from convoy import notebook
from convoy.process import limit_spinning

if TYPE_CHECKING:
    from convoy.api import *  # noqa: F403
    from convoy.api.estimator import ImageClassifier as ImageClassifier
    from convoy.api.study import Study as Study
    from convoy.api.study import Workspace as Workspace
    from convoy.recipe import Recipe as Recipe
    from convoy.runs import Run as Run

_TYPES = {
    "ImageClassifier": "convoy.api.estimator",
    "Recipe": "convoy.recipe",
    "Run": "convoy.runs",
    "Study": "convoy.api.study",
    "Workspace": "convoy.api.study",
}


limit_spinning()
notebook.draw = lambda result: import_module("convoy.api.cells").html_of(result)


def __getattr__(name: str) -> Any:
    """Imports public names on first use: those of convoy.api, and these types."""
    if name in _TYPES:
        return getattr(import_module(_TYPES[name]), name)
    if name == "__all__":
        return __dir__()
    # `from convoy import runs` calls this function before it imports the module: do not import convoy.api for it.
    if name.startswith("_") or find_spec(f"convoy.{name}") or name not in __dir__():
        raise AttributeError(f"module 'convoy' has no attribute {name!r}")
    return getattr(import_module("convoy.api"), name)


def __dir__() -> list[str]:
    return sorted([*import_module("convoy.api").__all__, *_TYPES])

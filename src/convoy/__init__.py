"""Convoy: train, compare and explain convolutional networks on small images."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from convoy.process import limit_spinning

if TYPE_CHECKING:
    from convoy.api import (
        DataSheet,
        Prediction,
        Profiled,
        Stopped,
        check_claim,
        compare,
        crossval,
        data_sheet,
        export,
        landscape,
        lr_range,
        predict,
        profile,
        report,
        reproduce,
        search,
        seeds,
        test,
        train,
    )
    from convoy.api.study import Study, Workspace
    from convoy.recipe import Recipe
    from convoy.runs import Run

__all__ = [
    "DataSheet",
    "Prediction",
    "Profiled",
    "Recipe",
    "Run",
    "Stopped",
    "Study",
    "Workspace",
    "check_claim",
    "compare",
    "crossval",
    "data_sheet",
    "export",
    "landscape",
    "lr_range",
    "predict",
    "profile",
    "report",
    "reproduce",
    "search",
    "seeds",
    "test",
    "train",
]
_HOMES = dict.fromkeys(__all__, "convoy.api") | {
    "Recipe": "convoy.recipe",
    "Run": "convoy.runs",
    "Study": "convoy.api.study",
    "Workspace": "convoy.api.study",
}


limit_spinning()


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'convoy' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)

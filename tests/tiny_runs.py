"""Recipes of `tiny` for fixtures that several tests share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.conftest import NET

from convoy.recipe import Recipe


def tiny_recipe(folder: Path, stripes: Path, *overrides: tuple[str, Any]) -> Recipe:
    """The recipe of the fixture `tiny`, with the network in `folder`. Two epochs of 8 steps."""
    (folder / "net.py").write_text(NET)
    base = [
        ("model.name", f"{folder / 'net.py'}:Tiny"),
        ("data.name", str(stripes)),
        ("train.epochs", 2),
        ("train.batch_size", 60),
        ("optim.lr", 0.01),
        ("compute.threads", 1),
    ]
    return Recipe.load("defaults/images", [*base, *overrides])

"""The design of a loss landscape: rates, seeds, length of the curves, recordings during training."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from convoy.recipe import Recipe
from convoy.text import gettext as _
from convoy.text.lists import joined

Cut = Literal["all", "each"]
Named = Sequence[tuple[str, Recipe]]


class Setting(NamedTuple):
    """One run of the landscape."""

    label: str
    recipe: Recipe
    lr: float
    repeat: int  # from 0
    seed: int


@dataclass(frozen=True)
class Design:
    lrs: Sequence[float]
    seeds: int = 1  # repeats of all runs
    cut: Cut = "all"  # bands are drawn up to the shortest run of all recipes ("all") or of their own recipe ("each")
    own_seeds: bool = False  # each run has its own seed, instead of one per repeat
    step_probes: bool = True  # probe the loss along the step, at the recipe's own rate

    def check(self) -> None:
        """Raises ValueError for invalid, too few or repeated rates, or an unknown cut."""
        for lr in self.lrs:
            if not 0 < lr < math.inf:
                raise ValueError(_("learning rate {lr:g}: expected a finite number greater than 0", lr=lr))
        if len(self.lrs) < 2 or len(set(self.lrs)) < len(self.lrs):
            rates = joined(f"{lr:g}" for lr in self.lrs) or _("none")
            raise ValueError(_("learning rates {rates}: expected two or more different rates", rates=rates))
        if self.cut not in ("all", "each"):
            raise ValueError(_("cut = {cut!r}: expected 'all' or 'each'", cut=self.cut))

    def settings(self, recipes: Named) -> Iterator[Setting]:
        """Yields the runs in the order of recipe, rate, repeat."""
        number = 0
        for label, recipe in recipes:
            for lr in self.lrs:
                for repeat in range(self.seeds):
                    yield Setting(label, recipe, lr, repeat, recipe.seed + (number if self.own_seeds else repeat))
                    number += 1

    def names(self, recipes: Named) -> list[str]:
        return [
            _("{label} at {lr:g}, seed {seed}", label=each.label, lr=each.lr, seed=each.seed)
            for each in self.settings(recipes)
        ]

    def own_rate(self, recipe: Recipe) -> float:
        """The rate of the probed run: the recipe's own, or the first of `lrs` if the recipe's is not among them."""
        return recipe.optim.lr if recipe.optim.lr in self.lrs else self.lrs[0]


class Spec(NamedTuple):
    """The surfaces around the weights."""

    images: int = 1000  # training images, the same for all networks trained on the same data
    resolution: int = 25  # points per side

    def check(self) -> None:
        if self.images < 1:
            raise ValueError(_("surface images = {images}: expected 1 or more", images=self.images))
        if not 3 <= self.resolution <= 501:
            raise ValueError(
                _("resolution = {resolution}: expected 3 to 501 points per side", resolution=self.resolution)
            )

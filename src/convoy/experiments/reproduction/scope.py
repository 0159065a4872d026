"""Which recipes a reproduction trains, part by part. Trains nothing and reads no data."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from convoy.experiments.claims import Check, check
from convoy.experiments.experiment import Experiment, Fault, Model, Part, Settings, Side, label_of
from convoy.experiments.quick import Choice
from convoy.prediction import Reason
from convoy.recipe import Recipe
from convoy.recipe.files import Override
from convoy.studies.train_all import Entry


@dataclass(frozen=True)
class Scope:
    """An experiment and its settings. `data_name` overrides the recipes' data.name."""

    experiment: Experiment
    settings: Settings
    data_name: str | None = None
    quick: Choice | None = None

    @cached_property
    def withheld(self) -> Reason | None:
        """Why published numbers, faults and claims have no verdict; None if they have."""
        if self.settings.quick:
            return Reason.QUICK_TRY
        if self.settings.limit:
            return Reason.REDUCED
        if self.epochs is None:
            return None
        own = [self.experiment.recipe(name, []).train.epochs for name in self.experiment.recipe_names]
        if any(self.epochs < each for each in own):
            return Reason.REDUCED
        return Reason.LONGER if any(self.epochs > each for each in own) else None

    @property
    def epochs(self) -> int | None:
        """One for --quick with --limit."""
        return self.settings.epochs or (1 if self.settings.quick and self.settings.limit else None)

    @property
    def seeds(self) -> int | None:
        return self.settings.seeds or (self.experiment.quick.seeds if self.settings.quick else None)

    @cached_property
    def recipes(self) -> dict[str, Recipe]:
        """By name, without those of the claims."""
        return {name: self.recipe(name) for name in self.experiment.recipe_names}

    def recipe(self, name: str) -> Recipe:
        recipe = self.experiment.recipe(name, self.overrides)
        return recipe if self.quick is None else self.quick.sized(recipe)

    @cached_property
    def overrides(self) -> list[Override]:
        own = {"data.name": self.data_name, "data.limit": self.settings.limit, "train.epochs": self.epochs}
        own |= {"compute.device": self.settings.device, "compute.precision": "auto" if self.settings.quick else None}
        return [*((path, value) for path, value in own.items() if value is not None), *self.settings.set]

    def count(self, own: int | None) -> int:
        """Number of seeds: --seeds, else `own` of the model or fault, else the experiment's; 0 stays 0."""
        if own == 0:
            return 0
        return self.seeds or own or self.experiment.seeds

    def models(self, *, chosen: bool) -> dict[tuple[str, Side, int], Entry]:
        """By model, side and seed: the models to train (`chosen`), or the others, whose finished runs are reported."""
        labels = self.settings.models or [model.label for model in self.experiment.model]
        return {
            (model.label, side, recipe.seed): Entry(f"{model.label}, {side.replace('_', ' ')}", recipe)
            for model in self.experiment.model
            if (model.label in labels) == chosen
            for side in self.sides(model)
            for recipe in self._seeded(getattr(model, side), self.count(model.seeds))
        }

    def sides(self, model: Model) -> list[Side]:
        """The protocols that a model is trained under."""
        return [side for side in self.settings.sides if getattr(model, side) is not None and self._fits(model, side)]

    def _fits(self, model: Model, side: str) -> bool:
        return self.quick is None or not self.quick.decided or side in self.quick.models.get(model.label, ())

    def _seeded(self, name: str, count: int) -> list[Recipe]:
        recipe = self.recipe(name)
        return [recipe.override({"seed": recipe.seed + offset}) for offset in range(count)]

    def pairs(self, fault: Fault) -> list[tuple[Entry, Entry | None]]:
        """The recipe without and with the fault, at each value of `over`.

        For a fault of one seed the second is the recipe of `against`, if any.
        """
        base = self.recipe(fault.base)
        count = fault.pairs if fault.over != "seed" and fault.pairs else self.count(fault.pairs)
        without, with_ = fault.sides(base)
        against = fault.against and label_of(fault.against)
        second = with_ if not fault.of_one_seed else self.recipe(fault.against) if fault.against else None
        pairs = []
        for step in range(count):
            at = {fault.over: fault.first(without) + step}
            first = Entry(f"{fault.name}, without", without.override(at))
            other = None if second is None else Entry(f"{fault.name}, {against or 'with'}", second.override(at))
            pairs.append((first, other))
        return pairs

    @cached_property
    def claims(self) -> list[Check]:
        full_size, folder = self.settings.full_size, self.experiment.folder
        return [
            check(claim, full_size=full_size, overrides=self.overrides, seeds=self.seeds, folder=folder)
            for claim in self.experiment.claim
        ]

    @property
    def studies(self) -> list[Part]:
        """The studies within the experiment under the chosen protocols."""
        return [part for part in self.experiment.study if {*part.sides}.intersection(self.settings.sides)]

    def recipes_of(self, part: Part) -> list[tuple[str, Recipe]]:
        """Labels and recipes of a study within the experiment."""
        overrides = [*part.set.items(), *self.overrides]
        recipes = [(label_of(name), self.experiment.recipe(name, overrides)) for name in part.recipes]
        return recipes if self.quick is None else [(label, self.quick.sized(recipe)) for label, recipe in recipes]

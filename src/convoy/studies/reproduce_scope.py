"""Which recipes a reproduction trains, part by part. Nothing is trained and no data are read here."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from convoy.prediction import Reason, no_verdict
from convoy.recipe import Override, Recipe
from convoy.studies import reproduce_parts
from convoy.studies.experiment import Experiment, Fault, Model, Part, Settings, label_of
from convoy.studies.quick import Choice
from convoy.studies.train_all import Entry


@dataclass(frozen=True)
class Scope:
    """An experiment and what was asked of it. `data_name` replaces the recipes' own name of their data."""

    experiment: Experiment
    settings: Settings
    data_name: str | None = None
    quick: Choice | None = None

    @property
    def withheld(self) -> Reason | None:
        """Why there is no verdict on faults and claims; None if there is."""
        return no_verdict(quick=self.settings.quick, limit=self.settings.limit)

    @property
    def epochs(self) -> int | None:
        """Of a quick try whose images are given, one."""
        return self.settings.epochs or (1 if self.settings.quick and self.settings.limit else None)

    @property
    def seeds(self) -> int | None:
        return self.settings.seeds or (self.experiment.quick.seeds if self.settings.quick else None)

    @cached_property
    def recipes(self) -> dict[str, Recipe]:
        """By name, all but those of the claims."""
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
        """Of seeds: what was asked for, else the model's or fault's own, else the experiment's; 0 stays 0."""
        if own == 0:
            return 0
        return self.seeds or own or self.experiment.seeds

    def models(self, *, chosen: bool) -> dict[tuple[str, str, int], Entry]:
        """By model, side and seed: of the models to train, or of the others, whose finished runs are shown."""
        labels = self.settings.models or [model.label for model in self.experiment.model]
        return {
            (model.label, side, recipe.seed): Entry(f"{model.label}, {side.replace('_', ' ')}", recipe)
            for model in self.experiment.model
            if (model.label in labels) == chosen
            for side in self.sides(model)
            for recipe in self._seeded(getattr(model, side), self.count(model.seeds))
        }

    def sides(self, model: Model) -> list[str]:
        """The protocols that a model is trained under."""
        return [side for side in self.settings.sides if getattr(model, side) is not None and self._fits(model, side)]

    def _fits(self, model: Model, side: str) -> bool:
        return self.quick is None or not self.quick.decided or side in self.quick.models.get(model.label, ())

    def _seeded(self, name: str, count: int) -> list[Recipe]:
        recipe = self.recipe(name)
        return [recipe.override({"seed": recipe.seed + offset}) for offset in range(count)]

    def pairs(self, fault: Fault) -> list[tuple[Entry, Entry | None]]:
        """The recipe without the fault and with it (of one seed: the one it beats), at each value of `over`."""
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
    def claims(self) -> reproduce_parts.Claims:
        return reproduce_parts.Claims(
            self.experiment,
            self.overrides,
            seeds=self.seeds,
            full_size=self.settings.full_size,
            withheld=self.withheld,
            asked=" and ".join([*self.reductions, *(f"{path} = {value}" for path, value in self.settings.set)]),
        )

    @property
    def reductions(self) -> list[str]:
        images = [f"{self.settings.limit:,} images"] if self.settings.limit else []
        return images + ([f"{self.epochs} epoch{'s' if self.epochs > 1 else ''}"] if self.epochs else [])

    @property
    def studies(self) -> list[Part]:
        """The studies within the experiment, of the protocols that were asked for."""
        return [part for part in self.experiment.study if {*part.sides}.intersection(self.settings.sides)]

    def recipes_of(self, part: Part) -> list[tuple[str, Recipe]]:
        """Recipes of a study within the experiment, with the labels of their runs."""
        overrides = [*part.set.items(), *self.overrides]
        recipes = [(label_of(name), self.experiment.recipe(name, overrides)) for name in part.recipes]
        return recipes if self.quick is None else [(label, self.quick.sized(recipe)) for label, recipe in recipes]

"""Determines which recipes a reproduction trains in each part, and on which data. Does not train."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

from convoy.agreement import Reason
from convoy.data.cache import cache_folder
from convoy.data.sources import pack_tensors
from convoy.experiments.claims import Check, check
from convoy.experiments.experiment import SIDES, Experiment, ExperimentStudy, Fault, Model, Settings, Side, label_of
from convoy.experiments.quick import Choice
from convoy.recipe import Recipe
from convoy.recipe.files import Override
from convoy.studies.session import Entry


@dataclass(frozen=True)
class Scope:
    """An experiment and its settings. `data_name` overrides the recipes' data.name."""

    experiment: Experiment
    settings: Settings
    data_name: str | None = None
    quick: Choice | None = None

    @cached_property
    def withheld(self) -> Reason | None:
        """Why published numbers, faults and claims get no verdict; None if they get one."""
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
        """The number of epochs that overrides the recipes'; 1 for --quick with --limit."""
        return self.settings.epochs or (1 if self.settings.quick and self.settings.limit else None)

    @property
    def seeds(self) -> int | None:
        return self.settings.seeds or (self.experiment.quick.seeds if self.settings.quick else None)

    @cached_property
    def recipes(self) -> dict[str, Recipe]:
        """The recipes by name, except the recipes of claims."""
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
        """Returns the number of seeds: 0 if `own` is 0; otherwise --seeds, `own` or the default, in this order."""
        if own == 0:
            return 0
        return self.seeds or own or self.experiment.seeds

    def models(self, *, chosen: bool) -> dict[tuple[str, Side, int], Entry]:
        """Returns the runs by model, side and seed: of the models to train (`chosen`), or of the other models."""
        labels = self.settings.models or [model.label for model in self.experiment.model]
        entries = {}
        for model in [model for model in self.experiment.model if (model.label in labels) == chosen]:
            for side in self.sides(model):
                first = self.recipe(getattr(model, side))
                for seed in range(first.seed, first.seed + self.count(model.seeds)):
                    label = f"{model.label}, {side.replace('_', ' ')}"
                    entries[model.label, side, seed] = Entry(label, first.override({"seed": seed}))
        return entries

    def sides(self, model: Model) -> list[Side]:
        """Returns the protocols under which a model is trained."""
        decided = self.quick if self.quick is not None and self.quick.decided else None
        fit = SIDES if decided is None else decided.models.get(model.label, ())
        return [side for side in self.settings.sides if getattr(model, side) is not None and side in fit]

    def pairs(self, fault: Fault) -> list[tuple[Entry, ...]]:
        """Returns the recipes without and with the fault, for each value of `over`.

        For the fault one_seed, the second recipe is `against`, if any.
        """
        without, with_ = fault.sides(self.recipe(fault.base))
        count = fault.pairs if fault.over != "seed" and fault.pairs else self.count(fault.pairs)
        sides = [("without", without)]
        if fault.against:
            sides.append((label_of(fault.against), self.recipe(fault.against)))
        elif not fault.of_one_seed:
            sides.append(("with", with_))
        values = [fault.first(without) + step for step in range(count)]
        return [
            tuple(Entry(f"{fault.name}, {name}", recipe.override({fault.over: value})) for name, recipe in sides)
            for value in values
        ]

    @cached_property
    def claims(self) -> list[Check]:
        """Returns the checks of all claims, under both protocols if their recipes differ."""
        ready = partial(
            check,
            full_size=self.settings.full_size,
            overrides=self.overrides,
            seeds=self.seeds,
            folder=self.experiment.folder,
        )
        published = {model.corrected: model.as_published for model in self.experiment.model if model.as_published}
        checks: list[Check] = []
        for claim in self.experiment.claim:
            corrected = replace(ready(claim), protocol="corrected")
            as_published = replace(ready(claim, published=published), protocol="as_published")
            by_side: dict[Side, Check] = {"as_published": as_published, "corrected": corrected}
            if as_published.sides == corrected.sides:
                del by_side["as_published"]
            checks += [one for side, one in by_side.items() if claim.has(side) and side in self.settings.sides]
        return checks

    def entries(self, part: str) -> list[Entry]:
        """Returns the runs of a part: models (to train), faults or claims."""
        if part == "models":
            return [*self.models(chosen=True).values()]
        if part == "faults":
            return [entry for fault in self.experiment.fault for pair in self.pairs(fault) for entry in pair]
        return [Entry(trial.label, trial.recipe) for check in self.claims for trial in check.trials]

    @property
    def studies(self) -> list[ExperimentStudy]:
        """The studies within the experiment under the chosen protocols."""
        return [study for study in self.experiment.study if {*study.sides}.intersection(self.settings.sides)]

    def recipes_of(self, study: ExperimentStudy) -> list[tuple[str, Recipe]]:
        """Labels and recipes of a study within the experiment."""
        overrides = [*study.set.items(), *self.overrides]
        recipes = [(label_of(name), self.experiment.recipe(name, overrides)) for name in study.recipes]
        return recipes if self.quick is None else [(label, self.quick.sized(recipe)) for label, recipe in recipes]


def data_name(experiment: Experiment, data: str | None) -> str | None:
    """Returns the override of data.name: `data`, a folder of tensor files created in the cache, or None.

    Raises DataError if the data are not available.
    """
    if data is not None or not experiment.as_tensors:
        return data
    folder = cache_folder() / "tensors" / experiment.data
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))  # the rename is atomic
        pack_tensors(experiment.data, temporary)
        with suppress(OSError):  # another process created it first
            temporary.rename(folder)
    return f"{experiment.data}={folder}"

"""Counts the parameters and FLOPs of networks without training them. Imports torch only if a count is missing."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from convoy import archive, cpu
from convoy.experiments.claims import Check
from convoy.experiments.experiment import SIDES, Side
from convoy.experiments.measures import find
from convoy.experiments.reproduction import profiles
from convoy.experiments.reproduction.digests import digest
from convoy.experiments.reproduction.profiles import Profiles
from convoy.experiments.reproduction.scope import Scope
from convoy.recipe import Recipe
from convoy.text.lists import joined


@dataclass
class ClaimCounter:
    """Counts the networks that are compared by claims, each once.

    `from_data`: whether the recipe's data determine the input shape; if not, the model's default shape is used.
    """

    from_data: bool = True
    known: dict[str, dict[str, int]] = field(default_factory=dict)  # measures by network and data

    def of(self, check: Check) -> dict[str, float]:
        """Returns the measure of each side's network; empty for a claim that needs training."""
        if not find(check.claim.measure).exact:
            return {}
        return {side: float(self._counts(side, recipe)[check.claim.measure]) for side, recipe in check.sides.items()}

    def _counts(self, label: str, recipe: Recipe) -> dict[str, int]:
        tables = recipe.model.model_dump(mode="json"), recipe.data.name, recipe.data.size
        key = json.dumps(tables, sort_keys=True)
        if key not in self.known:
            from convoy.evaluation import cost
            from convoy.profiling import measure

            subject = measure.subject_of(label, recipe, image=None, classes=None, from_data=self.from_data)
            network = measure.shape_of(subject)
            flops = cost.flops_per_image(network, subject.shape)
            parameters = cost.parameters(network)
            self.known[key] = {"parameters": parameters, "flops_per_image": flops, "macs_per_image": flops // 2}
        return self.known[key]


def counted(
    scope: Scope, fingerprints: Mapping[str, str], path: Path, *, from_data: bool, quick: bool
) -> dict[str, dict[Side, int]]:
    """Returns the number of parameters of each network, by label and side.

    Counted once and stored at `path`, a profile.json, with a profile of each network. `fingerprints` are the recipes'
    fingerprints. `quick`: with fewer timed passes.
    """
    named = [[label, side, fingerprints[name]] for label, names in _networks(scope).items() for side, name in names]
    key = digest(named, from_data)
    stored = profiles.read(path.read_bytes()) if path.is_file() else None
    if stored is None or stored.key != key:
        stored = replace(_profile_all(scope, from_data=from_data, quick=quick), key=key)
        profiles.write(stored, path)
    return stored.parameters


def packaged(scope: Scope, folder: Path | None = None) -> Profiles | None:
    """Reads the profiles of these networks from an archive `folder` (default: Convoy's own); None if it has none."""
    stored = profiles.read(archive.read_profiles(scope.experiment.name, folder))
    return stored if stored is not None and stored.recipes == recipes_of(scope) else None


def write_packaged(scope: Scope, folder: Path, *, from_data: bool) -> None:
    """Profiles the networks and stores the result in an archive `folder`, unless it is already there."""
    if packaged(scope, folder) is not None:
        return
    counter = ClaimCounter(from_data)
    for check in scope.claims:
        counter.of(check)
    measured = _profile_all(scope, from_data=from_data, quick=False)
    stored = replace(measured, recipes=recipes_of(scope), counts=counter.known)
    archive.write_profiles(scope.experiment.name, profiles.as_json(stored), folder)


def recipes_of(scope: Scope) -> str:
    """Returns a hash of the recipes of networks and claims. It depends neither on the machine nor on the data."""
    table: list[Any] = [
        [label, side, scope.recipes[name].canonical()]
        for label, names in _networks(scope).items()
        for side, name in names
    ]
    table += [claim.model_dump(mode="json") for claim in scope.experiment.claim]
    return hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()


def _networks(scope: Scope) -> dict[str, list[tuple[Side, str]]]:
    """Returns protocols and recipe names of each network."""
    models = scope.experiment.model
    return {model.label: [(side, name) for side in SIDES if (name := getattr(model, side))] for model in models}


def _profile_all(scope: Scope, *, from_data: bool, quick: bool) -> Profiles:
    from convoy.evaluation import cost
    from convoy.profiling import measure
    from convoy.training.machine.device import device_of
    from convoy.training.step import optimizers

    profiled, parameters = [], dict[str, dict[Side, int]]()
    for label, names in _networks(scope).items():
        subjects = {
            side: measure.subject_of(label, scope.recipes[name], image=None, classes=None, from_data=from_data)
            for side, name in names
        }
        parameters[label] = {side: cost.parameters(measure.shape_of(subject)) for side, subject in subjects.items()}
        subject = next(iter(subjects.values()))
        state = optimizers.state_per_parameter(subject.recipe.optim, ema_decay=subject.recipe.train.ema_decay)
        profiled.append(measure.profile(subject, device_of(subject.recipe), state_per_parameter=state, quick=quick))
    return Profiles(profiled, parameters, joined([cpu.name(), time.strftime("%Y-%m-%d")]))

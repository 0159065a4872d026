"""What is counted from networks without training them: parameters and FLOPs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from convoy.evaluation import cost
from convoy.experiments.claims import Check
from convoy.experiments.experiment import SIDES, Side
from convoy.experiments.measures import find
from convoy.experiments.reproduction.scope import Scope
from convoy.experiments.reproduction.studies import digest
from convoy.files import read_json, write_json
from convoy.profiling import measure
from convoy.profiling.result import PROFILES
from convoy.training.machine.device import device_of
from convoy.training.step import optimizers


def claim_counts(check: Check, *, from_data: bool = True) -> dict[str, float]:
    """The measure of each side's untrained network; empty for a claim that needs training.

    `from_data`: whether the input is that of the recipe's data; otherwise it is the default input of its model.
    """
    if not find(check.claim.measure).exact:
        return {}
    by_side = {}
    for side, recipe in check.sides.items():
        subject = measure.subject_of(side, recipe, image=None, classes=None, from_data=from_data)
        network = measure.shape_of(subject)
        flops = cost.flops_per_image(network, subject.shape)
        counts = {"parameters": cost.parameters(network), "flops_per_image": flops, "macs_per_image": flops // 2}
        by_side[side] = float(counts[check.claim.measure])
    return by_side


def counted(
    scope: Scope, fingerprints: Mapping[str, str], path: Path, *, from_data: bool, quick: bool
) -> dict[str, dict[Side, int]]:
    """The parameters of each network, by label and side.

    Counted once and stored at `path`, a profile.json, with a profile of each network. `fingerprints` are the recipes'
    fingerprints. `quick`: with fewer timed passes.
    """
    sides = {
        model.label: {side: name for side in SIDES if (name := getattr(model, side))}
        for model in scope.experiment.model
    }
    key = digest(
        [[label, side, fingerprints[n]] for label, names in sides.items() for side, n in names.items()],
        from_data,
    )
    stored = read_json(path, "profiles") if path.is_file() else {}
    if stored.get("key") == key:
        return dict(stored["parameters"])
    profiled, parameters = [], dict[str, dict[Side, int]]()
    for label, names in sides.items():
        subjects = {
            side: measure.subject_of(label, scope.recipes[name], image=None, classes=None, from_data=from_data)
            for side, name in names.items()
        }
        parameters[label] = {side: cost.parameters(measure.shape_of(subject)) for side, subject in subjects.items()}
        subject = next(iter(subjects.values()))
        state = optimizers.state_per_parameter(subject.recipe.optim, ema_decay=subject.recipe.train.ema_decay)
        profiled.append(measure.profile(subject, device_of(subject.recipe), state_per_parameter=state, quick=quick))
    profiles = PROFILES.dump_python(profiled, mode="json", by_alias=True)
    write_json(path, {"key": key, "profiles": profiles, "parameters": parameters})
    return parameters

"""Parts of a reproduction: the studies within an experiment, its claims, networks and data."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from convoy.data.cache import cache_folder
from convoy.data.sources import pack_tensors
from convoy.evaluation import profile as profiling
from convoy.experiments import claims
from convoy.experiments.experiment import SIDES, Arguments, Crossval, Experiment, Landscape, Part, Search, label_of
from convoy.files import read_json, write_json
from convoy.prediction import Reason, Verdict
from convoy.recipe import Override, Recipe
from convoy.runs import Member, Run, Study, Workspace, model_label
from convoy.studies import landscape
from convoy.studies.crossval import run as crossval
from convoy.studies.landscape_design import Design
from convoy.studies.session import Session, Show
from convoy.studies.train_all import Entry
from convoy.training import optimizers
from convoy.training.device import device_of
from convoy.training.plan import plan_all
from convoy.training.revisions import TRAINING_REVISION

Stage = Callable[[Sequence[str]], AbstractContextManager[Show]]  # takes the names of the runs trained together
Named = Sequence[tuple[str, Recipe]]


def study_of(recipes: Named, asked: Arguments, session: Session, *, side: str | None, stage: Stage) -> Study | None:
    """None if interrupted; the same call resumes it. `side` is one of experiment.SIDES."""
    label = f"{model_label(recipes[0][1])} as published" if side == "as_published" else None
    if isinstance(asked, Search):
        return _search((label, recipes[0][1]), asked, session, stage)
    if isinstance(asked, Crossval):
        return _crossval((label, recipes[0][1]), asked, session, stage)
    return _landscape(recipes, asked, session, stage)


def _crossval(named: tuple[str | None, Recipe], asked: Crossval, session: Session, stage: Stage) -> Study | None:
    label, recipe = named
    names = [entry.label for entry in crossval.entries_of(recipe, asked.folds, asked.repeats)]
    with stage(names) as show:
        shown = replace(session, show=show)
        return crossval.run(recipe, shown, folds=asked.folds, repeats=asked.repeats, label=label)


def _search(named: tuple[str | None, Recipe], asked: Search, session: Session, stage: Stage) -> Study | None:
    from convoy.studies.search import run as searching  # Optuna takes half a second to import
    from convoy.studies.search.space import Space, Values

    space = Space(tuple(Values(path, tuple(values)) for path, values in asked.grid.items()))
    label, recipe = named
    chosen: dict[str, Any] = {"trials": asked.trials, "sampler": asked.sampler, "pruner": asked.pruner}
    wanted = searching.asked(recipe, space, **chosen, seeds=asked.seeds, called=label)
    with stage(wanted.names) as show:
        return searching.run(wanted, replace(session, show=show))


def _landscape(recipes: Named, asked: Landscape, session: Session, stage: Stage) -> Study | None:
    from convoy.studies.surface import Spec

    surfaces = Spec(**asked.surfaces.model_dump()) if asked.surfaces else None if asked.surfaces is False else Spec()
    design = design_of(asked)
    with stage(design.names(recipes)) as show:
        return landscape.landscape(recipes, replace(session, show=show), design, surfaces=surfaces)


def design_of(asked: Landscape) -> Design:
    return Design(asked.lrs, asked.seeds, asked.cut, asked.own_seeds, asked.looks)


def digest(*inputs: object) -> str:
    """Hash of a finding's inputs, as JSON, and of the version of Convoy."""
    covered = json.dumps([inputs, TRAINING_REVISION, version("convoy-ml")], sort_keys=True)
    return hashlib.sha256(covered.encode()).hexdigest()[:16]


def fingerprints(recipes: Mapping[str, Recipe], *, from_data: bool) -> dict[str, str]:
    """By recipe name: its run's fingerprint, or without data a digest of the recipe alone."""
    if not from_data:
        return {name: digest(recipe.canonical()) for name, recipe in recipes.items()}
    plans = plan_all(recipes.values())
    return {name: ready.fingerprint for name, ready in zip(recipes, plans, strict=True)}


def part_digest(part: Part, known_by: Mapping[str, str], *, quick: bool) -> str:
    """Hash of a study within the experiment; `known_by` are the recipes' fingerprints."""
    named = [[label_of(name), known_by[name]] for name in part.recipes]
    more = [part.set] if part.set else []
    return digest(part.kind, named, part.asked(quick=quick).model_dump(mode="json"), *more)


def finished_runs(entries: Sequence[Entry], out: Path) -> list[Run | None]:
    """The finished run of each recipe in OUT, or None."""
    found = (Workspace(out).find(ready.fingerprint) for ready in plan_all(entry.recipe for entry in entries))
    return [run if run is not None and run.finished else None for run in found]


class Claims:
    """The claims of an experiment and their verdicts.

    `asked` names what the overrides reduce further, such as "100 images". `withheld`: why trained ones have no verdict.
    """

    def __init__(
        self,
        experiment: Experiment,
        overrides: Sequence[Override],
        *,
        seeds: int | None,
        full_size: bool,
        withheld: Reason | None,
        asked: str,
    ) -> None:
        self._asked, self._withheld = asked, withheld
        self._checks = [
            claims.check(claim, full_size=full_size, overrides=overrides, seeds=seeds, folder=experiment.folder)
            for claim in experiment.claim
        ]

    @property
    def inputs(self) -> list[Any]:
        """Everything but the data that decides the verdicts."""
        return [
            [
                each.claim.model_dump(mode="json"),
                {name: side.canonical() for name, side in each.sides.items()},
                each.seeds,
            ]
            for each in self._checks
        ]

    @property
    def entries(self) -> list[Entry]:
        return [entry for check in self._checks for entry in check.entries]

    def verdicts(self, runs: Sequence[Run | None]) -> list[dict[str, Any]]:
        """Verdicts on the claims whose runs are all finished; `runs` are in the order of `entries`."""
        waiting = iter(runs)
        found = []
        for check in self._checks:
            own = [(entry, next(waiting)) for entry in check.entries]
            members = [Member(entry.label, entry.recipe.seed, run) for entry, run in own if run is not None]
            if len(members) == len(own):
                found.append(self._reduced(claims.judge(check, members), trained=bool(own)))
        return found

    def _reduced(self, verdict: dict[str, Any], *, trained: bool) -> dict[str, Any]:
        if not self._asked or not trained:
            return verdict
        own = f"{verdict['reduced']}; further reduced to" if verdict["reduced"] else "only"
        verdict |= {"reduced": f"{own} {self._asked}"}
        if self._withheld is None:
            return verdict
        words = f"{verdict['words']}; no verdict ({self._withheld})"
        return verdict | {"verdict": Verdict.INCONCLUSIVE.value, "words": words}


def counted(
    experiment: Experiment,
    recipes: Mapping[str, Recipe],
    known_by: Mapping[str, str],
    path: Path,
    *,
    from_data: bool,
    quick: bool = False,
) -> dict[str, dict[str, int]]:
    """The parameters of each network, by label and side.

    Counted once and stored at `path`, a profile.json, with a profile of each network. `known_by` are the recipes'
    fingerprints.
    """
    sides = {
        model.label: {side: name for side in SIDES if (name := getattr(model, side))} for model in experiment.model
    }
    key = digest([[label, side, known_by[n]] for label, names in sides.items() for side, n in names.items()], from_data)
    known = read_json(path, "profiles") if path.is_file() else {}
    if known.get("key") == key:
        return dict(known["parameters"])
    found, parameters = [], {}
    for label, names in sides.items():
        subjects = {
            side: profiling.subject_of(label, recipes[name], image=None, classes=None, from_data=from_data)
            for side, name in names.items()
        }
        parameters[label] = {side: profiling.parameters_of(subject) for side, subject in subjects.items()}
        shown = next(iter(subjects.values()))
        kept = optimizers.state_per_parameter(shown.recipe.optim, ema_decay=shown.recipe.train.ema_decay)
        found.append(profiling.profile(shown, device_of(shown.recipe), state_per_parameter=kept, quick=quick).as_json())
    write_json(path, {"key": key, "profiles": found, "parameters": parameters})
    return parameters


def data_name(experiment: Experiment, asked: str | None) -> str | None:
    """The data.name override: `asked`, or a folder of tensor files, which is created; None: the recipes' own.

    Raises DataError if the data are not available.
    """
    if asked is None and experiment.as_tensors:
        return f"{experiment.data}={as_tensors(experiment.data)}"
    return asked


def as_tensors(name: str) -> Path:
    """The folder of a data set's four tensor files in the cache, created if it does not exist."""
    folder = cache_folder() / "tensors" / name
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder.parent))  # so that the rename is atomic
        pack_tensors(name, temporary)
        with suppress(OSError):  # another process was faster
            temporary.rename(folder)
    return folder

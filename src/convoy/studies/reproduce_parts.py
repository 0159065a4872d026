"""What a reproduction puts together: the studies within an experiment, its claims, its networks, its data."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

from convoy.data.cache import cache_folder
from convoy.data.sources import pack_tensors
from convoy.evaluation import profile as profiling
from convoy.recipe import Override, Recipe
from convoy.runs import Member, Run, Study, read_json, write_json
from convoy.studies import claims, crossval, landscape
from convoy.studies.experiment import Experiment
from convoy.studies.train_all import Entry
from convoy.training import optimizers
from convoy.training.plan import TRAINING_REVISION, device_of
from convoy.training.run_one import Event

Show = Callable[[int, Event], None]
Stage = Callable[[Sequence[str]], AbstractContextManager[Show]]
Named = Sequence[tuple[str, Recipe]]


def study_of(
    kind: str,
    recipes: Named,
    arguments: Mapping[str, Any],
    out: Path,
    *,
    command: str,
    fresh: bool,
    interrupted: Callable[[], bool],
    stage: Stage,
) -> Study | None:
    """None where it was interrupted. Raises ValueError for an argument that the study does not take."""
    asked: dict[str, Any] = {"command": command, "fresh": fresh, "interrupted": interrupted}
    match kind:
        case "crossval":
            recipe, folds, repeats = recipes[0][1], arguments["folds"], arguments.get("repeats", 1)
            names = [entry.label for entry in crossval.entries_of(recipe, folds, repeats)]
            with stage(names) as show:
                return crossval.crossval(recipe, out, folds=folds, repeats=repeats, show=show, **asked)
        case "landscape":
            return _landscape(recipes, arguments, out, asked, stage)
        case "search":
            return _search(recipes[0][1], arguments, out, asked, stage)
    raise AssertionError(kind)


def _search(
    recipe: Recipe, arguments: Mapping[str, Any], out: Path, asked: Mapping[str, Any], stage: Stage
) -> Study | None:
    from convoy.studies.search import Search, search  # Optuna takes half a second to import
    from convoy.studies.space import Space, Values

    space = Space(tuple(Values(path, tuple(values)) for path, values in arguments["grid"].items()))
    wanted = Search(
        recipe,
        space,
        trials=arguments.get("trials"),
        sampler=arguments.get("sampler", "random"),
        pruner=arguments.get("pruner", "halving"),
        seeds=arguments.get("seeds", 3),
    )
    kept = {key: value for key, value in asked.items() if key != "fresh"}  # a search goes on; it has no fresh start
    with stage(wanted.names) as show:
        return search(wanted, out, show=show, **kept)


def _landscape(
    recipes: Named, arguments: Mapping[str, Any], out: Path, asked: Mapping[str, Any], stage: Stage
) -> Study | None:
    from convoy.studies.surface import Spec

    surfaces = Spec(**arguments["surfaces"]) if arguments.get("surfaces") else Spec()
    lrs, seeds = arguments["lrs"], arguments.get("seeds", 1)
    names = [
        f"{entry.label} lr {entry.recipe.optim.lr:g} seed {entry.recipe.seed}"
        for entry in landscape.planned(recipes, lrs, seeds, surfaces)
    ]
    with stage(names) as show:
        return landscape.landscape(recipes, out, lrs=lrs, seeds=seeds, surfaces=surfaces, show=show, **asked)


def digest(recipes: Named, arguments: Mapping[str, Any]) -> str:
    """By which the part's study is known again: what it would train, and how it would be asked for it."""
    asked = {
        "recipes": [[label, recipe.data.name.partition("=")[0], recipe.canonical()] for label, recipe in recipes],
        "arguments": dict(arguments),
        "training_revision": TRAINING_REVISION,
    }
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]


class Claims:
    """The claims of an experiment made ready, and their verdicts.

    `asked` says what the overrides reduce further, such as "100 images".
    """

    def __init__(
        self, experiment: Experiment, overrides: Sequence[Override], *, seeds: int | None, whole: bool, asked: str
    ) -> None:
        self._asked = asked
        self._checks = [
            claims.check(claim, whole=whole, overrides=overrides, seeds=seeds, folder=experiment.folder)
            for claim in experiment.claim
        ]

    @property
    def entries(self) -> list[Entry]:
        return [entry for check in self._checks for entry in check.entries]

    def verdicts(self, runs: Sequence[Run | None]) -> list[dict[str, Any]]:
        """Of the claims all of whose runs are there; `runs` stand in the order of the entries."""
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
        own = f"{verdict['reduced']}; of that only" if verdict["reduced"] else "only"
        return verdict | {"reduced": f"{own} {self._asked}"}


def profiles(
    experiment: Experiment, recipe_of: Callable[[str], Recipe], path: Path, *, from_data: bool
) -> list[dict[str, Any]]:
    """The networks as published, layer by layer, as profile.json holds them; measured once and kept at `path`."""
    labels = [model.label for model in experiment.model]
    known = read_json(path, "profiles")["profiles"] if path.is_file() else []
    if [profile["label"] for profile in known] == labels:
        return list(known)
    found = []
    for model in experiment.model:
        recipe = recipe_of(model.as_published or model.corrected)
        subject = profiling.subject_of(model.label, recipe, image=None, classes=None, from_data=from_data)
        kept = optimizers.kept_per_parameter(recipe.optim)
        found.append(profiling.profile(subject, device_of(recipe), kept_per_parameter=kept).as_json())
    write_json(path, {"profiles": found})
    return found


def as_tensors(name: str) -> Path:
    """The folder of the four tensor files of a data set in the cache, made where it is not there yet."""
    folder = cache_folder() / "tensors" / name
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder.parent))  # a kill leaves no half of it
        pack_tensors(name, beside)
        with suppress(OSError):  # another process was faster
            beside.rename(folder)
    return folder

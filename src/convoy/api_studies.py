"""The Python functions of the studies beyond a comparison, as api.py has those of a run; the commands call the same."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from convoy.api import Stopped, _display, _finished_study, _labelled, _overrides, _resolve, _weights, go_on, report
from convoy.process import interruptible
from convoy.recipe import Override, Recipe, check_once
from convoy.registry import unknown
from convoy.runs import DEFAULT_OUT, Run, Study, command_line

ALL = "all"


def crossval(
    recipe: Recipe | str | Path | None = None,
    *,
    model: str | None = None,
    data: str | None = None,
    folds: int = 5,
    repeats: int = 1,
    group_by: str | None = None,
    epochs: int | None = None,
    seed: int | None = None,
    limit: int | None = None,
    device: str | None = None,
    init: Run | str | Path | None = None,
    set: Mapping[str, Any] | Sequence[Override] = (),  # noqa: A002 (the same word as on the command line)
    out: str | Path = DEFAULT_OUT,
    fresh: bool = False,
    show: bool = True,
    to_stderr: bool = False,
) -> Study:
    """Trains one network for each fold on the other folds, scores it on that fold, and returns the study.

    The study's folder holds oof.npz: what was said of each training image by the network that had not seen it
    (`convoy.studies.crossval.out_of_fold` names its arrays). The test set stays shut. `repeats` deals the folds anew so
    often, each time with the next seed. `group_by` names images that stay together, see `convoy.data.groups`. Raises
    ValueError for what cannot be trained, before anything is written, and Stopped after Ctrl-C.
    """
    from convoy.studies import crossval as validation

    for path, _ in set.items() if isinstance(set, Mapping) else set:
        if path in ("data.split.folds", "data.split.fold", "data.split.repeat"):
            raise ValueError(f"{path} is what a cross-validation decides itself: it takes folds and repeats")
    flags = {"epochs": epochs, "seed": seed, "limit": limit, "device": device, "init": _weights(init, out)}
    resolved = _resolve(recipe, model=model, data=data, set=set, **flags)
    if group_by is not None:
        resolved = resolved.override({"data.split.group_by": group_by})
    names = [entry.label for entry in validation.entries_of(resolved, folds, repeats)]
    with interruptible() as interrupted, _display(names, show, to_stderr) as tell:
        study = validation.crossval(
            resolved,
            out,
            folds=folds,
            repeats=repeats,
            command=command_line(),
            fresh=fresh,
            interrupted=interrupted,
            show=tell,
        )
    return _finished_study(study, fresh=fresh)


def landscape(
    recipes: Sequence[Recipe | str | Path] | Mapping[str, Recipe | str | Path],
    *,
    lrs: Sequence[float],
    data: str | None = None,
    seeds: int = 1,
    epochs: int | None = None,
    seed: int | None = None,
    limit: int | None = None,
    device: str | None = None,
    surfaces: bool = True,
    surface_images: int = 1000,
    resolution: int = 25,
    cut: Literal["all", "each"] = "all",
    own_seeds: bool = False,
    looks: bool = True,
    set: Mapping[str, Any] | Sequence[Override] = (),  # noqa: A002
    out: str | Path = DEFAULT_OUT,
    fresh: bool = False,
    show: bool = True,
    to_stderr: bool = False,
) -> Study:
    """The loss between the learning rates `lrs`, along the step and about the weights; the test set stays shut.

    Trains each recipe at each rate. Its finding says how wide the band of the losses is and whose is narrower. What is
    looked at closely is the run at the recipe's own rate, or at the first of `lrs`; `looks=False` leaves that out.
    `cut="each"` draws each band up to the shortest run of its own recipe, and `own_seeds` gives each training a seed of
    its own, as in published figures. The test set opens only for a recipe with the fault selection_on_test. A mapping
    names the recipes. Raises ValueError for what cannot be trained, before anything is written, and Stopped after
    Ctrl-C.
    """
    from convoy.studies import landscape as study_of
    from convoy.studies.landscape_design import Design
    from convoy.studies.surface import Spec

    flags: dict[str, Any] = {"epochs": epochs, "seed": seed, "limit": limit, "device": device}
    overrides = _overrides(set=set, **flags)
    # A rate among them says at which the landscape is looked at closely; another one would be dropped.
    check_once(overrides, ["optim.lr"] if dict(overrides).get("optim.lr") not in lrs else [])
    given = recipes.items() if isinstance(recipes, Mapping) else _labelled(recipes)
    named = [(label, _resolve(recipe, model=None, data=data, set=set, **flags)) for label, recipe in given]
    spec = Spec(surface_images, resolution) if surfaces else None
    design = Design(lrs, seeds, cut, own_seeds, looks)
    with interruptible() as interrupted, _display(design.names(named), show, to_stderr) as tell:
        study = study_of.landscape(
            named,
            out,
            design,
            surfaces=spec,
            command=command_line(),
            fresh=fresh,
            interrupted=interrupted,
            show=tell,
        )
    return _finished_study(study, fresh=fresh)


def reproduce(
    experiment: str | Path,
    *,
    protocol: Literal["as-published", "corrected", "both"] = "both",
    seeds: int | None = None,
    quick: bool = False,
    only: Sequence[str] = (),
    models: Sequence[str] = (),
    full_size: bool = False,
    data: str | None = None,
    limit: int | None = None,
    epochs: int | None = None,
    device: str | None = None,
    set: Mapping[str, Any] | Sequence[Override] = (),  # noqa: A002 (the same word as on the command line)
    archive: str | Path | None = None,
    out: str | Path = DEFAULT_OUT,
    fresh: bool = False,
    show: bool = True,
    to_stderr: bool = False,
) -> Study:
    """A published experiment again: its models as published and corrected, the price of its faults, its claims.

    `experiment` is a name such as "tensor-mnist", "all", or the path of an experiment.toml. Runs that several parts
    need are trained once; a report of what is there is written after a stop, too. `only` names parts: models, faults,
    claims, crossval, search, landscape; `models` those to train, the others are shown where they are finished;
    `full_size` tries claims at the published scale. `data` is "cifar10=PATH"; data that are not on this machine are
    named in the report as missing. `set` overrides keys of every recipe, except those that a fault or a claim is about.
    With `archive`, a folder, finished runs are found there and kept there without weights and images. Raises
    ValueError for what cannot be trained, and Stopped after Ctrl-C.
    """
    from convoy.studies import experiment as published
    from convoy.studies import reproduce_all
    from convoy.studies.experiment import PARTS, Settings
    from convoy.studies.reproduce import reproduce

    for part in only:
        if part not in PARTS:
            raise unknown("part", part, PARTS, "an experiment")
    for name, count in (("seeds", seeds), ("limit", limit), ("epochs", epochs)):
        if count is not None and count < 1:
            raise ValueError(f"{name} = {count}: must be at least 1")
    chosen = tuple(part for part in PARTS if part in only) or PARTS
    names = published.names() if experiment == ALL else [str(experiment)]
    found = [published.load(name) for name in names]
    for label in models:
        known = [model.label for each in found for model in each.model]
        if label not in known:
            raise unknown("model", label, known, str(experiment))
    if data is not None and data.partition("=")[0] not in [each.data for each in found]:
        told = " or ".join(dict.fromkeys(f"{each.data}=PATH" for each in found))
        raise ValueError(f"data {data!r}: {experiment} takes {told}")
    given = tuple(_overrides(set=set))
    studies: dict[str, Study] = {}
    with interruptible() as interrupted:
        for each in found:
            own = data if data is not None and data.partition("=")[0] == each.data else None
            settings = Settings(
                protocol, seeds, quick, limit, epochs, chosen, tuple(models), full_size, own, device, given
            )
            study, parts, finished = reproduce(
                each,
                settings,
                out,
                archive=archive,
                command=command_line(),
                fresh=fresh,
                interrupted=interrupted,
                stage=partial(_display, show=show, to_stderr=to_stderr),
                say=partial(_say, show=show, to_stderr=to_stderr),
            )
            for reported in [*parts, study]:
                page = report(reported)
            studies[each.name] = study
            if not finished:
                break
        if experiment == ALL:
            called = settings.name(ALL)
            waiting = [each.name for each in found if each.name not in studies]
            study = reproduce_all.gather(studies, waiting, out, name=called, command=command_line())
            page = report(study)
    if not finished:
        raise Stopped(f"{go_on(fresh=fresh)}; what is there already: {page}")
    return study


def _say(text: str, *, show: bool, to_stderr: bool) -> None:
    if show:
        print(text, file=sys.stderr if to_stderr else None, flush=True)


def search(
    recipe: Recipe | str | Path | None = None,
    *,
    grid: Mapping[str, Sequence[Any]] | Sequence[str] = (),
    range: Mapping[str, tuple[float, float]] | Sequence[str] = (),  # noqa: A002 (the same word as on the command line)
    trials: int | None = None,
    sampler: str | None = None,
    pruner: str | None = None,
    seeds: int = 3,
    storage: str | None = None,
    model: str | None = None,
    data: str | None = None,
    epochs: int | None = None,
    seed: int | None = None,
    limit: int | None = None,
    device: str | None = None,
    init: Run | str | Path | None = None,
    set: Mapping[str, Any] | Sequence[Override] = (),  # noqa: A002
    out: str | Path = DEFAULT_OUT,
    test: bool = True,
    show: bool = True,
    to_stderr: bool = False,
) -> Study:
    """Searches recipe keys for the highest validation accuracy, and trains the winner again with `seeds` fresh seeds.

    `grid` is {"train.batch_size": [64, 128]} or ["train.batch_size=64,128"], `range` {"optim.lr": (1e-4, 1e-1)} or
    ["optim.lr=1e-4..1e-1"]. Without `trials` the full grid is searched, by successive halving; else so many points are
    drawn, by `sampler` (tpe, random, gp). `pruner` stops what falls behind: halving, hyperband, median, none. The test
    set is opened for the winner only, unless the recipe has the fault selection_on_test: then it scores the trials, and
    each opening is counted. Raises ValueError for what cannot be searched, before anything is written, and
    Stopped after Ctrl-C.
    """
    from convoy.studies import search as searching
    from convoy.studies.space import Space, axes_of

    space = Space(axes_of(grid, range))
    flags: dict[str, Any] = {
        "epochs": epochs,
        "seed": seed,
        "limit": limit,
        "device": device,
        "init": _weights(init, out),
    }
    check_once(_overrides(set=set, **flags), space.paths)
    resolved = _resolve(recipe, model=model, data=data, set=set, **flags)
    asked = searching.asked(resolved, space, trials=trials, sampler=sampler, pruner=pruner, seeds=seeds)
    with interruptible() as interrupted, _display(asked.names, show, to_stderr) as tell:
        study = searching.search(
            asked,
            out,
            storage=storage,
            command=command_line(),
            test=test,
            interrupted=interrupted,
            show=tell,
        )
    return _finished_study(study)


def seeds(
    recipe: Recipe | str | Path | None = None,
    *,
    model: str | None = None,
    data: str | None = None,
    seeds: int = 5,
    differences: Sequence[float] = (0.002, 0.005, 0.01),
    epochs: int | None = None,
    seed: int | None = None,
    limit: int | None = None,
    device: str | None = None,
    init: Run | str | Path | None = None,
    set: Mapping[str, Any] | Sequence[Override] = (),  # noqa: A002
    out: str | Path = DEFAULT_OUT,
    fresh: bool = False,
    test: bool = True,
    show: bool = True,
    to_stderr: bool = False,
) -> Study:
    """How much of an accuracy is luck: trains a recipe with `seeds` other initial weights, orders and splits.

    The finding holds the standard deviation that each source causes alone and all three cause together, and the seeds
    per model that a comparison needs for each of `differences` (fractions: 0.01 is one point). It trains
    4 * (seeds - 1) + 1 runs. Raises ValueError for what cannot be trained, before anything is written, and Stopped
    after Ctrl-C.
    """
    from convoy.studies.seeds import run as study_of

    if bad := [difference for difference in differences if not 0 < difference < 1]:
        raise ValueError(f"differences are fractions between 0 and 1, such as 0.01 for one point; got {bad[0]:g}")
    flags = {"epochs": epochs, "seed": seed, "limit": limit, "device": device, "init": _weights(init, out)}
    resolved = _resolve(recipe, model=model, data=data, set=set, **flags)
    names = [f"{entry.label} seed {entry.recipe.seed}" for entry in study_of.entries_of(resolved, seeds)]
    with interruptible() as interrupted, _display(names, show, to_stderr) as tell:
        study = study_of.run(
            resolved,
            out,
            seeds=seeds,
            differences=differences,
            command=command_line(),
            fresh=fresh,
            test=test,
            interrupted=interrupted,
            show=tell,
        )
    return _finished_study(study, fresh=fresh)


def check_claim(
    claim: Any,
    *,
    full_size: bool = False,
    seeds: int | None = None,
    set: Mapping[str, Any] | Sequence[Override] = (),  # noqa: A002
    out: str | Path = DEFAULT_OUT,
    fresh: bool = False,
    show: bool = True,
    to_stderr: bool = False,
) -> dict[str, Any]:
    """Verdict on a claim (holds, does not hold, inconclusive) and its reasons, as a reproduction lists them.

    `claim` is a table as in a claims.toml, or a `convoy.studies.claims.Claim`. It is tried at its reduced scale where
    it has one, or `full_size`; `set` goes on top. Raises ValueError for what is no claim or cannot be trained, before
    anything is written, and Stopped after Ctrl-C.
    """
    from convoy.studies import claims
    from convoy.studies.train_all import train_all

    overrides = list(set.items()) if isinstance(set, Mapping) else list(set)
    ready = claims.check(claims.read(claim), full_size=full_size, overrides=overrides, seeds=seeds)
    names = [f"{entry.label}, seed {entry.recipe.seed}" for entry in ready.entries]
    with interruptible() as interrupted, _display(names, show, to_stderr) as tell:
        members = train_all(
            ready.entries,
            out,
            fresh=fresh,
            interrupted=interrupted,
            show=tell,
        )
    if members is None:
        raise Stopped(go_on(fresh=fresh))
    return claims.judge(ready, members)

"""The public functions for studies other than a comparison; the command line calls the same ones."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from convoy.api import Stopped, display, finished_study, report, resume_hint
from convoy.api_arguments import overrides_of, resolve_recipe, weights_file, with_labels
from convoy.process import interruptible
from convoy.recipe import Override, Recipe, check_once
from convoy.registry import unknown
from convoy.runs import DEFAULT_OUT, Run, Study, command_line

if TYPE_CHECKING:
    from convoy.experiments.verdicts import JudgedClaim

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
    """Trains one network per fold on the other folds, scores it on that fold, and returns the study.

    The study's folder holds oof.npz, the out-of-fold predictions of all training images
    (`convoy.studies.crossval.run.out_of_fold` lists its arrays). The test set is not used. Each of the `repeats` has
    new folds and the next seed. `group_by` keeps images of one group in the same fold, see `convoy.data.groups`. Raises
    ValueError for an invalid recipe, before anything is written, and Stopped after Ctrl-C.
    """
    from convoy.studies.crossval import run as validation
    from convoy.studies.session import Session

    for path, _ in set.items() if isinstance(set, Mapping) else set:
        if path in ("data.split.folds", "data.split.fold", "data.split.repeat"):
            raise ValueError(f"a cross-validation sets {path} itself; set folds and repeats instead")
    flags = {"epochs": epochs, "seed": seed, "limit": limit, "device": device, "init": weights_file(init, out)}
    resolved = resolve_recipe(recipe, model=model, data=data, set=set, **flags)
    if group_by is not None:
        resolved = resolved.override({"data.split.group_by": group_by})
    names = [entry.label for entry in validation.entries_of(resolved, folds, repeats)]
    with interruptible() as interrupted, display(names, show, to_stderr) as show_event:
        session = Session(out, fresh=fresh, interrupted=interrupted, show=show_event)
        study = validation.run(resolved, session, folds=folds, repeats=repeats)
    return finished_study(study, fresh=fresh)


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
    """Measures the loss landscape: over the learning rates `lrs`, along the update step and around the weights.

    Trains each recipe at each rate. The finding compares the widths of the recipes' loss bands. The run at the recipe's
    own rate, or else at the first of `lrs`, is measured in detail, unless `looks=False`. As in published figures,
    `cut="each"` draws each band up to the shortest run of its recipe, and `own_seeds` uses a different seed at each
    rate. The test set is opened only for a recipe with the fault selection_on_test. A mapping sets the recipes' labels.
    Raises ValueError for an invalid recipe, before anything is written, and Stopped after Ctrl-C.
    """
    from convoy.studies import landscape as study_of
    from convoy.studies.landscape_design import Design
    from convoy.studies.session import Session
    from convoy.studies.surface import Spec

    flags: dict[str, Any] = {"epochs": epochs, "seed": seed, "limit": limit, "device": device}
    overrides = overrides_of(set=set, **flags)
    # optim.lr may be one of `lrs`, to select the rate measured in detail; any other value would be ignored.
    check_once(overrides, ["optim.lr"] if dict(overrides).get("optim.lr") not in lrs else [])
    pairs = recipes.items() if isinstance(recipes, Mapping) else with_labels(recipes)
    named = [(label, resolve_recipe(recipe, model=None, data=data, set=set, **flags)) for label, recipe in pairs]
    spec = Spec(surface_images, resolution) if surfaces else None
    design = Design(lrs, seeds, cut, own_seeds, looks)
    with interruptible() as interrupted, display(design.names(named), show, to_stderr) as show_event:
        session = Session(out, fresh=fresh, interrupted=interrupted, show=show_event)
        study = study_of.landscape(named, session, design, surfaces=spec)
    return finished_study(study, fresh=fresh)


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
    """Reproduces a published experiment: its models as published and corrected, its protocol faults, its claims.

    `experiment` is a name such as "tensor-mnist", "all", or the path of an experiment.toml. Parts share their runs, and
    an interrupted reproduction reports its finished parts. `only` selects parts: models, faults, claims, crossval,
    search, landscape. `models` selects the models to train; the report shows finished runs of the others. `full_size`
    tests claims at the published scale. `data` is "cifar10=PATH"; the report lists data that this machine does not
    have. `set` overrides keys of every recipe, except those that a fault or a claim is about. Finished runs are read
    from the folder `archive` and added to it, without weights and images. Raises ValueError for an invalid recipe, and
    Stopped after Ctrl-C.
    """
    from convoy.experiments import experiment as published
    from convoy.experiments.experiment import PARTS, Settings
    from convoy.experiments.reproduction.run import reproduce
    from convoy.experiments.reproductions import run as reproduce_all
    from convoy.studies.session import Session

    for part in only:
        if part not in PARTS:
            raise unknown("part", part, PARTS, "an experiment")
    for name, count in (("seeds", seeds), ("limit", limit), ("epochs", epochs)):
        if count is not None and count < 1:
            raise ValueError(f"{name} = {count}: must be at least 1")
    chosen = tuple(part for part in PARTS if part in only) or PARTS
    names = published.names() if experiment == ALL else [str(experiment)]
    experiments = [published.load(name) for name in names]
    for label in models:
        labels = [model.label for each in experiments for model in each.model]
        if label not in labels:
            raise unknown("model", label, labels, str(experiment))
    if data is not None and data.partition("=")[0] not in [each.data for each in experiments]:
        accepted = " or ".join(dict.fromkeys(f"{each.data}=PATH" for each in experiments))
        raise ValueError(f"data = {data!r}: {experiment} takes {accepted}")
    overrides = tuple(overrides_of(set=set))
    studies: dict[str, Study] = {}
    with interruptible() as interrupted:
        for each in experiments:
            own_data = data if data is not None and data.partition("=")[0] == each.data else None
            settings = Settings(
                protocol, seeds, quick, limit, epochs, chosen, tuple(models), full_size, own_data, device, overrides
            )
            study, parts, finished = reproduce(
                each,
                settings,
                Session(out, fresh=fresh, interrupted=interrupted),
                archive=archive,
                stage=partial(display, show=show, to_stderr=to_stderr),
                say=partial(_say, show=show, to_stderr=to_stderr),
            )
            for reported in [*parts, study]:
                page = report(reported)
            studies[each.name] = study
            if not finished:
                break
        if experiment == ALL:
            waiting = [each.name for each in experiments if each.name not in studies]
            study = reproduce_all.gather(studies, waiting, out, name=settings.name(ALL), command=command_line())
            page = report(study)
    if not finished:
        raise Stopped(f"{resume_hint(fresh=fresh)}; report of the finished parts: {page}")
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
    """Searches recipe keys for the highest validation accuracy, and retrains the best point with `seeds` fresh seeds.

    `grid` is {"train.batch_size": [64, 128]} or ["train.batch_size=64,128"], `range` {"optim.lr": (1e-4, 1e-1)} or
    ["optim.lr=1e-4..1e-1"]. Without `trials`, the full grid is searched by successive halving; otherwise `sampler`
    (tpe, random, gp) draws that many points. `pruner` stops weak trials early: halving, hyperband, median, none. The
    test set is opened for the best point only, unless the recipe has the fault selection_on_test: then it scores the
    trials, and each opening is counted. Raises ValueError for an invalid search, before anything is written, and
    Stopped after Ctrl-C.
    """
    from convoy.studies.search import run as searching
    from convoy.studies.search.space import Space, axes_of
    from convoy.studies.session import Session

    space = Space(axes_of(grid, range))
    flags: dict[str, Any] = {
        "epochs": epochs,
        "seed": seed,
        "limit": limit,
        "device": device,
        "init": weights_file(init, out),
    }
    check_once(overrides_of(set=set, **flags), space.paths)
    resolved = resolve_recipe(recipe, model=model, data=data, set=set, **flags)
    asked = searching.asked(resolved, space, trials=trials, sampler=sampler, pruner=pruner, seeds=seeds)
    with interruptible() as interrupted, display(asked.names, show, to_stderr) as show_event:
        session = Session(out, test=test, interrupted=interrupted, show=show_event)
        study = searching.run(asked, session, storage=storage)
    return finished_study(study)


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
    """Measures how much of an accuracy is luck: trains a recipe with `seeds` initial weights, image orders and splits.

    The finding has the standard deviation caused by each source alone and by all three together, and the number of
    seeds per model that a comparison needs for each of `differences` (fractions: 0.01 is one point). Trains
    4 * (seeds - 1) + 1 runs. Raises ValueError for an invalid recipe, before anything is written, and Stopped after
    Ctrl-C.
    """
    from convoy.studies.seeds import run as study_of
    from convoy.studies.session import Session

    if bad := [difference for difference in differences if not 0 < difference < 1]:
        raise ValueError(f"expected differences between 0 and 1, such as 0.01 for one point, got {bad[0]:g}")
    flags = {"epochs": epochs, "seed": seed, "limit": limit, "device": device, "init": weights_file(init, out)}
    resolved = resolve_recipe(recipe, model=model, data=data, set=set, **flags)
    names = [f"{entry.label} seed {entry.recipe.seed}" for entry in study_of.entries_of(resolved, seeds)]
    with interruptible() as interrupted, display(names, show, to_stderr) as show_event:
        session = Session(out, fresh=fresh, test=test, interrupted=interrupted, show=show_event)
        study = study_of.run(resolved, session, seeds=seeds, differences=differences)
    return finished_study(study, fresh=fresh)


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
) -> JudgedClaim:
    """Tests whether a claim holds, does not hold, or is inconclusive; returns its verdict and its numbers.

    `claim` is a table as in a claims.toml, or a `convoy.experiments.claims.Claim`. It is tested at its reduced scale
    if it has one, unless `full_size`; `set` overrides keys. Raises ValueError for an invalid claim or recipe, before
    anything is written, and Stopped after Ctrl-C.
    """
    from convoy.experiments import claims
    from convoy.experiments.reproduction.networks import claim_counts
    from convoy.experiments.verdicts import judge
    from convoy.studies.session import Session
    from convoy.studies.train_all import Entry, train_all

    overrides = list(set.items()) if isinstance(set, Mapping) else list(set)
    ready = claims.check(claims.read(claim), full_size=full_size, overrides=overrides, seeds=seeds)
    entries = [Entry(trial.label, trial.recipe) for trial in ready.trials]
    names = [f"{entry.label}, seed {entry.recipe.seed}" for entry in entries]
    with interruptible() as interrupted, display(names, show, to_stderr) as show_event:
        members = train_all(entries, Session(out, fresh=fresh, interrupted=interrupted, show=show_event))
    if members is None:
        raise Stopped(resume_hint(fresh=fresh))
    return judge(ready, [member.run for member in members], claim_counts(ready))

"""The Python functions behind the public names; the command line calls the same ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from convoy.api_arguments import (
    find_run,
    locate,
    names_data,
    overrides_of,
    resolve_recipe,
    weights_file,
    weights_target,
    with_labels,
)
from convoy.events import Control, Ended
from convoy.process import interruptible
from convoy.recipe import Override, Recipe, check_once
from convoy.run_contents import RunState
from convoy.runs import DEFAULT_OUT, Run, Study, command_line, file_name, model_label


class Stopped(KeyboardInterrupt):
    """An interrupted command whose state was saved; the message says how to continue."""


def resume_hint(*, fresh: bool) -> str:
    return f"stopped and saved; run the same command again{' without --fresh' if fresh else ''} to continue"


def train(
    recipe: Recipe | str | Path | None = None,
    *,
    model: str | None = None,
    data: str | None = None,
    epochs: int | None = None,
    seed: int | None = None,
    limit: int | None = None,
    device: str | None = None,
    init: Run | str | Path | None = None,
    set: Mapping[str, Any] | Sequence[Override] = (),  # noqa: A002 (the same word as on the command line)
    out: str | Path = DEFAULT_OUT,
    fresh: bool = False,
    test: bool = True,
    show: bool = True,
    to_stderr: bool = False,
) -> Run:
    """Trains one recipe and returns its run. A finished run of the same recipe is reused, an unfinished one resumed.

    `recipe` is a Recipe, a recipe's name or .toml file, a model's name or "net.py:Class". `set` overrides keys:
    `{"optim.lr": 0.01}`. `init` is a run or a weights file to start from; a head for other classes is reinitialised.
    `test=False` does not open the test set. Raises ValueError for an invalid recipe, before anything is written, and
    Stopped after Ctrl-C.
    """
    from convoy.training.run_one import run_one

    flags = {"epochs": epochs, "seed": seed, "limit": limit, "device": device, "init": weights_file(init, out)}
    resolved = resolve_recipe(recipe, model=model, data=data, set=set, **flags)
    with interruptible() as interrupted, display([model_label(resolved)], show, to_stderr) as show_event:

        def control() -> Control:
            return Control.PAUSE if interrupted() else Control.CONTINUE

        for event in run_one(resolved, out, fresh=fresh, test=test, control=control):
            show_event(0, event)
    if not (isinstance(event, Ended) and event.state is RunState.FINISHED):
        raise Stopped(resume_hint(fresh=fresh))
    return Run(event.run)


def compare(
    recipes: Sequence[Recipe | str | Path] | Mapping[str, Recipe | str | Path],
    *,
    data: str | None = None,
    vary: Mapping[str, Sequence[Any]] | Sequence[tuple[str, Sequence[Any]]] = (),
    seeds: int = 3,
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
    """Trains each recipe with `seeds` seeds, several runs in parallel, and returns the study with its finding.

    A mapping sets the recipes' labels in the report. `vary` makes it an ablation: each recipe is trained at every
    combination of values, `{"model.options.norm": ["batch", "none"]}`. Raises ValueError for an invalid recipe, before
    anything is written, and Stopped after Ctrl-C.
    """
    from convoy.studies.compare import ablation, run
    from convoy.studies.session import Session

    flags: dict[str, Any] = {
        "epochs": epochs,
        "seed": seed,
        "limit": limit,
        "device": device,
        "init": weights_file(init, out),
    }
    check_once(overrides_of(set=set, **flags), dict(vary))
    pairs = recipes.items() if isinstance(recipes, Mapping) else with_labels(recipes)
    named = [(label, resolve_recipe(recipe, model=None, data=data, set=set, **flags)) for label, recipe in pairs]
    design, named = ablation.combine(named, vary) if vary else (None, named)
    entries = run.with_seeds(named, seeds)
    names = [f"{entry.label} seed {entry.recipe.seed}" for entry in entries]
    with interruptible() as interrupted, display(names, show, to_stderr) as show_event:
        session = Session(out, fresh=fresh, test=test, interrupted=interrupted, show=show_event)
        study = run.run(entries, session, design=design)
    return finished_study(study, fresh=fresh)


def lr_range(
    recipe: Recipe | str | Path | None = None,
    *,
    model: str | None = None,
    data: str | None = None,
    lowest: float = 1e-6,
    highest: float = 1.0,
    seed: int | None = None,
    limit: int | None = None,
    device: str | None = None,
    set: Mapping[str, Any] | Sequence[Override] = (),  # noqa: A002
    out: str | Path = DEFAULT_OUT,
    fresh: bool = False,
    show: bool = True,
    to_stderr: bool = False,
) -> Study:
    """Runs a learning-rate range test: one short run whose rate rises from `lowest` to `highest`, without the test set.

    The finding has the rates at which the training loss fell fastest, was lowest, and diverged. Raises ValueError for
    an invalid recipe, and Stopped after Ctrl-C.
    """
    from convoy.studies.lr_range import run as range_test
    from convoy.studies.session import Session

    for path, _ in set.items() if isinstance(set, Mapping) else set:
        if path.startswith(("optim.lr", "schedule", "stop", "train.epochs")):
            raise ValueError(f"a range test sets {path} itself; set its lowest and highest rate (--from, --to) instead")
    resolved = resolve_recipe(recipe, model=model, data=data, set=set, seed=seed, limit=limit, device=device)
    with interruptible() as interrupted, display([model_label(resolved)], show, to_stderr) as show_event:
        session = Session(out, fresh=fresh, interrupted=interrupted, show=show_event)
        study = range_test.run(resolved, session, lowest=lowest, highest=highest)
    return finished_study(study, fresh=fresh)


def report(target: Run | Study | str | Path, *, out: str | Path = DEFAULT_OUT) -> Path:
    """Writes report.html, report.md and figures/ into the folder of a run or a study; returns report.html's path."""
    from convoy.experiments import kinds
    from convoy.reporting import write_report

    subject = target if isinstance(target, Run | Study) else locate(target, out)
    try:
        return write_report(subject, page_of=kinds.page_of)
    except OSError as error:
        where = f"{error.filename or subject.path}: {error.strerror or error}"
        raise ValueError(f"{where}; the results are kept; for the report run: convoy report {subject.path}") from error


def finding(study: Study | str | Path, *, out: str | Path = DEFAULT_OUT) -> Any:
    """What a study concludes: the dataclass of its kind, such as `convoy.studies.compare.finding.CompareFinding`.

    Raises ValueError for the finding of another version, or a damaged one.
    """
    from convoy.experiments import kinds

    subject = study if isinstance(study, Study) else locate(study, out)
    if not isinstance(subject, Study):
        raise ValueError(f"expected a study, got the run {subject.name}")
    return kinds.finding_of(subject)


class Profiled(NamedTuple):
    profiles: list[dict[str, Any]]  # as in profile.json
    page: Path


def profile(
    *models: Recipe | str | Path,
    data: str | None = None,
    input: str | None = None,  # noqa: A002
    classes: int | None = None,
    device: str | None = None,
    set: Mapping[str, Any] | Sequence[Override] = (),  # noqa: A002
    out: str | Path | None = None,
    each: Callable[[dict[str, Any]], None] = lambda profile: None,
) -> Profiled:
    """Profiles networks layer by layer, without training, and writes profile.html into the folder `out`.

    A model is a name, "net.py:Class" or a recipe. The image shape comes from `data`, or from `input` ("1x28x28") with
    `classes`, or from a recipe's data, or from the model's publication. `each` is called with each finished profile.
    Raises ValueError for a network that cannot be built or that fails in a forward or backward pass.
    """
    from convoy.evaluation import profile as profiling
    from convoy.reporting.profile_page import write_profile
    from convoy.training import environment, optimizers
    from convoy.training.device import device_of

    if not models:
        raise ValueError("a profile needs at least one model: a name, a net.py:Class or a recipe")
    if data is not None and input is not None:
        raise ValueError(f"expected either input or data, got input = {input!r} and data = {data!r}")
    subjects: dict[str, Any] = {}
    for label, model in with_labels(models):
        if label in subjects:
            raise ValueError(f"model {label!r} is given twice")
        recipe = resolve_recipe(model, model=None, data=data, set=set, device=device)
        from_data = data is not None or names_data(model, set)
        subjects[label] = profiling.subject_of(label, recipe, image=input, classes=classes, from_data=from_data)
    profiles = []
    for subject in subjects.values():
        recipe = subject.recipe
        state = optimizers.state_per_parameter(recipe.optim, ema_decay=recipe.train.ema_decay)
        profiles.append(profiling.profile(subject, device_of(recipe), state_per_parameter=state).as_json())
        each(profiles[-1])
    more = f"-and-{len(subjects) - 4}-more" if len(subjects) > 4 else ""
    folder = (
        DEFAULT_OUT / "profiles" / file_name("-".join(list(subjects)[:4])[:100] + more) if out is None else Path(out)
    )
    return Profiled(profiles, write_profile(profiles, environment.describe(device_of(recipe), recipe), folder))


class DataSheet(NamedTuple):
    facts: dict[str, Any]  # as in data-sheet.json
    page: Path


def data_sheet(
    data: str = "mnist",
    *,
    size: int | None = None,
    out: str | Path | None = None,
    progress: Callable[[float], None] = lambda share: None,
) -> DataSheet:
    """Inspects a data set and writes data-sheet.html into `out`: samples, classes, pixel statistics, duplicate images.

    Reads the test images, but trains nothing and does not count as opening the test set. Images are resized to `size`
    pixels. `progress` is called with the finished share of the search for duplicates. Raises DataError, and ValueError
    for an unknown name.
    """
    from convoy.data.sheet import make_sheet
    from convoy.reporting.data_sheet import write_data_sheet

    spec = resolve_recipe(None, model=None, data=data, set={} if size is None else {"data.size": size}).data
    sheet = make_sheet(spec.name, spec.size, progress)
    name = f"{file_name(sheet.facts['name'])}-{sheet.facts['content_hash'][:12]}"
    folder = DEFAULT_OUT / "data" / name if out is None else Path(out)
    provenance = {"convoy": version("convoy-ml"), "date": time.strftime("%Y-%m-%d %H:%M:%S"), "command": command_line()}
    return DataSheet(sheet.facts, write_data_sheet(sheet.facts, sheet.arrays, provenance, folder))


class Prediction(NamedTuple):
    path: str
    predicted: str
    confidence: float  # the softmax of the logits, 0 to 1


def predict(
    run: Run | str | Path, images: Sequence[str | Path], *, out: str | Path = DEFAULT_OUT, trust_code: bool = False
) -> list[Prediction]:
    """Classifies image files, or folders of them, with a trained network."""
    import numpy as np
    import torch

    from convoy.data import read_images
    from convoy.data.batches import Normaliser
    from convoy.evaluation.load import network_of
    from convoy.evaluation.predict import predict as evaluate
    from convoy.evaluation.scores import NO_CLASS, predicted_classes, probabilities

    trained = find_run(run, out)
    data = trained.data
    paths, pixels = read_images([Path(path) for path in images], size=data.image_size, in_chans=data.in_chans)
    module = network_of(trained, trust_code=trust_code)
    normaliser = Normaliser(tuple(data.mean), tuple(data.std), torch.device("cpu"), torch.float32)
    logits = evaluate(module, pixels, normaliser)
    likely = np.nan_to_num(probabilities(logits))
    return [
        Prediction(str(path), "no class" if place == NO_CLASS else data.classes[place], float(row[place]))
        for path, row, place in zip(paths, likely, predicted_classes(logits), strict=True)
    ]


def test(
    weights: Run | str | Path,
    *,
    model: str | None = None,
    data: str | None = None,
    set: Mapping[str, Any] | Sequence[Override] = (),  # noqa: A002
    limit: int | None = None,
    samples: int = 40,
    picture: str | Path | None = None,
    out: str | Path = DEFAULT_OUT,
    trust_code: bool = False,
    show: bool = True,
) -> dict[str, Any]:
    """Scores saved weights on a test set: a run, or a .safetensors / .pth file of `model` on `data`.

    The opening of the test set is counted in the run's workspace, or in `out`. With `picture`, draws `samples` images
    with their true and predicted labels. Returns the scores as in scores.json, plus `openings`, `data` and `weights`.
    """
    from convoy.evaluation.saved import score_saved

    if samples < 1:
        raise ValueError(f"samples = {samples}: a gallery needs at least one image")
    target = weights_target(weights, out)
    overrides = overrides_of(limit=limit, set=set)
    with display([str(weights)], show=show, to_stderr=True):
        result = score_saved(target, model=model, data=data, overrides=overrides, out=Path(out), trust_code=trust_code)
    if picture is not None:
        from convoy.reporting import draw_gallery

        draw_gallery(*result.gallery(samples), Path(picture))
    return result.scores


def export(
    run: Run | str | Path, *names: str | Path, to: str, overwrite: bool = False, out: str | Path = DEFAULT_OUT
) -> list[Path]:
    """Exports a run to the given file names, for other tools; returns their paths.

    `to="pth"` takes one name: the best weights as a state dict saved by torch.save. `to="logs"` takes one or two: the
    log of the epochs (epoch, training loss and accuracy, validation loss and accuracy) and that of the test accuracy at
    each new best epoch. Raises ValueError if a file exists (unless `overwrite`) or the run lacks the data.
    """
    from convoy import exporting

    return exporting.export(find_run(run, out), [Path(name) for name in names], to=to, overwrite=overwrite)


@contextmanager
def display(names: Sequence[str], show: bool, to_stderr: bool) -> Iterator[Callable[[int, Any], None]]:
    """Yields a function that prints an event of the run at a position in `names`, if `show`."""
    from convoy.progress import Display

    if not show:
        yield lambda position, event: None
        return
    from convoy.evaluation.predict import watched

    with Display(names, to_stderr=to_stderr) as display, watched(display.show_evaluation):
        yield display.show


def finished_study(study: Study | None, *, fresh: bool = False) -> Study:
    """Raises Stopped if the study was interrupted."""
    if study is None:
        raise Stopped(resume_hint(fresh=fresh))
    return study

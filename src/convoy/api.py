"""The Python functions behind the public names; the command line calls the same ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from convoy.process import interruptible
from convoy.recipe import Override, Recipe, builtin_names, check_once, resolve
from convoy.registry import labels_of
from convoy.runs import DEFAULT_OUT, Run, Study, command_line, file_name, locate, model_label

WEIGHTS = (".safetensors", ".pth", ".pt")


class Stopped(KeyboardInterrupt):
    """An interrupted command whose runs saved themselves; the message says how to go on."""


def go_on(*, fresh: bool) -> str:
    """What to do after an interruption; a fresh start would throw away what was saved."""
    return f"stopped and saved; run the same command again{' without --fresh' if fresh else ''} to go on"


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
    """Trains one recipe and returns its run; finds the finished run of the same recipe, goes on with an unfinished one.

    `recipe` is a Recipe, a recipe's name or .toml file, a model's name or "net.py:Class". `set` holds dotted paths:
    `{"optim.lr": 0.01}`. `init` is a run or a file of weights to start from: what fits is taken over, a head for other
    classes is drawn anew. `test=False` leaves the test set shut. Raises ValueError for what cannot be trained, before
    anything is written, and Stopped after Ctrl-C.
    """
    from convoy.training.run_one import Control, run_one

    flags = {"epochs": epochs, "seed": seed, "limit": limit, "device": device, "init": _weights(init, out)}
    resolved = _resolve(recipe, model=model, data=data, set=set, **flags)
    values: dict[str, Any] = {}
    with interruptible() as interrupted, _display([model_label(resolved)], show, to_stderr) as tell:

        def control() -> Control:
            return Control.PAUSE if interrupted() else Control.CONTINUE

        for event in run_one(resolved, out, fresh=fresh, test=test, control=control):
            tell(0, event)
            values = event.values
    if values["state"] != "finished":
        raise Stopped(go_on(fresh=fresh))
    return Run(Path(values["run"]))


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
    """Trains each recipe with `seeds` seeds, several at a time, and returns the study with its finding.

    A mapping gives the recipes the names that the report shows: two learning rates of one model need them. `vary` makes
    it an ablation: each recipe at every combination of values, `{"model.options.norm": ["batch", "none"]}`. Raises
    ValueError for what cannot be trained, before anything is written, and Stopped after Ctrl-C.
    """
    from convoy.studies import ablation
    from convoy.studies import compare as comparison

    flags: dict[str, Any] = {
        "epochs": epochs,
        "seed": seed,
        "limit": limit,
        "device": device,
        "init": _weights(init, out),
    }
    check_once(_overrides(set=set, **flags), dict(vary))
    given = recipes.items() if isinstance(recipes, Mapping) else _labelled(recipes)
    named = [(label, _resolve(recipe, model=None, data=data, set=set, **flags)) for label, recipe in given]
    design, named = ablation.combine(named, vary) if vary else (None, named)
    entries = comparison.with_seeds(named, seeds)
    names = [f"{entry.label} seed {entry.recipe.seed}" for entry in entries]
    with interruptible() as interrupted, _display(names, show, to_stderr) as tell:
        study = comparison.compare(
            entries,
            out,
            command=command_line(),
            design=design,
            fresh=fresh,
            test=test,
            interrupted=interrupted,
            show=tell,
        )
    return _finished_study(study, fresh=fresh)


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
    """The learning-rate range test: a short run, test set shut, whose rate rises from `lowest` to `highest`.

    Its finding names the rates at which the training loss fell steepest, was lowest and burst. Raises ValueError for
    what cannot be trained, and Stopped after Ctrl-C.
    """
    from convoy.studies import lr_range as range_test

    for path, _ in set.items() if isinstance(set, Mapping) else set:
        if path.startswith(("optim.lr", "schedule", "stop", "train.epochs")):
            raise ValueError(f"{path} is what a range test decides itself: its rates are `lowest` and `highest`")
    resolved = _resolve(recipe, model=model, data=data, set=set, seed=seed, limit=limit, device=device)
    with interruptible() as interrupted, _display([model_label(resolved)], show, to_stderr) as tell:
        study = range_test.lr_range(
            resolved,
            out,
            lowest=lowest,
            highest=highest,
            command=command_line(),
            fresh=fresh,
            interrupted=interrupted,
            show=tell,
        )
    return _finished_study(study, fresh=fresh)


def report(target: Run | Study | str | Path, *, out: str | Path = DEFAULT_OUT) -> Path:
    """Writes report.html, report.md and figures/ into the folder of a run or a study; the path of report.html."""
    from convoy.reporting import write_report
    from convoy.studies import kinds

    found = target if isinstance(target, Run | Study) else locate(target, out)
    page_of = kinds.page_of(found) if isinstance(found, Study) else None
    try:
        return write_report(found, page_of=page_of)
    except OSError as error:
        where = f"{error.filename or found.path}: {error.strerror or error}"
        raise ValueError(f"{where}; the results are kept: convoy report {found.path} writes the report") from error


class Profiled(NamedTuple):
    profiles: list[dict[str, Any]]  # as profile.json holds them
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
    """Counts and measures networks layer by layer, without training, and writes profile.html into the folder `out`.

    A model is a name, "net.py:Class" or a recipe. Its images are those of `data`, or `input` ("1x28x28") with
    `classes`, or those of a recipe's data, or those for which the model was published. `each` is called with a profile
    once it is there. Raises ValueError for a network that cannot be built or that fails in a pass.
    """
    from convoy.evaluation import profile as profiling
    from convoy.reporting.profile_page import write_profile
    from convoy.training import environment, optimizers
    from convoy.training.device import device_of

    if not models:
        raise ValueError("a profile needs at least one model: a name, a net.py:Class or a recipe")
    if data is not None and input is not None:
        raise ValueError(f"input = {input!r} beside data = {data!r}: one of them says what the images are")
    subjects: dict[str, Any] = {}
    for label, model in _labelled(models):
        if label in subjects:
            raise ValueError(f"{label!r} is named twice in the profile")
        recipe = _resolve(model, model=None, data=data, set=set, device=device)
        from_data = data is not None or _names_data(model, set)
        subjects[label] = profiling.subject_of(label, recipe, image=input, classes=classes, from_data=from_data)
    profiles = []
    for subject in subjects.values():
        recipe = subject.recipe
        kept = optimizers.kept_per_parameter(recipe.optim, ema_decay=recipe.train.ema_decay)
        profiles.append(profiling.profile(subject, device_of(recipe), kept_per_parameter=kept).as_json())
        each(profiles[-1])
    more = f"-and-{len(subjects) - 4}-more" if len(subjects) > 4 else ""
    folder = (
        DEFAULT_OUT / "profiles" / file_name("-".join(list(subjects)[:4])[:100] + more) if out is None else Path(out)
    )
    return Profiled(profiles, write_profile(profiles, environment.describe(device_of(recipe), recipe), folder))


class DataSheet(NamedTuple):
    facts: dict[str, Any]  # as data-sheet.json holds them
    page: Path


def data_sheet(
    data: str = "mnist",
    *,
    size: int | None = None,
    out: str | Path | None = None,
    progress: Callable[[float], None] = lambda share: None,
) -> DataSheet:
    """What a data set holds: samples, classes, levels, and the images that stand in it twice; data-sheet.html in `out`.

    Reads the test images, trains nothing, and counts no opening. `size`: pixels, each image resized to it. `progress`
    is told which share of the search for duplicates is done. Raises DataError, ValueError for an unknown name.
    """
    from convoy.data.sheet import make_sheet
    from convoy.reporting.data_sheet import write_data_sheet

    spec = _resolve(None, model=None, data=data, set={} if size is None else {"data.size": size}).data
    sheet = make_sheet(spec.name, spec.size, progress)
    name = f"{file_name(sheet.facts['name'])}-{sheet.facts['content_hash'][:12]}"
    folder = DEFAULT_OUT / "data" / name if out is None else Path(out)
    made = {"convoy": version("convoy-ml"), "date": time.strftime("%Y-%m-%d %H:%M:%S"), "command": command_line()}
    return DataSheet(sheet.facts, write_data_sheet(sheet.facts, sheet.arrays, made, folder))


class Prediction(NamedTuple):
    path: str
    predicted: str
    confidence: float  # the softmax of the logits, 0 to 1


def predict(
    run: Run | str | Path, images: Sequence[str | Path], *, out: str | Path = DEFAULT_OUT, trust_code: bool = False
) -> list[Prediction]:
    """What a trained network takes images for: files, or folders of them."""
    import numpy as np
    import torch

    from convoy.data import read_images
    from convoy.data.batches import Normaliser
    from convoy.evaluation.load import network_of
    from convoy.evaluation.predict import predict as evaluate
    from convoy.evaluation.scores import NO_CLASS, predicted_classes, probabilities

    found = find_run(run, out)
    data = found.data
    paths, pixels = read_images([Path(path) for path in images], size=data["image_size"], in_chans=data["in_chans"])
    module = network_of(found, trust_code=trust_code)
    normaliser = Normaliser(tuple(data["mean"]), tuple(data["std"]), torch.device("cpu"), torch.float32)
    logits = evaluate(module, pixels, normaliser)
    likely = np.nan_to_num(probabilities(logits))
    return [
        Prediction(str(path), "no class" if place == NO_CLASS else data["classes"][place], float(row[place]))
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
    """Scores saved weights on a test set: a run, or a .safetensors / .pth of `model` on `data`.

    Opens the test set, and counts that in the workspace that a run is in, else in `out`. With `picture`, draws
    `samples` images with true and predicted label.
    The scores as in scores.json, with `openings`, `data` and `weights` named.
    """
    from convoy.evaluation.saved import score_saved

    if samples < 1:
        raise ValueError(f"samples = {samples}: a gallery needs at least one image")
    target = _target(weights, out)
    overrides = _overrides(limit=limit, set=set)
    with _display([str(weights)], show=show, to_stderr=True):
        result = score_saved(target, model=model, data=data, overrides=overrides, out=Path(out), trust_code=trust_code)
    if picture is not None:
        from convoy.reporting import draw_gallery

        draw_gallery(*result.gallery(samples), Path(picture))
    return result.scores


def export(
    run: Run | str | Path, *names: str | Path, to: str, overwrite: bool = False, out: str | Path = DEFAULT_OUT
) -> list[Path]:
    """Writes files for other tools under exactly the names given, and returns their paths.

    `to="pth"` takes one name: the best weights as torch.save writes a state dict. `to="logs"` takes one or two: the log
    of the epochs (epoch, training loss and accuracy, validation loss and accuracy), and that of the test accuracy at
    each new best epoch. Raises ValueError for a file that exists, unless `overwrite`, and for what the run does not
    have.
    """
    from convoy import exporting

    return exporting.export(find_run(run, out), [Path(name) for name in names], to=to, overwrite=overwrite)


@contextmanager
def _display(names: Sequence[str], show: bool, to_stderr: bool) -> Iterator[Callable[[int, Any], None]]:
    """What is told of the run at a position: on the console, or nowhere."""
    from convoy.progress import Display

    if not show:
        yield lambda position, event: None
        return
    from convoy.evaluation.predict import watched

    with Display(names, to_stderr=to_stderr) as display, watched(display.show_evaluation):
        yield display.show


def _finished_study(study: Study | None, *, fresh: bool = False) -> Study:
    """Raises Stopped where an interruption left no study."""
    if study is None:
        raise Stopped(go_on(fresh=fresh))
    return study


def _resolve(recipe: Recipe | str | Path | None, *, model: str | None, data: str | None, **flags: Any) -> Recipe:
    overrides = _overrides(**flags)
    argument = None if recipe is None or _is_recipe(recipe) else str(recipe)
    asked = [("model.name", argument), ("model.name", model), ("data.name", data)]
    check_once([*((path, value) for path, value in asked if value is not None), *overrides])
    if isinstance(recipe, Recipe):
        named = [("model.name", model), ("data.name", data)]
        return recipe.override([pair for pair in named if pair[1] is not None] + overrides)
    if model is not None:
        overrides = [("model.name", model), *overrides]
    return resolve(None if recipe is None else str(recipe), data=data, overrides=overrides)


def _overrides(
    *,
    set: Mapping[str, Any] | Sequence[Override],  # noqa: A002
    epochs: int | None = None,
    seed: int | None = None,
    limit: int | None = None,
    device: str | None = None,
    init: str | None = None,
) -> list[Override]:
    flags = {"train.epochs": epochs, "seed": seed, "data.limit": limit, "compute.device": device, "model.init": init}
    given = list(set.items()) if isinstance(set, Mapping) else list(set)
    given = [(path, _from_here(value) if path == "model.init" else value) for path, value in given]
    overrides = [(path, value) for path, value in flags.items() if value is not None] + given
    check_once(overrides)
    return overrides


def _from_here(weights: Any) -> Any:
    """A file by its whole path: a run's recipe is read from its own folder, where that name may be other weights."""
    return str(Path(weights).resolve()) if isinstance(weights, str) and Path(weights).is_file() else weights


def _is_recipe(argument: Recipe | str | Path) -> bool:
    """Whether it is a recipe or names one, and not a model."""
    return isinstance(argument, Recipe) or str(argument).endswith(".toml") or str(argument) in builtin_names()


def _names_data(model: Recipe | str | Path, set: Mapping[str, Any] | Sequence[Override]) -> bool:  # noqa: A002
    """Whether a model comes with data of its own: as a recipe, or by a key of `data`."""
    return _is_recipe(model) or any(path.startswith("data.") for path, _ in _overrides(set=set))


def _labelled(recipes: Sequence[Recipe | str | Path]) -> list[tuple[str, Recipe | str | Path]]:
    """Each with the label that a report shows."""
    names = [recipe.model.name if isinstance(recipe, Recipe) else str(recipe) for recipe in recipes]
    return list(zip(labels_of(names), recipes, strict=True))


def find_run(run: Run | str | Path, out: str | Path) -> Run:
    """Raises ValueError: no such run, several that fit, or a study."""
    found = run if isinstance(run, Run) else locate(run, out)
    if isinstance(found, Study):
        raise ValueError(
            f"{str(run)!r} is a study; name one of its runs: {', '.join(m.run.name for m in found.members[:4])}"
        )
    return found


def _weights(init: Run | str | Path | None, out: str | Path) -> str | None:
    """The file of weights that a run, its name or a path means."""
    if init is None:
        return None
    if not isinstance(init, Run) and Path(init).is_file() and Path(init).suffix not in WEIGHTS:
        raise ValueError(f"{init}: is no file of weights ({', '.join(WEIGHTS)})")
    if not str(init):
        raise ValueError("init is empty: it takes a run or a file of weights")
    target = _target(init, out)
    return str((target.file("best.safetensors") if isinstance(target, Run) else target).resolve())


def _target(weights: Run | str | Path, out: str | Path) -> Run | Path:
    """Saved weights by path, or a run; best.safetensors of a run folder is that run."""
    if isinstance(weights, Run):
        return weights
    path = Path(weights)
    if path.suffix in WEIGHTS:
        if not (path.parent / "recipe.toml").is_file():
            return path
        run = Run(path.parent)
        return run if path.name == "best.safetensors" else run.file(path.name)
    return find_run(weights, out)

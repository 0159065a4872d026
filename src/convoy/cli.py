"""The command table. torch is imported inside commands only, so that `convoy --help` answers at once."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter

if TYPE_CHECKING:
    from convoy.recipe import Override
    from convoy.runs import Run

HELP = """Train, compare and explain convolutional networks on small images.

Any key of a recipe can be set: `--optim.lr 3e-4`, `--train.batch_size 256`, or `--set optim.lr=3e-4`.

Example: `convoy compare lenet two_conv_cnn --data mnist --seeds 3`
"""
app = App(name="convoy", help=HELP, help_format="markdown", version_flags=["--version"])
data_app = App(name="data", help="Data sets: pack one into tensor files.")
app.command(data_app)

Overrides = Annotated[Sequence[tuple[str, Any]], Parameter(parse=False)]
Out = Annotated[Path, Parameter(help="Folder that holds runs and studies.")]
Data = Annotated[str | None, Parameter(help="A data set's name, a path, or NAME=PATH.")]
Limit = Annotated[int | None, Parameter(help="Take this many images, for a quick try; every output says so.")]
Epochs = Annotated[int | None, Parameter(help="Passes over the training images.")]
Seed = Annotated[int | None, Parameter(help="Of initialisation, order, augmentation and dropout.")]
Device = Annotated[str | None, Parameter(help="auto, cpu, cuda or cuda:N.")]
Fresh = Annotated[bool, Parameter(negative="", help="Train anew, even where a run of the same fingerprint is there.")]
Test = Annotated[bool, Parameter(help="Open the test set, once, at the end.")]
Json = Annotated[bool, Parameter(name="--json", negative="", help="Print one JSON object and nothing else.")]
TrustCode = Annotated[bool, Parameter(negative="", help="Run the code that somebody else's run folder holds.")]
OUT = Path("convoy-runs")


@app.command
def train(
    recipe: str = "lenet",
    *,
    data: Data = None,
    epochs: Epochs = None,
    seed: Seed = None,
    limit: Limit = None,
    device: Device = None,
    out: Out = OUT,
    fresh: Fresh = False,
    test: Test = True,
    as_json: Json = False,
    overrides: Overrides = (),
) -> None:
    """Train one recipe: progress on the console, a run folder, scores.

    Example: `convoy train lenet --data mnist --epochs 5`

    Parameters
    ----------
    recipe
        A model's name, a recipe's name or .toml file, or your own class as net.py:Class.
    """
    from convoy import api

    run = api.train(
        recipe,
        data=data,
        epochs=epochs,
        seed=seed,
        limit=limit,
        device=device,
        set=overrides,
        out=out,
        fresh=fresh,
        test=test,
        to_stderr=as_json,
    )
    if as_json:
        _print_json({"run": str(run.path), **run.status, "scores": run.scores, "cost": run.cost})


@app.command
def compare(
    *recipes: str,
    data: Data = None,
    seeds: int = 3,
    epochs: Epochs = None,
    seed: Seed = None,
    limit: Limit = None,
    device: Device = None,
    out: Out = OUT,
    fresh: Fresh = False,
    test: Test = True,
    as_json: Json = False,
    overrides: Overrides = (),
) -> None:
    """Train several recipes with several seeds each, and report which is better by how much.

    Example: `convoy compare lenet two_conv_cnn fast_mnist_cnn --data mnist --seeds 3`

    Parameters
    ----------
    recipes
        Models' names, recipes' names or .toml files, or your own classes as net.py:Class.
    seeds
        Runs a recipe, with seed, seed + 1, and so on.
    """
    from convoy import api

    study = api.compare(
        recipes,
        data=data,
        seeds=seeds,
        epochs=epochs,
        seed=seed,
        limit=limit,
        device=device,
        set=overrides,
        out=out,
        fresh=fresh,
        test=test,
        to_stderr=as_json,
    )
    page = api.report(study)
    if as_json:
        _print_json({"study": str(study.path), "report": str(page), "finding": study.finding})
        return
    print(study.finding["sentence"])
    for caveat in study.finding["caveats"]:
        print(f"- {caveat}")
    print(page)


@app.command(name="test")
def test_weights(
    weights: str,
    *,
    model: str | None = None,
    data: Data = None,
    samples: int = 40,
    out: Path | None = None,
    limit: Limit = None,
    workspace: Out = OUT,
    trust_code: TrustCode = False,
    as_json: Json = False,
    overrides: Overrides = (),
) -> None:
    """Score any saved weights on a test set, and draw a gallery of predictions.

    Example: `convoy test weights.pth --model lenet --data mnist --samples 40 --out predictions.png`

    Parameters
    ----------
    weights
        A run folder or its name, or a .safetensors / .pth file.
    model
        Whose weights the file holds; a run knows.
    samples
        Images in the gallery.
    out
        The gallery's PNG; without it none is drawn.
    """
    from convoy import api

    scores = api.test(
        weights,
        model=model,
        data=data,
        set=overrides,
        limit=limit,
        samples=samples,
        picture=out,
        out=workspace,
        trust_code=trust_code,
    )
    if as_json:
        _print_json({**scores, "gallery": None if out is None else str(out)})
        return
    if scores["limit"] is not None:
        print(f"quick try: limited to {scores['limit']:,} images, no evidence")
    print(f"{scores['weights']} on {scores['data']}: test accuracy {scores['accuracy']:.2%}", end=" ")
    print(f"({scores['correct']:,}/{scores['n']:,}); test set opened {scores['openings']} time(s) in this workspace")
    if out is not None:
        print(out)


@app.command
def predict(
    run: str,
    *images: Path,
    out: Out = OUT,
    trust_code: TrustCode = False,
    as_json: Json = False,
) -> None:
    """Say what a trained network takes images for.

    Example: `convoy predict lenet-s42 image.png folder/`

    Parameters
    ----------
    run
        A run folder, or its name or part of it.
    images
        Image files, and folders of them.
    """
    from convoy import api

    if not images:
        raise ValueError("name an image or a folder of images after the run")
    predictions = api.predict(run, images, out=out, trust_code=trust_code)
    if as_json:
        _print_json({"predictions": [prediction._asdict() for prediction in predictions]})
        return
    for prediction in predictions:
        print(f"{prediction.path}: {prediction.predicted} ({prediction.confidence:.1%})")


@app.command
def report(target: str, *, out: Out = OUT, as_json: Json = False) -> None:
    """Write report.html, report.md and the figures of a run or a study again.

    Example: `convoy report compare-lenet-two_conv_cnn`

    Parameters
    ----------
    target
        The folder of a study or a run, or its name or part of it.
    """
    from convoy import api

    page = api.report(target, out=out)
    if as_json:
        _print_json({"report": str(page)})
    else:
        print(page)


@app.command(name="list")
def list_things(kind: Literal["models", "data", "recipes", "runs"], *, out: Out = OUT, as_json: Json = False) -> None:
    """List models, data sets, recipes or runs.

    Example: `convoy list models`

    Parameters
    ----------
    kind
        models, data, recipes or runs.
    """
    rows = _ROWS[kind](out)
    if as_json:
        _print_json({kind: rows})
        return
    widths = {key: max(len(str(row[key])) for row in rows) for key in rows[0]} if rows else {}
    for row in rows:
        print("  ".join(f"{'' if value is None else value!s:<{widths[key]}}" for key, value in row.items()).rstrip())


@data_app.command(name="pack")
def pack(folder: Path, *, data: str = "mnist", to: Literal["tensors"] = "tensors", as_json: Json = False) -> None:
    """Write a data set as four tensor files: train_data, train_labels, test_data, test_labels (.pth).

    Example: `convoy data pack tensors/ --data mnist --to tensors`

    Parameters
    ----------
    folder
        Where the files go.
    to
        The form: tensors.
    """
    from convoy.data import pack_tensors

    paths = pack_tensors(data, folder)
    if as_json:
        _print_json({"files": [str(path) for path in paths]})
        return
    for path in paths:
        print(path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command. What a user did wrong is one line on standard error and exit code 2."""
    try:
        overrides, tokens = split_overrides(sys.argv[1:] if arguments is None else arguments)
        command, bound, ignored = app.parse_args(tokens, exit_on_error=False, print_error=False)
        if "overrides" in ignored:
            bound.arguments["overrides"] = overrides
        elif overrides:
            raise ValueError(f"--{overrides[0][0]} does not go with this command")
        # With --json, standard output is the object's alone: what a user's network prints goes beside it.
        with redirect_stdout(sys.stderr if "--json" in tokens else sys.stdout):
            command(*bound.args, **bound.kwargs)
    except CycloptsError as error:
        _fail(" ".join(str(error).split()))
    except (ValueError, OSError) as error:
        _fail(str(error))
    except KeyboardInterrupt as stop:
        print(str(stop) or "stopped", file=sys.stderr)
        sys.exit(130)


def split_overrides(arguments: Sequence[str]) -> tuple[list[Override], list[str]]:
    """`--a.b value`, `--a.b=value` and `--set a.b=value` apart from the rest.

    Raises ValueError: a key without a value.
    """
    from convoy.recipe import parse_override

    overrides: list[Override] = []
    rest: list[str] = []
    waiting = list(arguments)
    while waiting:
        token = waiting.pop(0)
        if token == "--":
            return overrides, [*rest, token, *waiting]
        name, equals, value = token.partition("=")
        if name == "--set":
            value = value if equals else waiting.pop(0) if waiting else ""
            name, equals, value = value.partition("=")
            if not (name and equals):
                raise ValueError("--set needs key=value, as in --set optim.lr=0.01")
        elif not (name.startswith("--") and "." in name):
            rest.append(token)
            continue
        elif not equals:
            if not waiting or waiting[0].startswith("--"):
                raise ValueError(f"{token} needs a value")
            value = waiting.pop(0)
        overrides.append(parse_override(name.removeprefix("--"), value))
    return overrides, rest


def _model_rows(out: Path) -> list[dict[str, Any]]:
    from convoy.models import MODELS

    return [{"name": name, "parameters": MODELS[name].parameters, "summary": MODELS[name].summary} for name in MODELS]


def _data_rows(out: Path) -> list[dict[str, Any]]:
    from convoy.data import DATA_SETS

    return [{"name": name, "summary": DATA_SETS[name].summary} for name in DATA_SETS]


def _recipe_rows(out: Path) -> list[dict[str, Any]]:
    from convoy.recipe import Recipe, builtin_names

    return [{"name": name, "about": Recipe.load(name).about} for name in builtin_names()]


def _run_rows(out: Path) -> list[dict[str, Any]]:
    from convoy.runs import Workspace

    return [_run_row(run) for run in Workspace(out).runs()]


def _run_row(run: Run) -> dict[str, Any]:
    """One damaged run does not hide the others."""
    row: dict[str, Any] = {"name": run.name, "state": "damaged", "validation": None, "test": None, "flags": None}
    try:
        scores = {part: f"{score['accuracy']:.2%}" for part, score in run.scores.items()}
        return row | {"state": run.state, **scores, "flags": "; ".join(run.status.get("flags", []))}
    except ValueError as error:
        return row | {"flags": str(error)}


_ROWS = {"models": _model_rows, "data": _data_rows, "recipes": _recipe_rows, "runs": _run_rows}


def _print_json(value: object) -> None:
    print(json.dumps(value, default=str), file=sys.__stdout__, flush=True)


def _fail(message: str) -> None:
    print(f"convoy: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()

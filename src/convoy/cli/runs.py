"""The commands train, compare, test, predict, export and report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from convoy.cli.app import (
    OUT,
    Data,
    Device,
    Epochs,
    Fresh,
    Init,
    Json,
    Limit,
    Out,
    Overrides,
    Seed,
    Test,
    TrustCode,
    app,
    print_finding,
    print_json,
)


@app.command
def train(
    recipe: str = "lenet",
    *,
    data: Data = None,
    epochs: Epochs = None,
    seed: Seed = None,
    limit: Limit = None,
    device: Device = None,
    init: Init = None,
    out: Out = OUT,
    fresh: Fresh = False,
    test: Test = True,
    as_json: Json = False,
    overrides: Overrides = (),
) -> None:
    """Train one recipe, score it and write a run folder.

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
        init=init,
        set=overrides,
        out=out,
        fresh=fresh,
        test=test,
        to_stderr=as_json,
    )
    if as_json:
        print_json(run.as_json())


@app.command
def compare(
    *recipes: str,
    data: Data = None,
    vary: Annotated[Sequence[str], Parameter(negative="")] = (),
    seeds: int = 3,
    epochs: Epochs = None,
    seed: Seed = None,
    limit: Limit = None,
    device: Device = None,
    init: Init = None,
    out: Out = OUT,
    fresh: Fresh = False,
    test: Test = True,
    as_json: Json = False,
    overrides: Overrides = (),
) -> None:
    """Train several recipes with several seeds each, and report which is better and by how much.

    Example: `convoy compare lenet two_conv_cnn --data mnist --epochs 3 --seeds 3`

    Parameters
    ----------
    recipes
        Models' names, recipes' names or .toml files, or your own classes as net.py:Class.
    vary
        A key and its values, as in --vary model.options.norm=batch,none. May be repeated: trains every combination.
    seeds
        Runs per recipe, with seed, seed + 1, and so on.
    """
    from convoy import api
    from convoy.recipe import parse_values

    study = api.compare(
        recipes,
        data=data,
        vary=[parse_values(text) for text in vary],
        seeds=seeds,
        epochs=epochs,
        seed=seed,
        limit=limit,
        device=device,
        init=init,
        set=overrides,
        out=out,
        fresh=fresh,
        test=test,
        to_stderr=as_json,
    )
    print_finding(study, api.report(study), as_json=as_json)


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
    """Score saved weights on a test set and draw a gallery of predictions.

    Example: `convoy test weights.pth --model lenet --data mnist --samples 40 --out predictions.png`

    Parameters
    ----------
    weights
        A run folder or its name, or a .safetensors / .pth file.
    model
        The model of the weights. Not needed for a run.
    samples
        Images in the gallery.
    out
        PNG file of the gallery. Default: no gallery.
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
        print_json({**scores, "gallery": None if out is None else str(out)})
        return
    if scores["limit"] is not None:
        print(f"limited to {scores['limit']:,} images: not evidence")
    print(f"{scores['weights']} on {scores['data']}: test accuracy {scores['accuracy']:.2%}", end=" ")
    print(f"({scores['correct']:,}/{scores['n']:,}); test set opened {scores['openings']} time(s) in this workspace")
    if count := scores.get("not_finite"):
        print(f"of {scores['n']:,} images, {count:,} have outputs that are not finite; those with NaN count as wrong")
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
    """Classify images with a trained network.

    Example: `convoy predict lenet-s42 image.png folder/`

    Parameters
    ----------
    run
        A run folder, or its name or part of it.
    images
        Image files or folders of images.
    """
    from convoy import api

    if not images:
        raise ValueError("expected an image or a folder of images after the run")
    trained = api.find_run(run, out)
    predictions = api.predict(trained, images, trust_code=trust_code)
    flags = trained.status.flags
    if as_json:
        print_json({"predictions": [prediction._asdict() for prediction in predictions], "flags": flags})
        return
    for flag in flags:
        print(flag)
    for prediction in predictions:
        print(f"{prediction.path}: {prediction.predicted} ({prediction.confidence:.1%})")


@app.command
def export(
    run: str,
    *names: Path,
    to: str,
    overwrite: Annotated[bool, Parameter(negative="")] = False,
    out: Out = OUT,
    as_json: Json = False,
) -> None:
    """Export a run's weights or logs for other tools, to the file names you give.

    Example: `convoy export lenet-s42 --to pth lenet.pth`

    Parameters
    ----------
    run
        A run folder, or its name or part of it.
    names
        File names: one for pth; one or two for logs, the second for the test accuracy at each new best epoch.
    to
        pth: the best weights as a state dict saved by torch.save. logs: one line per epoch, "001 0.12345 0.98765
        0.23456 0.97654" (epoch, training loss and accuracy, validation loss and accuracy).
    overwrite
        Replace existing files.
    """
    from convoy import api

    written = [str(path) for path in api.export(run, *names, to=to, overwrite=overwrite, out=out)]
    if as_json:
        print_json({"files": written})
    else:
        print("\n".join(written))


@app.command
def report(target: str, *, out: Out = OUT, as_json: Json = False) -> None:
    """Rewrite report.html, report.md and the figures of a run or a study.

    Example: `convoy report compare-lenet-two_conv_cnn`

    Parameters
    ----------
    target
        A run or study folder, or its name or part of it.
    """
    from convoy import api
    from convoy.api_arguments import locate
    from convoy.counts import recount
    from convoy.runs import Run

    subject = locate(target, out)
    page = api.report(subject)
    runs = [subject] if isinstance(subject, Run) else [member.run for member in subject.members]
    differences = [difference for run in runs for difference in recount(run).differences]
    if as_json:
        print_json({"report": str(page), "differences": [asdict(difference) for difference in differences]})
        return
    for difference in differences:
        print(difference)
    print(page)

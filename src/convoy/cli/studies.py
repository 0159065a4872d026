"""convoy lr-range: the learning-rate range test."""

from __future__ import annotations

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
    app,
    print_finding,
)


@app.command(name="lr-range")
def lr_range(
    recipe: str = "lenet",
    *,
    data: Data = None,
    lowest: Annotated[float, Parameter(name="--from")] = 1e-6,
    highest: Annotated[float, Parameter(name="--to")] = 1.0,
    seed: Seed = None,
    limit: Limit = None,
    device: Device = None,
    out: Out = OUT,
    fresh: Fresh = False,
    as_json: Json = False,
    overrides: Overrides = (),
) -> None:
    """Find a range of useful learning rates: one short run whose rate rises at each step.

    Example: `convoy lr-range lenet --data mnist --from 1e-5 --to 1`

    Parameters
    ----------
    recipe
        A model's name, a recipe's name or .toml file, or your own class as net.py:Class.
    lowest
        Learning rate of the first step.
    highest
        Learning rate of the last step.
    """
    from convoy import api

    study = api.lr_range(
        recipe,
        data=data,
        lowest=lowest,
        highest=highest,
        seed=seed,
        limit=limit,
        device=device,
        set=overrides,
        out=out,
        fresh=fresh,
        to_stderr=as_json,
    )
    print_finding(study, api.report(study), as_json=as_json)


@app.command
def seeds(
    recipe: str = "lenet",
    *,
    data: Data = None,
    seeds: int = 5,
    difference: Annotated[tuple[float, ...], Parameter(negative="")] = (0.2, 0.5, 1.0),
    epochs: Epochs = None,
    seed: Seed = None,
    limit: Limit = None,
    device: Device = None,
    init: Init = None,
    test: Test = True,
    out: Out = OUT,
    fresh: Fresh = False,
    as_json: Json = False,
    overrides: Overrides = (),
) -> None:
    """Measure how much of an accuracy is luck: initial weights, order of the images, split of the data.

    Each source is drawn again while the others keep their seeds, then all three together: 4 * (seeds - 1) + 1 runs.
    The report has the standard deviation of each and the seeds that a comparison of two models needs.

    Example: `convoy seeds lenet --data mnist --epochs 1 --seeds 3`

    Parameters
    ----------
    recipe
        A model's name, a recipe's name or .toml file, or your own class as net.py:Class.
    seeds
        Seeds for each source, at least 2.
    difference
        A difference of two accuracies in points, for which the needed seeds are computed; can be repeated.
    """
    from convoy import api, api_studies

    study = api_studies.seeds(
        recipe,
        data=data,
        seeds=seeds,
        differences=[points / 100 for points in difference],
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

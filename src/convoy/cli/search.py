"""The command for hyperparameter search."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from convoy.cli.app import OUT, Data, Device, Epochs, Init, Json, Limit, Out, Overrides, Seed, Test, app, conclude


@app.command
def search(
    recipe: str = "lenet",
    *,
    grid: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    ranges: Annotated[tuple[str, ...], Parameter(name="--range", negative="")] = (),
    trials: int | None = None,
    sampler: str | None = None,
    pruner: str | None = None,
    seeds: int = 3,
    storage: str | None = None,
    data: Data = None,
    epochs: Epochs = None,
    seed: Seed = None,
    limit: Limit = None,
    device: Device = None,
    init: Init = None,
    out: Out = OUT,
    test: Test = True,
    as_json: Json = False,
    overrides: Overrides = (),
) -> None:
    """Search keys of a recipe for the highest validation accuracy; the winner is trained again with fresh seeds.

    Example: `convoy search lenet --data mnist --grid train.batch_size=64,128,256 --grid optim.lr=1e-4,1e-3,1e-2`

    Parameters
    ----------
    recipe
        A model's name, a recipe's name or .toml file, or your own class as net.py:Class.
    grid
        A key and its values, as optim.lr=1e-4,1e-3,1e-2; once a key. Without --trials all points are tried.
    ranges
        A key and its ends, as optim.lr=1e-4..1e-1, for --trials. Even in the logarithm from a decade on.
    trials
        Points to draw from the grids and ranges. The same command with more of them goes on with the same search.
    sampler
        What draws them: tpe (if not said), random, gp.
    pruner
        What stops a trial that falls behind: halving (if not said, for a full grid), hyperband (for --trials), median,
        none.
    seeds
        Fresh seeds with which the winner is trained again; only those runs open the test set.
    storage
        A database that several processes share, as postgresql://host/name; else a file in the study's folder.
    """
    from convoy import api, api_studies

    study = api_studies.search(
        recipe,
        grid=grid,
        range=ranges,
        trials=trials,
        sampler=sampler,
        pruner=pruner,
        seeds=seeds,
        storage=storage,
        data=data,
        epochs=epochs,
        seed=seed,
        limit=limit,
        device=device,
        init=init,
        set=overrides,
        out=out,
        test=test,
        to_stderr=as_json,
    )
    conclude(study, api.report(study), as_json=as_json)

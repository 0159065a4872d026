"""convoy search: hyperparameter search."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from convoy.cli.app import OUT, Data, Device, Epochs, Init, Json, Limit, Out, Overrides, Seed, Test, app, print_finding


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
    """Search a recipe's hyperparameters for the highest validation accuracy, then retrain the best with fresh seeds.

    Example: `convoy search lenet --data mnist --epochs 3 --grid train.batch_size=32,64 --grid optim.lr=1e-4,1e-3`

    Parameters
    ----------
    recipe
        A model's name, a recipe's name or .toml file, or your own class as net.py:Class.
    grid
        A key and its values, as in optim.lr=1e-4,1e-3,1e-2. Each key once. Without --trials, every point is tried.
    ranges
        A key and its bounds, as in optim.lr=1e-4..1e-1; needs --trials. Log scale if the bounds span a decade or more.
    trials
        Number of points to sample. Run the same command with a larger number to continue the search.
    sampler
        tpe (default), random or gp.
    pruner
        Stops weak trials early: halving (default for a full grid), hyperband (default for --trials), median or none.
    seeds
        Runs of the best point with fresh seeds. Only these runs open the test set.
    storage
        Database shared by several processes, as in postgresql://host/name. Default: a file in the study's folder.
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
    print_finding(study, api.report(study), as_json=as_json)

"""The command for cross-validation."""

from __future__ import annotations

from convoy.cli.app import OUT, Data, Device, Epochs, Fresh, Init, Json, Limit, Out, Overrides, Seed, app, conclude


@app.command
def crossval(
    recipe: str = "lenet",
    *,
    data: Data = None,
    folds: int = 5,
    repeats: int = 1,
    group_by: str | None = None,
    epochs: Epochs = None,
    seed: Seed = None,
    limit: Limit = None,
    device: Device = None,
    init: Init = None,
    out: Out = OUT,
    fresh: Fresh = False,
    as_json: Json = False,
    overrides: Overrides = (),
) -> None:
    """Score a recipe on every training image, each by a network that had not seen it; the test set stays shut.

    Example: `convoy crossval lenet --data mnist --folds 5`

    Parameters
    ----------
    recipe
        A model's name, a recipe's name or .toml file, or your own class as net.py:Class.
    folds
        Parts of the training images; each is scored once, by a network trained on the others.
    repeats
        Deals of the folds, each with the next seed.
    group_by
        Images that stay together: a .npy, .csv or .txt file with a value an image, or, for an image folder, a regular
        expression on the path of a file, whose first parentheses hold its group; "duplicates" for images alike.
    """
    from convoy import api, api_studies

    study = api_studies.crossval(
        recipe,
        data=data,
        folds=folds,
        repeats=repeats,
        group_by=group_by,
        epochs=epochs,
        seed=seed,
        limit=limit,
        device=device,
        init=init,
        set=overrides,
        out=out,
        fresh=fresh,
        to_stderr=as_json,
    )
    conclude(study, api.report(study), as_json=as_json)

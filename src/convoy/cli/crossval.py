"""The command for cross-validation."""

from __future__ import annotations

from convoy.cli.app import OUT, Data, Device, Epochs, Fresh, Init, Json, Limit, Out, Overrides, Seed, app, print_finding


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
    """Cross-validate a recipe: score each training image with a network not trained on it. The test set is not used.

    Example: `convoy crossval lenet --data mnist --folds 5 --epochs 3`

    Parameters
    ----------
    recipe
        A model's name, a recipe's name or .toml file, or your own class as net.py:Class.
    folds
        Number of folds; each is scored once, by a network trained on the others.
    repeats
        Number of cross-validations, each with different folds and the next seed.
    group_by
        Keep images of one group in the same fold: a .npy, .csv or .txt file with one value per image; for an image
        folder a regular expression on the file's path, whose first parentheses match the group; or "duplicates".
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
    print_finding(study, api.report(study), as_json=as_json)

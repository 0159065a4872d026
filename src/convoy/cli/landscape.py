"""The command that looks at the loss landscape."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter

from convoy.cli.app import OUT, Data, Device, Epochs, Fresh, Json, Limit, Out, Overrides, Seed, app, conclude


@app.command
def landscape(
    *recipes: str,
    lrs: Annotated[str, Parameter(allow_leading_hyphen=True)],
    data: Data = None,
    seeds: int = 1,
    epochs: Epochs = None,
    seed: Seed = None,
    limit: Limit = None,
    device: Device = None,
    surfaces: Annotated[bool, Parameter(negative="--no-surfaces")] = True,
    surface_images: int = 1000,
    resolution: int = 25,
    cut: Literal["all", "each"] = "all",
    own_seeds: Annotated[bool, Parameter(negative="")] = False,
    looks: Annotated[bool, Parameter(negative="--no-looks")] = True,
    out: Out = OUT,
    fresh: Fresh = False,
    as_json: Json = False,
    overrides: Overrides = (),
) -> None:
    """Show how the loss depends on the learning rate, along the step and about the weights.

    Example: `convoy landscape vgg_a vgg_a_bn --data cifar10 --lrs 1e-3,2e-3,1e-4,5e-4`

    Parameters
    ----------
    recipes
        Models' names, recipes' names or .toml files, or your own classes as net.py:Class.
    lrs
        The learning rates between which the loss band is drawn, two or more. What is looked at more closely is the run
        at the recipe's own rate, or at the first of these.
    seeds
        Repeats of all of it, with seed, seed + 1, and so on.
    surfaces
        Compute the loss about the trained weights: a line, a plane, and the plane of the training path.
    surface_images
        Training images on which it is computed.
    resolution
        Points a side of a plane.
    cut
        Where the drawn bands end: all at the shortest run, or each at the shortest run of its recipe.
    own_seeds
        Give each training a seed of its own, instead of the same initial weights and batches at all rates.
    looks
        Measure loss and gradient along the step, at one learning rate.
    """
    from convoy import api, api_studies

    study = api_studies.landscape(
        recipes,
        lrs=_rates(lrs),
        data=data,
        seeds=seeds,
        epochs=epochs,
        seed=seed,
        limit=limit,
        device=device,
        surfaces=surfaces,
        surface_images=surface_images,
        resolution=resolution,
        cut=cut,
        own_seeds=own_seeds,
        looks=looks,
        set=overrides,
        out=out,
        fresh=fresh,
        to_stderr=as_json,
    )
    conclude(study, api.report(study), as_json=as_json)


def _rates(text: str) -> list[float]:
    """Raises ValueError, with the one that is none, for a list that is not of numbers."""
    rates = []
    for part in text.split(","):
        try:
            rates.append(float(part))
        except ValueError:
            raise ValueError(f"--lrs {text}: {part!r} is no learning rate; they stand as in 1e-3,2e-3,1e-4") from None
    return rates

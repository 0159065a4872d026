"""convoy landscape: the loss landscape."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter

from convoy.cli.app import OUT, Data, Device, Epochs, Fresh, Json, Limit, Out, Overrides, Seed, app, print_finding


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
    """Measure the loss landscape: over learning rates, along the update step and around the trained weights.

    Example: `convoy landscape vgg_a vgg_a_bn --data cifar10 --lrs 1e-3,2e-3,1e-4,5e-4`

    Parameters
    ----------
    recipes
        Models' names, recipes' names or .toml files, or your own classes as net.py:Class.
    lrs
        Two or more learning rates, one run each; the loss band spans their losses. The run at the recipe's own rate, or
        else at the first of these, is measured in detail.
    seeds
        Repeat everything with this many seeds: seed, seed + 1, and so on.
    surfaces
        Compute the loss around the trained weights: along a line, in a plane, and in the plane of the training path.
    surface_images
        Number of training images used for the surfaces.
    resolution
        Points along each side of a plane.
    cut
        Where the drawn bands end: all at the shortest run, or each at the shortest run of its recipe.
    own_seeds
        Use a different seed at each rate, instead of the same initial weights and batches.
    looks
        Measure loss and gradient along the update step, at one learning rate.
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
    print_finding(study, api.report(study), as_json=as_json)


def _rates(text: str) -> list[float]:
    """Raises ValueError for a part that is not a number."""
    rates = []
    for part in text.split(","):
        try:
            rates.append(float(part))
        except ValueError:
            raise ValueError(f"--lrs {text}: expected numbers such as 1e-3,2e-3,1e-4, got {part!r}") from None
    return rates

"""Commands for studies with one question about one recipe."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from convoy.cli.app import OUT, Data, Device, Fresh, Json, Limit, Out, Overrides, Seed, app, conclude


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
    """Find where to search for a learning rate: one short run whose rate rises at each update.

    Example: `convoy lr-range lenet --data mnist --from 1e-5 --to 1`

    Parameters
    ----------
    recipe
        A model's name, a recipe's name or .toml file, or your own class as net.py:Class.
    lowest
        The rate of the first update.
    highest
        The rate of the last.
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
    conclude(study, api.report(study), as_json=as_json)

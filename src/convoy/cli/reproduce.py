"""The command that does a published experiment again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from convoy.cli.app import OUT, Device, Epochs, Fresh, Json, Limit, Out, Overrides, app, conclude


@app.command
def reproduce(
    experiment: str,
    *,
    protocol: Literal["as-published", "corrected", "both"] = "both",
    seeds: int | None = None,
    quick: Annotated[bool, Parameter(negative="")] = False,
    only: str = "",
    models: str = "",
    full_size: Annotated[bool, Parameter(negative="")] = False,
    data: str | None = None,
    limit: Limit = None,
    epochs: Epochs = None,
    device: Device = None,
    archive: Path | None = None,
    out: Out = OUT,
    fresh: Fresh = False,
    as_json: Json = False,
    overrides: Overrides = (),
) -> None:
    """Do a published experiment again, whole: its models, its faults priced one by one, its claims, its studies.

    Stopped, it leaves a report of what is there, and the same command goes on.

    Example: `convoy reproduce tensor-mnist --quick`

    Parameters
    ----------
    experiment
        course-mnist, cifar-course, resnet-mnist, classics-mnist, tensor-mnist, all, or the path of an experiment.toml.
    protocol
        as-published (the report's, faults included), corrected (the same models, a sound protocol), or both.
    seeds
        Runs of each recipe; without it as many as the experiment says.
    quick
        As many images as a few minutes hold, by a timing of each network: it shows what there is, and is no evidence.
    only
        Parts, with commas between them: models, faults, claims, crossval, search, landscape.
    models
        Those to train, with commas between them, one or a few at a time; of the others the report shows what is
        finished already.
    full_size
        Try each claim at the published scale, and not at the one that suits a small machine.
    data
        Where the data lie, as in cifar10=PATH. What is not on this machine is named in the report as missing.
    archive
        A folder of small run folders: finished runs are found there, and kept there without weights and images.
    """
    from convoy import api_studies

    study = api_studies.reproduce(
        experiment,
        protocol=protocol,
        seeds=seeds,
        quick=quick,
        only=[part.strip() for part in only.split(",") if part.strip()],
        models=[label.strip() for label in models.split(",") if label.strip()],
        full_size=full_size,
        data=data,
        limit=limit,
        epochs=epochs,
        device=device,
        set=overrides,
        archive=archive,
        out=out,
        fresh=fresh,
        to_stderr=as_json,
    )
    conclude(study, study.path / "report.html", as_json=as_json)

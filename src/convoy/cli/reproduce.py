"""convoy reproduce: re-run a published experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from convoy.cli.app import OUT, Device, Epochs, Fresh, Json, Limit, Out, Overrides, app, print_finding


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
    """Reproduce a published experiment: its models, the effect of each protocol fault, its claims and its studies.

    After an interruption, it reports the finished parts; run the same command again to continue.

    Example: `convoy reproduce tensor-mnist --quick`

    Parameters
    ----------
    experiment
        course-mnist, cifar-course, resnet-mnist, classics-mnist, tensor-mnist, all, or the path of an experiment.toml.
    protocol
        as-published (the published protocol, faults included), corrected (the same models, a sound protocol), or both.
    seeds
        Runs per recipe. Default: set by the experiment.
    quick
        A demonstration in a few minutes: each network's speed is timed to limit the images. Not evidence.
    only
        Comma-separated parts: models, faults, claims, crossval, search, landscape.
    models
        Comma-separated models to train. For the others, the report shows runs that are already finished.
    full_size
        Test each claim at the published scale instead of the scale for a small machine.
    data
        Location of the data, as in cifar10=PATH. The report lists data that this machine does not have.
    archive
        Folder of archived runs. Finished runs are read from it and added to it, without weights and images.
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
    print_finding(study, study.path / "report.html", as_json=as_json)

"""The options of `convoy reproduce`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, TypedDict

from convoy.options import Device, Epochs, Flag, Fresh, Limit, Out, Set, Show


class ReproduceOptions(TypedDict, total=False):
    protocol: Annotated[
        Literal["as-published", "corrected", "both"],
        Flag(
            "as-published (the published protocol, faults included), corrected (the same models, a sound protocol), or "
            "both.",
            "both",
        ),
    ]
    seeds: Annotated[int | None, Flag("Runs per recipe. Default: set by the experiment.")]
    quick: Annotated[
        bool,
        Flag(
            "A demonstration in a few minutes: images are limited to what each network can train on. Not evidence.",
            False,
        ),
    ]
    only: Annotated[
        Sequence[str] | str,
        Flag("Comma-separated parts: models, faults, claims, crossval, search, landscape.", ""),
    ]
    models: Annotated[
        Sequence[str] | str,
        Flag(
            "Comma-separated models to train. For the others, the report shows runs that are already finished.",
            "",
        ),
    ]
    full_size: Annotated[
        bool, Flag("Test each claim at the published scale instead of the scale for a small machine.", False)
    ]
    data: Annotated[
        str | None,
        Flag("Location of the data, as in cifar10=PATH. The report lists data that this machine does not have."),
    ]
    archive: Annotated[
        str | Path | None,
        Flag("Folder of archived runs. Finished runs are read from it and added to it, without weights and images."),
    ]
    limit: Limit
    epochs: Epochs
    device: Device
    set: Set
    out: Out
    fresh: Fresh
    show: Show

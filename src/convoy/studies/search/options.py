"""The options of `convoy search`."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from convoy.options import Epochs, Flag, Init, Model, StudyOptions, Test


class SearchOptions(StudyOptions, total=False):
    grid: Annotated[
        Mapping[str, Sequence[Any]] | Sequence[str],
        Flag("A key and its values, as in lr=1e-4,1e-3. Each key once. Without trials, tries every point.", ()),
    ]
    range: Annotated[
        Mapping[str, tuple[float, float]] | Sequence[str],
        Flag(
            "A key and its bounds, as in lr=1e-4..1e-1; needs trials. Log scale if the bounds span a decade or more.",
            (),
        ),
    ]
    trials: Annotated[
        int | None,
        Flag("Number of points to sample. Run the same command with a larger number to continue the search."),
    ]
    sampler: Annotated[str | None, Flag("tpe (default), random or gp.")]
    pruner: Annotated[
        str | None,
        Flag(
            "Stops weak trials early: halving (default for a full grid), hyperband (default with trials), median or "
            "none."
        ),
    ]
    seeds: Annotated[int, Flag("Runs of the best point with fresh seeds. Only these runs open the test set.", 3)]
    storage: Annotated[
        str | None,
        Flag(
            "Database shared by several processes, as in postgresql://host/name. Default: a file in the study's folder."
        ),
    ]
    epochs: Epochs
    init: Init
    test: Test
    model: Model

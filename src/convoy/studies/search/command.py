"""The public function of `convoy search`, with its options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Unpack

from convoy.api.session import finished, session_of
from convoy.options import Epochs, Flag, Init, Model, StudyOptions, Test, takes_options

if TYPE_CHECKING:
    from convoy.api.study import Study
    from convoy.recipe import Recipe


class SearchOptions(StudyOptions, total=False):
    grid: Annotated[
        Mapping[str, Sequence[Any]] | Sequence[str],
        Flag(
            "A key and its values, as in lr=1e-4,1e-3. Can be repeated. Without --trials, tries every point.",
            (),
        ),
    ]
    range: Annotated[
        Mapping[str, tuple[float, float]] | Sequence[str],
        Flag(
            "A key and its bounds, as in lr=1e-4..1e-1; needs --trials. Log scale if the bounds span a decade or more.",
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
            "Prunes weak trials: halving (default for a full grid), hyperband (default with --trials), median or none."
        ),
    ]
    seeds: Annotated[
        int, Flag("Number of fresh seeds with which the best point is retrained. Only these runs open the test set.", 3)
    ]
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


@takes_options
def search(recipe: Recipe | str | Path | None = None, **options: Unpack[SearchOptions]) -> Study:
    """Search a recipe's hyperparameters for the highest validation accuracy, then retrain the best with fresh seeds.

    In Python, `grid` may be a dict, {"train.batch_size": [64, 128]}, and `range` {"optim.lr": (1e-4, 1e-1)}. The test
    set is opened for the best point only. With the fault selection_on_test, the trials are scored on the test set
    instead of the validation set, and each opening is counted.

    Example: `convoy search lenet --data mnist --epochs 3 --grid train.batch_size=32,64 --grid optim.lr=1e-4,1e-3`

    Returns
    -------
    Study
        Its finding is a SearchFinding.

    Examples
    --------
    >>> study = convoy.search("lenet", grid={"optim.lr": [1e-3, 1e-2]}, epochs=1, limit=500)
    >>> print(study.finding.best, study.finding.accuracy.mean)
    """
    from convoy.api.arguments import overrides_of, recipe_to_train
    from convoy.recipe.files import check_once
    from convoy.studies.search import run as searching
    from convoy.studies.search.space import Space, axes_of

    space = Space(axes_of(options["grid"], options["range"]))
    check_once(overrides_of(options), space.paths)
    settings = searching.prepare(
        recipe_to_train(recipe, options),
        space,
        trials=options["trials"],
        sampler=options["sampler"],
        pruner=options["pruner"],
        seeds=options["seeds"],
    )
    with session_of(settings.names, options) as session:
        return finished(searching.run(settings, session, storage=options["storage"]), options)

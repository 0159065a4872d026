"""The public function of `convoy search`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from convoy.api.session import finished, session_of
from convoy.options import takes_options
from convoy.studies.search.options import SearchOptions

if TYPE_CHECKING:
    from convoy.api.study import Study
    from convoy.recipe import Recipe


@takes_options
def search(recipe: Recipe | str | Path | None = None, **options: Unpack[SearchOptions]) -> Study:
    """Search a recipe's hyperparameters for the highest validation accuracy, then retrain the best with fresh seeds.

    In Python, `grid` is also {"train.batch_size": [64, 128]}, and `range` {"optim.lr": (1e-4, 1e-1)}. The test set is
    opened for the best point only, unless the recipe has the fault selection_on_test: then it scores the trials, and
    each opening is counted.

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
    from convoy.run_contents import from_table
    from convoy.studies.search import run as searching
    from convoy.studies.search.space import Space, axes_of

    space = Space(axes_of(options["grid"], options["range"]))
    check_once(overrides_of(options), space.paths)
    asked = searching.asked(recipe_to_train(recipe, options), space, from_table(searching.Choices, options))
    with session_of(asked.names, options) as session:
        return finished(searching.run(asked, session, storage=options["storage"]), options)

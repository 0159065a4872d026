"""The public function of `convoy seeds`, with its options."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Unpack

from convoy.api.session import finished, session_of
from convoy.options import Epochs, Flag, Fresh, Init, Model, StudyOptions, Test, takes_options
from convoy.text import gettext as _

if TYPE_CHECKING:
    from convoy.api.study import Study
    from convoy.recipe import Recipe


class SeedsOptions(StudyOptions, total=False):
    seeds: Annotated[int, Flag("Seeds for each source, at least 2.", 5)]
    difference: Annotated[
        Sequence[float],
        Flag(
            "A difference between two accuracies, in percentage points; the report has the number of seeds "
            "needed to detect it. Can be repeated.",
            (0.2, 0.5, 1.0),
        ),
    ]
    epochs: Epochs
    init: Init
    fresh: Fresh
    test: Test
    model: Model


@takes_options
def seeds(recipe: Recipe | str | Path | None = None, **options: Unpack[SeedsOptions]) -> Study:
    """Measure how much the accuracy varies with the seed: initial weights, order of the images, split of the data.

    The study varies one source at a time, and then all three together: 4 * (seeds - 1) + 1 runs. The report has the
    standard deviation for each source and the number of seeds needed to compare two models.

    Example: `convoy seeds lenet --data mnist --epochs 1 --seeds 3`

    Returns
    -------
    Study
        Its finding is a SeedsFinding.

    Examples
    --------
    >>> study = convoy.seeds("lenet", seeds=2, epochs=1, limit=500)
    >>> spreads = {spread.source: spread.sd for spread in study.finding.spreads}
    """
    from convoy.api.arguments import recipe_to_train
    from convoy.studies.seeds.run import run, titles_of

    if bad := [points for points in options["difference"] if not 0 < points < 100]:
        raise ValueError(_("difference = {bad:g}: expected points of accuracy, between 0 and 100", bad=bad[0]))
    resolved = recipe_to_train(recipe, options)
    differences = [points / 100 for points in options["difference"]]
    with session_of(titles_of(resolved, options["seeds"]), options) as session:
        return finished(run(resolved, session, seeds=options["seeds"], differences=differences), options)

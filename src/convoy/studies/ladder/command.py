"""The public function of `convoy ladder`, with its options."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Unpack

from convoy.api.session import finished, session_of
from convoy.options import ARGUMENTS, Epochs, Flag, Fresh, StudyOptions, Test, takes_options

if TYPE_CHECKING:
    from convoy.api.study import Study
    from convoy.recipe import Recipe

ARGUMENTS.update(
    first="Name of a recipe or model, or a recipe file (.toml): the start of the ladder.",
    second="Name of a recipe or model, or a recipe file (.toml): the end of the ladder.",
)


class LadderOptions(StudyOptions, total=False):
    seeds: Annotated[int, Flag("Runs per recipe, with seed, seed + 1, and so on.", 3)]
    epochs: Epochs
    fresh: Fresh
    test: Test


@takes_options
def ladder(first: Recipe | str | Path, second: Recipe | str | Path, **options: Unpack[LadderOptions]) -> Study:
    """Explain why two recipes differ in accuracy: change the first into the second, one step at a time.

    A change is a key of the recipe or a protocol fault. For its leave-one-out effect, the second recipe is also trained
    without it, so n changes need about 2n recipes, each with all seeds. Changes that are only valid together are made
    in one step.

    Example: `convoy ladder classics-mnist/lenet classics-mnist/lenet-published --epochs 1 --seeds 2`

    Returns
    -------
    Study
        Its finding is a LadderFinding.

    Examples
    --------
    >>> study = convoy.ladder("classics-mnist/lenet", "classics-mnist/lenet-published", seeds=2, epochs=1, limit=500)
    >>> print(study.finding.total.mean, [(rung.name, rung.step.difference.mean) for rung in study.finding.rungs])
    """
    from convoy.api.arguments import named_recipes
    from convoy.studies.ladder.run import build, run

    (one, other) = named_recipes([first, second], options)
    built = build(one, other, seeds=options["seeds"])
    with session_of([entry.title for entry in built.entries], options) as session:
        return finished(run(built, session), options)

"""The public function of `convoy lr-range`, with its options."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Unpack

from convoy.api.session import finished, session_of
from convoy.options import Flag, Fresh, Model, RunOptions, takes_options
from convoy.text import gettext as _

if TYPE_CHECKING:
    from convoy.api.study import Study
    from convoy.recipe import Recipe


class LrRangeOptions(RunOptions, total=False):
    lowest: Annotated[float, Flag("Learning rate of the first step.", 1e-6, name="--from")]
    highest: Annotated[float, Flag("Learning rate of the last step.", 1.0, name="--to")]
    fresh: Fresh
    model: Model


@takes_options
def lr_range(recipe: Recipe | str | Path | None = None, **options: Unpack[LrRangeOptions]) -> Study:
    """Find a range of useful learning rates: one short run whose learning rate rises at each step.

    The finding contains the rates at which the training loss fell fastest, was lowest, and diverged. The test set is
    not used.

    Example: `convoy lr-range lenet --data mnist --from 1e-5 --to 1`

    Returns
    -------
    Study
        Its finding is a LrRangeFinding.

    Examples
    --------
    >>> study = convoy.lr_range("lenet", lowest=1e-5, highest=1.0, limit=500)
    >>> print(study.finding.steepest_lr)
    """
    from convoy.api.arguments import recipe_to_train, refuse_keys
    from convoy.studies.lr_range.run import run

    set_by_test = ("optim.lr", "schedule", "stop", "train.epochs")
    refuse_keys(options, set_by_test, _("a range test"), _("set its lowest and highest rate (--from, --to) instead"))
    resolved = recipe_to_train(recipe, options)
    with session_of([resolved.label], options) as session:
        return finished(run(resolved, session, lowest=options["lowest"], highest=options["highest"]), options)

"""The public function of `convoy crossval`, with its options."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Unpack

from convoy.api.session import finished, session_of
from convoy.options import Epochs, Flag, Fresh, Init, Model, StudyOptions, takes_options
from convoy.text import gettext as _
from convoy.text.labels import label_text

if TYPE_CHECKING:
    from convoy.api.study import Study
    from convoy.recipe import Recipe


class CrossvalOptions(StudyOptions, total=False):
    folds: Annotated[int, Flag("Number of folds; each is scored once, by a network trained on the others.", 5)]
    repeats: Annotated[int, Flag("Number of cross-validations, each with different folds and the next seed.", 1)]
    group_by: Annotated[
        str | None,
        Flag(
            "Keep images of one group in the same fold: a .npy, .csv or .txt file with one value per image; for an "
            "image folder a regular expression on the file's path, whose first capture group is the name of the group; "
            'or "duplicates".'
        ),
    ]
    epochs: Epochs
    init: Init
    fresh: Fresh
    model: Model


@takes_options
def crossval(recipe: Recipe | str | Path | None = None, **options: Unpack[CrossvalOptions]) -> Study:
    """Cross-validate a recipe: score each training image with a network not trained on it. The test set is not used.

    The study's folder contains oof.npz, the out-of-fold predictions for all training images.

    Example: `convoy crossval lenet --data mnist --folds 5 --epochs 3`

    Returns
    -------
    Study
        Its finding is a CrossvalFinding.

    Examples
    --------
    >>> study = convoy.crossval("lenet", folds=2, epochs=1, limit=500)
    >>> print(study.finding.accuracy.mean)
    """
    from convoy.api.arguments import recipe_to_train, refuse_keys
    from convoy.studies.crossval.run import entries_of, run

    set_by_folds = ("data.split.folds", "data.split.fold", "data.split.repeat")
    refuse_keys(options, set_by_folds, _("a cross-validation"), _("set folds and repeats instead"))
    resolved = recipe_to_train(recipe, options)
    if options["group_by"] is not None:
        resolved = resolved.override({"data.split.group_by": options["group_by"]})
    folds, repeats = options["folds"], options["repeats"]
    names = [label_text(entry.label) for entry in entries_of(resolved, folds, repeats)]
    with session_of(names, options) as session:
        return finished(run(resolved, session, folds=folds, repeats=repeats), options)

"""The options of `convoy crossval`."""

from typing import Annotated

from convoy.options import Epochs, Flag, Fresh, Init, Model, StudyOptions


class CrossvalOptions(StudyOptions, total=False):
    folds: Annotated[int, Flag("Number of folds; each is scored once, by a network trained on the others.", 5)]
    repeats: Annotated[int, Flag("Number of cross-validations, each with different folds and the next seed.", 1)]
    group_by: Annotated[
        str | None,
        Flag(
            "Keep images of one group in the same fold: a .npy, .csv or .txt file with one value per image; for an "
            "image folder a regular expression on the file's path, whose first parentheses match the group; or "
            '"duplicates".'
        ),
    ]
    epochs: Epochs
    init: Init
    fresh: Fresh
    model: Model

"""The options of `convoy seeds`."""

from collections.abc import Sequence
from typing import Annotated

from convoy.options import Epochs, Flag, Fresh, Init, Model, StudyOptions, Test


class SeedsOptions(StudyOptions, total=False):
    seeds: Annotated[int, Flag("Seeds for each source, at least 2.", 5)]
    difference: Annotated[
        Sequence[float],
        Flag(
            "A difference of two accuracies in points, for which the needed seeds are computed; can be repeated.",
            (0.2, 0.5, 1.0),
        ),
    ]
    epochs: Epochs
    init: Init
    fresh: Fresh
    test: Test
    model: Model

"""The options of `convoy landscape`."""

from collections.abc import Sequence
from typing import Annotated, Literal, Required

from convoy.options import Epochs, Flag, Fresh, StudyOptions


class LandscapeOptions(StudyOptions, total=False):
    lrs: Required[
        Annotated[
            Sequence[float] | str,
            Flag(
                "Two or more learning rates, as in 1e-3,1e-4, one run each; the loss band spans their losses. The run "
                "at the recipe's own rate, or else at the first of these, is measured in detail."
            ),
        ]
    ]
    seeds: Annotated[int, Flag("Repeat everything with this many seeds: seed, seed + 1, and so on.", 1)]
    surfaces: Annotated[
        bool,
        Flag(
            "Compute the loss around the trained weights: along a line, in a plane, and in the plane of the training "
            "path.",
            True,
        ),
    ]
    surface_images: Annotated[int, Flag("Number of training images used for the surfaces.", 1000)]
    resolution: Annotated[int, Flag("Points along each side of a plane.", 25)]
    cut: Annotated[
        Literal["all", "each"],
        Flag(
            "Where the drawn bands end: all at the shortest run, or each at the shortest run of its recipe, as in "
            "published figures.",
            "all",
        ),
    ]
    own_seeds: Annotated[
        bool, Flag("Use a different seed at each rate, instead of the same initial weights and batches.", False)
    ]
    looks: Annotated[bool, Flag("Measure loss and gradient along the update step, at one learning rate.", True)]
    epochs: Epochs
    fresh: Fresh

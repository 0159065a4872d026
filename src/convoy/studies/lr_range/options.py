"""The options of `convoy lr-range`."""

from typing import Annotated

from convoy.options import Flag, Fresh, Model, RunOptions


class LrRangeOptions(RunOptions, total=False):
    lowest: Annotated[float, Flag("Learning rate of the first step.", 1e-6, name="--from")]
    highest: Annotated[float, Flag("Learning rate of the last step.", 1.0, name="--to")]
    fresh: Fresh
    model: Model

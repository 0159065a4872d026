"""The options of `convoy doctor`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TypedDict

from convoy.options import Data, Device, Flag, Limit, Out, Set


class DoctorOptions(TypedDict, total=False):
    only: Annotated[
        Sequence[str] | str | None,
        Flag("Run only these checks or topics, separated by commas, as in network,dead_units."),
    ]
    study: Annotated[
        str | Path | None,
        Flag("The study or run that the numbers in the report come from. Default: all runs and studies in OUT."),
    ]
    measure: Annotated[
        bool,
        Flag(
            "Train a recipe with and without its protocol faults, and a network with and without its "
            "softmax before the loss, to compute their effects. Also train on permuted labels: the "
            "accuracy must then be at chance level.",
            False,
        ),
    ]
    quick: Annotated[bool, Flag("Run only the checks that also run before each training run.", False)]
    data: Data
    limit: Limit
    device: Device
    set: Set
    out: Out

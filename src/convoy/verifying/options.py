"""The options of `convoy verify`."""

from typing import Annotated, TypedDict

from convoy.options import Flag, Out


class VerifyOptions(TypedDict, total=False):
    stretch: Annotated[
        int | None,
        Flag(
            "Retrain the first N epochs in a temporary folder and compare with the run's steps, metrics and kept "
            "weights. Default: train nothing."
        ),
    ]
    trust_code: Annotated[bool, Flag("Execute model code from a run folder that was made on another machine.", False)]
    out: Out

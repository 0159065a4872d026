"""The options of `convoy profile`."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypedDict

from convoy.options import Data, Device, Flag, Out, Set


class ProfileOptions(TypedDict, total=False):
    input: Annotated[str | None, Flag("Image shape as channels x height x width: 1x28x28.")]
    classes: Annotated[int | None, Flag("Number of classes, if no data set gives it.")]
    save: Annotated[str | Path | None, Flag("Output folder for the page. Default: OUT/profiles/MODELS.")]
    callback: Annotated[
        Callable[[Any], None], Flag("Called with each finished profile.", lambda profile: None, name=None)
    ]
    data: Data
    device: Device
    set: Set
    out: Out

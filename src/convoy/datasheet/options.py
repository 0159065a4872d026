"""The options of `convoy data show`."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypedDict

from convoy.options import Flag, Out


class DataSheetOptions(TypedDict, total=False):
    size: Annotated[int | None, Flag("Resize images to this many pixels per side.")]
    save: Annotated[str | Path | None, Flag("Output folder for the page. Default: OUT/data/NAME-HASH.")]
    progress: Annotated[
        Callable[[float], None],
        Flag("Called with the completed fraction of the search for duplicates.", lambda share: None, name=None),
    ]
    out: Out

"""The options of `convoy explore`."""

from pathlib import Path
from typing import Annotated, TypedDict

from convoy.options import Flag, Out


class ExploreOptions(TypedDict, total=False):
    save: Annotated[
        str | Path | None,
        Flag("The HTML file. Default: explore.html in the folder of the run; for several runs, in OUT/explore/LABELS."),
    ]
    trust_code: Annotated[bool, Flag("Execute model code from a run folder that was made on another machine.", False)]
    out: Out

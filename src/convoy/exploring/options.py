"""The options of `convoy explore`."""

from pathlib import Path
from typing import Annotated, TypedDict

from convoy.options import Flag, Out


class ExploreOptions(TypedDict, total=False):
    save: Annotated[
        str | Path | None,
        Flag(
            "The HTML file to write. Default: explore.html in the run folder; for several runs, in OUT/explore/LABELS."
        ),
    ]
    engine: Annotated[
        str,
        Flag(
            "js: the page's own JavaScript, up to 1.2 million parameters. onnx: onnxruntime-web, for "
            "larger networks; adds 5 MB to the page, which then does not show how a pixel is computed.",
            "js",
        ),
    ]
    ort: Annotated[
        str | Path | None,
        Flag(
            "For --engine onnx: the folder dist of the npm package onnxruntime-web. Default: the one in node_modules."
        ),
    ]
    trust_code: Annotated[bool, Flag("Execute model code from a run folder that was made on another machine.", False)]
    out: Out

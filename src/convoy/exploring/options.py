"""The options of `convoy explore`."""

from pathlib import Path
from typing import Annotated, TypedDict

from convoy.options import Flag, Out


class ExploreOptions(TypedDict, total=False):
    save: Annotated[
        str | Path | None,
        Flag("The HTML file. Default: explore.html in the folder of the run; for several runs, in OUT/explore/LABELS."),
    ]
    engine: Annotated[
        str,
        Flag(
            "js: the page's own JavaScript, up to 1.2 million parameters. onnx: onnxruntime-web, for larger networks; "
            "adds 5 MB to the page, and explains no products.",
            "js",
        ),
    ]
    ort: Annotated[
        str | Path | None,
        Flag("With --engine onnx, the folder dist of the npm package onnxruntime-web. Default: that in node_modules."),
    ]
    trust_code: Annotated[bool, Flag("Execute model code from a run folder that was made on another machine.", False)]
    out: Out

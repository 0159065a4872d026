"""The options of `convoy explain`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TypedDict

from convoy.options import Flag, Out


class ExplainOptions(TypedDict, total=False):
    image: Annotated[
        Sequence[str | Path],
        Flag(
            "An image file or a folder of images to explain. Can be repeated. Default: images that the run "
            "was scored on, the most confident mistakes first.",
            (),
        ),
    ]
    samples: Annotated[int, Flag("Number of images to explain without --image; up to a third are mistakes.", 24)]
    layer: Annotated[
        Sequence[str] | str | None,
        Flag(
            "Layers whose feature maps are shown, by their names in the state dict, separated by commas. Default: "
            "three convolutions."
        ),
    ]
    points: Annotated[int, Flag("Number of images for the map and the layer statistics, at most 2,000.", 2000)]
    steps: Annotated[
        int, Flag("Number of points that approximate the integral of integrated gradients, at most 1,000.", 64)
    ]
    seed: Annotated[int, Flag("Seed for choosing images and for t-SNE.", 0)]
    save: Annotated[str | Path | None, Flag("Output folder for the page. Default: explain/ in the run folder.")]
    raw: Annotated[
        bool,
        Flag(
            "Read image files unchanged. By default, photographs of characters are converted for a network "
            "trained on MNIST.",
            False,
        ),
    ]
    trust_code: Annotated[bool, Flag("Execute model code from a run folder that was made on another machine.", False)]
    out: Out

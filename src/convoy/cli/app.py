"""The command table's root, and the options that commands share."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter, Token, convert

if TYPE_CHECKING:
    from convoy.runs import Study

HELP = """Train, compare and explain convolutional networks on small images.

Any key of a recipe can be set: `--optim.lr 3e-4`, `--train.batch_size 256`, or `--set optim.lr=3e-4`.

Example: `convoy compare lenet two_conv_cnn --data mnist --seeds 3`
"""


def _converted(type_: Any, tokens: Sequence[Token]) -> Any:
    """cyclopts' own conversion, except that an integer option refuses "2.5": cyclopts would read it as 2."""
    for token in tokens:
        if type_ is int and not re.fullmatch(r"[+-]?\d+", token.value):
            raise ValueError(f"expected an integer, got {token.value!r}")
    return convert(type_, tokens)


app = App(
    name="convoy",
    help=HELP,
    help_format="markdown",
    version=lambda: version("convoy-ml"),  # the distribution's name, which cyclopts cannot guess
    version_flags=["--version"],
    default_parameter=Parameter(converter=_converted),
)
data_app = App(name="data", help="Data sets: show, get, add, pack, clean.")
app.command(data_app)

Overrides = Annotated[Sequence[tuple[str, Any]], Parameter(parse=False)]
Out = Annotated[Path, Parameter(help="Folder that holds runs and studies.")]
Data = Annotated[str | None, Parameter(help="A data set's name, a path, NAME=PATH, or hf:owner/name.")]
Limit = Annotated[int | None, Parameter(help="Use only this many images, for a quick try; every output says so.")]
Epochs = Annotated[int | None, Parameter(help="Passes over the training images.")]
Seed = Annotated[int | None, Parameter(help="Seed of initialisation, batch order, augmentation and dropout.")]
Device = Annotated[str | None, Parameter(help="auto, cpu, cuda or cuda:N.")]
Init = Annotated[
    str | None, Parameter(help="Start from the weights of this run or file; a head that does not fit is reinitialised.")
]
Fresh = Annotated[bool, Parameter(negative="", help="Train from scratch, even if a run with this fingerprint exists.")]
Test = Annotated[bool, Parameter(help="Score the test set once, at the end.")]
Json = Annotated[bool, Parameter(name="--json", negative="", help="Print one JSON object and nothing else.")]
TrustCode = Annotated[bool, Parameter(negative="", help="Execute the model code stored in somebody else's run folder.")]
OUT = Path("convoy-runs")  # equals runs.DEFAULT_OUT (tested); importing that module would double the time of --help


def print_json(value: object) -> None:
    print(json.dumps(value, default=str), file=sys.__stdout__, flush=True)


def print_finding(study: Study, page: Path, *, as_json: bool) -> None:
    """The last output of a study's command: its finding, its caveats and the path of its report."""
    if as_json:
        print_json({"study": str(study.path), "report": str(page), "finding": study.finding})
        return
    from convoy.experiments import kinds

    print(kinds.sentence_of(study))
    for caveat in kinds.caveats_of(study):
        print(f"- {caveat}")
    print(page)

"""The root of the command line, and the decorator that turns a public function into a command."""

import inspect
import json
import re
import shutil
import sys
from collections.abc import Callable, Container, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter, Token, convert

from convoy import api
from convoy.cli.help import HelpFormatter
from convoy.options import ARGUMENTS, Option, options_of, positional_of
from convoy.text import gettext as _
from convoy.text import short_path
from convoy.text.wrap import columns, typeset, wrapped

KEYWORD = inspect.Parameter.KEYWORD_ONLY

HELP = """Train, compare and explain convolutional networks on small images.

Any key of a recipe can be set: `--optim.lr 3e-4`, `--train.batch_size 256`, or `--set optim.lr=3e-4`.

Each command takes `--lang`: `--lang zh` for Chinese (中文), `--lang en` for English. The default is CONVOY_LANG or the
system's language.

Example: `convoy compare lenet two_conv_cnn --data mnist --seeds 3`
"""


def _converted(type_: Any, tokens: Sequence[Token]) -> Any:
    """Converts like cyclopts, but rejects "2.5" for an integer, which cyclopts would read as 2."""
    for token in tokens:
        if type_ is int and not re.fullmatch(r"[+-]?\d+", token.value):
            raise ValueError(_("expected an integer, got {value!r}", value=token.value))
    return convert(type_, tokens)


app = App(
    name="convoy",
    help=HELP,
    help_format="markdown",
    help_formatter=HelpFormatter(),
    version=lambda: version("convoy-ml"),  # cyclopts cannot guess the name of the distribution
    version_flags=["--version"],
    default_parameter=Parameter(converter=_converted),
)
data_app = App(name="data", help="Manage data sets.")
cluster_app = App(name="cluster", help="Manage a Dask cluster for the runs of studies.")
GROUPS = (data_app, cluster_app)
for group in GROUPS:
    app.command(group)

Json = Annotated[
    bool, Parameter(name="--json", negative="", show_default=False, help="Print one JSON object and nothing else.")
]
Out = Annotated[Path, Parameter(help=options_of(api.report)["out"].flag.help)]
Call = partial[Any]  # a public function with the given arguments
Body = Callable[[Call, bool], None]

GAP = 2  # characters between the columns of a table
MIN_WIDTH = 12  # minimum width of a wrapped text column, in characters


def command(function: Callable[..., Any], name: str = "", parent: App = app) -> Callable[[Body], Body]:
    """Turns a public function into a command, with its arguments, its options as flags and its docstring as help.

    The decorated body receives the prepared call and whether to print JSON. It makes the call and prints the result.
    """
    arguments = positional_of(function)
    takes_sequence = "Sequence" in str(arguments[-1].annotation)  # in Python, the last argument is one sequence
    last = len(arguments) - 1

    def register(body: Body) -> Body:
        def run(*args: Any, as_json: bool = False, **options: Any) -> None:
            bound = (*args[:last], args[last:]) if takes_sequence else args
            body(partial(function, *bound, **options), as_json)

        parameters = [_argument(each, several=takes_sequence and place == last) for place, each in enumerate(arguments)]
        parameters += [
            _flag(name, option) for name, option in options_of(function).items() if option.flag.name is not None
        ]
        parameters.append(inspect.Parameter("as_json", KEYWORD, default=False, annotation=Json))
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {}
        run.__doc__ = inspect.unwrap(function).__doc__
        parent.command(run, name=name or function.__name__.replace("_", "-"))
        return body

    return register


def _argument(parameter: inspect.Parameter, *, several: bool) -> inspect.Parameter:
    annotation: Any = Annotated[str, Parameter(help=ARGUMENTS[parameter.name])]
    if parameter.default is None:
        annotation = annotation | None
    if several or parameter.kind is inspect.Parameter.VAR_POSITIONAL:
        return inspect.Parameter(parameter.name, inspect.Parameter.VAR_POSITIONAL, annotation=annotation)
    return parameter.replace(annotation=annotation, kind=inspect.Parameter.POSITIONAL_ONLY)


def _flag(name: str, option: Option) -> inspect.Parameter:
    parameter = Parameter(
        name=option.flag.name or None,
        help=option.help,
        negative=None if option.default is True else "",
        show_default=option.shows_default,
        allow_leading_hyphen=option.type == Sequence[float] | str,  # "-1,2" is not a flag
    )
    annotation = Annotated[option.cli_type, parameter]  # type: ignore[name-defined]
    return inspect.Parameter(name, KEYWORD, default=option.default, annotation=annotation)


def print_json(value: object) -> None:
    print(json.dumps(value, default=str), file=sys.__stdout__, flush=True)


def print_path(path: Path) -> None:
    print(short_path(path))


def say(text: str, indent: int = 0) -> None:
    """Prints a sentence, wrapped at words on a terminal."""
    text = typeset(text)
    lines = wrapped(text, shutil.get_terminal_size().columns - indent) if sys.stdout.isatty() else [text]
    print("\n".join(" " * indent + line for line in lines))


def print_table(rows: Sequence[Mapping[str, str]], texts: Container[str]) -> None:
    """Prints a rich table on a terminal, aligned text elsewhere. The columns `texts` are left-aligned.

    On a narrow terminal, only texts are wrapped; columns that do not fit are in another table below.
    """
    lines = [dict(zip(rows[0], rows[0], strict=True)), *rows]
    widths = {name: max(columns(line[name]) for line in lines) for name in rows[0]}
    if not sys.stdout.isatty():
        for line in lines:
            gaps = {name: " " * (widths[name] - columns(text)) for name, text in line.items()}
            cells = (text + gaps[name] if name in texts else gaps[name] + text for name, text in line.items())
            print("  ".join(cells).rstrip())
        return
    from rich.console import Console
    from rich.table import Table

    console = Console(markup=False, emoji=False, highlight=False)
    for names in _fitting(widths, texts, console.width):
        table = Table(box=None, header_style="bold", pad_edge=False)
        for name in names:
            text = name in texts
            justify: Literal["left", "right"] = "left" if text else "right"
            table.add_column(name, justify=justify, overflow="fold", no_wrap=name == names[0] or not text)
        for row in rows:
            table.add_row(*(row[name] for name in names))
        console.print(table)


def _fitting(widths: Mapping[str, int], texts: Container[str], width: int) -> list[list[str]]:
    """Distributes columns over tables of at most this width. Each begins with the first column."""
    first, *others = widths
    tables, left = [[first]], width - widths[first]
    for name in others:
        needed = GAP + (min(widths[name], MIN_WIDTH) if name in texts else widths[name])
        if needed > left and len(tables[-1]) > 1:
            tables.append([first])
            left = width - widths[first]
        tables[-1].append(name)
        left -= needed
    return tables

"""The options of the public functions and of the commands.

Each option is declared once, in the TypedDict of its function: its type, its meaning and its default. mypy checks
callers, `takes_options` fills in the defaults and refuses unknown names, and the command line makes its flags of them.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from os import PathLike
from pathlib import Path
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    ParamSpec,
    Required,
    TypedDict,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
)

from convoy.registry import unknown

DEFAULT_OUT = Path("convoy-runs")
FILES = (".png", ".jpg", ".jpeg", ".svg", ".pdf", ".html", ".md")  # pictures and pages

P = ParamSpec("P")
R = TypeVar("R")


_RECIPES = "recipes' names or .toml files, or your own networks as net.py or net.py:Net"
ARGUMENTS = {  # what the positional arguments mean
    "recipe": "A model's name, a recipe's name or .toml file, or your own network as net.py or net.py:Net. Default: "
    "lenet.",
    "recipes": f"Models' names, {_RECIPES}.",
    "models": f"Models' names, {_RECIPES}.",
    "experiment": "course-mnist, cifar-course, resnet-mnist, classics-mnist, tensor-mnist, all, or the path of an "
    "experiment.toml.",
    "claim": "A table as in a claims.toml, or a Claim.",
    "study": "A study, its folder, or its name or a part of the name.",
    "target": "A run or study folder, or its name or a part of the name.",
    "run": "A run folder, or its name or a part of the name.",
    "weights": "A run folder or its name, or a .safetensors / .pth file.",
    "images": "Image files or folders of images.",
    "names": "File names: one for pth; one or two for logs, the second for the test accuracy at each new best epoch.",
    "name": "A data set's name, a path, or NAME=PATH.",
}


_FORMATS = (
    'pth: the best weights as a state dict saved by torch.save. logs: one line per epoch, "001 0.12345 0.98765 0.23456 '
    '0.97654" (epoch, training loss and accuracy, validation loss and accuracy).'
)

_RAISED = {
    "ValueError": "An argument is invalid, or data are missing; before anything is written.",
    "TypeError": "An option is unknown.",
}
_STOPPED = "Ctrl-C was pressed; the state is saved, and the same call resumes."


@dataclass(frozen=True)
class Flag:
    """Describes an option. `name` is its flag if that differs from the option, None if only Python has the option.

    `key`: the recipe's key that it sets.
    """

    help: str
    default: Any = None
    name: str | None = ""
    key: str = ""


@dataclass(frozen=True)
class Option:
    type: Any  # as annotated, without Required and Annotated
    flag: Flag
    required: bool

    @property
    def default(self) -> Any:
        return inspect.Parameter.empty if self.required else self.flag.default

    @property
    def shows_default(self) -> bool:
        return not self.required and self.flag.default not in (None, (), "", False)

    @property
    def help(self) -> str:
        return f"{self.flag.help} Sets {self.flag.key}." if self.flag.key else self.flag.help

    @property
    def meaning(self) -> str:
        return f"{self.help} Default: {self.flag.default}." if self.shows_default else self.help

    @property
    def read_as(self) -> Any:
        """The type on the command line: one path or text, or several texts, where Python takes several types."""
        if not isinstance(self.type, UnionType):
            return self.type
        members = [member for member in get_args(self.type) if member is not NoneType]
        chosen = next((each for each in (Path, str) if each in members), members[0] if len(members) == 1 else None)
        return Sequence[str] if chosen is None else chosen | None


def options_of(function: Callable[..., Any]) -> dict[str, Option]:
    """Returns the options that a function takes as `**options: Unpack[...]`, its own before the shared ones."""
    function = inspect.unwrap(function)
    # Only this annotation of our own function: the others may name what is imported for type checkers alone.
    (table,) = get_args(eval(function.__annotations__["options"], function.__globals__))
    found = {name: _option(hint) for name, hint in get_type_hints(table, include_extras=True).items()}
    return dict(sorted(found.items(), key=lambda item: item[0] in RunOptions.__annotations__))


def _option(hint: Any) -> Option:
    required = get_origin(hint) is Required
    type_, flag = get_args(get_args(hint)[0] if required else hint)
    return Option(type_, flag, required)


def takes_options(function: Callable[P, R]) -> Callable[P, R]:
    """Calls the function with all of its options, and lists them in its signature and its docstring.

    Raises TypeError for an unknown or missing option, ValueError if `out` is the name of a picture or page.
    """
    options = options_of(function)
    defaults = {name: option.flag.default for name, option in options.items() if not option.required}

    @wraps(function)
    def complete(*args: P.args, **given: P.kwargs) -> R:
        for name in given.keys() - options.keys():
            raise TypeError(str(unknown("option", name, options, f"{function.__name__}()")))
        if Path(str(given.get("out", ""))).suffix.lower() in FILES:
            raise ValueError(f"--out {given['out']}: expected a folder for runs and studies, got the name of a file")
        if lacking := [name for name, option in options.items() if option.required and name not in given]:
            raise TypeError(f"{function.__name__}() needs {', '.join(lacking)}")
        return function(*args, **(defaults | given))

    positional = positional_of(function)
    keywords = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=option.default, annotation=option.type)
        for name, option in options.items()
    ]
    complete.__signature__ = inspect.Signature([*positional, *keywords])  # type: ignore[attr-defined]
    meanings = {each.name: ARGUMENTS[each.name] for each in positional}
    meanings |= {name: option.meaning for name, option in options.items()}
    raised = _RAISED | ({"Stopped": _STOPPED} if "fresh" in options else {})
    text, returns, result = (function.__doc__ or "").partition("    Returns\n")
    result, examples, lines = result.partition("    Examples\n")
    parts = [text.rstrip(), _listed("Parameters", meanings), returns + result.rstrip(), _listed("Raises", raised)]
    complete.__doc__ = "\n\n".join(part for part in [*parts, examples + lines] if part)
    return complete


def _listed(title: str, meanings: Mapping[str, str]) -> str:
    """A section of a docstring in numpy's form."""
    lines = "\n".join(f"    {name}\n        {meaning}" for name, meaning in meanings.items())
    return f"    {title}\n    {'-' * len(title)}\n{lines}"


def positional_of(function: Callable[..., Any]) -> list[inspect.Parameter]:
    return list(inspect.signature(inspect.unwrap(function)).parameters.values())[:-1]


Data = Annotated[str | None, Flag("A data set's name, a path, NAME=PATH, or hf:owner/name.")]
Limit = Annotated[
    int | None, Flag("Use only this many images, for a quick try; every output says so.", key="data.limit")
]
Device = Annotated[str | None, Flag("auto, cpu, cuda, cuda:N or mps.", key="compute.device")]
Set = Annotated[
    Mapping[str, Any] | Sequence[tuple[str, Any]],
    Flag("Set a key of the recipe, as in optim.lr=0.01. Also `--KEY VALUE`, as in `--optim.lr 0.01`.", ()),
]
Out = Annotated[str | Path, Flag("Folder of runs and studies.", str(DEFAULT_OUT))]
Show = Annotated[bool | Literal["stderr"], Flag('Print the progress; "stderr": to standard error.', True, name=None)]
Epochs = Annotated[int | None, Flag("Passes over the training images.", key="train.epochs")]
Init = Annotated[
    str | PathLike[str] | None,
    Flag("Start from the weights of this run or file; a head that does not fit is reinitialised."),
]
Fresh = Annotated[bool, Flag("Train from scratch, even if a run with this fingerprint exists.", False)]
Test = Annotated[bool, Flag("Score the test set once, at the end.", True)]
Model = Annotated[str | None, Flag("The model, if not that of the recipe.", name=None)]
TrustCode = Annotated[bool, Flag("Execute the model code stored in somebody else's run folder.", False)]

Raw = Annotated[
    bool,
    Flag(
        "Read the images as they are. By default a network trained on MNIST finds the character in a photograph, "
        "which is then inverted if it is dark, scaled and centred as in MNIST.",
        False,
    ),
]


class RunOptions(TypedDict, total=False):
    """Options of each function that trains."""

    data: Data
    seed: Annotated[int | None, Flag("Seed of initialisation, batch order, augmentation and dropout.", key="seed")]
    limit: Limit
    lr: Annotated[float | None, Flag("Learning rate.", key="optim.lr")]
    batch_size: Annotated[int | None, Flag("Images per step.", key="train.batch_size")]
    optimizer: Annotated[str | None, Flag("sgd, adam, adamw or rmsprop.", key="optim.name")]
    weight_decay: Annotated[float | None, Flag("Weight decay.", key="optim.weight_decay")]
    augment: Annotated[bool, Flag("Augment the training images as set in the recipe.", True)]
    device: Device
    set: Set
    out: Out
    show: Show


class TrainOptions(RunOptions, total=False):
    epochs: Epochs
    init: Init
    fresh: Fresh
    test: Test
    model: Model


KEYS = {  # of a recipe, by the option that sets them
    name: flag.key
    for name, hint in TrainOptions.__annotations__.items()
    for flag in getattr(hint, "__metadata__", ())
    if flag.key
}


class ClaimOptions(TypedDict, total=False):
    full_size: Annotated[bool, Flag("Test at the published scale, not at the claim's reduced one.", False)]
    seeds: Annotated[int | None, Flag("Runs per recipe. Default: the claim's.")]
    set: Set
    out: Out
    fresh: Fresh
    show: Show


class ScoreOptions(TypedDict, total=False):
    model: Annotated[str | None, Flag("The model of the weights. Not needed for a run.")]
    samples: Annotated[int, Flag("Images in the gallery.", 40)]
    save: Annotated[str | Path | None, Flag("PNG file of the gallery. Default: no gallery.")]
    data: Data
    limit: Limit
    size: Annotated[int | None, Flag("Pixels per side, for weights without a recipe.")]
    mean: Annotated[
        Sequence[float] | str | None,
        Flag(
            "Mean of the pixels, in 0 to 1, with which weights without a recipe were trained: one value, or one per "
            "channel, as in 0.5,0.5,0.5. Default: that of the training images."
        ),
    ]
    std: Annotated[Sequence[float] | str | None, Flag("Standard deviation, like mean.")]
    raw: Raw
    set: Set
    trust_code: TrustCode
    out: Out
    show: Show


class PredictOptions(TypedDict, total=False):
    raw: Raw
    trust_code: TrustCode
    out: Out


class ExportOptions(TypedDict, total=False):
    to: Required[Annotated[str, Flag(_FORMATS)]]
    overwrite: Annotated[bool, Flag("Replace existing files.", False)]
    out: Out


class ReportOptions(TypedDict, total=False):
    out: Out

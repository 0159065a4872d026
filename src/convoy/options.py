"""The options of the public functions and of the commands.

Each option is declared once, in the TypedDict of its function, with type, description and default. Options of several
functions are declared here. mypy checks callers; `takes_options` adds defaults and rejects unknown names; the command
line creates its flags from them.
"""

import inspect
import reprlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from numbers import Integral, Real
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
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from convoy.registry import unknown
from convoy.text import gettext as _
from convoy.text import warn_of_language
from convoy.text.lists import listed

DEFAULT_OUT = Path("convoy-runs")
FILES = (".png", ".jpg", ".jpeg", ".svg", ".pdf", ".html", ".md")  # pictures and pages

P = ParamSpec("P")
R = TypeVar("R")


_RECIPES = "Names of models or recipes, recipe files (.toml), or your own networks as net.py or net.py:Net."
ARGUMENTS = {  # descriptions of positional arguments; modules with public functions add their own
    "recipe": "Name of a model or recipe, a recipe file (.toml), or your own network as net.py or net.py:Net. Default "
    "with --data: lenet.",
    "recipes": _RECIPES,
    "models": _RECIPES,
    "target": "The folder, name or part of the name of a run or study.",
    "run": "The folder, name or part of the name of a run, or hf:owner/name.",
    "name": "Name of a data set, a path, or NAME=PATH.",
}

_RAISED = {
    "ValueError": "An argument is invalid, or data are missing. Nothing has been written.",
    "TypeError": "An option is unknown.",
}
_STOPPED = "Ctrl-C was pressed. The state is saved; the same call resumes."
_SHARD_ENDED = "The runs of the shard are finished."


@dataclass(frozen=True)
class Flag:
    """The description of an option."""

    help: str
    default: Any = None
    name: str | None = ""  # the flag, if it differs from the option's name; None: only available in Python
    key: str = ""  # the recipe key that the option sets


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
        default = self.flag.default
        return not (self.required or default is None or default is False or default in ((), ""))

    @property
    def help(self) -> str:
        return f"{self.flag.help} Sets {self.flag.key}." if self.flag.key else self.flag.help

    @property
    def meaning(self) -> str:
        return f"{self.help} Default: {self.flag.default}." if self.shows_default else self.help

    @property
    def cli_type(self) -> Any:
        """The type on the command line. Unions are converted to Path, str or Sequence[str]."""
        if not isinstance(self.type, UnionType):
            return self.type
        members = [member for member in get_args(self.type) if member is not NoneType]
        single = next((kind for kind in (Path, str) if kind in members), members[0] if len(members) == 1 else None)
        return Sequence[str] if single is None else single | None


def options_of(function: Callable[..., Any]) -> dict[str, Option]:
    """Returns the options of a function with `**options: Unpack[...]`, its own before the shared ones."""
    function = inspect.unwrap(function)
    # Evaluates only this annotation, because others may contain names that are imported under TYPE_CHECKING.
    (table,) = get_args(eval(function.__annotations__["options"], function.__globals__))
    options = {}
    for name, hint in get_type_hints(table, include_extras=True).items():
        required = get_origin(hint) is Required
        type_, flag = get_args(get_args(hint)[0] if required else hint)
        options[name] = Option(type_, flag, required)
    return dict(sorted(options.items(), key=lambda item: item[0] in StudyOptions.__annotations__))


def takes_options(function: Callable[P, R]) -> Callable[P, R]:
    """Decorates a function: adds the defaults of its options to calls, and the options to signature and docstring.

    Calls raise TypeError for an unknown or missing option. They raise ValueError for an argument of the wrong type, and
    if `out` is the name of a picture or page.
    """
    options, positional = options_of(function), positional_of(function)
    types = {parameter.name: eval(parameter.annotation, {}, _Names()) for parameter in positional}
    types |= {name: option.type for name, option in options.items()}
    defaults = {name: option.flag.default for name, option in options.items() if not option.required}

    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        warn_of_language()
        for name in kwargs.keys() - types.keys():
            raise TypeError(str(unknown(_("option"), name, options, f"{function.__name__}()")))
        for name, value in [*_positional_arguments(positional, args), *kwargs.items()]:
            check_type(name, value, types[name])
        if Path(str(kwargs.get("out", ""))).suffix.lower() in FILES:
            raise ValueError(
                _("--out {out}: expected a folder for runs and studies, got the name of a file", out=kwargs["out"])
            )
        if missing := [name for name, option in options.items() if option.required and name not in kwargs]:
            raise TypeError(f"{function.__name__}() needs {', '.join(missing)}")
        return function(*args, **(defaults | kwargs))

    for parameter in positional:
        assert parameter.name in ARGUMENTS, f"options.ARGUMENTS has no description of {parameter.name!r}"
    keywords = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=option.default, annotation=option.type)
        for name, option in options.items()
    ]
    wrapper.__signature__ = inspect.Signature([*positional, *keywords])  # type: ignore[attr-defined]
    meanings = {parameter.name: ARGUMENTS[parameter.name] for parameter in positional}
    meanings |= {name: option.meaning for name, option in options.items()}
    raised = _RAISED | ({"Stopped": _STOPPED} if "fresh" in options else {})
    raised |= {"ShardEnded": _SHARD_ENDED} if "shard" in options else {}
    text, returns, result = (function.__doc__ or "").partition("    Returns\n")
    result, examples, lines = result.partition("    Examples\n")
    sections = [text.rstrip(), _section("Parameters", meanings), returns + result.rstrip(), _section("Raises", raised)]
    wrapper.__doc__ = "\n\n".join(section for section in [*sections, examples + lines] if section)
    return wrapper


class _Names(dict[str, Any]):
    """The names in annotations of positional arguments. Other classes, which are imported only for type checkers, are
    replaced by an empty class of the same name."""

    def __init__(self) -> None:
        super().__init__(Any=Any, Mapping=Mapping, Path=Path, Sequence=Sequence, str=str)

    def __missing__(self, name: str) -> type:
        return type(name, (_Named,), {})


class _Named: ...


def _positional_arguments(parameters: Sequence[inspect.Parameter], args: Sequence[Any]) -> list[tuple[str, Any]]:
    """Returns the name and value of each argument; all values of `*names` have the same name."""
    names = [parameter.name for parameter in parameters]
    variadic = parameters[-1].kind is inspect.Parameter.VAR_POSITIONAL
    names += names[-1:] * (len(args) - len(names)) * variadic
    return list(zip(names, args, strict=False))  # the call itself raises an error for too many arguments


def check_type(name: str, value: Any, *types: Any) -> None:
    """Raises ValueError if a value, or an item in it, has none of these types."""
    members = [member for type_ in types for member in (get_args(type_) if _is_union(type_) else [type_])]
    fitting = [member for member in members if _fits(value, member)]
    if not fitting:
        hint = ""
        if hasattr(value, "state_dict"):
            hint = _("; a network of your own is given as its file: net.py or net.py:Net")
        elif hasattr(value, "shape"):
            hint = _("; convoy.ImageClassifier trains on arrays")
        raise ValueError(
            _(
                "{name} = {value}: expected {types}, got {type}{hint}",
                name=name,
                value=reprlib.repr(value),
                types=listed(dict.fromkeys(text for member in members for text in _type_names(member)), "or"),
                type=type(value).__name__,
                hint=hint,
            )
        )
    if Any in fitting or isinstance(value, str) or not isinstance(value, Collection):
        return
    if isinstance(value, Mapping):
        for key, item in value.items():
            check_type(f"{name}[{key!r}]", item, *(get_args(member)[1] for member in fitting))
    else:
        for place, item in enumerate(value):
            check_type(f"{name}[{place}]", item, *(part for member in fitting for part in get_args(member)))


def _is_union(type_: Any) -> bool:
    return get_origin(type_) in (Union, UnionType)


def _fits(value: Any, type_: Any) -> bool:
    """Returns whether a value has this type; items are not compared. Numbers, booleans and arrays of numpy fit."""
    origin = get_origin(type_) or type_
    if origin is Any:
        return True
    if origin is Literal:
        return isinstance(value, str) and value in get_args(type_)
    if origin is bool:
        return isinstance(value, bool) or str(getattr(value, "dtype", "")) == "bool"
    if origin in (int, float):
        return isinstance(value, Integral if origin is int else Real) and not isinstance(value, bool)
    if origin in (Sequence, tuple):
        return isinstance(value, Collection) and not isinstance(value, str | bytes | Mapping)
    if issubclass(origin, _Named):
        return origin.__name__ in [base.__name__ for base in type(value).__mro__]
    return isinstance(value, origin)


def _type_names(type_: Any) -> list[str]:
    origin = get_origin(type_) or type_
    names = {
        bool: _("True or False"),
        int: _("an integer"),
        float: _("a number"),
        str: _("a string"),
        Path: _("a path"),
        PathLike: _("a path"),
        Mapping: _("a mapping"),
        Sequence: _("a list"),
        tuple: _("a list"),
        Callable: _("a function"),
        NoneType: "None",
    }
    return list(map(repr, get_args(type_))) if origin is Literal else [names.get(origin, origin.__name__)]


def _section(title: str, meanings: Mapping[str, str]) -> str:
    """Formats a section of a docstring in numpy's style."""
    lines = "\n".join(f"    {name}\n        {meaning}" for name, meaning in meanings.items())
    return f"    {title}\n    {'-' * len(title)}\n{lines}"


def positional_of(function: Callable[..., Any]) -> list[inspect.Parameter]:
    return list(inspect.signature(inspect.unwrap(function)).parameters.values())[:-1]


Data = Annotated[str | PathLike[str] | None, Flag("Name of a data set, a path, NAME=PATH, or hf:owner/name.")]
Limit = Annotated[
    int | None,
    Flag("Use at most this many images, for a quick try. All output is marked as limited.", key="data.limit"),
]
Device = Annotated[str | None, Flag("auto, cpu, cuda, cuda:N or mps.", key="compute.device")]
Set = Annotated[
    Mapping[str, Any] | Sequence[tuple[str, Any]],
    Flag("Set a recipe key, as in optim.lr=0.01. Also as `--KEY VALUE`: `--optim.lr 0.01`.", ()),
]
Out = Annotated[str | Path, Flag("Folder for runs and studies.", str(DEFAULT_OUT))]
Show = Annotated[bool | Literal["stderr"], Flag('Print progress; "stderr": to standard error.', True, name=None)]
Track = Annotated[
    str | None,
    Flag("Also write curves, parameters and scores to tensorboard, trackio, wandb or mlflow during training."),
]
Epochs = Annotated[int | None, Flag("Passes over the training images.", key="train.epochs")]
Init = Annotated[
    str | PathLike[str] | None,
    Flag("Start from the weights of this run, file or hf:owner/name. A head with another shape is reinitialised."),
]
Pretrained = Annotated[
    bool | None,
    Flag(
        "Start from the weights that timm or torchvision provides for its network, with a new head; downloaded once.",
        key="model.options.pretrained",
    ),
]
Freeze = Annotated[
    Sequence[str] | str | None,
    Flag(
        "Layers that are not trained: their names, patterns of parameters, or all-but-head; separated by commas.",
        key="model.freeze",
    ),
]
KeepWeights = Annotated[
    bool | None,
    Flag(
        "Store the weights after each epoch; `convoy explore` then shows how the network learned.",
        key="probe.keep_weights",
    ),
]
Where = Annotated[
    str | None,
    Flag(
        "Where the runs are trained: dask:N (N local Dask workers), dask://HOST:PORT or dask-file:FILE (a Dask "
        "scheduler). Default: on this machine, one run per core."
    ),
]
Fresh = Annotated[bool, Flag("Train from scratch, even if a run with this fingerprint exists.", False)]
Test = Annotated[bool, Flag("Score the test set once, at the end.", True)]
Model = Annotated[str | None, Flag("Use this model instead of the recipe's model.", name=None)]


class RunOptions(TypedDict, total=False):
    """Options of all functions that train."""

    data: Data
    seed: Annotated[int | None, Flag("Seed of initialisation, batch order, augmentation and dropout.", key="seed")]
    limit: Limit
    lr: Annotated[float | None, Flag("Learning rate.", key="optim.lr")]
    batch_size: Annotated[int | None, Flag("Images per step.", key="train.batch_size")]
    optimizer: Annotated[str | None, Flag("Name of the optimizer.", key="optim.name")]
    weight_decay: Annotated[float | None, Flag("Weight decay.", key="optim.weight_decay")]
    augment: Annotated[bool, Flag("Augment the training images as set in the recipe.", True)]
    device: Device
    set: Set
    out: Out
    track: Track
    show: Show


class ClusterOptions(TypedDict, total=False):
    """Options of functions whose runs may be trained elsewhere."""

    where: Where
    insecure: Annotated[bool, Flag("Connect to a scheduler on another machine without TLS.", False)]
    shard: Annotated[
        str | None,
        Flag(
            "Train only part K of N of the runs, as in 3/8, for job arrays. The same command without --shard writes "
            "the report."
        ),
    ]


class StudyOptions(RunOptions, ClusterOptions, total=False):
    """Options of all functions that train several runs."""


class TrainOptions(RunOptions, total=False):
    epochs: Epochs
    init: Init
    pretrained: Pretrained
    freeze: Freeze
    keep_weights: KeepWeights
    fresh: Fresh
    test: Test
    model: Model


KEYS = {  # recipe keys, by the option that sets them
    name: flag.key
    for name, hint in TrainOptions.__annotations__.items()
    for flag in getattr(hint, "__metadata__", ())
    if flag.key
}


def full_key(key: str) -> str:
    """Converts the name of a flag to its recipe key: "lr" to "optim.lr". Returns other keys unchanged."""
    key = str(key)  # another type is reported as an unknown key
    return KEYS.get(key.replace("-", "_"), key)

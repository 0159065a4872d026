"""The recipe: everything that decides what is trained, as frozen pydantic models; TOML in and out.

A recipe is resolved in one order: the chain of `extends`, then the file, then overrides as (dotted path, value) pairs;
only the result is validated, so that a message always speaks of what would have been trained.
"""

from __future__ import annotations

import math
import tomllib
import types
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from convoy.registry import is_user_class, unknown

Override = tuple[str, Any]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Model(Section):
    name: str = "lenet"  # a registered name or "path/to/net.py:Class"
    options: dict[str, bool | int | float | str] = {}
    init: Annotated[str, Field(min_length=1)] | None = None  # a file of weights to start from; its hash counts
    freeze: tuple[str, ...] = ()  # patterns of parameters' names that are not trained, such as "features.*"

    @field_validator("freeze", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value


class SplitSpec(Section):
    validation: Fraction = 0.2  # of the training images; ignored where the data come with a validation part
    test: Annotated[float, Field(gt=0, lt=1)] = 0.2  # used only where the data have no test part of their own
    seed: Seed = 42
    stratified: bool = True


class Data(Section):
    name: Annotated[str, Field(min_length=1)] = "mnist"  # a named data set or a path
    size: Annotated[int, Field(ge=8, le=512)] | None = None  # pixels; None: the data's own
    limit: Annotated[int, Field(ge=1)] | None = None  # images for a quick try; every output says so
    split: SplitSpec = SplitSpec()
    normalise: Literal["train"] | tuple[float | tuple[float, ...], float | tuple[float, ...]] = "train"
    augment: tuple[dict[str, Any], ...] = ()  # names and keys are checked by convoy.data.augment

    @field_validator("augment")
    @classmethod
    def _named(cls, value: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
        if any("name" not in entry for entry in value):
            raise ValueError("each augmentation is a table with a name")
        return value

    @field_validator("normalise")
    @classmethod
    def _spread_positive(cls, value: Any) -> Any:
        if value != "train":
            deviations = value[1] if isinstance(value[1], tuple) else (value[1],)
            if not all(math.isfinite(deviation) and deviation > 0 for deviation in deviations):
                raise ValueError("the standard deviation must be greater than 0")
        return value


class CrossEntropy(Section):
    name: Literal["cross_entropy"] = "cross_entropy"
    label_smoothing: Fraction = 0.0


class SquaredError(Section):
    """Mean squared error against one-hot labels: the wrong loss for classes, kept as the lesson it is."""

    name: Literal["squared_error"] = "squared_error"


class Train(Section):
    epochs: Annotated[int, Field(ge=1, le=100_000)] = 5
    batch_size: Annotated[int, Field(ge=1, le=65_536)] = 128
    loss: Annotated[CrossEntropy | SquaredError, Field(discriminator="name")] = CrossEntropy()
    clip_norm: NonNegative = 0.0  # of the gradient; 0: none
    accumulate: Annotated[int, Field(ge=1, le=65_536)] = 1  # parts in which a batch passes, to save memory
    ema_decay: Fraction = 0.0  # of the moving average of the weights, which is then what is scored; 0: off


class OptimBase(Section):
    lr: Positive = 1e-3
    weight_decay: NonNegative = 0.0
    decay_norms_and_biases: bool = False


class SGD(OptimBase):
    name: Literal["sgd"] = "sgd"
    lr: Positive = 1e-2
    momentum: Fraction = 0.9
    nesterov: bool = False


class Adam(OptimBase):
    name: Literal["adam"] = "adam"
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    eps: Positive = 1e-8


class AdamW(OptimBase):
    name: Literal["adamw"] = "adamw"
    weight_decay: NonNegative = 0.01
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    eps: Positive = 1e-8


class RMSprop(OptimBase):
    name: Literal["rmsprop"] = "rmsprop"
    alpha: Fraction = 0.99
    momentum: Fraction = 0.0
    eps: Positive = 1e-8


class ScheduleBase(Section):
    warmup_epochs: NonNegative = 0.0  # linear from 0, in steps of a batch, before the schedule proper


class Constant(ScheduleBase):
    name: Literal["constant"] = "constant"


class Step(ScheduleBase):
    name: Literal["step"] = "step"
    every_epochs: Positive = 1.0
    factor: Annotated[float, Field(gt=0, le=1)] = 0.1


class Cosine(ScheduleBase):
    name: Literal["cosine"] = "cosine"
    per: Literal["epoch", "step"] = "epoch"
    t_max: Annotated[int, Field(ge=1)] | None = (
        None  # in units of `per`; None: the whole run. After t_max it rises again
    )
    min_factor: Annotated[float, Field(ge=0, le=1)] = 0.0


class OneCycle(ScheduleBase):
    name: Literal["one_cycle"] = "one_cycle"
    rise: Annotated[float, Field(gt=0, lt=1)] = 0.3  # the fraction of the run in which the rate rises to optim.lr
    start_factor: Annotated[float, Field(gt=0, le=1)] = 0.04
    end_factor: Annotated[float, Field(ge=0, le=1)] = 4e-6


class Plateau(ScheduleBase):
    name: Literal["plateau"] = "plateau"
    patience_epochs: Count = 3
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1


class Stop(Section):
    patience_epochs: Count = 0  # 0: off. Stops after this many epochs without a better validation accuracy
    target_accuracy: Annotated[float, Field(ge=0, le=1)] = 0.0  # on validation; 0: off
    max_seconds: NonNegative = 0.0  # of training; 0: off


class Compute(Section):
    device: str = "auto"
    precision: Literal["float32", "float64", "bfloat16"] = "float32"
    deterministic: bool = True
    threads: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"


class Protocol(Section):
    faults: tuple[Literal["selection_on_test"], ...] = ()


class Expected(Section):
    """A measured score: never inherited, never part of the fingerprint."""

    mean: float
    sd: NonNegative
    n: Annotated[int, Field(ge=1)]
    hardware: str
    date: str


class Recipe(Section):
    about: str = ""
    seed: Seed = 42
    model: Model = Model()
    data: Data = Data()
    train: Train = Train()
    optim: Annotated[SGD | Adam | AdamW | RMSprop, Field(discriminator="name")] = AdamW()
    schedule: Annotated[Constant | Step | Cosine | OneCycle | Plateau, Field(discriminator="name")] = Constant()
    stop: Stop = Stop()
    compute: Compute = Compute()
    protocol: Protocol = Protocol()
    expected: dict[str, Expected] = {}

    @classmethod
    def load(cls, name: str | Path, overrides: Iterable[Override] = ()) -> Recipe:
        """The recipe of a built-in name ("defaults/mnist") or a TOML file, with its `extends` and the overrides merged.

        Raises ValueError: unknown name or key, a circle of `extends`, a value out of range.
        """
        table, origin = _read_chain(str(name), relative_to=Path())
        overrides = list(overrides)
        return cls._validate(_apply(table, overrides), origin, overrides)

    def override(self, overrides: Mapping[str, Any] | Iterable[Override]) -> Recipe:
        """This recipe with dotted paths set, validated anew: `recipe.override({"optim.lr": 0.01})`."""
        pairs = list(overrides.items() if isinstance(overrides, Mapping) else overrides)
        return self._validate(_apply(self.as_table(), pairs), "the recipe", pairs)

    def as_table(self) -> dict[str, Any]:
        """Plain TOML types, complete, defaults included; absent optional values left out."""
        return self.model_dump(mode="json", exclude_none=True)

    def to_toml(self) -> str:
        return tomli_w.dumps(self.as_table())

    def canonical(self) -> dict[str, Any]:
        """What a fingerprint covers: all that decides the result but what has a hash of its own (data, code)."""
        table = self.as_table()
        del table["about"], table["expected"], table["data"]["name"], table["compute"]["device"]
        del table["compute"]["threads"]
        table["model"].pop("init", None)
        table["model"]["name"] = (
            self.model.name.rpartition(":")[2] if is_user_class(self.model.name) else self.model.name
        )
        return table

    @classmethod
    def _validate(cls, table: dict[str, Any], origin: str, given: Sequence[Override]) -> Recipe:
        try:
            return cls.model_validate(table)
        except ValidationError as error:
            raise _first_problem(error, table, origin, [path for path, _ in given]) from None


def builtin_names() -> list[str]:
    root = Path(str(resources.files("convoy") / "recipes"))
    return sorted(path.relative_to(root).with_suffix("").as_posix() for path in root.rglob("*.toml"))


def resolve(argument: str | None, *, data: str | None = None, overrides: Iterable[Override] = ()) -> Recipe:
    """The recipe that a command's argument names: a .toml file, a `path.py:Class`, a recipe's name, or a model's name.

    A model takes the default recipe of its data set (`defaults/<data>`, else `defaults/images`); so does no argument.
    """
    overrides = list(overrides)
    known = builtin_names()
    if argument is not None and (argument.endswith(".toml") or argument in known):
        other_data = [("data.name", data)] if data is not None else []
        return Recipe.load(argument, other_data + overrides)
    if argument is not None and "/" in argument and not is_user_class(argument):
        raise unknown("recipe", argument, known)
    data = dict(overrides).get("data.name", "mnist" if data is None else data)
    named = f"defaults/{data.partition('=')[0]}"  # "mnist=PATH" is MNIST
    base = named if named in known else "defaults/images"
    model = [("model.name", argument)] if argument is not None else []
    return Recipe.load(base, [*model, ("data.name", data), *overrides])


def parse_override(path: str, text: str) -> Override:
    """An override as typed on a command line: the value is TOML where it parses as TOML, else a string."""
    try:
        return path, tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return path, text


def _read_chain(name: str, relative_to: Path, seen: tuple[Path, ...] = ()) -> tuple[dict[str, Any], str]:
    path = _find(name, relative_to)
    if path in seen:
        circle = " -> ".join(step.stem for step in (*seen, path))
        raise ValueError(f"{path}: extends in a circle: {circle}")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not valid TOML: {error}") from None
    _anchor_paths(table, path.parent)
    parent = table.pop("extends", None)
    if parent is not None:
        if not isinstance(parent, str):
            raise ValueError(f"{path}: extends = {parent!r}: must be a recipe's name or path")
        inherited, _ = _read_chain(parent, path.parent, (*seen, path))
        inherited.pop("expected", None)
        table = _merge(inherited, table)
    return table, str(path)


def _find(name: str, relative_to: Path) -> Path:
    if name.endswith(".toml"):
        path = relative_to / name
        if not path.is_file():
            raise ValueError(f"recipe file {str(path)!r} does not exist")
        return path.resolve()
    if name not in builtin_names():
        raise unknown("recipe", name, builtin_names())
    return Path(str(resources.files("convoy") / "recipes" / f"{name}.toml"))


def _anchor_paths(table: dict[str, Any], folder: Path) -> None:
    """A path in a recipe file is relative to that file."""
    for section in ("model", "data"):
        name = table.get(section, {}).get("name") if isinstance(table.get(section), dict) else None
        if isinstance(name, str) and (is_user_class(name) or section == "data"):
            file, colon, class_name = name.rpartition(":") if is_user_class(name) else (name, "", "")
            if (folder / file).exists() and ("/" in file or is_user_class(name)):
                table[section]["name"] = f"{(folder / file).resolve()}{colon}{class_name}"
    init = table["model"].get("init") if isinstance(table.get("model"), dict) else None
    if isinstance(init, str) and (folder / init).exists():
        table["model"]["init"] = str((folder / init).resolve())


def _merge(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Tables merge, all else replaces; a table with another `name` drops the old one's keys (data keep theirs)."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        if isinstance(value, Mapping) and isinstance(old, dict) and key != "expected":
            renamed = key != "data" and "name" in value and value["name"] != old.get("name")
            merged[key] = _merge({} if renamed else old, value)
        else:
            merged[key] = value
    return merged


def _apply(table: dict[str, Any], overrides: Iterable[Override]) -> dict[str, Any]:
    """Overrides as one table: names first, so that `optim.lr` given before `optim.name` is not dropped with it."""
    ordered = sorted(overrides, key=lambda pair: not pair[0].endswith(".name"))
    for path, value in ordered:
        *sections, key = path.split(".")
        nested: dict[str, Any] = {key: value}
        for section in reversed(sections):
            nested = {section: nested}
        node: Any = table
        for depth, section in enumerate(sections):
            node = node.get(section, {})
            if not isinstance(node, Mapping):
                raise ValueError(f"{'.'.join(sections[: depth + 1])} is a value, not a table: {path!r} cannot be set")
        table = _merge(table, nested)
    return table


def _first_problem(error: ValidationError, table: dict[str, Any], origin: str, given: Sequence[str]) -> ValueError:
    problem = error.errors()[0]
    node: Any = table
    known: list[str] = list(Recipe.model_fields)
    path: list[str] = []
    section: Any = Recipe
    for part in problem["loc"]:
        if isinstance(node, Mapping) and part in node:
            section, node = _field_type(section, str(part), node[part]), node[part]
            path.append(str(part))
            if isinstance(section, type) and issubclass(section, BaseModel):
                known = list(section.model_fields)
        elif isinstance(node, list | tuple) and isinstance(part, int):
            node = node[part]
            path.append(str(part))
    dotted = ".".join(path)
    if any(f"{each}.".startswith(f"{dotted}.") or dotted.startswith(f"{each}.") for each in given):
        origin = "what was given beside the recipe"
    if problem["type"] == "extra_forbidden":
        parent = ".".join(path[:-1])
        return unknown("key", dotted, [f"{parent}.{name}" if parent else name for name in known], origin)
    if problem["type"].startswith("union_tag"):
        allowed = str(problem["ctx"].get("expected_tags", "")).replace("'", "").split(", ")
        name = node.get("name") if isinstance(node, Mapping) else node
        return unknown(f"{dotted}.name", str(name), allowed, origin)
    if problem["type"] == "literal_error" and isinstance(node, str):
        return unknown(dotted, node, _literals(str(problem["ctx"]["expected"])), origin)
    message = problem["msg"].removeprefix("Value error, ")
    return ValueError(f"{dotted} = {node!r} in {origin}: {message[:1].lower()}{message[1:]}")


def _literals(expected: str) -> list[str]:
    return [word.strip("' ") for word in expected.replace(" or ", ", ").split(",")]


def _field_type(section: Any, key: str, value: Any) -> Any:
    """The section class behind a key, a union resolved by its `name`; anything else as it is."""
    if not (isinstance(section, type) and issubclass(section, BaseModel)) or key not in section.model_fields:
        return None
    annotation: Any = section.model_fields[key].annotation
    if get_origin(annotation) in (Union, types.UnionType):
        name = value.get("name") if isinstance(value, Mapping) else None
        for option in get_args(annotation):
            if isinstance(option, type) and issubclass(option, BaseModel):
                field = option.model_fields.get("name")
                if field is not None and field.default == name:
                    return option
    return annotation

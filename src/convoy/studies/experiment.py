"""A published experiment as a file: its models and numbers, its faults, its claims and the studies within it.

src/convoy/recipes/<experiment>/experiment.toml    beside the recipes that it names, and claims.toml
"""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from convoy.recipe import Override, Recipe
from convoy.recipe.files import CLAIMS, EXPERIMENT
from convoy.recipe.problems import first_problem
from convoy.recipe.sections import Count, Section
from convoy.registry import unknown
from convoy.studies.claims import Claim
from convoy.studies.measures import MEASURES

Seeds = Annotated[int, Field(ge=1, le=1000)]
PARTS = ("models", "faults", "claims", "crossval", "search", "landscape")


class Model(Section):
    """A network of the experiment, under the report's protocol and under a sound one."""

    label: str
    as_published: str | None = None  # a recipe's name
    corrected: str
    published: dict[str, float | list[float]] = Field(
        default_factory=dict
    )  # measure -> what the report claims; a list: epoch by epoch
    told_as: dict[str, str] = Field(
        default_factory=dict
    )  # measure -> the one of an as-published run that the report told in its place
    seeds: Count | None = None  # None: the experiment's; 0: its layers are counted and nothing is trained

    @field_validator("published", "told_as")
    @classmethod
    def _measures(cls, value: dict[str, Any]) -> dict[str, Any]:
        for measure in value:
            if not measure.endswith("_by_epoch"):
                _check_measure(measure)
        return value


class Fault(Section):
    """A flaw of the published protocol, priced alone: the base recipe with it and without."""

    name: str
    sentence: str
    base: str  # a recipe's name
    without: dict[str, Any] = Field(default_factory=dict)  # overrides of both sides
    set: dict[str, Any] = Field(default_factory=dict)  # overrides that make the fault, such as an option of the model
    faults: tuple[str, ...] = ()  # names of protocol.faults
    measure: tuple[str, ...] = ("test_accuracy",)
    over: str = "seed"  # what pairs differ in: the seed, or another key that counts up, such as data.split.fold
    pairs: Seeds | None = None  # None: as many as the experiment has seeds

    @field_validator("measure", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("measure")
    @classmethod
    def _measures(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for measure in value:
            _check_measure(measure)
        return value

    @property
    def of_one_seed(self) -> bool:
        """Whether the fault is that the report trained once: its price is the spread of the base over seeds."""
        return not self.set and not self.faults

    def sides(self, base: Recipe) -> tuple[Recipe, Recipe]:
        """The recipe without the fault, and with it."""
        without = base.override(self.without)
        return without, without.override({**self.set, **({"protocol.faults": self.faults} if self.faults else {})})


class Part(Section):
    """A study within the experiment."""

    kind: Literal["crossval", "search", "landscape"]
    recipes: tuple[str, ...]
    arguments: dict[str, Any] = Field(default_factory=dict)  # as the study's function takes them
    quick: dict[str, Any] = Field(default_factory=dict)  # those that --quick changes

    @field_validator("recipes", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value


class Quick(Section):
    limit: Annotated[int, Field(ge=1)] = 500
    epochs: Annotated[int, Field(ge=1)] = 1
    seeds: Seeds = 2
    set: dict[str, Any] = Field(default_factory=dict)  # overrides of all recipes


class Experiment(Section):
    title: str
    about: str
    data: str  # a named data set
    as_tensors: bool = False  # the report reads four tensor files; they are made where none are given
    hardware: str = ""  # the report's
    notes: tuple[str, ...] = ()  # what a reader of its numbers has to know
    seeds: Seeds = 3
    model: tuple[Model, ...] = Field(min_length=1)
    fault: tuple[Fault, ...] = ()
    claim: tuple[Claim, ...] = ()
    study: tuple[Part, ...] = ()
    quick: Quick = Quick()
    name: str = ""  # the folder's
    folder: Path = Path()  # to which its recipes' paths are relative

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        for what, names in (("model", [m.label for m in self.model]), ("claim", [c.id for c in self.claim])):
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                raise ValueError(f"{what} {twice!r} stands there twice")
        return self

    def recipe(self, name: str, overrides: list[Override]) -> Recipe:
        return Recipe.load(str(self.folder / name) if name.endswith(".toml") else name, overrides)


def names() -> list[str]:
    root = Path(str(resources.files("convoy") / "recipes"))
    return sorted(path.parent.name for path in root.glob(f"*/{EXPERIMENT}"))


def load(name: str) -> Experiment:
    """The experiment of a built-in name or of an experiment.toml given by its path. Raises ValueError."""
    if name.endswith(".toml"):
        path = Path(name)
        if not path.is_file():
            raise ValueError(f"experiment file {name!r} does not exist")
    elif name in names():
        path = Path(str(resources.files("convoy") / "recipes" / name / EXPERIMENT))
    else:
        raise unknown("experiment", name, [*names(), "all"])
    table = _read(path)
    if (path.parent / CLAIMS).is_file():
        table["claim"] = [*_read(path.parent / CLAIMS).get("claim", []), *table.get("claim", [])]
    table |= {"name": path.resolve().parent.name, "folder": str(path.resolve().parent)}
    try:
        return Experiment.model_validate(table)
    except ValidationError as error:
        raise first_problem(Experiment, error, table, str(path), []) from None


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not valid TOML: {error}") from None


def _check_measure(name: str) -> None:
    known = [each for each in MEASURES if MEASURES[each].setting is None]
    if name not in known:
        raise unknown("measure", name, known)

"""A published experiment as a file: models, published numbers, faults, claims and studies.

The file is src/convoy/recipes/<experiment>/experiment.toml, next to its recipes and claims.toml.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib import resources
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator

from convoy.experiments.claims import Claim, Protocol
from convoy.experiments.measures import MEASURES
from convoy.experiments.parts import EXPERIMENT_PARTS, STUDIES, Arguments, Seeds, StudyKind, StudyPart
from convoy.files import file_name
from convoy.recipe import Recipe
from convoy.recipe.files import CLAIMS, EXPERIMENT, Override
from convoy.recipe.problems import first_problem
from convoy.recipe.sections import Count, Section
from convoy.registry import unknown
from convoy.text import gettext as _

Side = Protocol
SIDES: tuple[Side, ...] = ("as_published", "corrected")
SPLIT, FOLD = "data.split.", "data.split.fold"
DECIDED_SECTIONS = ("model.", "protocol.")
_FLAGS = (("data", "limit"), ("train", "epochs"), ("compute", "device"))  # keys with a flag of the same name
LEARNS_AFTER = 20_000  # default for networks that were not measured: training images until a network has learned


def _measure(name: str) -> str:
    allowed = [each for each in MEASURES if MEASURES[each].setting is None]
    if name not in allowed:
        raise unknown(_("measure"), name, allowed)
    return name


def _by_epoch(name: str) -> str:
    return name if name.endswith("_by_epoch") else _measure(name)


MeasureName = Annotated[str, AfterValidator(_measure)]
OneOrSeveral = BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)


class Model(Section):
    """A network under the report's protocol and under the corrected one."""

    label: str
    as_published: str | None = None  # a recipe's name
    corrected: str
    # Measure -> the published number, or a list of one number per epoch.
    published: dict[Annotated[str, AfterValidator(_by_epoch)], float | list[float]] = Field(default_factory=dict)
    # Measure -> the measure that the report computed instead of it. As-published runs use the measure of the report.
    reported_as: dict[str, MeasureName] = Field(default_factory=dict)
    seeds: Count | None = None  # None: the experiment's; 0: not trained, only its layers are counted

    @model_validator(mode="after")
    def _lists_are_by_epoch(self) -> Self:
        for measure, entry in self.published.items():
            if isinstance(entry, list) and measure in MEASURES:
                raise ValueError(
                    _(
                        "{measure}: expected a number, got a list; for a list use test_accuracy_by_epoch",
                        measure=measure,
                    )
                )
        return self


class Fault(Section):
    """A flaw of the published protocol, measured in isolation: the base recipe with and without it."""

    name: str
    sentence: str
    base: str  # a recipe's name
    without: dict[str, Any] = Field(default_factory=dict)  # overrides of both sides
    set: dict[str, Any] = Field(default_factory=dict)  # overrides that cause the fault, such as a model option
    faults: tuple[str, ...] = ()  # names in protocol.faults
    measure: Annotated[tuple[MeasureName, ...], OneOrSeveral] = ("test_accuracy",)
    against: str | None = None  # for the fault one_seed: the recipe that the report ranks below `base`
    over: str = "seed"  # the key that differs between pairs: an integer, such as data.split.fold
    pairs: Seeds | None = None  # None: the experiment's number of seeds

    @property
    def of_one_seed(self) -> bool:
        """Whether the fault is that the report used a single seed. Its effect is the spread over seeds."""
        return not self.set and not self.faults

    @property
    def paired(self) -> bool:
        """Whether both sides have the same folds. False if the fault creates other folds."""
        return self.over != FOLD or not any(key.startswith(SPLIT) for key in self.set)

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.against is not None and not self.of_one_seed:
            raise ValueError(
                _(
                    "fault {name!r}: `against` is only for the fault of a single seed, without `set` and `faults`",
                    name=self.name,
                )
            )
        try:
            self.first(Recipe())
        except (AttributeError, TypeError, ValueError):
            raise ValueError(
                _(
                    "fault {name!r}: over = {over!r}: expected a key whose value is an integer",
                    name=self.name,
                    over=self.over,
                )
            ) from None
        return self

    def first(self, recipe: Recipe) -> int:
        """The first value of `over`."""
        return int(attrgetter(self.over)(recipe))

    def sides(self, base: Recipe) -> tuple[Recipe, Recipe]:
        """Returns the recipe without and with the fault."""
        without = base.override(self.without)
        faults = dict.fromkeys((*without.protocol.faults, *self.faults))
        return without, without.override({**self.set, "protocol.faults": [*faults]})


class ExperimentStudy(Section):
    """A `[[study]]` table of the experiment."""

    kind: StudyKind
    recipes: Annotated[tuple[str, ...], Field(min_length=1), OneOrSeveral]
    arguments: dict[str, Any] = Field(default_factory=dict)  # fields of STUDIES[kind].arguments
    quick: dict[str, Any] = Field(default_factory=dict)  # arguments that --quick changes
    protocol: Literal["as-published", "corrected"] | None = None  # None: both
    set: dict[str, Any] = Field(default_factory=dict)  # overrides of its recipes; those of the command come later

    @property
    def part(self) -> StudyPart:
        """The part of the experiment that it belongs to."""
        return "ablation" if self.arguments.get("vary") else self.kind

    @property
    def side(self) -> Side | None:
        return "as_published" if self.protocol == "as-published" else self.protocol

    @property
    def sides(self) -> tuple[Side, ...]:
        return SIDES if self.side is None else (self.side,)

    def typed_arguments(self, *, quick: bool) -> Arguments:
        """Raises ValueError for an unknown, missing or invalid argument."""
        table = self.arguments | (self.quick if quick else {})
        section = STUDIES[self.kind].arguments
        try:
            return section.model_validate(table)
        except ValidationError as error:
            missing = next((name for name, field in section.model_fields.items() if field.is_required()), "")
            if missing and missing not in table:
                raise ValueError(
                    _("the study {kind} needs {missing} among its arguments", kind=self.kind, missing=missing)
                ) from None
            raise first_problem(
                section, error, table, _("the arguments of the study {kind}", kind=self.kind), []
            ) from None

    @model_validator(mode="after")
    def _takes_its_arguments(self) -> Self:
        for quick in (False, True):
            self.typed_arguments(quick=quick)
        expected = STUDIES[self.kind].recipes
        if expected is not None and len(self.recipes) != expected:
            number = _("one recipe") if expected == 1 else _("two recipes")
            raise ValueError(
                _("the study {kind} expects {number}, got {n}", kind=self.kind, number=number, n=len(self.recipes))
            )
        return self


class Quick(Section):
    """The budget of `--quick`; see quick_fit."""

    seconds: Annotated[float, Field(gt=0)] = 90.0  # training time on all cores
    seeds: Seeds = 1
    # Model name -> measured number of training images until it has learned.
    learns_after: dict[str, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)

    def images_to_learn(self, model: str) -> int:
        return self.learns_after.get(model, LEARNS_AFTER)


@dataclass(frozen=True)
class Settings:
    """The options of a reproduction. None: the experiment's value."""

    protocol: Literal["as-published", "corrected", "both"] = "both"
    seeds: int | None = None
    quick: bool = False
    limit: int | None = None
    epochs: int | None = None
    only: tuple[str, ...] = EXPERIMENT_PARTS
    models: tuple[str, ...] = ()  # models to train, (): all; finished runs of the others are reported
    full_size: bool = False  # claims at the published scale instead of the reduced one
    data: str | None = None  # "cifar10=PATH"
    device: str | None = None
    set: tuple[Override, ...] = ()  # overrides of every recipe, except for what a fault or claim varies

    def __post_init__(self) -> None:
        """Raises ValueError for an override of a key that the experiment or another option sets."""
        decided = {
            "seed": _("the seeds count up from the seed of the recipe; use --seeds"),
            "data.name": _("the experiment names its data; use --data for their location"),
            **{f"{section}.{name}": _("use {flag}", flag=f"--{name}") for section, name in _FLAGS},
        }
        for path, _value in self.set:
            if path in decided or path.startswith(DECIDED_SECTIONS):
                reason = decided.get(path, _("the experiment sets it"))
                raise ValueError(_("--set cannot change {path}: {reason}", path=path, reason=reason))

    @property
    def is_sized_by_timing(self) -> bool:
        """Whether images and epochs are chosen by a timing: --quick without --limit and --epochs."""
        return self.quick and self.limit is None and self.epochs is None

    @property
    def sides(self) -> tuple[Side, ...]:
        if self.protocol == "both":
            return SIDES
        return ("as_published",) if self.protocol == "as-published" else ("corrected",)

    def name(self, experiment: str) -> str:
        """The study's name. It contains non-default options, so that a reduced study does not replace a full one."""
        reduced = [
            "quick" if self.quick else "",
            "full-size" if self.full_size else "",
            self.protocol if self.protocol != "both" else "",
            *(f"{key}{value}" for key in ("seeds", "limit", "epochs") if (value := getattr(self, key))),
            *(f"{path.rpartition('.')[2]}-{value}" for path, value in self.set),
        ]
        return file_name("-".join(["reproduce", experiment, *filter(None, reduced)]))


class Experiment(Section):
    title: str
    about: str
    data: str  # a named data set
    as_tensors: bool = False  # the report reads four tensor files; they are created if none are given
    hardware: str = ""  # hardware of the report
    class_names: dict[str, str] = Field(default_factory=dict)  # class name in the data -> in the report
    notes: tuple[str, ...] = ()  # caveats of its numbers
    seeds: Seeds = 3
    model: tuple[Model, ...] = Field(min_length=1)
    fault: tuple[Fault, ...] = ()
    claim: tuple[Claim, ...] = ()
    study: tuple[ExperimentStudy, ...] = ()
    quick: Quick = Quick()
    name: str = ""  # name of its folder
    folder: Path = Path()  # paths of its recipes are relative to it

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        for what, names in (("model", [m.label for m in self.model]), ("claim", [c.id for c in self.claim])):
            if twice := [name for name in names if names.count(name) > 1]:
                raise ValueError(_("{what} {twice!r} occurs twice", what=what, twice=twice[0]))
        return self

    @property
    def recipe_names(self) -> list[str]:
        """Names of all recipes except those of the claims."""
        models = [name for model in self.model for name in (model.as_published, model.corrected)]
        faults = [name for fault in self.fault for name in (fault.base, fault.against)]
        named = [*models, *faults, *(name for study in self.study for name in study.recipes)]
        return list(dict.fromkeys(name for name in named if name is not None))

    def recipe(self, name: str, overrides: list[Override]) -> Recipe:
        return Recipe.load(str(self.folder / name) if name.endswith(".toml") else name, overrides)


def label_of(recipe: str) -> str:
    """The label of a recipe's runs: "classics-mnist/resnet18-shared" gives "resnet18_shared"."""
    return Path(recipe).stem.replace("-", "_")


def names() -> list[str]:
    root = Path(str(resources.files("convoy") / "recipes"))
    return sorted(path.parent.name for path in root.glob(f"*/{EXPERIMENT}"))


def load(name: str) -> Experiment:
    """`name`: a built-in experiment or the path of an experiment.toml. Raises ValueError if unknown or invalid."""
    if name.endswith(".toml"):
        path = Path(name)
        if not path.is_file():
            raise ValueError(_("experiment file {name!r} does not exist", name=name))
    elif name in names():
        path = Path(str(resources.files("convoy") / "recipes" / name / EXPERIMENT))
    else:
        raise unknown(_("experiment"), name, [*names(), "all"])
    table: dict[str, Any] = {"name": path.resolve().parent.name, "folder": str(path.resolve().parent)}
    claims: list[dict[str, Any]] = []
    for file in filter(Path.is_file, (path.parent / CLAIMS, path)):
        try:
            read = tomllib.loads(file.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ValueError(_("{file}: not valid TOML: {error}", file=file, error=error)) from None
        claims += read.pop("claim", [])
        table = read | table
    names_of_classes = table.get("class_names", {})
    table |= {"claim": [{"class_names": names_of_classes, **claim} for claim in claims]}
    try:
        return Experiment.model_validate(table)
    except ValidationError as error:
        raise first_problem(Experiment, error, table, str(path), []) from None

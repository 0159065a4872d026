"""Claims of a report as small studies: two recipes, or one recipe and a number, and a measure. See `verdicts`.

The recipes use the corrected protocol. Within an experiment, a claim is also tested with the recipes of the published
protocol.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import Field, ValidationError, model_validator

from convoy.experiments.measures import MEASURES, Settings, check_settings, find
from convoy.recipe import Recipe, resolve
from convoy.recipe.files import Override
from convoy.recipe.problems import first_problem
from convoy.recipe.sections import NonNegative, Section
from convoy.text import gettext as _
from convoy.text.lists import joined

Seeds = Annotated[int, Field(ge=1, le=1000)]
Words = Annotated[str, Field(min_length=1)]
Relation = Literal["above", "below", "about"]
Quantity = Literal["difference", "ratio", "spread"]
Protocol = Literal["as_published", "corrected"]


class Side(Section):
    label: Words
    recipe: Words
    set: dict[str, Any] = Field(default_factory=dict)
    set_as_published: dict[str, Any] | None = None  # instead of `set` under the published protocol; None: `set`


class Reduction(Section):
    """Overrides that make a claim cheap enough for a small machine; `about` describes them."""

    about: Words
    limit: Annotated[int, Field(ge=1)] | None = None
    epochs: Annotated[int, Field(ge=1)] | None = None
    seeds: Seeds | None = None
    set: dict[str, Any] = Field(default_factory=dict)

    def overrides(self) -> list[Override]:
        flags = [("data.limit", self.limit), ("train.epochs", self.epochs)]
        return [*((path, value) for path, value in flags if value is not None), *self.set.items()]


class Claim(Section):
    id: Words
    sentence: Words  # the claim, as a sentence of the report
    measure: Words
    settings: dict[str, Any] = Field(default_factory=dict)  # settings of the measure
    class_names: dict[str, str] = Field(default_factory=dict)  # class name in the data -> in the report
    a: Side
    b: Side | None = None  # None: `a` is compared with `value`
    quantity: Quantity = "difference"  # how a and b are compared; "spread": the standard deviation of `a` over seeds
    relation: Relation
    value: float | None = None  # the limit of the quantity, or of `a`; None: 0 for a difference, 1 for a ratio
    # "about": the allowed distance from the limit. "above" and "below": the largest negligible distance from the limit;
    # 0: no distance is negligible.
    margin: NonNegative = 0.0
    protocol: Literal["as-published", "corrected"] | None = None  # None: both
    # One key and the values that are trained on each side, for a measure of several runs.
    over: dict[str, list[float]] = Field(default_factory=dict)
    seeds: Seeds = 3
    set: dict[str, Any] = Field(default_factory=dict)  # overrides of both sides, at every scale
    reduced: Reduction | None = None
    full_size_only: str = ""  # why a reduced scale cannot decide the claim

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        check_settings(self.measure, self.settings)
        several = find(self.measure).several
        if self.b is None and (self.value is None or self.quantity == "ratio"):
            raise ValueError(_("claim {id!r}: expected a side `b`, or a `value` to compare side `a` with", id=self.id))
        if self.quantity == "spread" and (self.b is not None or several or find(self.measure).exact):
            raise ValueError(_("claim {id!r}: a spread needs one side and a measure that varies by seed", id=self.id))
        if several != (len(self.over) == 1) or any(len(values) < 2 for values in self.over.values()):
            names = joined(name for name, measure in MEASURES.items() if measure.several)
            raise ValueError(
                _("claim {id!r}: `over` needs one key with 2 values or more, only for {names}", id=self.id, names=names)
            )
        if several and self.b is not None and self.quantity != "ratio":
            raise ValueError(_("claim {id!r}: {measure} needs quantity = 'ratio'", id=self.id, measure=self.measure))
        if any(value <= 0 for values in self.over.values() for value in values):
            raise ValueError(_("claim {id!r}: the values of `over` must be greater than 0", id=self.id))
        if self.reduced is not None and self.full_size_only:
            raise ValueError(_("claim {id!r} has both `full_size_only` and `reduced`: remove one", id=self.id))
        return self

    def has(self, protocol: Protocol) -> bool:
        return self.protocol in (None, protocol.replace("_", "-"))

    @property
    def shown_settings(self) -> Settings:
        """The settings with the class names of the report."""
        names = [self.class_names.get(name, name) for name in self.settings.get("classes", ())]
        return {**self.settings, "classes": names} if names else self.settings

    @property
    def limit(self) -> float:
        """The number with which the quantity is compared."""
        return self.value if self.value is not None else 1.0 if self.quantity == "ratio" else 0.0


class Trial(NamedTuple):
    side: str  # "a" or "b"
    tried: float | None  # the value of `over`'s key
    label: str
    recipe: Recipe


@dataclass(frozen=True)
class Check:
    """A claim with its recipes: train `trials`, then pass the runs to `verdicts.judge` in the same order."""

    claim: Claim
    sides: dict[str, Recipe]
    seeds: int
    reduced: str  # description of the reduced scale; "" at the published scale
    full_size_only: str  # why it is not tested at this scale; "" if it is
    protocol: Protocol | None = None  # protocol of the recipes; None: a claim without an experiment

    @cached_property
    def trials(self) -> list[Trial]:
        """The runs to train; empty for a measure that is counted without training."""
        if find(self.claim.measure).exact or self.full_size_only:
            return []
        ((path, values),) = self.claim.over.items() or [("", [None])]
        trials = []
        for side, recipe in self.sides.items():
            name = f"{self.claim.id}, as published" if self.protocol == "as_published" else self.claim.id
            label = f"{name}: {getattr(self.claim, side).label}"
            for value in values:
                tried = [] if value is None else [(path, value)]
                name = label if value is None else f"{label}, {path.rpartition('.')[2]} = {value:g}"
                for offset in range(self.seeds):
                    one = recipe.override([*tried, ("seed", recipe.seed + offset)])
                    trials.append(Trial(side, value, name, one))
        return trials


def read(table: Claim | Mapping[str, Any]) -> Claim:
    """Raises ValueError with a one-line message if the table is not a valid claim."""
    if isinstance(table, Claim):
        return table
    try:
        return Claim.model_validate(dict(table))
    except ValidationError as error:
        raise first_problem(Claim, error, dict(table), _("the claim"), []) from None


def check(
    claim: Claim,
    *,
    full_size: bool = False,
    overrides: Iterable[Override] = (),
    seeds: int | None = None,
    folder: Path | None = None,
    published: Mapping[str, str] | None = None,
) -> Check:
    """Creates the claim's recipes at the published scale (`full_size`) or the reduced one, then applies `overrides`.

    Paths of recipe files are relative to `folder`. `published` maps corrected recipes to as-published ones; if it is
    given, the claim is checked as published. Raises ValueError for an unknown recipe or key.
    """
    exact = find(claim.measure).exact
    reduction = None if full_size else claim.reduced
    own = [*claim.set.items(), *(reduction.overrides() if reduction else ()), *overrides]

    def recipe(side: Side) -> Recipe:
        name, changes = side.recipe, side.set
        if published is not None:
            name = published.get(name, name)
            changes = changes if side.set_as_published is None else side.set_as_published
        name = str(folder / name) if folder and name.endswith(".toml") else name
        # A recipe resolved from a model's name has no data, so that data.name must be among its first overrides.
        return resolve(name, overrides=[*own, *changes.items()])

    sides = {name: recipe(side) for name, side in (("a", claim.a), ("b", claim.b)) if side is not None}
    count = seeds or (reduction and reduction.seeds) or claim.seeds
    full_size_only = "" if full_size or exact else claim.full_size_only
    return Check(claim, sides, count, reduction.about if reduction and not exact else "", full_size_only)

"""Trains the recipes of a ladder: two recipes, the recipes between them, and the second without each change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from convoy.data import PreparedDataCache
from convoy.models import default_options
from convoy.recipe import Recipe
from convoy.recipe.faults import Fault
from convoy.registry import is_user_class
from convoy.runs import Study
from convoy.studies import findings
from convoy.studies.ladder.finding import PlannedRung, Setting, find
from convoy.studies.session import Entry, Session
from convoy.studies.train_all import study_name, train_all, write_study
from convoy.text import gettext as _
from convoy.text.lists import joined
from convoy.training.run.plan import plan_one

MAX_VALUE_LENGTH = 60  # characters
FAULTS = "protocol.faults"
LEFT_OUT = ("about", "chosen", "seed", "data.name", "compute.device", "compute.threads")  # ignored by the comparison
SECTIONS_WITH_NAME = ("model", "optim", "schedule", "train.loss")  # their keys depend on `name`


@dataclass(frozen=True)
class Change:
    """A key with its value in both recipes; for a protocol fault, whether the recipe has it."""

    key: str  # a key of the recipe, a section ("model", "optim", ...) if its name differs, or the name of a fault
    before: Any
    after: Any
    is_fault: bool = False


def changes_between(first: Recipe, second: Recipe) -> list[Change]:
    """Returns changes of protocol faults in the order of `Fault`, then keys in the order of the recipe."""
    own, other = ({str(fault) for fault in recipe.protocol.faults} for recipe in (first, second))
    faults = [Change(fault, fault in own, fault in other, is_fault=True) for fault in Fault]
    tables = [recipe.model_dump(mode="json") for recipe in (first, second)]
    if (model := first.model.name) == second.model.name and not is_user_class(model):
        for table in tables:
            table["model"]["options"] = default_options(model) | table["model"]["options"]
    return [*(change for change in faults if change.before != change.after), *_walk(tables[0], tables[1])]


def _walk(first: Mapping[str, Any], second: Mapping[str, Any], path: str = "") -> Iterator[Change]:
    for name in dict.fromkeys([*first, *second]):
        key = f"{path}.{name}" if path else name
        before, after = first.get(name), second.get(name)
        if before == after or key in (*LEFT_OUT, FAULTS):
            continue
        if isinstance(before, Mapping) and isinstance(after, Mapping) and not _has_other_keys(key, before, after):
            yield from _walk(before, after, key)
        else:
            yield Change(key, before, after)


def _has_other_keys(key: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    return key in SECTIONS_WITH_NAME and before["name"] != after["name"]


def with_changes(base: Recipe, changes: Sequence[Change], *, undone: bool = False) -> Recipe:
    """Returns the recipe with the changes applied, or reverted if `undone`. Raises ValueError if it is not valid."""
    faults = dict.fromkeys(map(str, base.protocol.faults))
    overrides: dict[str, Any] = {}
    for change in changes:
        value = change.before if undone else change.after
        if not change.is_fault:
            overrides[change.key] = value
        elif value:
            faults[change.key] = None
        else:
            faults.pop(change.key, None)
    return base.override({**overrides, FAULTS: [*faults]})


@dataclass(frozen=True)
class Step:
    changes: tuple[Change, ...]
    recipe: Recipe  # with these changes and all before them
    without: Recipe | None  # the second recipe without them; None if it cannot be trained


@dataclass(frozen=True)
class Ladder:
    labels: tuple[str, str]
    start: Recipe
    steps: tuple[Step, ...]
    seeds: int

    @property
    def entries(self) -> list[Entry]:
        """The runs in the order that `find` expects. Recipes that occur twice are trained once."""
        first, second = self.labels
        recipes = [(first, self.start)]
        for step in self.steps:
            name = ", ".join(change.key for change in step.changes)
            recipes.append((second if step is self.steps[-1] else f"+ {name}", step.recipe))
            recipes += [(f"{second} without {name}", step.without)] if step.without is not None else []
        return [
            Entry(label, recipe.override({"seed": recipe.seed + offset}))
            for label, recipe in recipes
            for offset in range(self.seeds)
        ]


def build(first: tuple[str, Recipe], second: tuple[str, Recipe], *, seeds: int) -> Ladder:
    """Finds the changes from the first recipe to the second and groups those that are only valid together.

    Raises ValueError for recipes that are equal, use different data or cannot be trained.
    """
    if seeds < 1:
        raise ValueError(_("seeds = {seeds}: must be at least 1", seeds=seeds))
    (label, start), (other, end) = first, second
    if start.data.name != end.data.name:
        raise ValueError(
            _("expected two recipes for the same data, got {name} and {data}", name=start.data.name, data=end.data.name)
        )
    if start.data.split.folds or end.data.split.folds:
        raise ValueError(_("data.split.folds cannot be used in a ladder"))
    end = end.override({"seed": start.seed})
    changes = changes_between(start, end)
    if not changes:
        raise ValueError(_("{label} and {other} are the same recipe: nothing to explain", label=label, other=other))
    data = PreparedDataCache()
    for recipe in (start, end):
        plan_one(recipe, data.prepare(recipe.data))
    steps = tuple(_steps(start, end, changes, data))
    return Ladder((label, other if other != label else f"{other} (2)"), start, steps, seeds)


def _steps(start: Recipe, end: Recipe, changes: Sequence[Change], data: PreparedDataCache) -> Iterator[Step]:
    recipe, waiting = start, list[Change]()
    for change in changes:
        waiting.append(change)
        if (changed := _trainable(recipe, waiting, data)) is None:
            continue
        yield Step(tuple(waiting), changed, _trainable(end, waiting, data, undone=True))
        recipe, waiting = changed, []
    if waiting:
        names = joined(change.key for change in waiting)
        raise ValueError(_("{names}: no valid recipe between the two has these changes", names=names))


def _trainable(
    recipe: Recipe, changes: Sequence[Change], data: PreparedDataCache, *, undone: bool = False
) -> Recipe | None:
    try:
        changed = with_changes(recipe, changes, undone=undone)
        plan_one(changed, data.prepare(changed.data))
    except ValueError:
        return None
    return changed


def run(ladder: Ladder, session: Session) -> Study | None:
    """Trains the missing runs and writes the finding. Returns None if interrupted. Raises ValueError for a recipe that
    cannot be trained."""
    name = partial(study_name, "ladder", ladder.labels)
    members = train_all(ladder.entries, session, distinct=False, name=name)
    if members is None:
        return None
    study = write_study("ladder", name, members, session)
    steps = [PlannedRung(tuple(map(_setting, step.changes)), step.without is not None) for step in ladder.steps]
    findings.write(study, find(ladder.labels, steps, ladder.seeds, members))
    return study


def _setting(change: Change) -> Setting:
    if change.is_fault:
        return Setting(change.key, *("on" if value else "off" for value in (change.before, change.after)))
    return Setting(change.key, _text(change.before), _text(change.after))


def _text(value: Any) -> str:
    """Formats a value as in a recipe, shortened."""
    text = "none" if value is None else str(value).replace("True", "true").replace("False", "false")
    if isinstance(value, dict):
        text = str(value.get("name", text))
    return text if len(text) <= MAX_VALUE_LENGTH else text[: MAX_VALUE_LENGTH - 1] + "…"

"""Ablation: trains every combination of the given values and estimates the effect of each value on the accuracy.

The effect of a key is the difference between two of its values, averaged over all combinations of the other keys. It is
paired by seed, which removes the effect that a seed has on all combinations. n counts seeds, because the combinations
are not a random sample (Student's paired t test, corrected over all effects by Holm's method).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from math import sqrt
from pathlib import Path
from statistics import fmean
from typing import Any, Protocol

from convoy.options import full_key
from convoy.recipe import Recipe
from convoy.recipe.files import Override, check_once, parse_values
from convoy.registry import is_user_class
from convoy.runs import Member
from convoy.stats import Estimate, paired_difference, t_interval
from convoy.studies.compare.pair import Pair, corrected
from convoy.text import gettext as _

MAX_VALUE_LENGTH = 28  # characters of a value in a label
RECIPE = "recipe"  # the key for several recipes
Levels = tuple[str, ...]  # one value per key, as text


class Contrast(Protocol):
    """Two values of a key."""

    @property
    def key(self) -> str: ...
    @property
    def a(self) -> str: ...
    @property
    def b(self) -> str: ...


@dataclass(frozen=True)
class Design:
    """Short names of the varied keys, their values as text, and the values of each label."""

    keys: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]
    levels: Mapping[str, Levels]

    @classmethod
    def of(cls, keys: Sequence[str], effects: Iterable[Contrast], labels: Sequence[str]) -> Design:
        """The design with these effects and labels. Raises ValueError if the labels are not all combinations."""
        pairs = [(effect.key, value) for effect in effects for value in (effect.a, effect.b)]
        values = tuple(tuple(dict.fromkeys(value for own, value in pairs if own == key)) for key in keys)
        combined = [*product(*values)]
        if len(combined) != len(labels):
            raise ValueError(_("no seed has a score for every combination of the varied values"))
        return cls(tuple(keys), values, dict(zip(labels, combined, strict=True)))

    def short(self, labels: Sequence[str]) -> list[str]:
        """Lists the recipes and then the keys, instead of all combinations."""
        return [*dict.fromkeys(label.partition(",")[0] for label in labels), *self.keys]


@dataclass(frozen=True)
class Effect(Pair):
    """Two values of a key, compared on average over all values of the other keys."""

    key: str = ""


@dataclass(frozen=True)
class Interaction(Pair):
    """How much the difference between two values of `key` depends on the value of `other`, which is `a` or `b`."""

    key: str = ""
    other: str = ""
    between: tuple[str, str] = ("", "")  # values of `key`
    effects: tuple[float, float] = (0.0, 0.0)  # difference of `between` at `a` and at `b`


@dataclass(frozen=True)
class Average:
    """One value of a key, averaged over all values of the other keys."""

    key: str
    value: str
    accuracy: Estimate


@dataclass(frozen=True)
class Ablation:
    keys: tuple[str, ...]
    seeds: tuple[int, ...]  # seeds with a score for every combination
    trained: int  # number of trained seeds
    effects: tuple[Effect, ...]  # all pairs of values of each key
    interactions: tuple[Interaction, ...]
    averages: tuple[Average, ...]


Varied = Mapping[str, Sequence[Any]] | Sequence[tuple[str, Sequence[Any]]]


def combine_all(
    recipes: Sequence[tuple[str, Recipe]], vary: Varied | Sequence[str], overrides: Sequence[Override]
) -> tuple[Design | None, list[tuple[str, Recipe]]]:
    """Calls `combine` for the option `vary`, whose keys may be names of flags. Without it, returns None and `recipes`.

    Raises ValueError for a key that is also in `overrides`, and for the same errors as `combine`.
    """
    pairs = vary.items() if isinstance(vary, Mapping) else vary
    parsed = [parse_values(pair) if isinstance(pair, str) else pair for pair in pairs]
    varied = [(full_key(path), values) for path, values in parsed]
    check_once(overrides, dict(varied))
    return combine(recipes, varied) if varied else (None, [*recipes])


def combine(recipes: Sequence[tuple[str, Recipe]], varied: Varied) -> tuple[Design, list[tuple[str, Recipe]]]:
    """Creates a recipe for every combination of values, labelled "lenet, norm = none, batch_size = 64".

    Raises ValueError for an unknown or repeated key, an invalid or repeated value, or fewer than two values.
    """
    vary = list(varied.items() if isinstance(varied, Mapping) else varied)
    paths = [path for path, _ in vary]
    for path, values in vary:
        _check(path, values, paths)
    names = _short_names(paths)
    texts = [_distinct([_text(value) for value in values]) for _key, values in vary]
    points: list[tuple[str, Recipe]] = []
    levels: dict[str, Levels] = {}
    for label, recipe in recipes:
        for chosen in product(*(range(len(values)) for _key, values in vary)):
            level = tuple(text[i] for text, i in zip(texts, chosen, strict=True))
            name = ", ".join([label, *(f"{key} = {text}" for key, text in zip(names, level, strict=True))])
            overrides: list[Override] = [(path, values[i]) for (path, values), i in zip(vary, chosen, strict=True)]
            points.append((name, recipe.override(overrides)))
            levels[name] = (label, *level) if len(recipes) > 1 else level
    if len(recipes) > 1:
        names, texts = [RECIPE, *names], [[label for label, _ in recipes], *texts]
    return Design(tuple(names), tuple(tuple(text) for text in texts), levels), points


def _check(path: str, values: Sequence[Any], paths: Sequence[str]) -> None:
    if not path or not all(path.split(".")):
        raise ValueError(_("expected a key to vary, as in model.options.norm, got {path!r}", path=path))
    if paths.count(path) > 1:
        raise ValueError(_("{path} is given twice", path=path))
    if path == "seed":
        raise ValueError(_("seed cannot be varied: every combination is trained with all `seeds`"))
    if isinstance(values, str) or len(values) < 2:
        raise ValueError(_("{path} = {values!r}: expected two values or more", path=path, values=values))
    for i, value in enumerate(values):
        if any(value == other and type(value) is type(other) for other in values[:i]):
            raise ValueError(_("{path}: {text} is given twice", path=path, text=_text(value)))


def _short_names(paths: Sequence[str]) -> list[str]:
    """Returns the shortest distinct end of each path, such as "optim" for optim.name.

    A seed keeps its section, as in "split.seed", because labels appear next to the run's own seed.
    """
    parts = [path.removesuffix(".name").split(".") for path in paths]
    names = []
    for own in parts:
        count = 2 if own[-1] == "seed" else 1
        while count < len(own) and sum(other[-count:] == own[-count:] for other in parts) > 1:
            count += 1
        names.append(".".join(own[-count:]))
    return names


def _text(value: Any) -> str:
    """Formats a value for a label."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        name = [str(value["name"])] if "name" in value else []
        return " ".join(name + [f"{key} {_text(item)}" for key, item in value.items() if key != "name"])
    if isinstance(value, list | tuple):
        return " + ".join(map(_text, value)) or "none"
    text = " ".join(str(value).split())
    return text.rpartition(":")[2] if is_user_class(text) else Path(text).name if "/" in text else text


def _distinct(texts: Sequence[str]) -> list[str]:
    short = [text if len(text) <= MAX_VALUE_LENGTH else text[: MAX_VALUE_LENGTH - 1].rstrip() + "…" for text in texts]
    return [text if short.count(text) == 1 else f"{text} ({number})" for number, text in enumerate(short, start=1)]


def conclude(design: Design, members: Sequence[Member], part: str) -> Ablation:
    """Estimates the effect of each value on a part's accuracy, over seeds that have a score for every combination."""
    table = _Accuracies.of(design, members, part)
    return Ablation(
        keys=design.keys,
        seeds=table.seeds,
        trained=len({member.seed for member in members}),
        effects=corrected(_effects(table)),
        interactions=corrected(_interactions(table)),
        averages=tuple(_averages(table)),
    )


@dataclass(frozen=True)
class _Accuracies:
    design: Design
    cells: Mapping[Levels, Mapping[int, float]]  # combination -> seed -> accuracy
    seeds: tuple[int, ...]  # seeds with a score for every combination
    resolution: float  # difference between two possible accuracies

    @classmethod
    def of(cls, design: Design, members: Sequence[Member], part: str) -> _Accuracies:
        cells: dict[Levels, dict[int, float]] = {levels: {} for levels in design.levels.values()}
        images = 1
        for member in members:
            score = member.run.scores.get(part)
            if score is not None:
                cells[design.levels[member.label]][member.seed] = score.accuracy
                images = max(images, score.n)
        return cls(design, cells, tuple(sorted(set.intersection(*map(set, cells.values())))), 1 / images)

    def means(self, fixed: Mapping[int, str]) -> tuple[list[float], float]:
        """Returns the mean accuracy of each seed over cells with the `fixed` values, and the resolution of a mean."""
        keys = enumerate(self.design.values)
        cells = list(product(*([fixed[key]] if key in fixed else values for key, values in keys)))
        means = [fmean(self.cells[cell][seed] for cell in cells) for seed in self.seeds]
        return means, self.resolution / sqrt(len(cells))


def _effects(table: _Accuracies) -> list[Effect]:
    effects = []
    for key, values in enumerate(table.design.values) if table.seeds else ():
        for a, b in combinations(values, 2):
            (first, resolution), (second, _) = table.means({key: a}), table.means({key: b})
            effects.append(Effect(a, b, *paired_difference(first, second, step=resolution), key=table.design.keys[key]))
    return effects


def _interactions(table: _Accuracies) -> list[Interaction]:
    if len(table.seeds) < 2:
        return []
    interactions, design = [], table.design
    for key, other in combinations(range(len(design.keys)), 2):
        for between, at in product(combinations(design.values[key], 2), combinations(design.values[other], 2)):
            sides, resolution = [], 0.0
            for level in at:
                (first, resolution), (second, _) = (table.means({key: value, other: level}) for value in between)
                sides.append([x - y for x, y in zip(first, second, strict=True)])
            # The rounding variance of an interaction is twice that of a difference.
            tested = paired_difference(*sides, step=sqrt(2) * resolution)
            names, effects = (design.keys[key], design.keys[other]), (fmean(sides[0]), fmean(sides[1]))
            interactions.append(Interaction(*at, *tested, None, *names, between, effects))
    return interactions


def _averages(table: _Accuracies) -> list[Average]:
    averages = []
    for key, values in enumerate(table.design.values) if table.seeds else ():
        for value in values:
            means, resolution = table.means({key: value})
            averages.append(Average(table.design.keys[key], value, t_interval(means, step=resolution)))
    return averages

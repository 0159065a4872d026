"""The search space: recipe keys with lists of values or with ranges."""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

from convoy.options import full_key
from convoy.recipe import Recipe
from convoy.recipe.files import Override, parse_override, parse_values
from convoy.text import gettext as _

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

MAX_POINTS = 100_000  # points of a full grid; all are checked before training
DECADE = 10.0  # a range with high >= DECADE * low is sampled and drawn on a logarithmic scale
Stored = bool | int | float | str  # as Optuna stores a value: a list or a table as JSON
Point = dict[str, Stored]  # by path


@dataclass(frozen=True)
class Values:
    path: str
    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError(_("{path}: expected values, as in {path}=1,2,3", path=self.path))
        for value in self.values:
            if self.values.count(value) > 1:
                raise ValueError(_("{path}: {value!r} is given twice", path=self.path, value=value))

    @property
    def distribution(self) -> BaseDistribution:
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution([_stored(value) for value in self.values])

    @property
    def extremes(self) -> tuple[Any, ...]:
        return self.values

    def value(self, stored: Stored) -> Any:
        return next(value for value in self.values if _stored(value) == stored)


@dataclass(frozen=True)
class Range:
    """From `low` to `high`, inclusive; integers if both are integers."""

    path: str
    low: int | float  # lower bound; "int" is first, because pydantic would otherwise read integers as floats
    high: int | float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(
                _(
                    "{path}: expected a range LOW..HIGH with LOW < HIGH, got {low}..{high}",
                    path=self.path,
                    low=self.low,
                    high=self.high,
                )
            )

    @property
    def is_log(self) -> bool:
        return self.low > 0 and self.high >= DECADE * self.low

    @property
    def is_integer(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def distribution(self) -> BaseDistribution:
        from optuna.distributions import FloatDistribution, IntDistribution

        kind = IntDistribution if self.is_integer else FloatDistribution
        return kind(self.low, self.high, log=self.is_log)  # type: ignore[arg-type]

    @property
    def extremes(self) -> tuple[Any, ...]:
        return self.low, self.high

    @property
    def values(self) -> Sequence[int] | None:
        """The values of an integer range; None for floats."""
        return range(int(self.low), int(self.high) + 1) if self.is_integer else None

    def value(self, stored: Stored) -> Any:
        return stored


@dataclass(frozen=True)
class Space:
    axes: tuple[Values | Range, ...]

    def __post_init__(self) -> None:
        if not self.axes:
            raise ValueError(_("a search needs a key to vary, as in --grid optim.lr=1e-4,1e-3,1e-2"))
        paths = [axis.path for axis in self.axes]
        for path in paths:
            if paths.count(path) > 1:
                raise ValueError(_("{path} is given twice: give all its values at once", path=path))
            if why := _why_not_searched(path):
                raise ValueError(_("{path} cannot be searched: {why}", path=path, why=why))

    @property
    def paths(self) -> list[str]:
        return [axis.path for axis in self.axes]

    @property
    def size(self) -> int | None:
        """Number of points; None with a range of floats."""
        if any(axis.values is None for axis in self.axes):
            return None
        return math.prod(len(axis.values or ()) for axis in self.axes)

    @property
    def is_grid(self) -> bool:
        return all(isinstance(axis, Values) for axis in self.axes)

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        return {axis.path: axis.distribution for axis in self.axes}

    def points(self, seed: int) -> list[Point]:
        """Returns all points in stored form, shuffled, so that ties do not favour one corner of the grid."""
        stored = [[_stored(value) for value in axis.values or ()] for axis in self.axes]
        grid = [dict(zip(self.paths, point, strict=True)) for point in product(*stored)]
        random.Random(seed).shuffle(grid)
        return grid

    def overrides(self, point: Mapping[str, Stored]) -> list[Override]:
        return [(axis.path, axis.value(point[axis.path])) for axis in self.axes]

    def check(self, base: Recipe) -> list[tuple[list[Override], Recipe]]:
        """Checks the recipe at every point (for ranges, at both ends). Raises ValueError for an invalid recipe.

        Returns points that together contain every value, with their recipes.
        """
        corners = math.prod(len(axis.extremes) for axis in self.axes)
        if corners > MAX_POINTS:
            raise ValueError(
                _(
                    "the grid has {corners:,} points, the limit is {most_points:,}: use ranges",
                    corners=corners,
                    most_points=MAX_POINTS,
                )
            )
        for point in product(*(axis.extremes for axis in self.axes)):
            base.override(list(zip(self.paths, point, strict=True)))
        return [(point, base.override(point)) for point in self._each_value_once()]

    def _each_value_once(self) -> Iterator[list[Override]]:
        first: list[Override] = [(axis.path, axis.extremes[0]) for axis in self.axes]
        yield first
        for place, axis in enumerate(self.axes):
            for value in axis.extremes[1:]:
                yield [*first[:place], (axis.path, value), *first[place + 1 :]]


def _why_not_searched(path: str) -> str:
    """Returns the reason for a key that a search cannot vary; "" for the others."""
    reasons = {
        _("the winner is retrained with fresh seeds"): ("seed",),
        _("a search scores on the validation set only"): ("protocol",),
        _("accuracies on different images cannot be compared"): ("data.name", "data.limit", "data.split"),
        _("it does not change the training"): ("probe", "compute.device", "compute.threads", "about"),
    }
    return next((why for why, keys in reasons.items() if any(f"{path}.".startswith(f"{key}.") for key in keys)), "")


def axes_of(
    grid: Mapping[str, Sequence[Any]] | Sequence[str], ranges: Mapping[str, tuple[float, float]] | Sequence[str]
) -> tuple[Values | Range, ...]:
    """Creates axes from mappings or from text such as "train.batch_size=64,128" and "lr=1e-4..1e-1"."""
    values = grid.items() if isinstance(grid, Mapping) else map(parse_values, grid)
    ends = ranges.items() if isinstance(ranges, Mapping) else map(_parse_range, ranges)
    return (
        *(Values(full_key(path), tuple(listed)) for path, listed in values),
        *(Range(full_key(path), low, high) for path, (low, high) in ends),
    )


def _parse_range(text: str) -> tuple[str, tuple[float, float]]:
    match = re.fullmatch(r"(.+?)=(.+?)\.\.(.+)", text)
    if match is None:
        raise ValueError(_("{text!r}: expected KEY=LOW..HIGH, as in optim.lr=1e-4..1e-1", text=text))
    path, low, high = (part.strip() for part in match.groups())
    return path, (_number(path, low), _number(path, high))


def _number(path: str, text: str) -> float:
    _key, value = parse_override(path, text)
    if not is_number(value):
        raise ValueError(_("{path}: expected a number as an end of the range, got {text!r}", path=path, text=text))
    return value


def _stored(value: Any) -> Stored:
    return value if isinstance(value, bool | int | float | str) else json.dumps(value)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)

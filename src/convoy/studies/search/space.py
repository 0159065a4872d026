"""The search space: recipe keys with lists of values or with ranges."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

from convoy.recipe import Recipe
from convoy.recipe.files import Override, parse_override, parse_values

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

MOST_POINTS = 100_000  # of a full grid; all points are checked before training
DECADE = 10.0  # a range with high >= DECADE * low is sampled logarithmically
NOT_SEARCHED = {
    "seed": "the winner is retrained with fresh seeds",
    "data.name": "accuracies on different images cannot be compared",
    "data.limit": "accuracies on different images cannot be compared",
    "data.split": "accuracies on different images cannot be compared",
    "protocol": "a search scores on the validation part only",
    "probe": "it does not change the training",
    "compute.device": "it does not change the training",
    "compute.threads": "it does not change the training",
    "about": "it does not change the training",
    "expected": "it does not change the training",
}


@dataclass(frozen=True)
class Values:
    path: str
    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError(f"{self.path}: expected values, as in {self.path}=1,2,3")
        for value in self.values:
            if self.values.count(value) > 1:
                raise ValueError(f"{self.path}: {value!r} is given twice")

    @property
    def distribution(self) -> BaseDistribution:
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution([_stored(value) for value in self.values])

    @property
    def extremes(self) -> tuple[Any, ...]:
        return self.values

    @property
    def points(self) -> Sequence[Any] | None:
        return self.values

    def value(self, stored: Any) -> Any:
        return next(value for value in self.values if _stored(value) == stored)


@dataclass(frozen=True)
class Range:
    """From `low` to `high`, both included; integers if both are integers."""

    path: str
    low: int | float  # int: pydantic would otherwise read integers as floats
    high: int | float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"{self.path}: expected a range LOW..HIGH with LOW < HIGH, got {self.low}..{self.high}")

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
    def points(self) -> Sequence[Any] | None:
        """None for a range of floats."""
        return range(int(self.low), int(self.high) + 1) if self.is_integer else None

    def value(self, stored: Any) -> Any:
        return stored


@dataclass(frozen=True)
class Space:
    axes: tuple[Values | Range, ...]

    def __post_init__(self) -> None:
        if not self.axes:
            raise ValueError("a search needs a key to vary, as in --grid optim.lr=1e-4,1e-3,1e-2")
        paths = [axis.path for axis in self.axes]
        for path in paths:
            if paths.count(path) > 1:
                raise ValueError(f"{path} is given twice: give all its values at once")
            for kept, why in NOT_SEARCHED.items():
                if path == kept or path.startswith(f"{kept}."):
                    raise ValueError(f"{path} cannot be searched: {why}")

    @property
    def paths(self) -> list[str]:
        return [axis.path for axis in self.axes]

    @property
    def size(self) -> int | None:
        """Number of points; None with a range of floats."""
        counts = [None if axis.points is None else len(axis.points) for axis in self.axes]
        known = [count for count in counts if count is not None]
        return math.prod(known) if len(known) == len(counts) else None

    @property
    def is_grid(self) -> bool:
        return all(isinstance(axis, Values) for axis in self.axes)

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        return {axis.path: axis.distribution for axis in self.axes}

    def points(self, seed: int) -> list[dict[str, Any]]:
        """All points in stored form, shuffled, so that ties do not favour one corner of the grid."""
        assert self.size is not None
        stored = [[_stored(value) for value in axis.points or ()] for axis in self.axes]
        grid = [dict(zip(self.paths, point, strict=True)) for point in product(*stored)]
        random.Random(seed).shuffle(grid)
        return grid

    def overrides(self, stored: Mapping[str, Any]) -> list[Override]:
        return [(axis.path, axis.value(stored[axis.path])) for axis in self.axes]

    def check(self, base: Recipe) -> list[tuple[list[Override], Recipe]]:
        """Checks every point, with ranges at both ends, against the recipe; raises ValueError for an invalid one.

        Returns points that together contain every value, with their recipes.
        """
        corners = math.prod(len(axis.extremes) for axis in self.axes)
        if corners > MOST_POINTS:
            raise ValueError(f"the grid has {corners:,} points, the limit is {MOST_POINTS:,}: use ranges")
        for point in product(*(axis.extremes for axis in self.axes)):
            base.override(list(zip(self.paths, point, strict=True)))
        return [(point, base.override(point)) for point in self._each_value_once()]

    def _each_value_once(self) -> Iterator[list[Override]]:
        first: list[Override] = [(axis.path, axis.extremes[0]) for axis in self.axes]
        yield first
        for place, axis in enumerate(self.axes):
            for value in axis.extremes[1:]:
                yield [*first[:place], (axis.path, value), *first[place + 1 :]]


def axes_of(
    grid: Mapping[str, Sequence[Any]] | Sequence[str], ranges: Mapping[str, tuple[float, float]] | Sequence[str]
) -> tuple[Values | Range, ...]:
    """Axes from mappings or from text as in "train.batch_size=64,128" and "optim.lr=1e-4..1e-1"."""
    values = grid.items() if isinstance(grid, Mapping) else map(parse_values, grid)
    ends = ranges.items() if isinstance(ranges, Mapping) else map(_parse_range, ranges)
    return (
        *(Values(path, tuple(listed)) for path, listed in values),
        *(Range(path, low, high) for path, (low, high) in ends),
    )


def _parse_range(text: str) -> tuple[str, tuple[float, float]]:
    path, ends = _halves(text, "=", text)
    low, high = _halves(ends, "..", text)
    return path, (_number(path, low), _number(path, high))


def _halves(text: str, mark: str, argument: str) -> tuple[str, str]:
    before, _, after = text.partition(mark)
    if not (before and after):
        raise ValueError(f"{argument!r}: expected KEY=LOW..HIGH, as in optim.lr=1e-4..1e-1")
    return before.strip(), after.strip()


def _number(path: str, text: str) -> float:
    _, value = parse_override(path, text)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{path}: expected a number as an end of the range, got {text!r}")
    return value


def _stored(value: Any) -> Any:
    """As Optuna stores it: a list or a table as JSON."""
    return value if isinstance(value, bool | int | float | str) else json.dumps(value)

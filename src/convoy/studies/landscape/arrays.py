"""landscape.npz: the data of a landscape's figures, as arrays named `<number of the recipe>_<part>_<name>`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from convoy.files import read_arrays, write_arrays
from convoy.run_contents import from_table

NAME = "landscape.npz"
Kind = Literal["line", "plane", "path"]  # kind of a surface
KINDS: tuple[Kind, ...] = get_args(Kind)
Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Edges:
    """The lowest and the highest loss over the rates at each step, all [T]; NaN where a loss is not finite."""

    step: np.ndarray  # number of steps so far
    low: np.ndarray
    high: np.ndarray
    smooth_low: np.ndarray  # limits of the smoothed losses
    smooth_high: np.ndarray


@dataclass(frozen=True)
class Probes:
    """Measurements of one run along its update steps."""

    step: np.ndarray  # [probes]
    loss: np.ndarray  # [probes, 1 + sizes]
    gradient_change: np.ndarray  # [probes, sizes]
    beta: np.ndarray  # [probes]
    own_beta: np.ndarray | None = None  # [probes], over the optimizer's own step; None: a run of an earlier version

    @classmethod
    def of(cls, arrays: Arrays) -> Probes | None:
        """Reads the arrays of a run; returns None if it was not probed."""
        return from_table(cls, found) if (found := _with_prefix(arrays, "probe_")) else None


@dataclass(frozen=True)
class Surface:
    """The loss around the weights, which are at the origin. NaN: not computed yet; infinity: not finite."""

    x: np.ndarray  # [M]
    y: np.ndarray  # [N]
    loss: np.ndarray  # float64 [N, M]
    at: np.ndarray | None = None  # float64 [epochs, 2], the training path; None along random directions
    epochs: np.ndarray | None = None  # int64 [epochs]; 0: before training
    explained: np.ndarray | None = None  # float64 [2], explained fractions of the path's variance

    @property
    def is_complete(self) -> bool:
        return not np.isnan(self.loss).any()


@dataclass(frozen=True)
class FigureArrays:
    """The arrays from which the figures of a recipe are drawn."""

    edges: Edges
    probes: Probes | None  # measured for the first seed only
    surfaces: dict[Kind, Surface] = field(default_factory=dict)  # measured for the first seed only


def write(path: Path, recipes: Iterable[FigureArrays]) -> None:
    arrays: dict[str, np.ndarray] = {}
    for number, recipe in enumerate(recipes):
        groups: list[tuple[str, Edges | Probes | Surface]] = [("", recipe.edges)]
        groups += [("probe_", recipe.probes)] if recipe.probes else []
        groups += [(f"{kind}_", surface) for kind, surface in recipe.surfaces.items()]
        for prefix, group in groups:
            arrays |= {f"{number}_{prefix}{name}": values for name, values in arrays_of(group).items()}
    write_arrays(path, arrays)


def arrays_of(group: Edges | Probes | Surface) -> Arrays:
    return {name: values for name, values in vars(group).items() if values is not None}


def read(path: Path, labels: Sequence[str]) -> dict[str, FigureArrays]:
    """Reads the arrays by label."""
    arrays = read_arrays(path)
    by_label = {}
    for number, label in enumerate(labels):
        own = _with_prefix(arrays, f"{number}_")
        surfaces = {kind: from_table(Surface, surface) for kind in KINDS if (surface := _with_prefix(own, f"{kind}_"))}
        by_label[label] = FigureArrays(from_table(Edges, own), Probes.of(own), surfaces)
    return by_label


def _with_prefix(arrays: Arrays, prefix: str) -> Arrays:
    return {name.removeprefix(prefix): values for name, values in arrays.items() if name.startswith(prefix)}

"""Measures how often the pruned search finds the winner of the full grid with a sixth of its epochs.

    python -m benchmarks.search_replay

`results/search_table.json`, written by search_table.py, has the validation accuracy of LeNet after each of 27 epochs at
81 points. A replay is a complete search by convoy.studies.search.loop that reads the table instead of training. Two
runs are trained in parallel and alternate after each epoch. The replay succeeds if the winner is within 0.2 percentage
points of the best point and at most 15 % of the 2,187 epochs were trained.

A point has two accuracies. "final" is the accuracy after the last epoch; the limit of 0.2 points applies to it. "kept"
is the accuracy of the best epoch, whose weights a run saves; the search selects by it. No point of this table is within
0.2 points of the best point by both: the standard error of an accuracy of 97.5 % on 2,500 images is 0.3 points.

On a full grid, replays of halving differ only in the order of ties. It is therefore also replayed on subgrids of seven
random batch sizes and seven random learning rates.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from pathlib import Path
from typing import Any, NamedTuple

import optuna

from convoy.recipe import Recipe
from convoy.stats import wilson
from convoy.studies.search import loop
from convoy.studies.search.finding import Pruner, Sampler, State
from convoy.studies.search.space import Space, Values

TABLE = Path(__file__).parent / "results" / "search_table.json"
PARALLEL = 2
TOLERANCE = 0.002
SHARE_OF_EPOCHS = 0.15
SUBGRID = 7  # values per key


class Replay(NamedTuple):
    final: float  # accuracy of the best point minus that of the winner, after the last epoch
    kept: float  # the same difference for the best epochs
    share: float  # trained epochs / epochs in the table

    def succeeds(self, by: str) -> bool:
        return self.share <= SHARE_OF_EPOCHS and getattr(self, by) <= TOLERANCE + 1e-9


class Table:
    """The accuracies of all points, which replace training."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        images = content["validation_images"]
        self.epochs: int = content["epochs"]
        self.paths = list(content["points"][0])
        self.rows = {
            tuple(point.values()): [correct / images for correct in row]
            for point, row in zip(content["points"], content["correct"], strict=True)
        }

    def subgrid(self, seed: int) -> Table:
        """The points with SUBGRID random batch sizes and learning rates."""
        draw = random.Random(seed)
        columns = [set(draw.sample(sorted(set(column)), SUBGRID)) for column in zip(*self.rows, strict=True)]
        subgrid = copy(self)
        subgrid.rows = {
            point: row
            for point, row in self.rows.items()
            if all(value in column for value, column in zip(point, columns, strict=True))
        }
        return subgrid

    def space(self) -> Space:
        columns = zip(*self.rows, strict=True)
        return Space(
            tuple(Values(path, tuple(sorted(set(column)))) for path, column in zip(self.paths, columns, strict=True))
        )

    def row(self, recipe: Recipe) -> list[float]:
        return self.rows[recipe.train.batch_size, recipe.optim.lr]

    def train(
        self,
        recipes: Iterable[Recipe],
        *,
        shown_from: int,
        until: int | None = None,
        prune: loop.Prune | None = None,
    ) -> Iterator[loop.TrialResult]:
        """Trains like convoy.studies.search.run: lazily, several in parallel, alternating after each epoch."""
        waiting = enumerate(recipes)
        running: dict[int, Iterator[loop.TrialResult | None]] = {}
        while True:
            while len(running) < PARALLEL and (job := next(waiting, None)) is not None:
                running[job[0]] = self._training(*job, until or self.epochs, prune)
            if not running:
                return
            for position in list(running):
                ended = next(running[position], None)
                if ended is not None:
                    del running[position]
                    yield ended
                    break

    def _training(
        self, position: int, recipe: Recipe, until: int, prune: loop.Prune | None
    ) -> Iterator[loop.TrialResult | None]:
        row = self.row(recipe)
        for epoch in range(1, until + 1):
            if prune is not None and prune(position, epoch, row[epoch - 1]):
                yield loop.TrialResult(position, State.PRUNED, row[:epoch], "")
                return
            if epoch < until:
                yield None
        yield loop.TrialResult(position, State.FINISHED if until == self.epochs else State.PRUNED, row[:until], "")


class Search(NamedTuple):
    """Settings of `convoy search`."""

    options: str
    sampler: Sampler
    pruner: Pruner
    trials: int | None = None  # None: the full grid


HALVING = Search("--grid (the default: halving)", Sampler.RANDOM, Pruner.HALVING)
SEARCHES = (
    HALVING,
    Search("--grid --pruner hyperband", Sampler.RANDOM, Pruner.HYPERBAND),
    Search("--grid --pruner median", Sampler.RANDOM, Pruner.MEDIAN),
    Search("--trials 60 (the defaults: tpe, hyperband)", Sampler.TPE, Pruner.HYPERBAND, 60),
    Search("--trials 60 --pruner halving", Sampler.RANDOM, Pruner.HALVING, 60),
    Search("--trials 12 --sampler random --pruner none", Sampler.RANDOM, Pruner.NONE, 12),
)


def replay(table: Table, search: Search, seed: int) -> Replay:
    base = Recipe.load("defaults/mnist").override({"train.epochs": table.epochs, "seed": seed})
    study = optuna.create_study(
        study_name=f"replay-{seed}", direction="maximize", pruner=loop.pruner(search.pruner, table.epochs)
    )
    trials = loop.Trials(study, table.space(), base, owner="replay", count=search.trials, by=search.sampler)
    train_trials = loop.halve if search.pruner is Pruner.HALVING else loop.ask_in_turn
    assert train_trials(trials, table.train)
    best = loop.winner(study)
    row = table.row(trials.recipe(best))
    rows = table.rows.values()
    used = sum(frozen.user_attrs["epochs"] for frozen in trials.frozen)
    return Replay(
        final=max(other[-1] for other in rows) - row[-1],
        kept=max(map(max, rows)) - max(row),
        share=used / (len(table.rows) * table.epochs),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", default=TABLE)
    parser.add_argument("--replays", type=int, default=100)
    arguments = parser.parse_args()
    table = Table(json.loads(Path(arguments.table).read_text()))
    print(f"{len(table.rows)} points x {table.epochs} epochs; {arguments.replays} replays per search.")
    print(
        f"Success: at most {SHARE_OF_EPOCHS:.0%} of the epochs, winner within {100 * TOLERANCE:g} points of the best."
    )
    print("Share of successes (Wilson interval), and distance of the winner from the best:\n")
    for search in SEARCHES:
        replays = [replay(table, search, seed) for seed in range(arguments.replays)]
        print(f"{search.options}\n    {_summary(replays)}", flush=True)
    replays = [replay(table.subgrid(seed), HALVING, seed) for seed in range(arguments.replays)]
    print(f"{HALVING.options}, on {SUBGRID} x {SUBGRID} random points of the grid\n    {_summary(replays)}")


def _summary(replays: list[Replay]) -> str:
    lines = []
    for by in ("final", "kept"):
        share = wilson(sum(replay.succeeds(by) for replay in replays), len(replays))
        distances = sorted(100 * getattr(replay, by) for replay in replays)
        median, most = distances[len(distances) // 2], distances[-1]
        lines.append(
            f"{by} {share.mean:.0%} ({share.low:.0%} to {share.high:.0%}), median distance {median:.2f} points, "
            f"at most {most:.2f}"
        )
    epochs = [replay.share for replay in replays]
    return "\n    ".join([*lines, f"epochs {sum(epochs) / len(epochs):.1%}, at most {max(epochs):.1%}"])


if __name__ == "__main__":
    main()

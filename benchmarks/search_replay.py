"""Does the pruned search find the winner of the full grid with a sixth of its epochs? Replays Convoy's search.

`results/search_table.json` (made by search_table.py) holds LeNet's validation accuracy after each of 27 epochs at 81
points. A replay is a complete search by convoy.studies.search.loop that reads the table instead of training; two
trainings run in parallel, one epoch each in turn. It succeeds if the winner is within 0.2 percentage points of the best
of the table and at most 15 % of its 2,187 epochs were trained.

A point has two accuracies: "final" after the last epoch, for which the bar is meant, and "kept" of its best epoch,
whose weights a run saves and by which the search selects. No point of this table is within 0.2 points of the best by
both: the standard error of 97.5 % on its 2,500 images is 0.3 points.

On a full grid, halving is random only in the order of two equal points. It is therefore also replayed on parts of the
grid with seven random batch sizes and seven random rates.

    python benchmarks/search_replay.py
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
AT_ONCE = 2
TOLERANCE = 0.002
SHARE_OF_EPOCHS = 0.15
PART = 7


class Replay(NamedTuple):
    final: float  # accuracy of the best minus that of the winner, after the last epoch
    kept: float  # the same, of the best epochs
    share: float  # of all epochs of the table

    def succeeds(self, by: str) -> bool:
        return self.share <= SHARE_OF_EPOCHS and getattr(self, by) <= TOLERANCE + 1e-9


class Table:
    """Accuracies by point, instead of a training."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        images = content["validation_images"]
        self.epochs: int = content["epochs"]
        self.paths = list(content["points"][0])
        self.rows = {
            tuple(point.values()): [correct / images for correct in row]
            for point, row in zip(content["points"], content["correct"], strict=True)
        }

    def part(self, seed: int) -> Table:
        """The points with some of the batch sizes and rates."""
        draw = random.Random(seed)
        kept = [set(draw.sample(sorted(set(column)), PART)) for column in zip(*self.rows, strict=True)]
        part = copy(self)
        part.rows = {
            point: row
            for point, row in self.rows.items()
            if all(value in column for value, column in zip(point, kept, strict=True))
        }
        return part

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
    ) -> Iterator[loop.Ended]:
        """Trains like convoy.studies.search.run: lazily, several in parallel, one epoch each in turn."""
        waiting = enumerate(recipes)
        running: dict[int, Iterator[loop.Ended]] = {}
        while True:
            while len(running) < AT_ONCE and (job := next(waiting, None)) is not None:
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
    ) -> Iterator[loop.Ended | None]:
        row = self.row(recipe)
        for epoch in range(1, until + 1):
            if prune is not None and prune(position, epoch, row[epoch - 1]):
                yield loop.Ended(position, State.PRUNED, row[:epoch], "")
                return
            if epoch < until:
                yield None
        yield loop.Ended(position, State.FINISHED if until == self.epochs else State.PRUNED, row[:until], "")


class Search(NamedTuple):
    """Settings of `convoy search`."""

    words: str
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
    used = sum(frozen.user_attrs["epochs"] for frozen in trials.known)
    return Replay(
        final=max(other[-1] for other in rows) - row[-1],
        kept=max(map(max, rows)) - max(row),
        share=used / (len(table.rows) * table.epochs),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--table", default=TABLE)
    parser.add_argument("--replays", type=int, default=100)
    arguments = parser.parse_args()
    table = Table(json.loads(Path(arguments.table).read_text()))
    print(
        f"{len(table.rows)} points x {table.epochs} epochs; a success: at most {SHARE_OF_EPOCHS:.0%} of the epochs, and"
    )
    print(f"within {100 * TOLERANCE:g} points of the best. {arguments.replays} replays each; in brackets: Wilson.\n")
    for search in SEARCHES:
        replays = [replay(table, search, seed) for seed in range(arguments.replays)]
        print(f"{search.words}\n    {_words(replays)}", flush=True)
    replays = [replay(table.part(seed), HALVING, seed) for seed in range(arguments.replays)]
    print(f"{HALVING.words}, on {PART} x {PART} points of the grid, drawn by the seed\n    {_words(replays)}")


def _words(replays: list[Replay]) -> str:
    parts = []
    for by in ("final", "kept"):
        share = wilson(sum(replay.succeeds(by) for replay in replays), len(replays))
        behind = sorted(100 * getattr(replay, by) for replay in replays)
        middle, most = behind[len(behind) // 2], behind[-1]
        parts.append(
            f"{by} {share.mean:.0%} ({share.low:.0%} to {share.high:.0%}), {middle:.2f} points behind in the median, "
            f"{most:.2f} at most"
        )
    epochs = [replay.share for replay in replays]
    return "\n    ".join([*parts, f"epochs {sum(epochs) / len(epochs):.1%}, at most {max(epochs):.1%}"])


if __name__ == "__main__":
    main()

"""The loop of a search with a simulated training: sampling, pruning, resuming after a kill."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from convoy.recipe import Recipe
from convoy.studies.search import loop as search_loop
from convoy.studies.search.finding import Pruner, Sampler, State
from convoy.studies.search.loop import Prune, Rung, TrialResult, Trials
from convoy.studies.search.space import Space, Values, axes_of

BASE = Recipe().override({"train.epochs": 9})
GRID = Space((Values("train.batch_size", (16, 32, 64)), Values("optim.lr", (1e-4, 1e-3, 1e-2))))


def accuracy(recipe: Recipe, epoch: int) -> float:
    """Highest at a rate of 0.001 and batch size 32. Smaller batches learn faster."""
    worth = 0.99 - 0.2 * abs(math.log10(recipe.optim.lr) + 3) - 0.01 * abs(math.log2(recipe.train.batch_size / 32))
    return worth * (1 - math.exp(-epoch * 32 / recipe.train.batch_size))


class Fake:
    """Trains one recipe after another, and is interrupted after a total of `breaks_after` epochs."""

    def __init__(self, curve: Callable[[Recipe, int], float] = accuracy, breaks_after: int = 10**9) -> None:
        self.curve, self.left = curve, breaks_after
        self.trained: dict[tuple[int, float], int] = {}  # epochs by point, as run folders would hold them
        self.epochs = 0

    def __call__(
        self, recipes: Iterable[Recipe], *, shown_from: int, until: int | None = None, prune: Prune | None = None
    ) -> Iterator[TrialResult]:
        for position, recipe in enumerate(recipes):
            point = recipe.train.batch_size, recipe.optim.lr
            state = self._train(position, recipe, point, until or recipe.train.epochs, prune)
            curve = [self.curve(recipe, epoch) for epoch in range(1, self.trained[point] + 1)]
            yield TrialResult(position, state, curve, "")
            if state is State.INTERRUPTED:
                return

    def _train(self, position: int, recipe: Recipe, point: tuple[int, float], until: int, prune: Prune | None) -> State:
        for epoch in range(self.trained.setdefault(point, 0) + 1, until + 1):
            if self.epochs == self.left:
                return State.INTERRUPTED
            self.trained[point], self.epochs = epoch, self.epochs + 1
            if prune is not None and prune(position, epoch, self.curve(recipe, epoch)):
                return State.PRUNED
        return State.FINISHED if until == recipe.train.epochs else State.PRUNED


def new_study(pruner: Pruner = Pruner.NONE, storage: optuna.storages.BaseStorage | None = None) -> optuna.Study:
    return optuna.create_study(
        study_name="search",
        direction="maximize",
        storage=storage,
        load_if_exists=True,
        pruner=search_loop.pruner(pruner, BASE.train.epochs),
    )


def trials_of(
    study: optuna.Study,
    space: Space = GRID,
    count: int | None = None,
    sampler: Sampler = Sampler.RANDOM,
    base: Recipe = BASE,
) -> Trials:
    return Trials(study, space, base, owner="here", count=count, by=sampler)


def stored(study: optuna.Study) -> list[tuple[object, ...]]:
    known = study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING))
    return [(str(t.params), t.state, t.values, t.intermediate_values, t.user_attrs.get("epochs")) for t in known]


@pytest.mark.parametrize(
    ("trials", "epochs", "expected"),
    [
        (81, 27, [(1, 81), (3, 27), (9, 9), (27, 3)]),
        (64, 15, [(2, 64), (5, 22), (15, 8)]),
        (9, 5, [(2, 9), (5, 3)]),
        (2, 27, [(27, 2)]),
        (9, 1, [(1, 9)]),
    ],
)
def test_each_rung_has_a_third_of_the_trials_up_to_the_number_of_epochs(trials, epochs, expected):
    assert search_loop.rungs(trials, epochs) == [Rung(*rung) for rung in expected]


def test_full_grid_without_a_pruner_trains_every_point():
    study, train = new_study(), Fake()

    assert search_loop.ask_in_turn(trials_of(study), train)

    assert list(train.trained.values()) == [9] * 9
    assert search_loop.winner(study).params == {"train.batch_size": 32, "optim.lr": 1e-3}


def test_halving_finds_the_best_with_a_fraction_of_the_epochs():
    study, train = new_study(), Fake()

    assert search_loop.halve(trials_of(study), train)

    assert sorted(train.trained.values()) == [1] * 6 + [3] * 2 + [9]
    assert search_loop.winner(study).params["optim.lr"] == 1e-3
    assert sum(trial.user_attrs["epochs"] for trial in study.trials) == train.epochs == 21


def test_a_diverged_trial_never_wins_and_is_never_promoted():
    def curve(recipe: Recipe, epoch: int) -> float:
        return 1.0 if recipe.optim.lr == 1e-2 else accuracy(recipe, epoch)

    class Diverging(Fake):
        def __call__(self, recipes, **options):
            listed = list(recipes)
            for ended in super().__call__(listed, **options):
                yield ended._replace(state=State.DIVERGED) if listed[ended.position].optim.lr == 1e-2 else ended

    study, train = new_study(), Diverging(curve)

    assert search_loop.halve(trials_of(study), train)

    assert search_loop.winner(study).params["optim.lr"] != 1e-2
    assert all(epochs == 1 for point, epochs in train.trained.items() if point[1] == 1e-2)


def test_search_is_an_error_if_all_trials_diverged():
    study = new_study()
    trial = study.ask(GRID.distributions)
    trial.set_user_attr("diverged", True)
    study.tell(trial, 0.0)

    with pytest.raises(ValueError, match="all 1 trials that were trained to the end diverged"):
        search_loop.winner(study)


@pytest.mark.parametrize("loop", [search_loop.halve, search_loop.ask_in_turn])
@pytest.mark.parametrize("breaks_after", [1, 5, 13, 20])
def test_an_interrupted_search_ends_like_an_uninterrupted_one_and_trains_no_epoch_twice(loop, breaks_after):
    uninterrupted, expected = new_study(Pruner.MEDIAN), Fake()
    assert loop(trials_of(uninterrupted), expected)

    storage = optuna.storages.InMemoryStorage()
    broken = Fake(breaks_after=breaks_after)
    assert not loop(trials_of(new_study(Pruner.MEDIAN, storage)), broken)
    broken.left = 10**9
    again = new_study(Pruner.MEDIAN, storage)
    assert loop(trials_of(again), broken)

    assert stored(again) == stored(uninterrupted)
    assert broken.epochs == expected.epochs


@pytest.mark.parametrize("sampler", Sampler)
def test_a_resumed_search_samples_like_an_uninterrupted_one(sampler):
    space = Space(axes_of(["train.batch_size=16,32,64"], ["optim.lr=1e-4..1e-1"]))
    uninterrupted = new_study()
    search_loop.ask_in_turn(trials_of(uninterrupted, space, 12, sampler), Fake())

    storage = optuna.storages.InMemoryStorage()
    broken = Fake(breaks_after=95)
    assert not search_loop.ask_in_turn(trials_of(new_study(storage=storage), space, 12, sampler), broken)
    broken.left = 10**9
    again = new_study(storage=storage)
    search_loop.ask_in_turn(trials_of(again, space, 12, sampler), broken)

    assert stored(again) == stored(uninterrupted)


def test_another_seed_samples_other_trials():
    drawn = []
    for seed in (1, 2):
        study = new_study()
        search_loop.ask_in_turn(trials_of(study, count=4, base=BASE.override({"seed": seed})), Fake())
        drawn.append([trial.params for trial in study.trials])

    assert drawn[0] != drawn[1]


def test_no_point_is_tried_twice_and_a_small_grid_ends_the_search():
    study, train = new_study(), Fake()

    assert search_loop.ask_in_turn(trials_of(study, count=50, sampler=Sampler.TPE), train)

    assert len(train.trained) == len(trials_of(study, count=50).frozen) == GRID.size


@pytest.mark.parametrize("sampler", [Sampler.RANDOM, Sampler.TPE])
@pytest.mark.parametrize("seed", [0, 1, 42])
def test_every_point_of_a_range_of_integers_is_tried(sampler: Sampler, seed: int):
    space = Space(axes_of((), ("train.batch_size=1..10",)))
    study, base = new_study(), BASE.override({"seed": seed})

    assert search_loop.ask_in_turn(trials_of(study, space, count=8, sampler=sampler, base=base), Fake())
    assert len(stored(study)) == 8

    assert search_loop.ask_in_turn(trials_of(study, space, count=50, sampler=sampler, base=base), Fake())
    assert sorted(trial.params["train.batch_size"] for trial in trials_of(study, space).frozen) == [*range(1, 11)]


def test_more_trials_continue_the_search():
    study, train = new_study(), Fake()
    search_loop.ask_in_turn(trials_of(study, count=3), train)
    before = stored(study)

    search_loop.ask_in_turn(trials_of(study, count=6), train)

    assert stored(study)[:3] == before
    assert len(stored(study)) == 6


def test_a_trial_of_another_owner_is_not_changed():
    study = new_study()
    theirs = Trials(study, GRID, BASE, owner="there", count=None, by=Sampler.RANDOM).next()
    train = Fake()

    assert search_loop.ask_in_turn(trials_of(study), train)

    assert len(train.trained) == 8
    assert study.trials[theirs.number].state == TrialState.RUNNING


def test_hyperband_saves_epochs_and_finds_a_good_winner():
    study, train = new_study(Pruner.HYPERBAND), Fake()

    assert search_loop.ask_in_turn(trials_of(study), train)

    assert train.epochs < 9 * 9
    assert search_loop.winner(study).params["optim.lr"] == 1e-3


def test_halving_finds_the_best_of_a_stored_grid_with_a_ninth_of_its_epochs():
    table = json.loads((Path(__file__).parents[2] / "benchmarks" / "results" / "search_table.json").read_text())
    rows = {tuple(point.values()): row for point, row in zip(table["points"], table["correct"], strict=True)}
    columns = [tuple(sorted(set(column))) for column in zip(*rows, strict=True)]
    grid = Space((Values("train.batch_size", columns[0]), Values("optim.lr", columns[1])))
    base = BASE.override({"train.epochs": table["epochs"]})
    study = new_study()
    trials = trials_of(study, grid, base=base)

    def curve(recipe: Recipe, epoch: int) -> float:
        return rows[recipe.train.batch_size, recipe.optim.lr][epoch - 1] / table["validation_images"]

    train = Fake(curve)
    search_loop.halve(trials, train)

    best = trials.recipe(search_loop.winner(study))
    final = {point: row[-1] for point, row in rows.items()}
    assert final[best.train.batch_size, best.optim.lr] == max(final.values())
    assert train.epochs == 243  # of 2,187

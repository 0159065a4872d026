"""The search's own loop, over a storage of trials (Optuna's ask and tell) and whatever trains a recipe.

What trains is handed in, so that benchmarks/search_replay.py can put a stored table in the place of the training. All
that the loop knows lies in the storage: a search that was killed is one that has just been opened.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.trial import FrozenTrial, Trial, TrialState

from convoy.randomness import derive_seed
from convoy.recipe import Recipe
from convoy.studies.space import MOST_POINTS, Space

SAMPLERS = ("tpe", "random", "gp")
PRUNERS = ("halving", "hyperband", "median", "none")
FACTOR = 3  # by which halving and hyperband thin out the trials, and lengthen what is left of them
DUPLICATES = 100  # suggestions in a row that were there before, until a search gives up

optuna.logging.set_verbosity(optuna.logging.WARNING)  # Convoy says itself how a search goes on
warnings.filterwarnings("ignore", category=ExperimentalWarning, module="optuna")


State = Literal["finished", "pruned", "diverged", "interrupted"]


class Ended(NamedTuple):
    """What became of the training at a position of what was given."""

    position: int
    state: State
    accuracies: list[float]  # on the part that scores, by epoch, as far as it was trained
    run: str  # its folder


class Prune(Protocol):
    """Whether the training at this position is to end for good after this epoch."""

    def __call__(self, position: int, epoch: int, accuracy: float) -> bool: ...


class Train(Protocol):
    def __call__(
        self, recipes: Iterable[Recipe], *, shown_from: int, until: int | None = None, prune: Prune | None = None
    ) -> Iterator[Ended]:
        """Trains recipes, lazily taken, some at a time; each to its end, to `until` epochs, or until `prune` says so.

        `shown_from` is the place of the first one among all that the search shows.
        """


def sampler(name: str, seed: int) -> optuna.samplers.BaseSampler:
    if name == "tpe":
        return optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)
    return optuna.samplers.GPSampler(seed=seed) if name == "gp" else optuna.samplers.RandomSampler(seed=seed)


def pruner(name: str, epochs: int) -> optuna.pruners.BasePruner:
    if name == "hyperband":
        return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=epochs, reduction_factor=FACTOR)
    # Not before a ninth of the epochs: a network at a low rate has not begun to learn in its first.
    return optuna.pruners.MedianPruner(n_warmup_steps=epochs // 9) if name == "median" else optuna.pruners.NopPruner()


class Trials:
    """The trials of one search in its storage. `count` of them, or all points of the space where it is None."""

    def __init__(
        self, study: optuna.Study, space: Space, base: Recipe, *, owner: str, count: int | None, sampler_name: str
    ) -> None:
        self.study, self.space, self.base, self.owner = study, space, base, owner
        self.is_grid = count is None
        sizes = [size for size in (count, space.size) if size is not None]
        self.count = min(sizes)
        self._sampler = sampler_name
        self._left_running = [frozen for frozen in self.known if self._is_ours(frozen)]
        if self.is_grid:
            self._lay_out_grid()

    @property
    def known(self) -> list[FrozenTrial]:
        """In the order of their numbers; without those that only repeated another."""
        states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
        return self.study.get_trials(deepcopy=False, states=states)

    def next(self) -> Trial | None:
        """One that was cut off, with the parameters that it had, else a new one; None where there are enough."""
        if self._left_running:
            return Trial(self.study, self._left_running.pop(0)._trial_id)
        for _ in range(DUPLICATES):
            known = self.known
            if len(known) >= self.count:
                return None
            # A fresh sampler for each: what it draws then hangs on the draws before, and on nothing that a kill loses.
            drawn = len(self.study.get_trials(deepcopy=False))
            self.study.sampler = sampler(self._sampler, derive_seed(self.base.seed, "sampler", drawn))
            trial = self.study.ask(self.space.distributions)
            is_stray = self.is_grid and "point" not in trial.user_attrs  # another process took the grid's last point
            if not is_stray and all(other.params != trial.params for other in known):
                trial.set_user_attr("owner", self.owner)
                return trial
            self.study.tell(trial, state=TrialState.FAIL)
            self._propose_untried([other.params for other in known])
        return None

    def recipe(self, trial: Trial | FrozenTrial) -> Recipe:
        return self.base.override(self.space.overrides(trial.params))

    def end(self, trial: Trial, ended: Ended) -> None:
        """An interrupted trial stays as it is: the next search in this folder finds it running, and goes on."""
        if ended.state == "interrupted":
            return
        trial.set_user_attr("epochs", len(ended.accuracies))
        trial.set_user_attr("run", ended.run)
        if ended.state == "pruned":
            self.study.tell(trial, state=TrialState.PRUNED)
            return
        report(trial, ended.accuracies)
        trial.set_user_attr("diverged", ended.state == "diverged")
        self.study.tell(trial, 0.0 if ended.state == "diverged" else max(ended.accuracies, default=0.0))

    def _is_ours(self, frozen: FrozenTrial) -> bool:
        return frozen.state == TrialState.RUNNING and frozen.user_attrs.get("owner", "") == self.owner

    def _lay_out_grid(self) -> None:
        there = {frozen.user_attrs.get("point") for frozen in self.study.get_trials(deepcopy=False)}
        for place, point in enumerate(self.space.points(derive_seed(self.base.seed, "grid"))):
            if place not in there:
                self.study.enqueue_trial(point, user_attrs={"point": place})

    def _propose_untried(self, tried: Sequence[dict[str, Any]]) -> None:
        """Samplers repeat themselves on a small grid; a point that was trained already teaches nothing."""
        if self.space.size is None or self.space.size > MOST_POINTS or self.is_grid:
            return
        seed = derive_seed(self.base.seed, "untried", len(tried))
        untried = next((point for point in self.space.points(seed) if point not in tried), None)
        if untried is not None:
            self.study.enqueue_trial(untried)


def report(trial: Trial, accuracies: Sequence[float]) -> None:
    """The best accuracy so far, epoch by epoch, which is that of the weights that a run keeps."""
    told = _values(trial)
    best = 0.0
    for epoch, accuracy in enumerate(accuracies, start=1):
        best = max(best, accuracy)
        if epoch not in told:
            trial.report(best, epoch)


def ask_in_turn(trials: Trials, train: Train) -> bool:
    """A new trial is asked for whenever there is room for one; Optuna's pruner decides after each epoch.

    False where it was interrupted.
    """
    asked: list[Trial] = []
    best: dict[int, float] = {}
    goes_on = True

    def recipes() -> Iterator[Recipe]:
        while (trial := trials.next()) is not None:
            asked.append(trial)
            yield trials.recipe(trial)

    def prune(position: int, epoch: int, accuracy: float) -> bool:
        trial = asked[position]
        told = _values(trial)
        best[position] = max(accuracy, best.get(position, 0.0), *told.values())
        if epoch not in told:
            trial.report(best[position], epoch)
        return epoch < trials.base.train.epochs and trial.should_prune()

    done = sum(frozen.state.is_finished() for frozen in trials.known)
    for ended in train(recipes(), shown_from=done, prune=prune):
        trials.end(asked[ended.position], ended)
        goes_on = goes_on and ended.state != "interrupted"
    return goes_on


class Rung(NamedTuple):
    until: int  # epochs
    trials: int  # that are trained so far


def rungs(trials: int, epochs: int) -> list[Rung]:
    """Successive halving (Jamieson and Talwalkar 2016), by thirds: of 27 epochs 81 trials get 1, the best 27 of them 3,
    the best 9 of those 9, and 3 all."""
    times = min(int(math.log(trials, FACTOR) + 1e-9), int(math.log(epochs, FACTOR) + 1e-9)) if trials > 1 else 0
    return [
        Rung(max(1, round(epochs / FACTOR ** (times - step))), math.ceil(trials / FACTOR**step))
        for step in range(times + 1)
    ]


def halve(trials: Trials, train: Train) -> bool:
    """All trials to a first few epochs, the best third of them to three times as many, and so on, rung by rung.

    A run that is left behind pauses, and goes on from its checkpoint. What is trained hangs on nothing but the recipes:
    not on how many are trained at a time, nor on where a search was cut off. False where it was interrupted.
    """
    while trials.next() is not None:
        pass
    alive = [Trial(trials.study, frozen._trial_id) for frozen in trials.known]
    shown_from, looked_at = 0, 0
    for rung in rungs(len(alive), trials.base.train.epochs):
        ranked = sorted(alive, key=lambda trial: -standing(_now(trial), looked_at))  # stable: a tie goes by number
        alive, left = ranked[: rung.trials], ranked[rung.trials :]
        for trial in left:
            if _now(trial).state == TrialState.RUNNING:
                trials.study.tell(trial, state=TrialState.PRUNED)
        if not _climb(alive, rung.until, trials, train, shown_from):
            return False
        shown_from, looked_at = shown_from + rung.trials, rung.until
    return True


def _climb(alive: Sequence[Trial], until: int, trials: Trials, train: Train, shown_from: int) -> bool:
    """Trains them to this epoch, where they are not there yet."""
    behind = [trial for trial in alive if _now(trial).state == TrialState.RUNNING and until not in _values(trial)]
    goes_on = True
    for ended in train(map(trials.recipe, behind), shown_from=shown_from, until=until):
        trial = behind[ended.position]
        if ended.state == "pruned":
            trial.set_user_attr("epochs", until)
            trial.set_user_attr("run", ended.run)
            report(trial, ended.accuracies[:until])
        else:
            trials.end(trial, ended)
            goes_on = goes_on and ended.state != "interrupted"
    return goes_on


def winner(study: optuna.Study) -> FrozenTrial:
    """The best of those trained to the end; of equals the first. Raises ValueError where there is none."""
    ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    sound = [frozen for frozen in ended if not frozen.user_attrs["diverged"]]
    if not sound:
        raise ValueError(f"all {len(ended)} trials that were trained to the end diverged: search lower learning rates")
    return max(sound, key=lambda frozen: (frozen.values[0], -frozen.number))


def standing(frozen: FrozenTrial, epoch: int) -> float:
    """The best accuracy up to an epoch; what diverged stands below all."""
    if frozen.user_attrs.get("diverged"):
        return -1.0
    return max((value for step, value in frozen.intermediate_values.items() if step <= epoch), default=0.0)


def _now(trial: Trial) -> FrozenTrial:
    return trial.storage.get_trial(trial._trial_id)


def _values(trial: Trial) -> dict[int, float]:
    return _now(trial).intermediate_values

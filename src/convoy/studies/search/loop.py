"""The loop of a search. It uses a storage of trials (Optuna's ask-and-tell interface) and a function that trains
recipes.

benchmarks/search_replay.py passes a stored table instead of training. All state is in the storage, so that a killed
search is resumed by opening it.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from convoy.randomness import derive_seed
from convoy.recipe import Recipe
from convoy.studies.search import finding
from convoy.studies.search.finding import Importance, Pruner, Sampler, State
from convoy.studies.search.space import MAX_POINTS, Point, Space
from convoy.text import gettext as _

FACTOR = 3  # halving and hyperband keep 1/FACTOR of the trials and train them FACTOR times as long
DUPLICATES = 100  # consecutive repeated suggestions after which the search ends
MIN_FINISHED = 10  # trials trained to the end; with fewer, the importance uses all trials

optuna.logging.set_verbosity(optuna.logging.WARNING)  # Convoy reports the progress itself
warnings.filterwarnings("ignore", category=ExperimentalWarning, module="optuna")


class TrialResult(NamedTuple):
    """The result of one trial's training."""

    position: int
    state: State
    accuracies: list[float]  # on the scored part, one per trained epoch
    run: str  # the name of its folder


# Arguments: position, epoch, accuracy. Returns whether the trial is pruned after this epoch.
Prune = Callable[[int, int, float], bool]


class Train(Protocol):
    def __call__(
        self, recipes: Iterable[Recipe], *, shown_from: int, until: int | None = None, prune: Prune | None = None
    ) -> Iterator[TrialResult]:
        """Trains a lazy iterable of recipes, several in parallel, each to the end, for `until` epochs, or until it is
        pruned.

        `shown_from`: position of the first one in the progress display.
        """


def sampler(kind: Sampler, seed: int) -> optuna.samplers.BaseSampler:
    match kind:
        case Sampler.TPE:
            return optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)
        case Sampler.GP:
            return optuna.samplers.GPSampler(seed=seed)
        case Sampler.RANDOM:
            return optuna.samplers.RandomSampler(seed=seed)


def pruner(kind: Pruner, epochs: int) -> optuna.pruners.BasePruner:
    """Returns Optuna's pruner. Halving is implemented in `halve` instead."""
    match kind:
        case Pruner.HYPERBAND:
            return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=epochs, reduction_factor=FACTOR)
        case Pruner.MEDIAN:  # after a ninth of the epochs, because networks with a low rate learn slowly at first
            return optuna.pruners.MedianPruner(n_warmup_steps=epochs // 9)
        case Pruner.HALVING | Pruner.NONE:
            return optuna.pruners.NopPruner()


class Trials:
    """The trials of one search in its storage. `count`: None for all points of the space."""

    def __init__(
        self, study: optuna.Study, space: Space, base: Recipe, *, owner: str, count: int | None, by: Sampler
    ) -> None:
        self.study, self.space, self.base, self.owner = study, space, base, owner
        self.is_grid = count is None
        self.count = min(size for size in (count, space.size) if size is not None)
        self._sampler = by
        running = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        own = [frozen for frozen in running if frozen.user_attrs.get("owner", "") == owner]
        self._left_running = [frozen for frozen in own if self._has_parameters(frozen)]
        self._incomplete = [frozen for frozen in own if not self._has_parameters(frozen)]
        if self.is_grid:
            self._lay_out_grid()

    @property
    def frozen(self) -> list[FrozenTrial]:
        """Returns the trials ordered by number, without repeated points and without those that lack a parameter."""
        states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
        return [
            frozen for frozen in self.study.get_trials(deepcopy=False, states=states) if self._has_parameters(frozen)
        ]

    def _has_parameters(self, frozen: FrozenTrial) -> bool:
        """False if the process was killed between two parameters, because Optuna stores them one after the other."""
        return self.space.distributions.keys() <= frozen.params.keys()

    def next(self) -> Trial | None:
        """Returns an unfinished trial with its parameters, otherwise a new one; None if there are enough."""
        if self._left_running:
            return Trial(self.study, self._left_running.pop(0)._trial_id)
        for _attempt in range(DUPLICATES):
            points = self.frozen
            if len(points) >= self.count:
                return None
            trial = self._ask()
            is_stray = self.is_grid and "point" not in trial.user_attrs  # another process took the last point
            if not is_stray and all(other.params != trial.params for other in points):
                trial.set_user_attr("owner", self.owner)
                return trial
            self.study.tell(trial, state=TrialState.FAIL)
            self._propose_untried([other.params for other in points])
        return None

    def _ask(self) -> Trial:
        """Returns a new trial, or an incomplete one with all its parameters.

        A new sampler for each trial depends only on the stored trials, so that a killed search can resume.
        """
        incomplete = self._incomplete.pop(0) if self._incomplete else None
        number = len(self.study.get_trials(deepcopy=False)) if incomplete is None else incomplete.number
        self.study.sampler = sampler(self._sampler, derive_seed(self.base.seed, "sampler", number))
        if incomplete is None:
            return self.study.ask(self.space.distributions)
        trial = Trial(self.study, incomplete._trial_id)
        trial._cached_frozen_trial.params, trial._cached_frozen_trial.distributions = (
            {},
            {},
        )  # all are sampled again
        for path, distribution in self.space.distributions.items():
            trial._suggest(path, distribution)
        return trial

    def recipe(self, trial: Trial | FrozenTrial) -> Recipe:
        return self.base.override(self.space.overrides(trial.params))

    def end(self, trial: Trial, ended: TrialResult) -> None:
        """Stores the result. An interrupted trial stays in state running; the next call resumes it."""
        if ended.state is State.INTERRUPTED:
            return
        trial.set_user_attr("epochs", len(ended.accuracies))
        trial.set_user_attr("run", ended.run)
        if ended.state is State.PRUNED:
            self.study.tell(trial, state=TrialState.PRUNED)
            return
        report(trial, ended.accuracies)
        trial.set_user_attr("diverged", ended.state is State.DIVERGED)
        self.study.tell(trial, 0.0 if ended.state is State.DIVERGED else max(ended.accuracies, default=0.0))

    def results(self, folder: Path) -> list[finding.Trial]:
        """Returns the trials in the order of `frozen`, with runs relative to `folder`, the study's folder."""

        def result(number: int, frozen: FrozenTrial) -> finding.Trial:
            run = f"../../runs/{run_name(frozen)}"
            pruned = frozen.state == TrialState.PRUNED
            return finding.Trial(
                number=number,
                params=dict(self.space.overrides(frozen.params)),
                accuracy=accuracy_of(frozen),
                epochs=frozen.user_attrs["epochs"],
                state=State.DIVERGED if has_diverged(frozen) else State.PRUNED if pruned else State.FINISHED,
                run=run if (folder / run).is_dir() else None,
            )

        return [result(number, frozen) for number, frozen in enumerate(self.frozen, start=1)]

    def _lay_out_grid(self) -> None:
        enqueued = {frozen.user_attrs.get("point") for frozen in self.study.get_trials(deepcopy=False)}
        for place, point in enumerate(self.space.points(derive_seed(self.base.seed, "grid"))):
            if place not in enqueued:
                self.study.enqueue_trial(point, user_attrs={"point": place})

    def _propose_untried(self, tried: Sequence[Point]) -> None:
        """Enqueues a new point of a small grid, because samplers often repeat points there."""
        if self.space.size is None or self.space.size > MAX_POINTS or self.is_grid:
            return
        seed = derive_seed(self.base.seed, "untried", len(tried))
        untried = next((point for point in self.space.points(seed) if point not in tried), None)
        if untried is not None:
            self.study.enqueue_trial(untried)


def report(trial: Trial, accuracies: Sequence[float]) -> None:
    """Reports for each epoch the best accuracy so far: the accuracy of the saved weights."""
    reported = _values(trial)
    best = 0.0
    for epoch, accuracy in enumerate(accuracies, start=1):
        best = max(best, accuracy)
        if epoch not in reported:
            trial.report(best, epoch)


def ask_in_turn(trials: Trials, train: Train) -> bool:
    """Asks for a new trial whenever a worker is free. Optuna's pruner decides after each epoch.

    Returns False if interrupted.
    """
    started: list[Trial] = []
    complete = True

    def recipes() -> Iterator[Recipe]:
        while (trial := trials.next()) is not None:
            started.append(trial)
            yield trials.recipe(trial)

    def prune(position: int, epoch: int, accuracy: float) -> bool:
        trial = started[position]
        reported = _values(trial)
        if epoch not in reported:
            trial.report(max([accuracy, *reported.values()]), epoch)
        return epoch < trials.base.train.epochs and trial.should_prune()

    done = sum(frozen.state.is_finished() for frozen in trials.frozen)
    for ended in train(recipes(), shown_from=done, prune=prune):
        trials.end(started[ended.position], ended)
        complete = complete and ended.state is not State.INTERRUPTED
    return complete


class Rung(NamedTuple):
    until: int  # epochs
    trials: int  # trials that reach this rung


def rungs(trials: int, epochs: int) -> list[Rung]:
    """Successive halving (Jamieson and Talwalkar 2016) with factor 3.

    Of 81 trials with 27 epochs, all train for 1 epoch, the best 27 for 3, the best 9 for 9, and the best 3 for 27.
    """
    times = min(int(math.log(trials, FACTOR) + 1e-9), int(math.log(epochs, FACTOR) + 1e-9)) if trials > 1 else 0
    return [
        Rung(max(1, round(epochs / FACTOR ** (times - step))), math.ceil(trials / FACTOR**step))
        for step in range(times + 1)
    ]


def halve(trials: Trials, train: Train) -> bool:
    """Trains all trials for a few epochs, the best third for three times as many, and so on, rung by rung.

    A promoted run resumes from its checkpoint. The result depends only on the recipes, not on the number of workers or
    on interruptions. Returns False if interrupted.
    """
    while trials.next() is not None:
        pass
    alive = [Trial(trials.study, frozen._trial_id) for frozen in trials.frozen]
    shown_from, until = 0, 0
    for rung in rungs(len(alive), trials.base.train.epochs):
        ranked = sorted(alive, key=lambda trial: -best_until(_now(trial), until))  # ties keep their order
        alive, left = ranked[: rung.trials], ranked[rung.trials :]
        for trial in left:
            if _now(trial).state == TrialState.RUNNING:
                trials.study.tell(trial, state=TrialState.PRUNED)
        if not _climb(alive, rung.until, trials, train, shown_from):
            return False
        shown_from, until = shown_from + rung.trials, rung.until
    return True


def _climb(alive: Sequence[Trial], until: int, trials: Trials, train: Train, shown_from: int) -> bool:
    """Trains the trials to epoch `until`, except those that already reached it."""
    behind = [trial for trial in alive if _now(trial).state == TrialState.RUNNING and until not in _values(trial)]
    complete = True
    for ended in train(map(trials.recipe, behind), shown_from=shown_from, until=until):
        trial = behind[ended.position]
        if ended.state is State.PRUNED:
            trial.set_user_attr("epochs", until)
            trial.set_user_attr("run", ended.run)
            report(trial, ended.accuracies[:until])
        else:
            trials.end(trial, ended)
            complete = complete and ended.state is not State.INTERRUPTED
    return complete


def winner(study: optuna.Study) -> FrozenTrial:
    """Returns the best fully trained trial; the first if several are equal. Raises ValueError if all diverged."""
    ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    scored = [frozen for frozen in ended if not has_diverged(frozen)]
    if not scored:
        raise ValueError(
            _("all {n} trials that were trained to the end diverged: search lower learning rates", n=len(ended))
        )
    return max(scored, key=lambda frozen: (frozen.values[0], -frozen.number))


def best_until(frozen: FrozenTrial, epoch: float) -> float:
    """Returns the best accuracy up to an epoch; -1 for a diverged trial."""
    if has_diverged(frozen):
        return -1.0
    return max((value for step, value in frozen.intermediate_values.items() if step <= epoch), default=0.0)


def accuracy_of(frozen: FrozenTrial) -> float:
    """Returns the accuracy of the trial's best epoch; 0 for a diverged trial."""
    return max(0.0, best_until(frozen, math.inf))


def has_diverged(frozen: FrozenTrial) -> bool:
    return bool(frozen.user_attrs.get("diverged"))


def run_name(frozen: FrozenTrial) -> str:
    """Storages of version 0.1.0 contain the absolute path of the run."""
    return Path(frozen.user_attrs.get("run", "")).name


def importance_of(trials: Sequence[FrozenTrial]) -> Importance | None:
    """Computes fANOVA over the trials that did not diverge. Returns None if too few of them differ."""
    scored = [frozen for frozen in trials if not has_diverged(frozen)]
    finished = [frozen for frozen in scored if frozen.state == TrialState.COMPLETE]
    only_finished = len(finished) >= MIN_FINISHED
    copies = [
        create_trial(params=frozen.params, distributions=frozen.distributions, value=accuracy_of(frozen))
        for frozen in (finished if only_finished else scored)
    ]
    varied = [path for path in copies[0].params if len({repr(copy.params[path]) for copy in copies}) > 1]
    if len(varied) < 2 or len({copy.value for copy in copies}) < 2:
        return None
    study = optuna.create_study(direction="maximize")
    study.add_trials(copies)
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    shares = optuna.importance.get_param_importances(study, evaluator=evaluator, params=varied, normalize=False)
    return Importance(dict(shares), len(copies), only_finished)


def _now(trial: Trial) -> FrozenTrial:
    return trial.storage.get_trial(trial._trial_id)


def _values(trial: Trial) -> dict[int, float]:
    return _now(trial).intermediate_values

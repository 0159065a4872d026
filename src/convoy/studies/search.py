"""The search: which values of some keys of a recipe give the highest validation accuracy?

Trials are scored on validation with the test set shut. What wins is trained again with fresh seeds, and only those runs
open the test set: the score of the best of many trials is too high, the more so the more trials there were. A recipe
with the fault selection_on_test has its trials scored on the test set, as some published searches were.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import filelock
import optuna
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from convoy.files import write_bytes, write_json
from convoy.recipe import Recipe
from convoy.registry import unknown
from convoy.runs import Run, Study, Workspace, file_name, model_label
from convoy.studies import search_loop
from convoy.studies.execute import Where, choose, execute
from convoy.studies.search_finding import conclude, said
from convoy.studies.search_loop import Ended, Prune, State, Trials
from convoy.studies.space import Space
from convoy.studies.train_all import Entry, train_all
from convoy.training import faults
from convoy.training.plan import Plan, plan_all
from convoy.training.run_one import Event

WINNER = "winner.toml"


@dataclass(frozen=True)
class Search:
    """What is asked of a search. `trials` is None for the full grid; `seeds` are those of the winner."""

    base: Recipe
    space: Space
    trials: int | None
    sampler: str
    pruner: str
    seeds: int
    called: str | None = None  # None: by its model's name

    def __post_init__(self) -> None:
        for kind, name, known in (
            ("sampler", self.sampler, search_loop.SAMPLERS),
            ("pruner", self.pruner, search_loop.PRUNERS),
        ):
            if name not in known:
                raise unknown(kind, name, known)
        if self.trials is None and not self.space.is_grid:
            raise ValueError("a range has no full grid: give the number of --trials, or a --grid")
        if (self.trials is not None and self.trials < 2) or self.space.size == 1:
            raise ValueError("a search needs two trials or more")
        if self.trials is None and self.sampler != "random":
            raise ValueError(f"the sampler {self.sampler} chooses points, and a full grid takes all: give --trials")
        if self.seeds < 1:
            raise ValueError(f"seeds = {self.seeds}: the winner needs at least one fresh seed")
        if self.pruner != "none" and "train.epochs" in self.space.paths:
            raise ValueError(f"train.epochs with the pruner {self.pruner}, which counts in epochs: give --pruner none")
        if self.pruner == "halving" and self.sampler != "random" and self.trials is not None:
            raise ValueError(f"the pruner halving begins all trials at once: {self.sampler} could learn from none")

    @property
    def count(self) -> int:
        return min(size for size in (self.trials, self.space.size) if size is not None)

    @property
    def label(self) -> str:
        return self.called or model_label(self.base)

    @property
    def scored_on(self) -> str:
        """The part that scores the trials: the test set where the recipe names the fault that lets it select."""
        return self.plans[0].selection or ""

    @property
    def names(self) -> list[str]:
        """Of all that is trained, in the order of the positions that the search shows."""
        winners = [f"winner, seed {seed}" for seed in self.fresh_seeds]
        if self.pruner != "halving":
            return [*(f"trial {number} of {self.count}" for number in range(1, self.count + 1)), *winners]
        climbed = search_loop.rungs(self.count, self.base.train.epochs)
        tried = [f"to epoch {r.until}: {number} of {r.trials}" for r in climbed for number in range(1, r.trials + 1)]
        return [*tried, *winners]

    @property
    def fresh_seeds(self) -> list[int]:
        return [self.base.seed + 1 + offset for offset in range(self.seeds)]

    @cached_property
    def plans(self) -> list[Plan]:
        """Recipes that hold every value once, made ready. Raises ValueError for one that cannot be trained."""
        points, plans = self.space.check(self.base), []
        try:
            for ready in plan_all(recipe for _, recipe in points):
                plans.append(ready)
        except ValueError as error:
            raise ValueError(f"at {said(dict(points[len(plans)][0]))}: {error}") from error
        if plans[0].selection is None:
            raise ValueError("a search scores on the validation part, and data.split.validation is 0")
        faults.check_test_closed(self.base, allowed=("selection_on_test",))
        return plans

    @property
    def name(self) -> str:
        """More trials go on with the same search; only halving has to know beforehand how many there are."""
        asked = [self.space.paths, self.sampler, self.pruner, *([self.count] if self.pruner == "halving" else [])]
        told = [*(axis.as_json() for axis in self.space.axes), *asked, self.trials is None, self.plans[0].fingerprint]
        return file_name(f"search-{self.label}-{hashlib.sha256(json.dumps(told).encode()).hexdigest()[:8]}")


def asked(
    base: Recipe,
    space: Space,
    *,
    trials: int | None,
    sampler: str | None,
    pruner: str | None,
    seeds: int,
    called: str | None = None,
) -> Search:
    """With what was not said: a full grid is halved; of trials that are drawn, each is chosen by those before."""
    if pruner is None:
        pruner = "none" if "train.epochs" in space.paths else "halving" if trials is None else "hyperband"
    if sampler is None:
        sampler = "random" if pruner == "halving" or trials is None else "tpe"
    return Search(base, space, trials, sampler, pruner, seeds, called)


def search(
    asked: Search,
    out: str | Path,
    *,
    storage: str | None = None,
    command: str,
    test: bool = True,
    interrupted: Callable[[], bool] = lambda: False,
    show: Callable[[int, Event], None] = lambda position, event: None,
) -> Study | None:
    """Searches, trains the winner with fresh seeds and concludes; None where it was interrupted, to go on when called
    again. Raises ValueError, before anything is written, for what cannot be searched."""
    where = _choose(asked)
    if not test:
        faults.check_test_closed(asked.base)
    folder = Workspace(out).folder("studies", asked.name)
    with _alone(folder):
        trials = Trials(
            _open(asked, folder, storage),
            asked.space,
            asked.base,
            owner="" if storage is None else f"{platform.node()}:{folder.resolve()}",
            count=asked.trials,
            sampler_name=asked.sampler,
        )
        owners = {frozen.user_attrs.get("owner", "") for frozen in trials.known}
        if asked.pruner == "halving" and owners - {trials.owner}:
            raise ValueError("another process is at this search, and halving, which compares all trials, is not shared")
        first = len(asked.names) - asked.seeds  # of the winner's runs

        def tell(position: int, event: Event) -> None:
            """Trials that an earlier call asked for, and this one does not, go on under the name of the last."""
            show(min(position, first - 1), event)

        loop = search_loop.halve if asked.pruner == "halving" else search_loop.ask_in_turn
        if not loop(trials, _Training(out, where, asked.scored_on, interrupted, tell)) or interrupted():
            return None
        known = trials.known
        if any(not frozen.state.is_finished() for frozen in known):
            raise ValueError("the last trials are with other processes: the one that ends last concludes")
        best = search_loop.winner(trials.study)
        winner = trials.recipe(best)
        entries = [Entry(asked.label, winner.override({"seed": seed})) for seed in asked.fresh_seeds]
        members = train_all(
            entries, out, test=test, interrupted=interrupted, show=lambda place, event: show(first + place, event)
        )
        if members is None:
            return None
        study = Workspace(out).write_study(asked.name, {"kind": "search", "command": command}, members)
        about = f"{asked.base.about}; the winner of {asked.name}".removeprefix("; ")
        write_bytes(folder / WINNER, winner.override({"about": about}).to_toml().encode())
        openings = Workspace(out).openings_by({Path(frozen.user_attrs.get("run", "")).name for frozen in known})
        finding = conclude(asked, known, best, members, folder, at_once=where == "processes", openings=openings)
        write_json(folder / "finding.json", finding)
        return study


def _choose(asked: Search) -> Where:
    """By all that is asked, also where little is left: what ran in a worker differs in bits from what ran here."""
    images = len(asked.plans[0].prepared.train) * asked.base.train.epochs * asked.count
    return choose([ready.recipe for ready in asked.plans], images)


class _Training:
    """Trains for the loop: runs in OUT/runs, found again by their fingerprints."""

    def __init__(
        self,
        out: str | Path,
        where: Where,
        scored_on: str,
        interrupted: Callable[[], bool],
        show: Callable[[int, Event], None],
    ) -> None:
        self._out, self._where, self._interrupted, self._show = out, where, interrupted, show
        self._accuracy = f"{scored_on}_accuracy"  # in the line of an epoch

    def __call__(
        self, recipes: Iterable[Recipe], *, shown_from: int, until: int | None = None, prune: Prune | None = None
    ) -> Iterator[Ended]:
        def wanted(position: int, event: Event) -> bool:
            return prune is not None and prune(position, event.values["epoch"], event.values[self._accuracy])

        events = execute(
            recipes,
            self._out,
            where=self._where,
            test="by fault",
            until=until,
            interrupted=self._interrupted,
            prune=wanted,
        )
        for position, event in events:
            self._show(shown_from + position, event)
            if event.kind == "end":
                yield self._ended(position, Run(Path(event.values["run"])))

    def _ended(self, position: int, run: Run) -> Ended:
        has_diverged = run.finished and run.status["reason"].startswith("diverged")
        state: State = "diverged" if has_diverged else "finished" if run.finished else "interrupted"
        if run.state == "pruned":
            state = "pruned"
        accuracies = [line[self._accuracy] for line in run.metrics]
        return Ended(position, state, accuracies, str(run.path.resolve()))


def _open(asked: Search, folder: Path, url: str | None) -> optuna.Study:
    """The search's trials. Raises ValueError for a storage that cannot be reached."""
    own = folder / "optuna.db" if url is None else None
    url = url or f"sqlite:///{(folder / 'optuna.db').resolve()}"
    attempts_left = 2
    while True:
        try:
            return optuna.create_study(
                storage=url,
                study_name=folder.name,
                direction="maximize",
                pruner=search_loop.pruner(asked.pruner, asked.base.train.epochs),
                load_if_exists=True,
            )
        except (SQLAlchemyError, ImportError, RuntimeError) as error:
            if not (isinstance(error, OperationalError) and attempts_left):
                hidden = re.sub(r"//[^@/]*@", "//...@", url)  # a password
                said = str(error).partition("\n")[0] or type(error).__name__
                if own is not None:
                    raise ValueError(
                        f"{own} is damaged: {said}; it may be deleted: what was trained is found again"
                    ) from None
                raise ValueError(
                    f"--storage {hidden}: {said}; as in postgresql://host/name or sqlite:///path"
                ) from None
            attempts_left -= 1
            time.sleep(1)  # processes that start together all make the tables, and all but one fail


def _alone(folder: Path) -> filelock.BaseFileLock:
    """One process at a time searches in a folder: what another had in hand is then surely free to be taken up."""
    lock = filelock.FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise ValueError(
            f"{folder} is being searched by another process; to help it, give an --out of your own and its --storage"
        ) from None
    return lock

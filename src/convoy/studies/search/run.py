"""Trains the trials of a search, then its winner with fresh seeds."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

from convoy.events import Ended, EpochEnded
from convoy.files import file_name, write_bytes
from convoy.recipe import Recipe
from convoy.registry import unknown
from convoy.run_contents import RunState
from convoy.runs import Member, Run, Study, Workspace
from convoy.studies import findings
from convoy.studies.execute import Where, choose, execute
from convoy.studies.expectation import Expectation
from convoy.studies.search import loop
from convoy.studies.search.finding import Method, Part, Pruner, Sampler, SearchFinding, State, retrained
from convoy.studies.search.loop import Prune, TrialResult, Trials
from convoy.studies.search.space import Range, Space
from convoy.studies.search.storage import errors_naming_storage, locked, open_study
from convoy.studies.session import Entry, Session
from convoy.studies.train_all import train_all
from convoy.text import gettext as _
from convoy.text import translated
from convoy.text.lists import listed
from convoy.training.run import fault_checks
from convoy.training.run.plan import Plan, plan_all

WINNER = "winner.toml"


@dataclass(frozen=True)
class Search:
    """The settings of a search. `trials`: None for the full grid. `seeds`: number of runs of the winner."""

    base: Recipe
    space: Space
    trials: int | None
    sampler: Sampler
    pruner: Pruner
    seeds: int
    custom_label: str | None = None  # label; None: the name of its model

    def __post_init__(self) -> None:
        if self.trials is None and not self.space.is_grid:
            raise ValueError(_("a range has no full grid: use --trials, or --grid"))
        if (self.trials is not None and self.trials < 2) or self.space.size == 1:
            raise ValueError(_("a search needs 2 trials or more"))
        if self.trials is None and self.sampler is not Sampler.RANDOM:
            raise ValueError(
                _("the sampler {sampler} needs --trials: a full grid trains all points", sampler=self.sampler)
            )
        if self.seeds < 1:
            raise ValueError(_("seeds = {seeds}: expected 1 or more for the winner", seeds=self.seeds))
        if self.pruner is not Pruner.NONE and "train.epochs" in self.space.paths:
            raise ValueError(_("the pruner {pruner} cannot search train.epochs: use --pruner none", pruner=self.pruner))
        if self.pruner is Pruner.HALVING and self.sampler is not Sampler.RANDOM and self.trials is not None:
            raise ValueError(
                _(
                    "halving starts all trials at once, so the sampler {sampler} has no results to learn from",
                    sampler=self.sampler,
                )
            )

    @property
    def count(self) -> int:
        return min(size for size in (self.trials, self.space.size) if size is not None)

    @property
    def label(self) -> str:
        return self.custom_label or self.base.label

    @property
    def scored_on(self) -> Part:
        """The part on which trials are scored: "validation", or "test" with the fault selection_on_test."""
        return "test" if self.plans[0].selection == "test" else "validation"

    @property
    def names(self) -> list[str]:
        """Names of all runs, in the order of their positions in the progress display."""
        winners = [_("winner, seed {seed}", seed=seed) for seed in self.fresh_seeds]
        if self.pruner is not Pruner.HALVING:
            return [*(_("trial {i} of {n}", i=i, n=self.count) for i in range(1, self.count + 1)), *winners]
        used_rungs = loop.rungs(self.count, self.base.train.epochs)
        tried = [_("trial {i} of {n}, up to epoch {e}", e=e, i=i, n=n) for e, n in used_rungs for i in range(1, n + 1)]
        return [*tried, *winners]

    @property
    def fresh_seeds(self) -> list[int]:
        return [self.base.seed + 1 + offset for offset in range(self.seeds)]

    @cached_property
    def plans(self) -> list[Plan]:
        """Plans of recipes that together contain every value. Raises ValueError if one cannot be trained."""
        points, plans = self.space.check(self.base), []
        try:
            for plan in plan_all(recipe for _point, recipe in points):
                plans.append(plan)
        except ValueError as error:
            point = listed(f"{path} = {value}" for path, value in points[len(plans)][0])
            raise ValueError(_("at {point}: {error}", point=point, error=error)) from error
        if plans[0].selection is None:
            raise ValueError(_("data.split.validation = 0: a search needs a validation set to score its trials"))
        fault_checks.check_test_closed(self.base, may_select=True)
        return plans

    @property
    def name(self) -> str:
        """Contains the number of trials only for halving, because other searches can be extended."""
        axes = [asdict(axis) | ({"log": axis.is_log} if isinstance(axis, Range) else {}) for axis in self.space.axes]
        count = [self.count] if self.pruner is Pruner.HALVING else []
        fingerprint = self.plans[0].fingerprint
        parts = [*axes, self.space.paths, self.sampler, self.pruner, *count, self.trials is None, fingerprint]
        return file_name(f"search-{self.label}-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:8]}")


def prepare(
    base: Recipe,
    space: Space,
    *,
    trials: int | None,
    sampler: str | None,
    pruner: str | None,
    seeds: int,
    custom_label: str | None = None,
) -> Search:
    """Sets the defaults: halving in random order for a full grid, otherwise TPE with hyperband.

    Raises ValueError for an invalid search.
    """
    if pruner is None:
        pruner = "none" if "train.epochs" in space.paths else "halving" if trials is None else "hyperband"
    if sampler is None:
        sampler = "random" if pruner == "halving" or trials is None else "tpe"
    for what, name, kinds in ((_("pruner"), pruner, Pruner), (_("sampler"), sampler, Sampler)):
        names = [kind.value for kind in kinds]
        if name not in names:
            raise unknown(what, name, names)
    return Search(base, space, trials, Sampler(sampler), Pruner(pruner), seeds, custom_label)


def run(search: Search, session: Session, *, storage: str | None = None) -> Study | None:
    """Searches, retrains the winner with fresh seeds and writes the finding.

    Returns None if interrupted; the same call resumes. Raises ValueError for an invalid search before writing anything.
    """
    if session.shard is not None:
        raise ValueError(
            _(
                "--shard cannot split a search, because its trials depend on earlier ones; for several hosts, use "
                "--where"
            )
        )
    images = len(search.plans[0].prepared.train) * search.base.train.epochs * search.count
    # Chosen once for all trials, including finished ones, because weights trained in workers and in this process
    # differ in the last bits.
    where, workspace = choose([plan.recipe for plan in search.plans], images, session), Workspace(session.out)
    if not session.test:
        fault_checks.check_test_closed(search.base)
    folder = workspace.folder("studies", search.name)
    session.name_study(search.name)
    with locked(folder), errors_naming_storage(folder, storage):
        trials = Trials(
            open_study(folder, loop.pruner(search.pruner, search.base.train.epochs), storage),
            search.space,
            search.base,
            owner="" if storage is None else f"{platform.node()}:{folder.resolve()}",
            count=search.trials,
            by=search.sampler,
        )
        owners = {frozen.user_attrs.get("owner", "") for frozen in trials.frozen}
        if search.pruner is Pruner.HALVING and owners - {trials.owner}:
            raise ValueError(
                _(
                    "another process is running this search: halving compares all trials, so several processes "
                    "cannot share it"
                )
            )
        first = len(search.names) - search.seeds  # position of the winner's first run
        train_trials = loop.halve if search.pruner is Pruner.HALVING else loop.ask_in_turn
        expectation = _expectation(search, session, sum(frozen.state.is_finished() for frozen in trials.frozen))
        # Trials beyond the requested number are displayed as the last one.
        session_of_trials = replace(session, show=lambda position, event: expectation(min(position, first - 1), event))
        if not train_trials(trials, _Training(session_of_trials, where, search.scored_on)) or session.interrupted():
            return None
        if any(not frozen.state.is_finished() for frozen in trials.frozen):
            raise ValueError(
                _("other processes are training the last trials: the last process to end writes the finding")
            )
        winner = trials.recipe(loop.winner(trials.study))
        entries = [Entry(search.label, winner.override({"seed": seed})) for seed in search.fresh_seeds]
        session_of_winner = replace(
            session, fresh=False, show=lambda position, event: session.show(first + position, event)
        )
        members = train_all(entries, session_of_winner)
        if members is None:
            return None
        study = workspace.write_study(search.name, "search", members, session.command)
        winner_of = _("the winner of {search}", search=search.name)
        about = "; ".join(filter(None, [translated(search.base.about), winner_of]))
        write_bytes(folder / WINNER, winner.override({"about": about}).to_toml().encode())
        openings = workspace.openings_by({loop.run_name(frozen) for frozen in trials.frozen})
        findings.write(study, _conclude(search, trials, members, folder, where, openings))
        return study


def _expectation(search: Search, session: Session, finished: int) -> Expectation:
    """Returns the expected work of the trials and of the winner's runs, in epochs. Halving trains rung by rung."""
    epochs, trials = search.base.train.epochs, [float(search.base.train.epochs)] * search.count
    if search.pruner is Pruner.HALVING:
        before, trials = 0, []
        for rung in loop.rungs(search.count, epochs):
            trials += [float(rung.until - before)] * rung.trials
            before = rung.until
    else:
        trials[:finished] = [0.0] * min(finished, search.count)
    work = trials + [float(epochs)] * search.seeds
    return Expectation(session.show, work, [float(epochs)] * len(work), at_most=search.pruner is Pruner.HYPERBAND)


def _conclude(
    search: Search, trials: Trials, members: Sequence[Member], folder: Path, where: Where, openings: int
) -> SearchFinding:
    """`members`: the runs of the winner with fresh seeds."""
    best, frozen_trials, runs = loop.winner(trials.study), trials.frozen, [member.run for member in members]
    return SearchFinding(
        label=search.label,
        method=Method(
            requested=search.count,
            grid=search.trials is None,
            sampler=None if search.trials is None else search.sampler,
            pruner=search.pruner,
            seed=search.base.seed,
            epochs=search.base.train.epochs,
            scored_on=search.scored_on,
            parallel=where != "here",
        ),
        space=search.space.axes,
        trials=tuple(trials.results(folder)),
        winner=1 + [frozen.number for frozen in frozen_trials].index(best.number),
        seeds=tuple(search.fresh_seeds),
        importance=loop.importance_of(frozen_trials),
        test_openings=openings,
        **retrained(runs, search.scored_on),
    )


@dataclass(frozen=True)
class _Training:
    """The training function of the loop. Runs are in OUT/runs; finished runs are found by their fingerprints."""

    session: Session
    where: Where
    scored_on: Part

    def __call__(
        self, recipes: Iterable[Recipe], *, shown_from: int, until: int | None = None, prune: Prune | None = None
    ) -> Iterator[TrialResult]:
        def should_prune(position: int, event: EpochEnded) -> bool:
            metrics = event.metrics
            score = metrics.of(self.scored_on)
            return prune is not None and score is not None and prune(position, metrics.epoch, score.accuracy)

        session = replace(self.session, fresh=False, test="only with fault")
        for position, event in execute(recipes, session, where=self.where, until=until, prune=should_prune):
            self.session.show(shown_from + position, event)
            if isinstance(event, Ended):
                yield self._ended(position, Run(event.run))

    def _ended(self, position: int, run: Run) -> TrialResult:
        if run.finished:
            state = State.DIVERGED if run.status.diverged else State.FINISHED
        else:
            state = State.PRUNED if run.state is RunState.PRUNED else State.INTERRUPTED
        accuracies = [score.accuracy for each in run.metrics if (score := each.of(self.scored_on)) is not None]
        return TrialResult(position, state, accuracies, run.name)

"""Reproduces a published experiment: models under both protocols, faults, claims and studies.

Runs that several parts need are trained once. The finding is written after each part and lists what is missing, so that
an interrupted call leaves a report. The same call then trains the rest and gives the same finding as without the
interruption.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

from convoy import archive as archives
from convoy.data import DataError
from convoy.data.sources import load
from convoy.events import Ended, Event, OpenTest
from convoy.experiments import verdicts
from convoy.experiments.experiment import Side
from convoy.experiments.measures import MEASURES
from convoy.experiments.parts import OWN_PARTS, STUDIES
from convoy.experiments.reproduction import digests, networks, quick_fit, studies
from convoy.experiments.reproduction.base import Reproduction
from convoy.experiments.reproduction.scope import data_name
from convoy.run_contents import RunState
from convoy.runs import Run, Study, Workspace
from convoy.studies.session import Entry
from convoy.studies.shards import ShardEnded
from convoy.studies.train_all import train_all
from convoy.text import gettext as _
from convoy.text import ngettext
from convoy.training.run.plan import plan_all

# Measures that need every step. They are stored when a run is archived, because archived curves have fewer steps.
MEASURES_OF_EVERY_STEP = ("gain_while_rising",)


class TrainedReproduction(Reproduction):
    """Trains the missing runs of an experiment. If the data are not on this machine, the finding states it."""

    def train_shard(self) -> ShardEnded:
        """Trains the session's shard of the runs of all parts until it is interrupted, and writes no finding.

        Raises ValueError without the data, and for parts that cannot be split.
        """
        self._find_data()
        if self.no_data:
            raise ValueError(self.no_data)
        if self.settings.is_sized_by_timing:
            raise ValueError(
                _("--shard: --quick chooses the runs by a timing, which differs between jobs; set --limit")
            )
        wanted = self._wanted()
        own = [entry for part in wanted if part in OWN_PARTS for entry in self.scope.entries(part)]
        groups: list[tuple[OpenTest, Sequence[Entry]]] = [(True, own)]
        for part in [part for part in STUDIES if part in wanted]:
            plans = [studies.planned(self.scope, section) for section in self.scope.studies if section.part == part]
            if any(plan.entries is None for plan in plans):
                raise ValueError(
                    _(
                        "--shard cannot split a {study}: leave it out with --only, or use --where for several hosts",
                        study=STUDIES[part].title(),
                    )
                )
            groups.append((plans[0].opens_test, [entry for plan in plans if plan.entries for entry in plan.entries()]))
        self.session.name_study(self.folder.name)
        ended = []
        for test, entries in groups:
            try:
                with self.stage(_names(entries)) as show:
                    train_all(entries, replace(self.session, show=show, test=test), distinct=False)
                break  # interrupted
            except ShardEnded as each:
                ended.append(each)
        return ShardEnded.sum_of(ended)

    def _prepare(self) -> None:
        self._find_data()
        if self.settings.is_sized_by_timing and not self.no_data:
            self._fit()

    def _find_data(self) -> None:
        """Loads the data if they are on this machine; downloads nothing."""
        try:
            name = data_name(self.experiment, self.settings.data)
            load(name or self.experiment.data)
        except DataError as error:
            self.no_data = str(error)
        else:
            self.scope = replace(self.scope, data_name=name)

    def _fit(self) -> None:
        """Reduces the experiment to what fits into the time limit of a quick try."""
        self.say(_("{name}: timing its networks", name=self.experiment.name))
        quick = quick_fit.chosen(self.scope, self.folder / "quick.json", again=bool(self.session.fresh))
        self.experiment = quick_fit.reduced(self.experiment, quick)
        self.scope = replace(self.scope, experiment=self.experiment, quick=quick)

    # ---- the parts ----

    def _models(self) -> bool:
        chosen = self.scope.models(chosen=True)
        runs, finished = self._train("models", self.scope.entries("models"))
        self.models = {key: run for key, run in zip(chosen, runs, strict=True) if run is not None}
        self._report_models()
        return finished

    def _claims(self) -> bool:
        """Judges the claims whose runs are all finished."""
        checks = self.scope.claims
        runs, finished = self._train("claims", self.scope.entries("claims"))
        remaining, judged = iter(runs), []
        counter = networks.ClaimCounter(not self.no_data)
        for check in checks:
            own = [run for _ in check.trials if (run := next(remaining)) is not None]
            if len(own) == len(check.trials):
                judged.append(verdicts.judge(check, own, counter.of(check), withheld=self.scope.withheld))
        self.finding = replace(self.finding, claims=tuple(judged), false_verdicts=verdicts.false_verdicts(judged))
        return finished

    def _studies(self, part: str) -> bool:
        self.say(f"{self.experiment.name}: {part}")
        done = [result for result in self.finding.parts if result.kind != part]
        for section in [section for section in self.scope.studies if section.part == part]:
            recipes = self.scope.recipes_of(section)
            digest = digests.of_study(section, self.fingerprints, quick=self.settings.quick)
            study = self._known(digest) or studies.planned(self.scope, section).train(self.session, self.stage)
            if study is None:
                return False
            self.studies.append(study)
            if self.archive is not None:
                for member in study.members:
                    self._archive(member.run)
                archives.archive_study(study, self.archive)
            done.append(studies.result_of(section, study, recipes, relative_to=self.study, digest=digest))
            self.finding = replace(self.finding, parts=tuple(done))
        return True

    def _known(self, digest: str) -> Study | None:
        """Returns the earlier study if its runs are archived, because it cannot be recomputed without weights."""
        path = self.study.path / self.earlier[digest] if digest in self.earlier else None
        if path is None or not (path / "study.toml").is_file() or self.session.fresh:
            return None
        study = Study(path)
        try:
            return study if any(member.run.is_archived for member in study.members) else None
        except ValueError:  # a run was deleted
            return None

    # ---- training ----

    def _train(self, part: str, entries: Sequence[Entry]) -> tuple[list[Run | None], bool]:
        """Returns the run of each entry, None if an interruption prevented it; and whether all are finished."""
        name = self.experiment.name
        self.say(ngettext("{name}: {part}, {n} run", "{name}: {part}, {n} runs", len(entries), name=name, part=part))
        ended: dict[int, Run] = {}
        with self.stage(_names(entries)) as show:

            def on_event(position: int, event: Event) -> None:
                show(position, event)
                if isinstance(event, Ended) and event.state is RunState.FINISHED:
                    ended[position] = Run(event.run)
                    self._archive(ended[position])

            members = train_all(entries, replace(self.session, show=on_event), distinct=False)
        if members is not None:
            ended = {place: member.run for place, member in enumerate(members)}
        runs = [ended.get(place) for place in range(len(entries))]
        self._remember(entries, runs)
        return runs, members is not None

    def _archive(self, run: Run) -> None:
        if self.archive is not None:
            measures = {claim.measure for claim in self.experiment.claim}.intersection(MEASURES_OF_EVERY_STEP)
            values = {} if run.is_archived else {name: MEASURES[name](run) for name in measures}
            measured = {name: value for name, value in values.items() if value is not None}
            archives.archive_run(run, self.archive, measured=measured)

    def _finished(self, entries: Sequence[Entry]) -> list[Run | None]:
        existing = [Workspace(self.out).find(plan.fingerprint) for plan in plan_all(entry.recipe for entry in entries)]
        return [run if run is not None and run.finished else None for run in existing]

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        if self.no_data:
            return digests.of_recipes(self.scope.recipes)
        return studies.fingerprints(self.scope.recipes)

    @cached_property
    def counted(self) -> dict[str, dict[Side, int]]:
        path = self.folder / "profile.json"
        return networks.counted(
            self.scope, self.fingerprints, path, from_data=not self.no_data, quick=self.settings.quick
        )


def _names(entries: Sequence[Entry]) -> list[str]:
    return [entry.title for entry in entries]

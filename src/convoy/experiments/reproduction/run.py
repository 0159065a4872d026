"""Reproduces a published experiment: models under both protocols, faults, claims and studies.

Runs that several parts need are trained once. The finding is written after each part and lists what is missing, so that
an interrupted call leaves a report. The same call then trains the rest and gives the same finding as without the
interruption.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from operator import itemgetter
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from convoy import archive as archives
from convoy.data import DataError
from convoy.data.sources import load
from convoy.events import Ended, Event, OpenTest
from convoy.experiments import verdicts
from convoy.experiments.experiment import EXPERIMENT_PARTS, SIDES, Experiment, ExperimentStudy, Settings, Side
from convoy.experiments.measures import MEASURES
from convoy.experiments.reproduction import curves, finding, networks, quick_fit, studies
from convoy.experiments.reproduction.curves import CurveTest
from convoy.experiments.reproduction.finding import Measured, ModelResult, Options
from convoy.experiments.reproduction.finding import Reproduction as Finding
from convoy.experiments.reproduction.scope import Scope, data_name
from convoy.experiments.reproduction.studies import Stage
from convoy.run_contents import RunState
from convoy.runs import Member, Run, Study, Workspace
from convoy.studies import findings
from convoy.studies.session import RetrainOnce, Session
from convoy.studies.shards import ShardEnded
from convoy.studies.train_all import Entry, train_all
from convoy.text import gettext as _
from convoy.training.run.plan import plan_all

OWN_PARTS = ("models", "faults", "claims")  # all other parts are studies
OPENS_TEST: Mapping[str, OpenTest] = {"crossval": False, "landscape": "by fault"}  # of studies; others: True
OF_EVERY_STEP = (
    "gain_while_rising",
)  # measures that need every step; stored when a run is archived, because archived curves have fewer steps


class Reproduced(NamedTuple):
    study: Study
    parts: list[Study]
    finished: bool  # False: interrupted; the same call resumes it


@dataclass
class Reproduction:
    """Trains the missing runs of an experiment. With `archive`, finished runs are read from and stored in that folder.

    If the data are not on this machine, the finding says so. `run` raises ValueError if a recipe cannot be trained.
    """

    experiment: Experiment
    settings: Settings
    session: Session
    stage: Stage
    archive: str | Path | None = None
    say: Callable[[str], None] = lambda text: None
    trains: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self.session = replace(self.session, fresh=RetrainOnce() if self.session.fresh else False)
        self.out = Path(self.session.out)
        self.scope = Scope(self.experiment, self.settings)  # its data_name is set once the data are found
        self.no_data = ""  # why the required data are not available
        self.has_data = True
        self.members: dict[str, Member] = {}  # by the run's name
        self.models: dict[tuple[str, Side, int], Run] = {}  # finished runs by label, side and seed
        self.studies: list[Study] = []  # within the experiment
        self.earlier: dict[str, str] = {}  # studies of an earlier call, by digest
        self.unfinished: set[str] = set()  # parts that were started, in this call or an earlier one
        if self.archive is not None and Path(self.archive).is_dir():
            archives.restore(self.archive, self.out)

    def run(self) -> Reproduced:
        self.session.name_study(self.folder.name)
        self._find_data()
        if self.settings.is_sized_by_timing and not self.no_data:
            self._fit()
        self.finding = self._begun()
        parts = [] if self.no_data else self._wanted()
        self.unfinished |= {*parts}
        self._write()
        finished = all(self._part(part) for part in parts)
        if "models" in parts:  # again, because some runs of other parts are also runs of a model
            self._report_models()
            self._write()
        return Reproduced(self.study, self.studies, finished)

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
        if "search" in wanted:
            raise ValueError(
                _("--shard cannot split a search: leave it out by --only, or use --where for several hosts")
            )
        self.session.name_study(self.folder.name)
        own = [part for part in wanted if part in OWN_PARTS]
        groups: list[tuple[OpenTest, list[Entry]]] = [(True, [e for part in own for e in self.scope.entries(part)])]
        for kind in [part for part in wanted if part not in own]:
            sections = [section for section in self.scope.studies if section.kind == kind]
            entries = [entry for section in sections for entry in studies.entries_of(self.scope, section)]
            groups.append((OPENS_TEST.get(kind, True), entries))
        ended = []
        for test, entries in groups:
            try:
                with self.stage(_names(entries)) as show:
                    train_all(entries, replace(self.session, show=show, test=test), distinct=False)
                break  # interrupted
            except ShardEnded as each:
                ended.append(each)
        return ShardEnded.sum_of(ended)

    def _wanted(self) -> list[str]:
        return [part for part in EXPERIMENT_PARTS if part in self.settings.only and self._has(part)]

    def _part(self, part: str) -> bool:
        """Returns whether the part is finished; False if it was interrupted."""
        own = {"models": self._models, "faults": self._faults, "claims": self._claims}
        finished = own[part]() if part in own else self._studies(part)
        self.unfinished -= {part} if finished else set()
        self._write()
        return finished

    def _fit(self) -> None:
        """Reduces the experiment to what fits into the time limit of a quick try."""
        self.say(f"{self.experiment.name}: timing its networks")
        quick = quick_fit.chosen(self.scope, self.folder / "quick.json", again=bool(self.session.fresh))
        self.experiment = quick_fit.reduced(self.experiment, quick)
        self.scope = replace(self.scope, experiment=self.experiment, quick=quick)

    def _has(self, part: str) -> bool:
        trained = any(self.scope.count(model.seeds) and self.scope.sides(model) for model in self.experiment.model)
        has = {"models": trained, "faults": bool(self.experiment.fault), "claims": bool(self.scope.claims)}
        return has.get(part, False) or any(study.kind == part for study in self.scope.studies)

    # ---- the parts ----

    def _models(self) -> bool:
        chosen = self.scope.models(chosen=True)
        runs, finished = self._train("models", self.scope.entries("models"))
        self.models = {key: run for key, run in zip(chosen, runs, strict=True) if run is not None}
        self._report_models()
        return finished

    def _report_models(self) -> None:
        """Also collects the finished runs of models that are not trained in this call."""
        others = self.scope.models(chosen=False)
        plans = plan_all(entry.recipe for entry in others.values())
        runs_of_others = [Workspace(self.out).find(plan.fingerprint) for plan in plans]
        finished = [run if run is not None and run.finished else None for run in runs_of_others]
        runs = self.models | {key: run for key, run in zip(others, finished, strict=True) if run is not None}
        self._remember([*others.values()], finished)
        self.finding = replace(self.finding, models=self._model_results(runs), curves=self._curve_tests(runs))

    def _model_results(self, runs: Mapping[tuple[str, Side, int], Run]) -> tuple[ModelResult, ...]:
        sides = {model.label: {side: dict[int, Run]() for side in SIDES} for model in self.experiment.model}
        for (label, side, seed), run in sorted(runs.items(), key=itemgetter(0)):
            sides[label][side][seed] = run
        results = [finding.model_result(model, sides[model.label]) for model in self.experiment.model]
        return tuple(map(self._with_counts, results))

    def _curve_tests(self, runs: Mapping[tuple[str, Side, int], Run]) -> tuple[CurveTest, ...]:
        if self.scope.withheld is not None:
            return ()
        tests = []
        for model in self.experiment.model:
            own = [run for (label, side, _), run in runs.items() if (label, side) == (model.label, "as_published")]
            published = curves.published_curves(model.label, model.published)
            tests += [curves.compare_curve(curve, own) for curve in published]
        return curves.corrected([test for test in tests if test is not None])

    def _faults(self) -> bool:
        pairs = [self.scope.pairs(fault) for fault in self.experiment.fault]
        runs, finished = self._train("faults", self.scope.entries("faults"))
        remaining, results = iter(runs), []
        for fault, own in zip(self.experiment.fault, pairs, strict=True):
            trained = [[next(remaining) for _ in pair] for pair in own]
            complete = [[run for run in pair if run is not None] for pair in trained if None not in pair]
            if complete:
                without, with_ = [pair[0] for pair in complete], [run for pair in complete for run in pair[1:]]
                results += [finding.fault_result(fault, measure, without, with_) for measure in fault.measure]
        self.finding = replace(self.finding, faults=tuple(finding.judge(results, self.scope.withheld)))
        return finished

    def _claims(self) -> bool:
        """Judges the claims whose runs are all finished."""
        checks = self.scope.claims
        runs, finished = self._train("claims", self.scope.entries("claims"))
        remaining, judged = iter(runs), []
        counter = networks.ClaimCounter(self.has_data)
        for check in checks:
            own = [run for _ in check.trials if (run := next(remaining)) is not None]
            if len(own) == len(check.trials):
                judged.append(verdicts.judge(check, own, counter.of(check), withheld=self.scope.withheld))
        self.finding = replace(self.finding, claims=tuple(judged), false_verdicts=verdicts.false_verdicts(judged))
        return finished

    def _studies(self, kind: str) -> bool:
        self.say(f"{self.experiment.name}: {kind}")
        done = [result for result in self.finding.parts if result.kind != kind]
        for section in [section for section in self.scope.studies if section.kind == kind]:
            recipes, digest = self.scope.recipes_of(section), self._digest_of(section)
            arguments = section.typed_arguments(quick=self.settings.quick)
            study = self._known(digest)
            study = study or studies.study_of(recipes, arguments, self.session, side=section.side, stage=self.stage)
            if study is None:
                return False
            self.studies.append(study)
            if self.archive is not None:
                for member in study.members:
                    self._keep(member.run)
                archives.archive_study(study, self.archive)
            done.append(studies.result_of(section, study, recipes, relative_to=self.study, digest=digest))
            self.finding = replace(self.finding, parts=tuple(done))
        return True

    def _digest_of(self, study: ExperimentStudy) -> str:
        return studies.study_digest(study, self.fingerprints, quick=self.settings.quick)

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
        self.say(f"{self.experiment.name}: {part}, {len(entries)} runs")
        ended: dict[int, Run] = {}
        with self.stage(_names(entries)) as show:

            def on_event(position: int, event: Event) -> None:
                show(position, event)
                if isinstance(event, Ended) and event.state is RunState.FINISHED:
                    ended[position] = Run(event.run)
                    self._keep(ended[position])

            members = train_all(entries, replace(self.session, show=on_event), distinct=False)
        if members is not None:
            ended = {place: member.run for place, member in enumerate(members)}
        runs = [ended.get(place) for place in range(len(entries))]
        self._remember(entries, runs)
        return runs, members is not None

    def _remember(self, entries: Sequence[Entry], runs: Sequence[Run | None]) -> None:
        for entry, run in zip(entries, runs, strict=True):
            if run is not None:
                self.members.setdefault(run.name, Member(entry.label, entry.recipe.seed, run))

    def _keep(self, run: Run) -> None:
        if self.archive is not None:
            measures = {claim.measure for claim in self.experiment.claim}.intersection(OF_EVERY_STEP)
            values = {} if run.is_archived else {name: MEASURES[name](run) for name in measures}
            measured = {name: value for name, value in values.items() if value is not None}
            archives.archive_run(run, self.archive, measured=measured)

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        return studies.fingerprints(self.scope.recipes, from_data=self.has_data)

    # ---- data ----

    def _find_data(self) -> None:
        """Downloads nothing."""
        try:
            name = data_name(self.experiment, self.settings.data)
            load(name or self.experiment.data)
        except DataError as error:
            self.no_data, self.has_data = str(error), False
        else:
            self.scope = replace(self.scope, data_name=name)

    # ---- the finding ----

    def _begun(self) -> Finding:
        """Returns an empty finding, or one with the parts finished by an earlier call with the same settings."""
        experiment, scope, settings = self.experiment, self.scope, self.settings
        fields = settings.protocol, scope.seeds, settings.quick, settings.limit, scope.epochs, settings.full_size
        options = Options(*fields, settings.set, scope.withheld, self._digest())
        description = experiment.name, experiment.title, experiment.about, experiment.hardware, experiment.class_names
        begun = Finding(*description, experiment.notes, options, scope.quick, self.no_data)
        if not (self.folder / "finding.json").is_file() or self.session.fresh:
            return begun
        study = Study(self.folder)
        self.earlier = {result["digest"]: result["study"] for result in study.finding_json.get("parts", ())}
        with suppress(ValueError):  # a finding of another version: everything is computed again
            earlier = findings.read(study, Finding)
            made = {self._digest_of(study) for study in experiment.study}
            begun = replace(begun, parts=tuple(result for result in earlier.parts if result.digest in made))
            if earlier.options == options:
                self.members = {member.run.name: member for member in study.members}  # ValueError: a run was deleted
                self.unfinished = {*earlier.unfinished}
                return replace(
                    begun,
                    models=earlier.models,
                    curves=earlier.curves,
                    faults=earlier.faults,
                    claims=earlier.claims,
                    false_verdicts=earlier.false_verdicts,
                )
        return begun

    def _digest(self) -> str:
        """Returns a hash of everything that affects the results: experiment, recipes with their data, device."""
        table = self.experiment.model_dump(mode="json", exclude={"folder"})
        claims = []
        for check in self.scope.claims:
            sides = {side: recipe.canonical() for side, recipe in check.sides.items()}
            claims.append([check.claim.model_dump(mode="json"), check.protocol, sides, check.seeds])
        return studies.digest(table, self.fingerprints, claims, self.settings.device)

    @property
    def folder(self) -> Path:
        return self.out / "studies" / self.settings.name(self.experiment.name)

    def _write(self) -> None:
        if not self.finding.models:
            self.finding = replace(self.finding, models=self._model_results({}))
        self.finding = replace(self.finding, left=tuple(self._left()), unfinished=tuple(sorted(self.unfinished)))
        members, command = self.members.values(), self.session.command
        self.study = Workspace(self.out).write_study(self.folder.name, "reproduction", members, command)
        findings.write(self.study, self.finding)
        if self.archive is not None:
            archives.archive_study(self.study, self.archive)

    def _left(self) -> list[str]:
        """Returns parts that were not run, and models without a run under a chosen protocol."""
        models, scope = self.finding.models, self.scope
        made = {"faults"} if self.finding.faults else set()
        made |= {"claims"} if self.finding.claims else set()
        made |= {"models"} if any(model.runs for model in models) else set()
        made |= {found.kind for found in self.finding.parts}
        left = [part for part in EXPERIMENT_PARTS if self._has(part) and part not in made - self.unfinished]
        if "models" not in left:
            for model, result in zip(self.experiment.model, models, strict=True):
                if any(len(result.side(side).runs) < scope.count(model.seeds) for side in scope.sides(model)):
                    left.append(model.label)
        return left

    # ---- networks, which need no data ----

    def _with_counts(self, result: ModelResult) -> ModelResult:
        """Adds parameters to a model that was not trained, to compare them with the published count."""
        for side in self.settings.sides:
            if not result.side(side).values and (count := self.counted[result.label].get(side)) is not None:
                own: dict[str, Any] = {side: Measured(result.side(side).runs, {"parameters": count})}
                result = replace(result, **own)
        return result

    @cached_property
    def counted(self) -> dict[str, dict[Side, int]]:
        path = self.folder / "profile.json"
        return networks.counted(
            self.scope, self.fingerprints, path, from_data=self.has_data, quick=self.settings.quick or not self.trains
        )


def _names(entries: Sequence[Entry]) -> list[str]:
    return [f"{entry.label} seed {entry.recipe.seed}" for entry in entries]

"""What all reproductions of an experiment share: their parts, and the finding that is written after each part.

Imports no torch, so that a report of archived runs starts quickly.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from convoy import archive as archives
from convoy.experiments.experiment import SIDES, Experiment, Settings, Side
from convoy.experiments.parts import EXPERIMENT_PARTS
from convoy.experiments.reproduction import curves, digests, finding
from convoy.experiments.reproduction.curves import CurveTest
from convoy.experiments.reproduction.finding import ModelMeasurements, ModelResult, Options
from convoy.experiments.reproduction.finding import Reproduction as Finding
from convoy.experiments.reproduction.scope import Scope
from convoy.run_contents import usual_machine
from convoy.runs import Member, Run, Study, Workspace
from convoy.studies import findings
from convoy.studies.session import Entry, RetrainOnce, Session, Stage


class ReproductionResult(NamedTuple):
    study: Study
    parts: list[Study]
    finished: bool  # False: interrupted; the same call resumes it


@dataclass
class Reproduction(ABC):
    """A published experiment: models under both protocols, faults, claims and studies.

    With `archive`, finished runs are read from and stored in that folder.
    """

    experiment: Experiment
    settings: Settings
    session: Session
    stage: Stage
    archive: str | Path | None = None
    say: Callable[[str], None] = lambda text: None

    def __post_init__(self) -> None:
        self.session = replace(self.session, fresh=RetrainOnce() if self.session.fresh else False)
        self.out = Path(self.session.out)
        self.scope = Scope(self.experiment, self.settings)  # `data_name` is set once the data are found
        self.no_data = ""  # why the required data are not available
        self.members: dict[str, Member] = {}  # by the run's name
        self.models: dict[tuple[str, Side, int], Run] = {}  # finished runs by label, side and seed
        self.studies: list[Study] = []  # within the experiment
        self.earlier: dict[str, str] = {}  # studies of an earlier call, by digest
        self.unfinished: set[str] = set()  # parts that were started, in this call or an earlier one
        if self.archive is not None and Path(self.archive).is_dir():
            archives.restore(self.archive, self.out)

    def run(self) -> ReproductionResult:
        """Raises ValueError if a recipe cannot be trained."""
        self.session.name_study(self.folder.name)
        self._prepare()
        self.finding = self._begun()
        parts = [] if self.no_data else self._wanted()
        self.unfinished |= {*parts}
        self._write()
        finished = all(self._part(part) for part in parts)
        if "models" in parts:  # called again, because some runs of other parts are also runs of a model
            self._report_models()
            self._write()
        return ReproductionResult(self.study, self.studies, finished)

    def _wanted(self) -> list[str]:
        return [part for part in EXPERIMENT_PARTS if part in self.settings.only and self._has(part)]

    def _part(self, part: str) -> bool:
        """Returns whether the part is finished; False if it was interrupted."""
        own = {"models": self._models, "faults": self._faults, "claims": self._claims}
        finished = own[part]() if part in own else self._studies(part)
        self.unfinished -= {part} if finished else set()
        self._write()
        return finished

    def _has(self, part: str) -> bool:
        trained = any(self.scope.count(model.seeds) and self.scope.sides(model) for model in self.experiment.model)
        has = {"models": trained, "faults": bool(self.experiment.fault), "claims": bool(self.scope.claims)}
        return has.get(part, False) or any(study.part == part for study in self.scope.studies)

    # ---- the parts ----

    @abstractmethod
    def _prepare(self) -> None:
        """Finds the data. For a quick try, times the networks and reduces the experiment."""

    @abstractmethod
    def _train(self, part: str, entries: Sequence[Entry]) -> tuple[list[Run | None], bool]:
        """Returns the run of each entry (None if it was interrupted), and whether all are finished."""

    @abstractmethod
    def _models(self) -> bool: ...

    @abstractmethod
    def _claims(self) -> bool: ...

    @abstractmethod
    def _studies(self, part: str) -> bool: ...

    @abstractmethod
    def _finished(self, entries: Sequence[Entry]) -> list[Run | None]:
        """Returns the finished run of each entry, without training."""

    @cached_property
    @abstractmethod
    def fingerprints(self) -> dict[str, str]:
        """Identifies the run of each recipe, by the recipe's name."""

    @cached_property
    @abstractmethod
    def counted(self) -> dict[str, dict[Side, int]]:
        """Returns the number of parameters of each network, by label and protocol."""

    def _report_models(self) -> None:
        """Also collects the finished runs of models that are not trained in this call."""
        others = self.scope.models(chosen=False)
        finished = self._finished([*others.values()])
        runs = self.models | {key: run for key, run in zip(others, finished, strict=True) if run is not None}
        self._remember([*others.values()], finished)
        self.finding = replace(self.finding, models=self._model_results(runs), curves=self._curve_tests(runs))

    def _model_results(self, runs: Mapping[tuple[str, Side, int], Run]) -> tuple[ModelResult, ...]:
        sides = {model.label: {side: dict[int, Run]() for side in SIDES} for model in self.experiment.model}
        for (label, side, seed), run in sorted(runs.items(), key=itemgetter(0)):
            sides[label][side][seed] = run
        machine = usual_machine(run.environment for run in runs.values())
        results = [finding.model_result(model, sides[model.label], machine) for model in self.experiment.model]
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

    def _remember(self, entries: Sequence[Entry], runs: Sequence[Run | None]) -> None:
        for entry, run in zip(entries, runs, strict=True):
            if run is not None:
                self.members.setdefault(run.name, Member(entry.label, entry.recipe.seed, run))

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
            made = {digests.of_study(study, self.fingerprints, quick=settings.quick) for study in experiment.study}
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
        return digests.digest(table, self.fingerprints, claims, self.settings.device)

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

    def _with_counts(self, result: ModelResult) -> ModelResult:
        """Adds the number of parameters to a model that was not trained, for comparison with the published number."""
        for side in self.settings.sides:
            if not result.side(side).values and (count := self.counted[result.label].get(side)) is not None:
                own: dict[str, Any] = {side: ModelMeasurements(result.side(side).runs, {"parameters": count})}
                result = replace(result, **own)
        return result

"""Reproduces a published experiment: models under both protocols, faults, claims and the studies within it.

Runs that several parts need are trained once. The finding is written after each part and names what is missing, so that
an interrupted call leaves a report; the same call then trains the rest and ends with the same finding.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from convoy import archive as archives
from convoy.data import DataError
from convoy.data.sources import load
from convoy.experiments.experiment import PARTS, SIDES, Experiment, Part, Settings
from convoy.experiments.measures import MEASURES
from convoy.experiments.reproduction import finding as findings
from convoy.experiments.reproduction import parts as reproduce_parts
from convoy.experiments.reproduction import quick_fit
from convoy.experiments.reproduction.parts import Stage
from convoy.experiments.reproduction.scope import Scope
from convoy.files import write_json
from convoy.runs import Member, Run, Study, Workspace
from convoy.studies import kinds
from convoy.studies.session import RetrainOnce, Session
from convoy.studies.train_all import Entry, train_all
from convoy.training.run_one import Event

OF_EVERY_STEP = ("gain_while_rising",)  # measures of every step; stored when a run is archived, which thins its curves


class Reproduced(NamedTuple):
    study: Study
    parts: list[Study]
    finished: bool  # False: interrupted; the same call resumes it


def reproduce(
    experiment: Experiment,
    settings: Settings,
    session: Session,
    *,
    archive: str | Path | None = None,
    stage: Stage,
    say: Callable[[str], None] = lambda text: None,
) -> Reproduced:
    """Trains the missing runs. With `archive`, finished runs are read from that folder and archived there.

    The finding names data that are not on this machine as missing. Raises ValueError if a recipe cannot be trained.
    """
    return _Reproduction(experiment, settings, session, archive, stage, say).run()


class _Reproduction:
    def __init__(
        self,
        experiment: Experiment,
        settings: Settings,
        session: Session,
        archive: str | Path | None,
        stage: Stage,
        say: Callable[[str], None],
    ) -> None:
        self.experiment, self.settings, self.archive = experiment, settings, archive
        self.session = replace(session, fresh=RetrainOnce() if session.fresh else False)
        self.out, self.stage, self.say = Path(session.out), stage, say
        self.scope = Scope(experiment, settings)  # its data_name is set once the data are found
        self.lacking: str | None = None  # why the data are missing
        self.members: dict[str, Member] = {}  # by the run's name
        self.parts: list[Study] = []
        self.earlier: dict[str, Any] = {}  # the finding of an earlier call
        self.unfinished: set[str] = set()  # parts that were started, in this call or an earlier one
        if archive is not None and Path(archive).is_dir():
            archives.adopt(archive, self.out)

    def run(self) -> Reproduced:
        self.lacking = self._lacking_data()
        if self.settings.fits_itself and not self.lacking:
            self._fit()
        self.finding = self._begun()
        wanted = [part for part in PARTS if part in self.settings.only and self._has(part) and not self.lacking]
        self.unfinished |= {*wanted}
        self._write()
        for part in wanted:
            finished = self._do(part)
            self.unfinished -= {part} if finished else set()
            self._write()
            if not finished:
                return Reproduced(self.study, self.parts, False)
        return Reproduced(self.study, self.parts, True)

    def _fit(self) -> None:
        """Reduces the experiment to what fits in the time of a quick try."""
        self.say(f"{self.experiment.name}: timing its networks")
        quick = quick_fit.chosen(self.scope, self.folder / "quick.json", again=bool(self.session.fresh))
        self.experiment = quick_fit.reduced(self.experiment, quick)
        self.scope = replace(self.scope, experiment=self.experiment, quick=quick)

    def _do(self, part: str) -> bool:
        match part:
            case "models":
                return self._models()
            case "faults":
                return self._faults()
            case "claims":
                return self._claims()
        return self._studies(part)

    def _has(self, part: str) -> bool:
        experiment = self.experiment
        if part in ("crossval", "search", "landscape"):
            return any(study.kind == part for study in self.scope.studies)
        trained = [model for model in experiment.model if self.scope.count(model.seeds) and self.scope.sides(model)]
        return bool({"models": trained, "faults": experiment.fault, "claims": experiment.claim}[part])

    # ---- the parts ----

    def _models(self) -> bool:
        chosen, others = self.scope.models(chosen=True), self.scope.models(chosen=False)
        runs, finished = self._train("models", list(chosen.values()))
        other_entries = list(others.values())
        runs += self._remember(other_entries, reproduce_parts.finished_runs(other_entries, self.out))
        found: dict[str, dict[str, dict[int, Run]]] = {}
        for (label, side, seed), run in zip([*chosen, *others], runs, strict=True):
            if run is not None:
                found.setdefault(label, {}).setdefault(side, {})[seed] = run
        rows = [findings.model_row(model, found.get(model.label, {})) for model in self.experiment.model]
        self.finding["models"] = self._with_counts(rows)
        return finished

    def _faults(self) -> bool:
        pairs = [(fault, *sides) for fault in self.experiment.fault for sides in self.scope.pairs(fault)]
        entries = [entry for _, *sides in pairs for entry in sides if entry is not None]
        runs, finished = self._train("faults", entries)
        waiting = iter(runs)
        trained = [(fault, next(waiting), None if with_ is None else next(waiting)) for fault, _, with_ in pairs]
        rows = []
        for fault in self.experiment.fault:
            own = [pair[1:] for pair in trained if pair[0] is fault]
            alone = fault.of_one_seed and fault.against is None
            complete = [(a, b) for a, b in own if a is not None and (b is not None or alone)]
            if complete:
                without_runs, with_runs = [a for a, _ in complete], [b for _, b in complete if b is not None]
                rows += [
                    findings.fault_row(fault, measure, without_runs, with_runs, withheld=self.scope.withheld)
                    for measure in fault.measure
                ]
        findings.correct_together(rows, withheld=self.scope.withheld)
        self.finding["faults"] = rows
        return finished

    def _claims(self) -> bool:
        judged = self.scope.claims
        runs, finished = self._train("claims", judged.entries)
        self.finding["claims"] = judged.verdicts(runs)
        return finished

    def _studies(self, kind: str) -> bool:
        self.say(f"{self.experiment.name}: {kind}")
        earlier = {found["digest"]: found for found in self.earlier.get("parts", ())}
        done = [found for found in self.finding["parts"] if found["kind"] != kind]
        for part in self.scope.studies:
            if part.kind != kind:
                continue
            recipes = self.scope.recipes_of(part)
            asked = part.asked(quick=self.settings.quick)
            digest = self._digest_of(part)
            study = self._known(earlier.get(digest)) or reproduce_parts.study_of(
                recipes, asked, self.session, side=part.side, stage=self.stage
            )
            if study is None:
                return False
            self._keep_study(study)
            path = Path(os.path.relpath(study.path, self.study.path)).as_posix()
            about = {"kind": kind, "side": part.side, "study": path}
            done.append({**about, "sentence": kinds.sentence_of(study), "digest": digest})
            self.finding["parts"] = done
        return True

    def _digest_of(self, part: Part) -> str:
        return reproduce_parts.part_digest(part, self.fingerprints, quick=self.settings.quick)

    def _known(self, found: dict[str, Any] | None) -> Study | None:
        """The earlier study, if its runs are archived: without weights it cannot be computed again."""
        path = self.study.path / found["study"] if found is not None else None
        if path is None or not (path / "study.toml").is_file() or self.session.fresh:
            return None
        study = Study(path)
        try:
            return study if any(member.run.is_archived for member in study.members) else None
        except ValueError:  # a run was deleted
            return None

    # ---- training ----

    def _train(self, part: str, entries: Sequence[Entry]) -> tuple[list[Run | None], bool]:
        """The run of each entry, None if an interruption left it out; and whether all are finished."""
        self.say(f"{self.experiment.name}: {part}, {len(entries)} runs")
        ended: dict[int, Run] = {}
        with self.stage([f"{entry.label} seed {entry.recipe.seed}" for entry in entries]) as show:

            def on_event(position: int, event: Event) -> None:
                show(position, event)
                if event.kind == "end" and event.values["state"] == "finished":
                    ended[position] = Run(Path(event.values["run"]))
                    self._keep(ended[position])

            members = train_all(entries, replace(self.session, show=on_event), distinct=False)
        runs = [ended.get(place) for place in range(len(entries))] if members is None else [m.run for m in members]
        return self._remember(entries, runs), members is not None

    def _remember(self, entries: Sequence[Entry], runs: Sequence[Run | None]) -> list[Run | None]:
        for entry, run in zip(entries, runs, strict=True):
            if run is not None:
                self.members.setdefault(run.name, Member(entry.label, entry.recipe.seed, run))
        return list(runs)

    def _keep(self, run: Run) -> None:
        if self.archive is not None:
            asked = {claim.measure for claim in self.experiment.claim}.intersection(OF_EVERY_STEP)
            values = {} if run.is_archived else {name: MEASURES[name](run) for name in asked}
            measured = {name: value for name, value in values.items() if value is not None}
            archives.keep(run, self.archive, measured=measured)

    def _keep_study(self, study: Study) -> None:
        self.parts.append(study)
        if self.archive is not None:
            for member in study.members:
                self._keep(member.run)
            archives.keep_study(study, self.archive)

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        return reproduce_parts.fingerprints(self.scope.recipes, from_data=not self.lacking)

    # ---- data ----

    def _lacking_data(self) -> str | None:
        """The message if the data are not on this machine; downloads nothing."""
        try:
            name = reproduce_parts.data_name(self.experiment, self.settings.data)
            load(name or self.experiment.data)
        except DataError as error:
            return f"Nothing was trained, because the data are not available: {error}"
        self.scope = replace(self.scope, data_name=name)
        return None

    # ---- the finding ----

    def _begun(self) -> dict[str, Any]:
        """An empty finding, or with the parts that an earlier call with the same settings has finished."""
        experiment, settings = self.experiment, self.settings
        asked = {
            "protocol": settings.protocol,
            "seeds": self.scope.seeds,
            "limit": self.settings.limit,
            "epochs": self.scope.epochs,
            "full_size": settings.full_size,
            "digest": self._digest(),
        }
        quick = self.scope.quick
        tried = None if quick is None else quick.model_dump(mode="json", include={"cpu", "cores", "sizes", "left_out"})
        finding = {
            "kind": "reproduction", "experiment": experiment.name, "title": experiment.title, "about": experiment.about,
            "hardware": experiment.hardware, "class_names": experiment.class_names,
            "sentence": "", "caveats": [], "quick": settings.quick,
            "protocol": settings.protocol, "asked": asked, "missing": [], "models": [], "faults": [], "claims": [],
            "parts": [], "quick_try": tried,
        }  # fmt: skip
        if (self.folder / "finding.json").is_file() and not self.session.fresh:
            earlier = Study(self.folder)
            self.earlier = earlier.finding
            made = {self._digest_of(part) for part in experiment.study}
            finding["parts"] = [found for found in self.earlier.get("parts", ()) if found["digest"] in made]
            if self.earlier.get("asked") == asked:
                with suppress(ValueError):  # a run was deleted: its rows are computed again
                    self.members = {member.run.name: member for member in earlier.members}
                    finding |= {key: self.earlier[key] for key in ("models", "faults", "claims")}
                    self.unfinished = {*self.earlier.get("unfinished", ())}
        return finding

    def _digest(self) -> str:
        """Hash of everything that decides the numbers: the experiment, its recipes with their data, the device."""
        table = self.experiment.model_dump(mode="json", exclude={"folder"})
        return reproduce_parts.digest(table, self.fingerprints, self.scope.claims.inputs, self.settings.device)

    @property
    def folder(self) -> Path:
        return self.out / "studies" / self.settings.name(self.experiment.name)

    def _write(self) -> None:
        finding = self.finding
        finding["models"] = finding["models"] or self._with_counts(
            [findings.model_row(model, {}) for model in self.experiment.model]
        )
        left = [part for part in PARTS if self._has(part) and not self._is_there(part)]
        left += [label for label in self._untrained() if "models" not in left]
        finding["unfinished"] = sorted(self.unfinished)
        finding["missing"] = [self.lacking] if self.lacking else [f"Not run yet: {', '.join(left)}"] if left else []
        finding["sentence"] = findings.sentence(finding)
        finding["caveats"] = findings.caveats(finding, self.scope.reductions, self.settings.set, self.experiment.notes)
        table = {"kind": "reproduction", "command": self.session.command}
        self.study = Workspace(self.out).write_study(self.folder.name, table, self.members.values())
        write_json(self.study.path / "finding.json", finding)
        if self.archive is not None:
            archives.keep_study(self.study, self.archive)

    def _untrained(self) -> list[str]:
        """Models that lack a run under a chosen protocol."""
        rows = {row["label"]: row for row in self.finding["models"]}
        lacking = [
            model.label
            for model in self.experiment.model
            for side in self.scope.sides(model)
            if len(rows[model.label]["runs"][side]) < self.scope.count(model.seeds)
        ]
        return [*dict.fromkeys(lacking)]

    def _is_there(self, part: str) -> bool:
        finding = self.finding
        if part in self.unfinished:
            return False
        if part == "models":
            return any(row["runs"][side] for row in finding["models"] for side in SIDES)
        if part in ("faults", "claims"):
            return bool(finding[part])
        return any(found["kind"] == part for found in finding["parts"])

    # ---- networks, which need no data ----

    def _with_counts(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Adds parameters to models that were not trained, to compare them with the published count."""
        for row in rows:
            for side in self.settings.sides:
                if row[side] is None and (count := self.counted[row["label"]].get(side)) is not None:
                    row[side] = {"parameters": count}
        return rows

    @cached_property
    def counted(self) -> dict[str, dict[str, int]]:
        path, from_data = self.folder / "profile.json", not self.lacking
        return reproduce_parts.counted(
            self.experiment,
            self.scope.recipes,
            self.fingerprints,
            path,
            from_data=from_data,
            quick=self.settings.quick,
        )

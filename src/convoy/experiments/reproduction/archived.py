"""A reproduction from the archived runs that come with Convoy. It trains nothing and needs no data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from itertools import count
from pathlib import Path

from convoy import archive
from convoy.experiments import verdicts
from convoy.experiments.claims import Check
from convoy.experiments.experiment import Side
from convoy.experiments.reproduction import digests, networks, profiles
from convoy.experiments.reproduction.base import Reproduction
from convoy.experiments.reproduction.finding import Reproduction as Finding
from convoy.experiments.reproduction.finding import StudyResult
from convoy.recipe import Recipe
from convoy.runs import Run, Study
from convoy.studies import findings
from convoy.studies.session import Entry


class ArchivedReproduction(Reproduction):
    """Restores the archive into the workspace, where a later reproduction reuses its finished runs.

    A run is found by its recipe, ignoring precision and seed, because its fingerprint would need the data. Studies and
    claims are those of earlier reproductions, including reduced ones, which are marked as such.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        folder = archive.packaged()
        archive.restore(folder / "runs", self.out)
        self.runs: dict[str, dict[int, Run]] = {}  # by recipe, then by seed
        for path in sorted((folder / "runs").iterdir()):
            run = Run(self.out / "runs" / path.name)
            if not run.finished:  # the run is being trained again
                continue
            self.runs.setdefault(_key(run.recipe, run.data.name), {})[run.recipe.seed] = run

    def _prepare(self) -> None:
        """Does nothing: neither data nor timings are needed."""

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """Digests of the recipes, by which archived runs are found."""
        return digests.of_recipes(self.scope.recipes)

    @cached_property
    def packaged(self) -> profiles.Profiles | None:
        return networks.packaged(self.scope)

    @cached_property
    def counted(self) -> dict[str, dict[Side, int]]:
        """From the packaged profiles, which are up to date unless a recipe was changed."""
        path = self.folder / "profile.json"
        if self.packaged is None:
            return networks.counted(self.scope, self.fingerprints, path, from_data=False, quick=True)
        profiles.write(self.packaged, path)
        return self.packaged.parameters

    @property
    def folder(self) -> Path:
        return super().folder.with_name(f"{super().folder.name}-archived")

    def _models(self) -> bool:
        """Uses all archived seeds."""
        entries: dict[tuple[str, Side, int], Entry] = {}
        for (label, side, _), entry in self.scope.models(chosen=True).items():
            for seed in sorted(self._by_seed(entry.recipe)):
                entries[label, side, seed] = Entry(entry.label, entry.recipe.override({"seed": seed}))
        self.models = {key: self._by_seed(entry.recipe)[key[-1]] for key, entry in entries.items()}
        self._remember([*entries.values()], [*self.models.values()])
        self._report_models()
        return True

    def _claims(self) -> bool:
        """Uses the published scale with all archived seeds, or the reduced scale if only that is archived."""
        full_size = replace(self.scope, settings=replace(self.settings, full_size=True))
        judged, counter = [], networks.ClaimCounter(False, dict(self.packaged.counts) if self.packaged else {})
        for scales in zip(full_size.claims, self.scope.claims, strict=True):
            check = next((each for scale in scales if (each := self._with_archived_seeds(scale)) is not None), None)
            if check is not None:
                entries = [Entry(trial.label, trial.recipe) for trial in check.trials]
                runs = [self._by_seed(entry.recipe)[entry.recipe.seed] for entry in entries]
                self._remember(entries, runs)
                judged.append(verdicts.judge(check, runs, counter.of(check)))
        self.finding = replace(self.finding, claims=tuple(judged), false_verdicts=verdicts.false_verdicts(judged))
        return True

    def _with_archived_seeds(self, check: Check) -> Check | None:
        """Returns the check with all archived seeds; None if the first seed is not archived."""
        trials = replace(check, seeds=1).trials
        if not trials:  # counted, or not tried at this scale
            return check
        archived = [(trial.recipe.seed, self._by_seed(trial.recipe)) for trial in trials]
        seeds = next(n for n in count() if any(first + n not in runs for first, runs in archived))
        return replace(check, seeds=seeds) if seeds else None

    def _train(self, part: str, entries: Sequence[Entry]) -> tuple[list[Run | None], bool]:
        runs = self._finished(entries)
        self._remember(entries, runs)
        return runs, True

    def _finished(self, entries: Sequence[Entry]) -> list[Run | None]:
        return [self._by_seed(entry.recipe).get(entry.recipe.seed) for entry in entries]

    def _studies(self, part: str) -> bool:
        """Adds the studies of all archived reproductions of the experiment."""
        results: dict[Path, StudyResult] = {}
        for path in sorted(archive.packaged().glob("studies/*/finding.json")):
            study = Study(self.folder.parent / path.parent.name)
            if study.finding_json.get("experiment") == self.experiment.name:
                results |= {study.path / result.study: result for result in findings.read(study, Finding).parts}
        sides = (*self.settings.sides, None)
        chosen = {path: each for path, each in results.items() if each.kind == part and each.side in sides}
        self.studies += [Study(path.resolve()) for path in chosen]
        self.finding = replace(self.finding, parts=(*self.finding.parts, *chosen.values()))
        return True

    def _by_seed(self, recipe: Recipe) -> dict[int, Run]:
        return self.runs.get(_key(recipe, self.experiment.data), {})


def _key(recipe: Recipe, data: str) -> str:
    table = recipe.override({"seed": 0, "compute.precision": "float32"}).canonical()
    return json.dumps([data, table], sort_keys=True)

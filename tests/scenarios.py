"""Small commands that tests interrupt by a failure or a kill, and the results that must not depend on it.

Each does its work in a folder, or continues what an interrupted process left there. `result` returns what must be the
same as without an interruption: weights, metrics, steps, predictions and findings, to the bit.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conftest import NET

from convoy import api, run_files
from convoy.checkpoint import load_weights
from convoy.evaluation import cost
from convoy.recipe import Recipe
from convoy.runs import Run, Workspace
from convoy.studies.compare import run as compare
from convoy.studies.search import run as search
from convoy.studies.search.space import Space, axes_of
from convoy.studies.session import Entry, Session
from convoy.training.machine.autosave import Autosave
from convoy.training.run import run_one
from convoy.training.step import loop


@dataclasses.dataclass(frozen=True)
class Scenario:
    work: Callable[[Path, Recipe], object]
    result: Callable[[Path], Any]
    prepare: Callable[[Path, Recipe], object] = lambda folder, recipe: None  # is not interrupted
    replaces: bool = False  # if it overwrites its files; each must then be the old or the new one at any time


@contextmanager
def saving_each_step() -> Iterator[None]:
    """A checkpoint after each step, and no measurement of latency, which takes as long as the training."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "RECORD_SECONDS", 0.0)
        patch.setattr(Autosave, "due", lambda autosave, now: True)
        patch.setattr(cost, "ms_per_image", lambda module, shape: cost.Milliseconds(1.0, 1.0, 1.0))
        yield


def recipe_in(folder: Path) -> Recipe:
    """Two epochs of three steps of a user's class on 48 images. Writes both files to the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "net.py").write_text(NET)
    draw = np.random.default_rng(0)
    images = {part: draw.integers(0, 255, (count, 12, 12), dtype=np.uint8) for part, count in PARTS.items()}
    labels = {part: np.arange(count) % 3 for part, count in PARTS.items()}
    np.savez(
        folder / "noise.npz",
        **{f"x_{part}": images[part] for part in PARTS},
        **{f"y_{part}": labels[part] for part in PARTS},
    )
    keys = {
        "model.name": f"{folder / 'net.py'}:Tiny",
        "model.options.drop_rate": 0.2,
        "data.name": str(folder / "noise.npz"),
        "train.epochs": 2,
        "train.batch_size": 16,
        "compute.threads": 1,
        "schedule": {"name": "constant"},
    }
    return Recipe.load("defaults/images", list(keys.items()))


PARTS = {"train": 60, "test": 15}


def bits(run: Run) -> dict[str, Any]:
    """All values that must not depend on interruptions; seconds and counted openings may."""
    run.check_files()
    timeless = {"train_seconds": 0, "total_seconds": 0, "images_per_second": 0}
    arrays = {"steps": run.steps, "predictions": run.predictions, "gallery": run.gallery, "arrays": run.arrays}
    weights = {name: tensor.numpy() for name, tensor in load_weights(run.path / "best.safetensors").items()}
    files = [path for path in run.path.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return {
        "files": sorted(path.relative_to(run.path).as_posix() for path in files),
        "recorded": sorted(run_files.recorded_hashes(run.path)),
        "state": run.state,
        "scores": (run.scores, run.train_score),
        "metrics": [dataclasses.replace(each, **timeless) for each in run.metrics],
        **{name: _digests(values) for name, values in {**arrays, "weights": weights}.items()},
    }


def _digests(arrays: Mapping[str, np.ndarray]) -> dict[str, str]:
    return {name: hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest() for name, values in arrays.items()}


def runs_in(folder: Path) -> dict[str, Any]:
    return {run.name: bits(run) for run in Workspace(folder / "out").runs()}


def train(folder: Path, recipe: Recipe, **options: Any) -> None:
    for event in run_one.run_one(recipe, folder / "out", **options):
        assert event


def studies_in(folder: Path) -> dict[str, Any]:
    found = {study.name: _timeless(study.finding_json) for study in Workspace(folder / "out").studies()}
    assert found
    return {"runs": runs_in(folder), "findings": found}


VARYING = ("cost", "flags", "openings", "test_openings")  # seconds; a lost worker; how often a test set was opened


def _timeless(finding: Any) -> Any:
    if isinstance(finding, dict):
        return {name: _timeless(value) for name, value in finding.items() if name not in VARYING}
    return [_timeless(each) for each in finding] if isinstance(finding, list) else finding


SCHEDULER_FILE = "scheduler.json"


def compare_two(folder: Path, recipe: Recipe, where: str | None = None) -> None:
    entries = [Entry(f"lr {lr}", recipe.override({"optim.lr": lr})) for lr in (0.01, 0.02)]
    assert compare.run(entries, Session(folder / "out", where=where))


def compare_in_processes(folder: Path, recipe: Recipe) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("convoy.studies.execute.IMAGES_WORTH_WORKERS", 0)
        patch.setattr("convoy.studies.execute.cores", lambda: 2)
        compare_two(folder, recipe)


def compare_on_cluster(folder: Path, recipe: Recipe) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("convoy.studies.cluster.COPY_SECONDS", 0.1)
        patch.setattr("convoy.studies.cluster.CONTACT_SECONDS", 0.5)
        compare_two(folder, recipe, where=f"dask-file:{folder / SCHEDULER_FILE}")


def search_learning_rate(folder: Path, recipe: Recipe) -> None:
    space = Space(axes_of(("optim.lr=0.001,0.01,0.02",), ()))
    question = search.prepare(recipe, space, trials=None, sampler=None, pruner="none", seeds=1)
    assert search.run(question, Session(folder / "out"))


def only_run(folder: Path) -> Run:
    (run,) = Workspace(folder / "out").runs()
    return run


def report(folder: Path, recipe: Recipe) -> None:
    api.report(only_run(folder))


def pages_in(folder: Path) -> dict[str, str]:
    files = [path for path in only_run(folder).path.rglob("*") if path.suffix in (".md", ".html", ".svg", ".png")]
    assert files
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


EXPORTED = ("net.safetensors", "net.pth")


def export(folder: Path, recipe: Recipe) -> None:
    for name in EXPORTED:
        api.export(only_run(folder), folder / "out" / name, overwrite=True)


def exported_in(folder: Path) -> dict[str, dict[str, str]]:
    weights = {name: load_weights(folder / "out" / name) for name in EXPORTED}
    return {name: _digests({key: value.numpy() for key, value in each.items()}) for name, each in weights.items()}


def train_without_test(folder: Path, recipe: Recipe) -> None:
    train(folder, recipe, test=False)


SCENARIOS = {
    "training": Scenario(train, runs_in),
    "evaluation": Scenario(train, runs_in, prepare=train_without_test),  # of the test set of a finished run
    "study": Scenario(compare_two, studies_in),
    "study in processes": Scenario(compare_in_processes, studies_in),
    "study on a cluster": Scenario(compare_on_cluster, studies_in),  # that tools/soak.py starts
    "search": Scenario(search_learning_rate, studies_in),
    "report": Scenario(report, pages_in, prepare=train, replaces=True),
    "export": Scenario(export, exported_in, prepare=train, replaces=True),
}

"""A run whose faults only affect the final scores copies the training of the same run without them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conftest import tiny_recipe

from convoy import archive
from convoy.checkpoint import load_weights
from convoy.events import EpochEnded, Event
from convoy.recipe import Recipe
from convoy.recipe.faults import Fault
from convoy.runs import Run, Workspace
from convoy.training.run import finish
from convoy.training.run.plan import plan_one
from convoy.training.run.run_one import run_one

pytestmark = pytest.mark.any_kernels

Make = Callable[..., Recipe]


@pytest.fixture(scope="module")
def trained_once(stripes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with the run of `faulty(tiny)`."""
    folder = tmp_path_factory.mktemp("twin")
    list(run_one(tiny_recipe(folder, stripes, ("train.batch_size", 30)), folder / "out"))
    return folder / "out"


@pytest.fixture
def twin(trained_once: Path, tmp_path: Path) -> Run:
    """A copy of that run, in `tmp_path`."""
    shutil.copytree(trained_once, tmp_path, dirs_exist_ok=True)
    (run,) = Workspace(tmp_path).runs()
    return run


def faulty(tiny: Make, *faults: str) -> Recipe:
    """Uses batches of 30, which are full in all parts, unless "batch 50" is among the faults."""
    batch = 50 if "batch 50" in faults else 30
    named = [fault for fault in faults if fault in list(Fault)]
    return tiny(("protocol.faults", named), ("train.batch_size", batch), ("compute.threads", 1))


def ended(events: list[Event]) -> Run:
    return Run(events[-1].run)


def trained(events: list[Event]) -> bool:
    return any(isinstance(event, EpochEnded) for event in events)


def results(run: Run) -> dict[str, Any]:
    """Returns the results of a run, except times."""
    exact = ("parameters", "flops_per_image", "macs_per_image")
    status = replace(run.status, fingerprint="", files={}, finished_at="")
    return {
        "weights": {name: value.tolist() for name, value in load_weights(run.path / "best.safetensors").items()},
        "scores": (run.scores, run.train_score),
        "metrics": [replace(each, train_seconds=0, total_seconds=0, images_per_second=0) for each in run.metrics],
        "arrays": {
            kind: {name: values.tobytes() for name, values in getattr(run, kind).items()}
            for kind in ("steps", "predictions", "gallery", "arrays")
        },
        "cost": {key: getattr(run.cost, key) for key in exact},
        "data": replace(run.data, test_openings=0),
        "status": status,
    }


@pytest.mark.parametrize(
    "fault", [*(fault for fault in Fault if fault.info.only_scores), Fault.DROP_LAST_IN_EVALUATION]
)
def test_a_copied_run_has_the_results_of_a_trained_one(tiny: Make, twin: Run, tmp_path: Path, fault: str) -> None:
    events = list(run_one(faulty(tiny, fault), tmp_path))
    separate = list(run_one(faulty(tiny, fault), tmp_path / "separate"))

    assert not trained(events)
    assert trained(separate)
    assert results(ended(events)) == results(ended(separate))
    assert ended(events).finished
    assert {path.name for path in ended(events).path.iterdir()} == {
        path.name for path in ended(separate).path.iterdir()
    }


def test_other_faults_are_kept_in_the_copied_training(tiny: Make, tmp_path: Path) -> None:
    """The scored validation set is that of the last epoch, whose weights are saved."""
    others = ("last_weights", "resplit_every_epoch")
    list(run_one(faulty(tiny, *others), tmp_path))
    events = list(run_one(faulty(tiny, *others, "macs_as_flops", "sampled_labels"), tmp_path))
    separate = list(run_one(faulty(tiny, *others, "macs_as_flops", "sampled_labels"), tmp_path / "separate"))

    assert not trained(events)
    assert results(ended(events)) == results(ended(separate))


def test_the_log_names_the_run_that_was_trained_and_the_opening_is_counted(
    tiny: Make, twin: Run, tmp_path: Path
) -> None:
    run = ended(list(run_one(faulty(tiny, "sampled_labels"), tmp_path)))

    assert f"already trained: {twin.path}" in (run.path / "log.txt").read_text()
    assert run.data.test_openings == 2
    assert np.array_equal(run.predictions["test_logits"], twin.predictions["test_logits"])


@pytest.mark.parametrize(
    ("faults", "before"),
    [
        (("sampled_labels",), None),  # none is there
        (("sampled_labels", "selection_on_test"), ("selection_on_test",)),  # it samples in every epoch
        (("sampled_labels", "test_opened_at_each_best"), ("test_opened_at_each_best",)),
        (("loss_divided_twice",), ()),  # an epoch tells its losses
        (("drop_last_in_evaluation", "batch 50"), ("batch 50",)),  # 20 of 120 validation images are left out
    ],
)
def test_without_a_twin_a_run_is_trained(
    tiny: Make, tmp_path: Path, faults: tuple[str, ...], before: tuple[str, ...] | None
) -> None:
    if before is not None:
        list(run_one(faulty(tiny, *before), tmp_path))
    assert trained(list(run_one(faulty(tiny, *faults), tmp_path)))


def test_a_twin_without_weights_is_not_used(tiny: Make, twin: Run, tmp_path: Path) -> None:
    archive.archive_run(twin, tmp_path / "archive")
    archive.restore(tmp_path / "archive", tmp_path / "out")
    assert trained(list(run_one(faulty(tiny, "sampled_labels"), tmp_path / "out")))


def test_fresh_trains_instead_of_copying(tiny: Make, twin: Run, tmp_path: Path) -> None:
    assert trained(list(run_one(faulty(tiny, "sampled_labels"), tmp_path, fresh=True)))


def test_a_run_interrupted_while_copying_is_trained(tiny: Make, twin: Run, tmp_path: Path) -> None:
    events = run_one(faulty(tiny, "sampled_labels"), tmp_path)
    next(events)
    events.close()
    (half,) = [run for run in Workspace(tmp_path).runs() if run.recipe.protocol.faults]
    assert half.state == "interrupted"

    completed = ended(list(run_one(faulty(tiny, "sampled_labels"), tmp_path)))
    assert completed.path == half.path
    assert completed.finished


@pytest.mark.parametrize(
    ("faults", "best", "steps", "kept"),
    [((), 2, 64, 2), (("last_weights",), 2, 64, 4), (("last_weights",), 2, 65, 5), ((), 0, 5, 1)],
)
def test_the_saved_epoch(tiny: Make, faults: tuple[str, ...], best: int, steps: int, kept: int) -> None:
    """480 images in batches of 30 are 16 steps per epoch."""
    assert finish.kept_epoch(plan_one(faulty(tiny, *faults)), best, steps) == kept

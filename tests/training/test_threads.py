from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.training.test_run_one import finish, pause_after

from convoy.process import cores
from convoy.recipe import Recipe
from convoy.run_contents import Environment
from convoy.runs import Run
from convoy.studies.execute import execute
from convoy.studies.session import Session
from convoy.training.machine import threads
from convoy.training.machine.environment import describe
from convoy.training.machine.threads import fix_threads
from convoy.training.step import loop

Make = Callable[..., Recipe]
AUTO = ("compute.threads", "auto")


@pytest.fixture(autouse=True)
def _one_thread_of_two_cores(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = torch.get_num_threads()
    monkeypatch.setattr(threads, "cores", lambda: 2)
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _record_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "RECORD_SECONDS", 0.0)


@pytest.mark.parametrize(
    ("setting", "started_with", "count"),
    [("auto", None, 1), ("auto", 2, 2), ("auto", 3, 1), (3, None, 3), (3, 2, 3)],
)
def test_a_resumed_run_keeps_its_thread_count_if_there_are_enough_cores(
    setting: int | str, started_with: int | None, count: int
) -> None:
    assert fix_threads(setting, started_with=started_with) == count  # type: ignore[arg-type]
    assert torch.get_num_threads() == count


def test_a_run_restores_the_thread_count(tiny: Make, tmp_path: Path) -> None:
    run = finish(tiny(("compute.threads", 2)), tmp_path)
    assert run.environment.threads == 2
    assert torch.get_num_threads() == 1


def test_a_run_started_with_two_threads_resumes_with_two_even_if_one_is_the_default(tiny: Make, tmp_path: Path) -> None:
    torch.set_num_threads(2)
    broken = finish(tiny(AUTO), tmp_path, control=pause_after(3))
    assert broken.environment.threads == 2
    torch.set_num_threads(1)
    resumed = finish(tiny(AUTO), tmp_path)
    assert resumed.environment.threads == 2
    assert resumed.environment.resumed_with == []
    assert not any("resumed" in flag for flag in resumed.status.flags)


def test_a_run_resumed_on_another_machine_has_a_flag(tiny: Make, tmp_path: Path) -> None:
    changes = {"cpu": "Another", "torch": "2.0", "threads": 64}

    def elsewhere(*arguments: Any, **options: Any) -> Environment:
        return replace(describe(*arguments, **options), **changes)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("convoy.training.run.training.describe", elsewhere)
        finish(tiny(AUTO), tmp_path, control=pause_after(3))
    again = finish(tiny(AUTO), tmp_path, control=pause_after(2))
    resumed = finish(tiny(AUTO), tmp_path)  # a second time, on the same machine: the first change is still reported
    for run in (again, resumed):
        assert {change.key: change.before for change in run.environment.resumed_with} == changes
    for value in changes.values():
        assert sum(str(value) in flag and "last bits" in flag for flag in resumed.status.flags) == 1


@pytest.mark.skipif(cores() < 2, reason="needs two cores")
@pytest.mark.usefixtures("forked_workers")
def test_a_worker_process_resumes_a_run_with_two_threads_bit_exactly(tiny: Make, tmp_path: Path) -> None:
    torch.set_num_threads(2)
    recipe = tiny(AUTO, ("model.name", "lenet"), ("data.size", 28), ("data.limit", 200))
    uninterrupted = finish(recipe, tmp_path / "uninterrupted")
    finish(recipe, tmp_path / "broken", control=pause_after(4))
    *_, (_, end) = execute([recipe], Session(tmp_path / "broken"), where="processes")
    resumed = Run(end.run)
    assert resumed.environment.threads == 2
    assert (resumed.path / "best.safetensors").read_bytes() == (uninterrupted.path / "best.safetensors").read_bytes()


@pytest.mark.any_kernels
def test_libgomp_reads_the_setting_in_workers() -> None:
    environment = {key: value for key, value in os.environ.items() if key not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    done = subprocess.run(
        [sys.executable, "-m", "convoy.studies.worker"],
        env={**environment, "OMP_DISPLAY_ENV": "verbose"}, input="", capture_output=True, text=True, check=True,
    )  # fmt: skip
    if "GOMP_SPINCOUNT" not in done.stderr:
        pytest.skip("this torch uses another OpenMP")
    assert "GOMP_SPINCOUNT = '1000'" in done.stderr


@pytest.mark.any_kernels
@pytest.mark.parametrize(
    ("before", "given", "expected"),
    [
        ("", {}, "1000"),
        ("", {"GOMP_SPINCOUNT": "7"}, "7"),
        ("", {"OMP_WAIT_POLICY": "active"}, "None"),
        ("import sys; sys.modules['torch'] = sys", {}, "None"),
    ],
)
def test_openmp_threads_do_not_spin_unless_torch_is_loaded_or_the_user_chose(
    before: str, given: dict[str, str], expected: str
) -> None:
    code = f"{before}\nimport convoy, os\nprint(os.environ.get('GOMP_SPINCOUNT'))"
    environment = {key: value for key, value in os.environ.items() if key not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment | given, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [expected]

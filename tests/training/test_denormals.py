"""Denormal numbers are treated as zero while a network trains, and only then."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from convoy.events import EpochEnded, Progress
from convoy.recipe import Recipe
from convoy.training.machine.denormals import denormals_as_zero, flushes_denormals
from convoy.training.run.run_one import run_one

DENORMAL = 1e-39

pytestmark = pytest.mark.skipif(not torch.set_flush_denormal(False), reason="this processor has no such mode")


def product() -> float:
    return float((torch.full((64,), 1e-30) * torch.full((64,), 1e-9)).max())


def test_denormals_are_zero_in_the_context() -> None:
    assert product() == pytest.approx(DENORMAL, rel=1e-5)
    with denormals_as_zero():
        assert product() == 0.0
        assert flushes_denormals()
    assert product() > 0.0
    assert not flushes_denormals()


def test_overlapping_trainings_restore_the_mode() -> None:
    first, second = denormals_as_zero(), denormals_as_zero()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert product() == 0.0
    second.__exit__(None, None, None)
    assert product() > 0.0


def test_a_mode_set_by_the_caller_is_kept() -> None:
    found = []

    def call() -> None:
        torch.set_flush_denormal(True)
        with denormals_as_zero():
            pass
        found.append(product())

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert found == [0.0]
    assert product() > 0.0


def test_a_run_flushes_denormals_and_restores_the_mode(tiny: Callable[..., Recipe], tmp_path: Path) -> None:
    during = [flushes_denormals() for event in run_one(tiny(), tmp_path) if isinstance(event, Progress | EpochEnded)]
    assert during
    assert all(during)
    assert not flushes_denormals()

"""Seeded corruptions of run folders are detected or survived; benchmarks/corrupt_runs.py makes 1,000 of them."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from benchmarks.corrupt_runs import Runs, bits, copied, corrupt, is_detected, make_runs


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONVOY_DOCTOR", "off")
        return make_runs(tmp_path_factory.mktemp("runs"))


def test_each_corruption_of_a_finished_run_is_detected(runs: Runs, tmp_path: Path) -> None:
    draw, missed = random.Random(1), []
    for _number in range(30):
        run = copied(runs.finished, tmp_path / "out")
        assert not is_detected(run)
        corruption = corrupt(run, runs.other_finished, draw)
        if not is_detected(run):
            missed.append(corruption)
    assert missed == []


def test_a_corrupted_interrupted_run_ends_with_the_bits_of_an_uninterrupted_run(runs: Runs, tmp_path: Path) -> None:
    draw, different = random.Random(2), []
    for _number in range(8):
        corruption = corrupt(copied(runs.paused, tmp_path / "out"), runs.other_paused, draw)
        if bits(runs.resumed(tmp_path / "out")) != bits(runs.finished):
            different.append(corruption)
    assert different == []

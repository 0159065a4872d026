from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.fake_runs import fake_study


def convoy(folder: Path, *arguments: str) -> str:
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "convoy.cli", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode("ascii")


def test_a_comparison_is_printed_without_a_plus_minus_sign(tmp_path: Path) -> None:
    fake_study(tmp_path / "convoy-runs", seeds=(1, 2))
    assert "+/-" in convoy(tmp_path, "list", "studies")


def test_a_name_that_a_console_cannot_encode_is_escaped(tmp_path: Path) -> None:
    assert "l\\xe4ufe" in convoy(tmp_path, "list", "runs", "--out", "läufe")

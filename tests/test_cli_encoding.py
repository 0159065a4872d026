from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.fake_runs import fake_study

from convoy.cli.main import main


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


def test_control_characters_in_an_error_are_escaped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (path := tmp_path / "red\x1b[31m").write_text("")
    with pytest.raises(SystemExit):
        main(["list", "runs", "--out", str(path)])
    error = capsys.readouterr().err
    assert "red\\x1b[31m" in error
    assert "\x1b" not in error

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from convoy.process import command_line, interruptible

ENDLESS = """
from torch import nn


class Endless(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        print("building", flush=True)
        while True:
            pass
"""


def test_a_signal_raises_keyboard_interrupt_before_the_first_check() -> None:
    with pytest.raises(KeyboardInterrupt), interruptible():
        signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_only_recorded_after_the_first_check(number: int) -> None:
    with interruptible() as interrupted:
        assert not interrupted()
        signal.raise_signal(number)
        assert interrupted()


def test_a_second_signal_raises_keyboard_interrupt() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell ignores SIGINT
    with interruptible() as interrupted:
        interrupted()
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_stops_a_network_whose_init_never_returns(stripes: Path, tmp_path: Path, number: int) -> None:
    (tmp_path / "net.py").write_text(ENDLESS)
    command = [sys.executable, "-m", "convoy.cli", "train", "net.py:Endless", "--data", str(stripes)]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "building\n"
        process.send_signal(number)
        _, errors = process.communicate(timeout=300)
    finally:
        process.kill()
    assert (process.returncode, errors) == (130, "stopped\n")


@pytest.mark.parametrize("program", ["/bin/convoy", "/lib/convoy/cli/__main__.py"])
def test_reported_command_can_be_pasted_into_a_shell(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONVOY_COMMAND", raising=False)
    monkeypatch.setattr("sys.argv", [program, "train", "a b.py:Net", "--epochs", "1"])
    assert shlex.split(command_line()) == ["convoy", "train", "a b.py:Net", "--epochs", "1"]

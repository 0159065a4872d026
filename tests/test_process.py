from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.forks import start_command

from convoy.process import AUTOGROUP, command_line, interruptible

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
    process = start_command(tmp_path, ["train", "net.py:Endless", "--data", str(stripes)])
    out = tmp_path / "out.command"
    try:
        while not (out.is_file() and out.read_text() == "building\n"):
            assert process.is_alive()
            time.sleep(0.02)
        assert process.pid is not None
        os.kill(process.pid, number)
        process.join(timeout=300)
    finally:
        process.kill()
    assert (process.exitcode, (tmp_path / "err.command").read_text()) == (130, "stopped\n")


@pytest.mark.parametrize("program", ["/bin/convoy", "/lib/convoy/cli/__main__.py"])
def test_reported_command_can_be_pasted_into_a_shell(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONVOY_COMMAND", raising=False)
    monkeypatch.setattr("sys.argv", [program, "train", "a b.py:Net", "--epochs", "1"])
    assert shlex.split(command_line()) == ["convoy", "train", "a b.py:Net", "--epochs", "1"]


@pytest.mark.skipif(not AUTOGROUP.exists(), reason="this system does not schedule by session")
@pytest.mark.parametrize("niceness", [0, 5])
def test_a_new_session_gets_the_niceness_of_its_process(niceness: int) -> None:
    code = f"""
import os
from convoy.process import AUTOGROUP, apply_niceness_to_session
added = os.nice({niceness})
apply_niceness_to_session()
print(added, AUTOGROUP.read_text().split()[-1])
"""
    done = subprocess.run([sys.executable, "-c", code], start_new_session=True, capture_output=True, text=True)
    now, of_session = map(int, done.stdout.split())
    assert of_session == max(now, 0)

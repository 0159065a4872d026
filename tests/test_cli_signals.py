from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from convoy.cli.signals import stop_signals
from convoy.process import interruptible

SIGNALS = [signal.SIGINT, signal.SIGTERM]
IMPORT = """
from convoy.cli.signals import stop_signals
from convoy.process import interruptible

with stop_signals(){session}:
    import stops
print("not stopped")
"""


@pytest.fixture(autouse=True)
def default_handlers() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell ignores SIGINT
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("session", ["", ", interruptible()"])
def test_a_signal_during_an_import_ends_the_process_without_an_exception(
    number: int, session: str, tmp_path: Path
) -> None:
    code = f"""
import signal
try:
    signal.raise_signal({int(number)})
except BaseException as error:  # C++ code would abort
    print(repr(error))
"""
    (tmp_path / "stops.py").write_text(code)
    program = IMPORT.format(session=session)
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "stopped\n")


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_raises_keyboard_interrupt_and_the_handlers_are_restored(number: int) -> None:
    with pytest.raises(KeyboardInterrupt), stop_signals():
        signal.raise_signal(number)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_second_signal_during_a_session_raises_keyboard_interrupt() -> None:
    with stop_signals(), interruptible() as interrupted:
        interrupted()
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)


def test_an_ignored_signal_remains_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with stop_signals():
        signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_while_the_command_line_is_imported_ends_with_one_line(number: int, tmp_path: Path) -> None:
    (tmp_path / "cyclopts.py").write_text(f"import signal\nsignal.raise_signal({int(number)})")
    program = "import sys; sys.path.insert(0, '.'); import convoy.cli"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "stopped\n")

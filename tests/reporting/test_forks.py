from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from convoy.reporting import forks
from convoy.reporting.forks import Writer

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forks, "_can_fork", lambda: True)


def process() -> bytes:
    return str(os.getpid()).encode()


@pytest.mark.usefixtures("two_cores")
def test_content_is_computed_in_a_fork_and_all_files_are_there_at_the_end(tmp_path: Path) -> None:
    large = bytes(1_000_000)  # more than a pipe holds
    with Writer() as writer:
        writer.write(tmp_path / "process", process)
        writer.write(tmp_path / "large", lambda: large)
    assert int((tmp_path / "process").read_bytes()) != os.getpid()
    assert (tmp_path / "large").read_bytes() == large


@pytest.mark.usefixtures("two_cores")
def test_what_a_fork_fails_to_compute_is_computed_here(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    here = os.getpid()

    def only_here() -> bytes:
        if os.getpid() != here:
            raise ValueError("in a fork")
        return b"here"

    with Writer() as writer:
        writer.write(tmp_path / "file", only_here)
    assert (tmp_path / "file").read_bytes() == b"here"
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("two_cores")
def test_an_error_of_the_content_is_raised_and_no_process_or_file_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []
    fork = os.fork
    monkeypatch.setattr(os, "fork", lambda: started.append(fork()) or started[-1])

    def fails() -> bytes:
        raise ValueError("cannot be drawn")

    open_files = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    with pytest.raises(ValueError, match="cannot be drawn"), Writer() as writer:
        writer.write(tmp_path / "file", fails)
    assert not any(tmp_path.iterdir())
    with pytest.raises(ChildProcessError):
        os.waitpid(started[0], os.WNOHANG)
    assert not open_files or len(os.listdir("/proc/self/fd")) == open_files


def test_a_process_with_threads_does_not_fork(tmp_path: Path) -> None:
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    try:
        with Writer() as writer:
            writer.write(tmp_path / "process", process)
            assert int((tmp_path / "process").read_bytes()) == os.getpid()
    finally:
        end.set()
        thread.join()

from __future__ import annotations

import errno
import os
import threading
import time
from functools import partial

import pytest

from convoy.reporting import forks
from convoy.reporting.forks import computed

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Two cores; the process ids of the forks."""
    pids: list[int] = []
    fork = os.fork
    monkeypatch.setattr(os, "fork", lambda: pids.append(fork()) or pids[-1])
    monkeypatch.setattr(forks, "_can_fork", lambda: True)
    return pids


def check_nothing_is_left(started: list[int], open_files: int) -> None:
    assert len(started) == 1
    with pytest.raises(ChildProcessError):
        os.waitpid(started[0], os.WNOHANG)
    assert number_of_open_files() == open_files


def number_of_open_files() -> int:
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


def test_results_are_in_the_order_of_the_jobs_and_every_second_is_of_a_fork(started: list[int]) -> None:
    def job(number: int) -> tuple[int, bool, bytes]:
        return number, os.getpid() == here, bytes(100_000)  # more than a pipe holds

    here, open_files = os.getpid(), number_of_open_files()
    for count in (2, 5):
        started.clear()
        results = computed([partial(job, number) for number in range(count)])
        assert [result[:2] for result in results] == [(number, number % 2 == 0) for number in range(count)]
        assert all(len(content) == 100_000 for _number, _is_here, content in results)
        check_nothing_is_left(started, open_files)


def test_what_a_fork_fails_to_compute_is_computed_here(started: list[int], capfd: pytest.CaptureFixture[str]) -> None:
    def only_here() -> str:
        if os.getpid() != here:
            raise ValueError("in a fork")
        return "here"

    here = os.getpid()
    assert computed([only_here, only_here]) == ["here", "here"]
    assert len(started) == 1
    assert capfd.readouterr() == ("", "")


def test_without_memory_for_a_fork_all_jobs_run_here(started: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory() -> int:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    open_files = number_of_open_files()
    monkeypatch.setattr(os, "fork", no_memory)
    assert computed([os.getpid, os.getpid]) == [os.getpid()] * 2
    assert not started
    assert number_of_open_files() == open_files


@pytest.mark.parametrize("place", [0, 1])
def test_an_error_of_a_job_is_raised_and_no_process_or_file_is_left(started: list[int], place: int) -> None:
    def fails() -> None:
        raise ValueError("cannot be drawn")

    open_files = number_of_open_files()
    jobs = [lambda: None, lambda: None]
    jobs[place] = fails
    with pytest.raises(ValueError, match="cannot be drawn"):
        computed(jobs)
    check_nothing_is_left(started, open_files)


@pytest.mark.parametrize("place", [0, 1], ids=["job", "wait"])
def test_an_interruption_does_not_wait_for_the_fork(
    started: list[int], place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_arguments: object) -> None:
        raise KeyboardInterrupt

    open_files, started_at = number_of_open_files(), time.monotonic()
    if place:
        monkeypatch.setattr(forks._Fork, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        computed([lambda: None if place else interrupted(), lambda: time.sleep(60)])
    assert time.monotonic() - started_at < 30
    check_nothing_is_left(started, open_files)


def test_a_process_with_threads_does_not_fork() -> None:
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    try:
        assert computed([os.getpid, os.getpid]) == [os.getpid()] * 2
    finally:
        end.set()
        thread.join()

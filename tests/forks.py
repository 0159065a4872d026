"""Forks the processes of tests from one that has imported torch and Convoy, because these imports are slow."""

from __future__ import annotations

import gc
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from importlib import import_module
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from convoy.studies import child

METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
CONTEXT: Any = multiprocessing.get_context(METHOD)
CONTEXT.set_forkserver_preload([
    "convoy.cli.app", "convoy.api.runs", "convoy.training.run.run_one",
    "distributed.cli.dask_scheduler", "distributed.cli.dask_worker",
])  # fmt: skip


_own: Any = CONTEXT  # of processes that this process starts


def use_forks_of_this_process() -> None:
    """Starts worker processes of studies as forks of this process, which has imported torch."""
    global _own
    if METHOD == "forkserver":
        _own = multiprocessing.get_context("fork")
        child.subprocess = SimpleNamespace(Popen=WorkerProcess, PIPE=subprocess.PIPE)  # type: ignore[assignment]


def write_output(name: str) -> None:
    """Sends the output of this process to the files out.NAME and err.NAME."""
    for stream, kind in ((sys.stdout, "out"), (sys.stderr, "err")):
        with open(f"{kind}.{name}", "wb") as file:
            os.dup2(file.fileno(), stream.fileno())
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]


def _run_command(folder: Path, arguments: list[str]) -> None:
    os.chdir(folder)
    write_output("command")
    use_forks_of_this_process()
    sys.argv = ["convoy", *arguments]

    from convoy import cli

    cli.main(arguments)


def start_command(folder: Path, arguments: list[str]) -> BaseProcess:
    """Starts a command of Convoy in the folder, with its output in the files out.command and err.command."""
    process = CONTEXT.Process(target=_run_command, args=(folder, arguments))
    process.start()
    return process  # type: ignore[no-any-return]


def _run_dask(program: str, options: list[str]) -> None:
    with open(os.devnull, "w") as quiet:
        for stream in (1, 2):
            os.dup2(quiet.fileno(), stream)
    use_forks_of_this_process()
    import_module(f"distributed.cli.dask_{program}").main(options)


def start_dask(program: str, options: list[str]) -> BaseProcess:
    """Starts a "scheduler" or "worker" of Dask."""
    process = CONTEXT.Process(target=_run_dask, args=(program, options))
    process.start()
    return process  # type: ignore[no-any-return]


class Done(NamedTuple):
    code: int | None
    out: str
    err: str


def run_code(folder: Path, code: str, blocked: Iterable[str]) -> Done:
    """Runs code in the folder, in a process that cannot import the blocked packages."""
    process = CONTEXT.Process(target=_run_code, args=(folder, code, list(blocked)))
    process.start()
    process.join()
    return Done(process.exitcode, *((folder / f"{kind}.code").read_text(encoding="utf-8") for kind in ("out", "err")))


def _run_code(folder: Path, code: str, blocked: list[str]) -> None:
    os.chdir(folder)
    write_output("code")
    for name in list(sys.modules):
        if name.partition(".")[0] in blocked:
            del sys.modules[name]
    sys.modules.update(dict.fromkeys(blocked))  # type: ignore[arg-type]  # None: an import fails
    sys.path.insert(0, str(folder))
    exec(code, {})


class WorkerProcess:
    """A fork with the interface of Popen that `convoy.studies.child.Child` uses for its worker process."""

    def __init__(self, program: list[str], *, env: Mapping[str, str], **options: Any) -> None:
        (worker_in, own_out), (own_in, worker_out) = _own.Pipe(duplex=False), _own.Pipe(duplex=False)
        flags = program[program.index("convoy.studies.worker") + 1 :]
        self._process = _own.Process(target=_run_worker, args=(flags, dict(env), worker_in, worker_out))
        self._process.start()
        self.stdin = os.fdopen(os.dup(own_out.fileno()), "w", encoding="utf-8")
        self.stdout = os.fdopen(os.dup(own_in.fileno()), encoding="utf-8")
        for end in (worker_in, worker_out, own_in, own_out):
            end.close()

    def poll(self) -> int | None:
        return self._process.exitcode  # type: ignore[no-any-return]

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if (code := self.poll()) is None:
            raise subprocess.TimeoutExpired("worker", timeout or 0.0)
        return code

    def kill(self) -> None:
        self._process.kill()


def _run_worker(flags: list[str], environment: dict[str, str], own_in: Connection, own_out: Connection) -> None:
    os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    for number, end in enumerate((own_in, own_out)):
        os.dup2(end.fileno(), number)
        end.close()
    gc.freeze()  # otherwise collected file objects of the parent would close descriptors of this process
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))  # inherited pipes and sockets of the parent, which may be killed
    sys.stdin, sys.stdout = os.fdopen(0, encoding="utf-8"), os.fdopen(1, "w", encoding="utf-8")
    sys.argv = ["worker", *flags]

    from convoy.studies import worker

    worker.main()

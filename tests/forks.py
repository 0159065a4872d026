"""Processes of tests: forks of one that has imported torch and Convoy, which takes longer than what most of them do."""

from __future__ import annotations

import multiprocessing
import os
import sys
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
CONTEXT: Any = multiprocessing.get_context(METHOD)
CONTEXT.set_forkserver_preload(["convoy.cli.app", "convoy.api.runs", "convoy.training.run.run_one"])


def write_output(name: str) -> None:
    """Sends the output of this process to the files out.NAME and err.NAME."""
    for stream, kind in ((sys.stdout, "out"), (sys.stderr, "err")):
        with open(f"{kind}.{name}", "wb") as file:
            os.dup2(file.fileno(), stream.fileno())
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]


def _run_command(folder: Path, arguments: list[str]) -> None:
    os.chdir(folder)
    write_output("command")
    sys.argv = ["convoy", *arguments]

    from convoy import cli

    cli.main(arguments)


def start_command(folder: Path, arguments: list[str]) -> BaseProcess:
    """Starts a command of Convoy in the folder, with its output in the files out.command and err.command."""
    process = CONTEXT.Process(target=_run_command, args=(folder, arguments))
    process.start()
    return process  # type: ignore[no-any-return]

"""Measures how long a training takes to end after SIGTERM or Ctrl-C, and checks its checkpoint.

    python benchmarks/interruption.py [--times 20] [--model lenet] [--set KEY=VALUE ...]

`convoy train` is interrupted at a random time after its first progress, alternately by SIGTERM and SIGINT. Its run must
be "interrupted" and have a valid checkpoint.
"""

from __future__ import annotations

import argparse
import os
import pty
import random
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from measure import write_result

from convoy.checkpoint import saved_step
from convoy.runs import Workspace

LATEST = 15.0  # seconds from the first progress to the signal


def interrupted_after(arguments: list[str], out: Path, wait: float, number: int) -> dict[str, Any]:
    """Returns the seconds from the signal to the saved checkpoint and to the end of the process, and what was saved."""
    terminal, inside = pty.openpty()
    command = [sys.executable, "-m", "convoy.cli", "train", *arguments, "--out", str(out)]
    process = subprocess.Popen(command, stdin=inside, stdout=inside, stderr=inside, start_new_session=True)
    os.close(inside)
    printed, end = b"", float("inf")
    while time.monotonic() < end:
        if select.select([terminal], [], [], 0.05)[0]:
            printed = printed[-1000:] + os.read(terminal, 65536)
        if end == float("inf") and b"loss" in printed:
            end = time.monotonic() + wait
        if process.poll() is not None:
            raise SystemExit(f"the training ended before the signal: {printed.decode(errors='replace')}")
    process.send_signal(number)
    sent_at, wall = time.monotonic(), time.time()
    while process.poll() is None:
        if select.select([terminal], [], [], 0.005)[0]:
            try:
                os.read(terminal, 65536)
            except OSError:  # the terminal has no other end
                break
    process.wait()
    seconds = time.monotonic() - sent_at
    os.close(terminal)
    (run,) = Workspace(out).runs()
    step = saved_step(run.path / "checkpoints", run.status.fingerprint)
    assert run.state == "interrupted", run.state
    assert step is not None
    files = list((run.path / "checkpoints" / str(step)).iterdir())
    saved = max(path.stat().st_mtime for path in files) - wall
    return {"signal": number.name, "saved_seconds": saved, "ended_seconds": seconds, "step": step} | {
        "checkpoint_bytes": sum(path.stat().st_size for path in files)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--model", default="lenet")
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--set", action="append", default=[])
    options = parser.parse_args()
    arguments = [options.model, "--data", options.data, "--epochs", str(options.epochs)]
    arguments += [word for pair in options.set for word in ("--set", pair)]
    draw, measured = random.Random(0), []
    for attempt in range(options.times):
        with TemporaryDirectory() as folder:
            number = (signal.SIGTERM, signal.SIGINT)[attempt % 2]
            measured.append(interrupted_after(arguments, Path(folder), draw.uniform(0, LATEST), number))
        print(measured[-1], flush=True)
    lines = [f"{options.model}, {options.data}: n = {len(measured)}, {measured[0]['checkpoint_bytes'] / 1e6:.1f} MB"]
    for what in ("saved", "ended"):
        seconds = sorted(each[f"{what}_seconds"] for each in measured)
        lines.append(f"{what}: median {median(seconds):.2f} s, largest {seconds[-1]:.2f} s after the signal")
    write_result(lines, {"measured": measured})


if __name__ == "__main__":
    main()

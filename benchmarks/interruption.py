"""Measures how long training takes to end after SIGTERM or Ctrl-C, and checks the checkpoint.

    python -m benchmarks.interruption [--times 20] [--model lenet] [--set KEY=VALUE ...] [--after scoring]

`convoy train` is interrupted at a random time after its first progress, or after it has printed the text `--after`,
alternately by SIGTERM and SIGINT. Its run must be "interrupted" and have a valid checkpoint. The processor time is that
of the process from the signal to its end.
"""

from __future__ import annotations

import argparse
import os
import pty
import random
import resource
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.measure import write_result

from convoy.checkpoint import saved_step
from convoy.runs import Workspace

LATEST = 15.0  # seconds from the text to the signal


def interrupted_after(
    arguments: list[str], out: Path, text: str, wait: float, number: signal.Signals
) -> dict[str, Any]:
    """Sends the signal `wait` seconds after `text`. Returns the seconds from the signal to the saved checkpoint and to
    the end of the process, and what was saved.
    """
    terminal, inside = pty.openpty()
    command = [sys.executable, "-m", "convoy.cli", "train", *arguments, "--out", str(out)]
    process = subprocess.Popen(command, stdin=inside, stdout=inside, stderr=inside, start_new_session=True)
    os.close(inside)
    printed, end = b"", float("inf")
    while time.monotonic() < end:
        if select.select([terminal], [], [], 0.05)[0]:
            printed = printed[-1000:] + os.read(terminal, 65536)
        if end == float("inf") and text.encode() in printed:
            end = time.monotonic() + wait
        if process.poll() is not None:
            raise SystemExit(f"the training ended before the signal: {printed.decode(errors='replace')}")
    before = cpu_seconds_of(process.pid) + children_cpu_seconds()
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
    saved = max(
        0.0, *(path.stat().st_mtime - wall for path in files)
    )  # 0: the step before the signal was saved already
    return {"signal": number.name, "saved_seconds": saved, "ended_seconds": seconds, "step": step} | {
        "cpu_seconds": children_cpu_seconds() - before,
        "checkpoint_bytes": sum(path.stat().st_size for path in files),
    }


def cpu_seconds_of(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime and stime (man 5 proc_pid_stat)


def children_cpu_seconds() -> float:
    """Of processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--model", default="lenet")
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--after", default="loss")
    parser.add_argument("--within", type=float, default=LATEST)
    options = parser.parse_args()
    arguments = [options.model, "--data", options.data, "--epochs", str(options.epochs)]
    arguments += [word for pair in options.set for word in ("--set", pair)]
    draw, measured = random.Random(0), []
    for attempt in range(options.times):
        with TemporaryDirectory() as folder:
            number = (signal.SIGTERM, signal.SIGINT)[attempt % 2]
            measured.append(
                interrupted_after(arguments, Path(folder), options.after, draw.uniform(0, options.within), number)
            )
        print(measured[-1], flush=True)
    lines = [f"{options.model}, {options.data}: n = {len(measured)}, {measured[0]['checkpoint_bytes'] / 1e6:.1f} MB"]
    for what in ("saved", "ended", "cpu"):
        seconds = sorted(each[f"{what}_seconds"] for each in measured)
        lines.append(f"{what}: median {median(seconds):.2f} s, largest {seconds[-1]:.2f} s from the signal")
    write_result(lines, {"measured": measured})


if __name__ == "__main__":
    main()

"""Checks that a run killed three times on a busy machine ends with the weights of an uninterrupted run.

    python benchmarks/kill_resume.py [--times 20] [--limit 20000] [--epochs 3]

`convoy train two_conv_cnn` first runs alone. Then, each time in an empty folder and next to two busy loops, it is
killed with SIGKILL three times at a random time after the first progress line, and restarted. The fourth start
finishes. The SHA-256 of best.safetensors is compared. A kill tests the resume only if there is a checkpoint, so these
kills are counted.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import pty
import random
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from measure import write_result

MODEL, KILLS, BUSY_LOOPS = "two_conv_cnn", 3, 2
LONGEST = 16.0  # seconds from the first progress to the kill; a checkpoint is saved every 10 s


@contextmanager
def busy_loops(count: int) -> Iterator[None]:
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


class Training:
    """`convoy train` in a pseudo-terminal, where it prints its progress twice per second."""

    def __init__(self, out: Path, limit: int, epochs: int) -> None:
        terminal, inside = pty.openpty()
        command = [sys.executable, "-m", "convoy.cli", "train", MODEL, "--out", str(out)]
        command += ["--limit", str(limit), "--epochs", str(epochs)]
        self._terminal = terminal
        self._process = subprocess.Popen(command, stdin=inside, stdout=inside, stderr=inside)
        os.close(inside)

    def read(self, seconds: float = float("inf"), until: bytes | None = None) -> bool:
        """Reads its output for some seconds. Whether it printed `until`, or is still running."""
        end, printed = time.monotonic() + seconds, b""
        while (left := end - time.monotonic()) > 0:
            if not select.select([self._terminal], [], [], min(left, 1.0))[0]:
                continue
            try:
                printed = printed[-1000:] + os.read(self._terminal, 4096)
            except OSError:  # the process has ended
                return False
            if until is not None and until in printed:
                return True
        return True

    def kill(self) -> None:
        self._process.kill()
        self.close()

    def close(self) -> int:
        code = self._process.wait()
        os.close(self._terminal)
        return code


def finish(out: Path, limit: int, epochs: int) -> str:
    """Trains to the end. Returns the SHA-256 of the best weights."""
    training = Training(out, limit, epochs)
    training.read()
    if code := training.close():
        raise SystemExit(f"convoy train ended with exit code {code}")
    (weights,) = out.glob("runs/*/best.safetensors")
    return hashlib.sha256(weights.read_bytes()).hexdigest()


def killed_in_training(out: Path, limit: int, epochs: int, seconds: float) -> bool:
    """Kills a training some seconds after its first progress; False if it had already ended."""
    training = Training(out, limit, epochs)
    if training.read(until=b"images/s") and training.read(seconds) and "finished" not in status(out):
        training.kill()
        return True
    training.kill()
    return False


def status(out: Path) -> str:
    return "".join(path.read_text() for path in out.glob("runs/*/status.json"))


def attempt(draw: random.Random, limit: int, epochs: int) -> tuple[str, list[int]] | None:
    """SHA-256 after three kills, and the step of the newest checkpoint at each (0: none); None if it ended before."""
    with TemporaryDirectory() as folder, busy_loops(BUSY_LOOPS):
        out, checkpoints = Path(folder), []
        for _ in range(KILLS):
            if not killed_in_training(out, limit, epochs, draw.uniform(0, LONGEST)):
                return None
            found = out.glob("runs/*/checkpoints/*/manifest.json")
            checkpoints.append(max((int(path.parent.name) for path in found), default=0))
        return finish(out, limit, epochs), checkpoints


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--limit", type=int, default=20_000)
    parser.add_argument("--epochs", type=int, default=3)
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        expected = finish(Path(folder), given.limit, given.epochs)
    draw, equal, kills, ended_before = random.Random(0), 0, [], 0
    while len(kills) < given.times:
        if (found := attempt(draw, given.limit, given.epochs)) is None:
            ended_before += 1
            continue
        equal += found[0] == expected
        kills.append(found[1])
        print(
            f"{equal} of {len(kills)} equal; newest checkpoints at the kills: {found[1]}", file=sys.stderr, flush=True
        )
    resumed = sum(step > 0 for steps in kills for step in steps)
    lines = [
        f"convoy train {MODEL} --epochs {given.epochs} --limit {given.limit}, next to {BUSY_LOOPS} busy loops",
        f"killed {KILLS} times each: {equal} of {given.times} end with the SHA-256 of a quiet unbroken run",
        f"kills that found a checkpoint to resume from: {resumed} of {KILLS * given.times}",
        f"left out because the run ended before its third kill: {ended_before}",
    ]
    write_result(lines, {"equal": equal, "times": given.times, "sha256": expected, "checkpoints": kills})
    sys.exit(equal < given.times)


if __name__ == "__main__":
    main()

"""Checks that a run killed three times on a busy machine ends with the weights of an uninterrupted run.

    python -m benchmarks.kill_resume [--times 20] [--limit 20000] [--epochs 3]

`convoy train two_conv_cnn` first runs alone. Then it is repeated, each time in an empty folder and next to two busy
loops: it is killed with SIGKILL and restarted three times, each at a random time after the first progress line; the
fourth start finishes. The SHA-256 of best.safetensors is compared. Only a kill after the first checkpoint tests
resuming, so these kills are counted.
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

from benchmarks.measure import write_result

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
        """Reads output for some seconds or until it contains `until`. Returns False if the process has ended."""
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
    """Finishes the training. Returns the SHA-256 of the best weights."""
    training = Training(out, limit, epochs)
    training.read()
    if code := training.close():
        raise SystemExit(f"convoy train ended with exit code {code}")
    (weights,) = out.glob("runs/*/best.safetensors")
    return hashlib.sha256(weights.read_bytes()).hexdigest()


def killed_in_training(out: Path, limit: int, epochs: int, seconds: float) -> bool:
    """Kills a run some seconds after its first progress line. Returns False if it had already ended."""
    training = Training(out, limit, epochs)
    if training.read(until=b"images/s") and training.read(seconds) and "finished" not in status(out):
        training.kill()
        return True
    training.kill()
    return False


def status(out: Path) -> str:
    return "".join(path.read_text() for path in out.glob("runs/*/status.json"))


def attempt(draw: random.Random, limit: int, epochs: int) -> tuple[str, list[int]] | None:
    """Returns the SHA-256 after three kills, and the step of the newest checkpoint at each kill (0: none).

    None if the run ended before its third kill.
    """
    with TemporaryDirectory() as folder, busy_loops(BUSY_LOOPS):
        out, checkpoints = Path(folder), []
        for _ in range(KILLS):
            if not killed_in_training(out, limit, epochs, draw.uniform(0, LONGEST)):
                return None
            manifests = out.glob("runs/*/checkpoints/*/manifest.json")
            checkpoints.append(max((int(path.parent.name) for path in manifests), default=0))
        return finish(out, limit, epochs), checkpoints


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--limit", type=int, default=20_000)
    parser.add_argument("--epochs", type=int, default=3)
    arguments = parser.parse_args()
    times, limit, epochs = arguments.times, arguments.limit, arguments.epochs
    with TemporaryDirectory() as folder:
        expected = finish(Path(folder), limit, epochs)
    kills: list[list[int]] = []
    draw, equal, ended_before = random.Random(0), 0, 0
    while len(kills) < times:
        if (result := attempt(draw, limit, epochs)) is None:
            ended_before += 1
            continue
        digest, checkpoints = result
        equal += digest == expected
        kills.append(checkpoints)
        print(f"{equal} of {len(kills)} equal; newest checkpoints at the kills: {checkpoints}", file=sys.stderr)
    resumed = sum(step > 0 for steps in kills for step in steps)
    lines = [
        f"convoy train {MODEL} --epochs {epochs} --limit {limit}, next to {BUSY_LOOPS} busy loops",
        f"killed {KILLS} times each: {equal} of {times} have the SHA-256 of an uninterrupted run on an idle machine",
        f"kills after the first checkpoint: {resumed} of {KILLS * times}",
        f"attempts excluded because the run ended before its third kill: {ended_before}",
    ]
    write_result(lines, {"equal": equal, "times": times, "sha256": expected, "checkpoints": kills})
    sys.exit(equal < times)


if __name__ == "__main__":
    main()

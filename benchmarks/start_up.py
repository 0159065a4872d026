"""Wall-clock seconds of commands, compared with the import of torch and with an empty Python program.

    python -m benchmarks.start_up [--rounds 5]

Limits for the medians on two idle cores: 2.2 times `import torch` plus 1 s for a short training, 2 s for the report of
a run, 3 s for that of a study of four runs. `convoy list models` does not import torch (tests/test_start_up.py).
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter

from benchmarks.measure import interleaved, write_result

CONVOY = str(Path(sys.executable).with_name("convoy"))
SHORT = ("lenet", "--data", "mnist", "--epochs", "1", "--limit", "2000")
TRAIN, TORCH, REPORT_ONE, REPORT_FOUR = (
    "convoy train",
    "import torch",
    "convoy report, one run",
    "convoy report, four runs",
)


def run(command: Sequence[str], folder: Path) -> float:
    start = perf_counter()
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    return perf_counter() - start


def training(folder: Path) -> float:
    shutil.rmtree(folder / "new", ignore_errors=True)  # otherwise the finished run would be reused
    return run([CONVOY, "train", *SHORT, "--out", "new"], folder)


def commands_in(folder: Path) -> dict[str, Callable[[], float]]:
    """The measured commands by name. Trains four runs for the reports."""
    run([CONVOY, "compare", "lenet", "two_conv_cnn", *SHORT[1:], "--seeds", "2", "--out", "four"], folder)
    (one, *_), (four,) = (sorted((folder / "four" / kind).iterdir()) for kind in ("runs", "studies"))
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        TORCH: [sys.executable, "-c", "import torch"],
        "convoy --help": [CONVOY, "--help"],
        "convoy train --help": [CONVOY, "train", "--help"],
        "convoy list models": [CONVOY, "list", "models"],
        REPORT_ONE: [CONVOY, "report", str(one)],
        REPORT_FOUR: [CONVOY, "report", str(four)],
    }
    return {name: lambda command=command: run(command, folder) for name, command in commands.items()} | {
        TRAIN: lambda: training(folder)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        values = interleaved(commands_in(Path(folder)), rounds)
    seconds = {name: median(rounds_of) for name, rounds_of in values.items()}
    limits = {TRAIN: 2.2 * seconds[TORCH] + 1, REPORT_ONE: 2.0, REPORT_FOUR: 3.0}
    lines = [f"Seconds to the end of the command; medians of {rounds} rounds, files in the page cache", ""]
    for name, value in seconds.items():
        limit = f"  at most {limits[name]:.2f}: {'yes' if value <= limits[name] else 'no'}" if name in limits else ""
        lines.append(f"{name:26} {value:.3f}{limit}")
    write_result(lines, {"unit": "seconds", "rounds": rounds, "seconds": values, "limits": limits})


if __name__ == "__main__":
    main()

"""Seconds of `convoy --help`, and of a Python interpreter that does nothing.

python benchmarks/start_up.py [--rounds 15]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

from measure import in_turn, write_result

COMMANDS = {
    "convoy --help": [str(Path(sys.executable).with_name("convoy")), "--help"],
    "convoy train --help": [str(Path(sys.executable).with_name("convoy")), "train", "--help"],
    "python -c pass": [sys.executable, "-c", "pass"],
}


def seconds_of(command: list[str]) -> Callable[[], float]:
    def measure_round() -> float:
        begun = perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        return perf_counter() - begun

    return measure_round


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    values = in_turn({name: seconds_of(command) for name, command in COMMANDS.items()}, rounds)
    lines = [f"Seconds to the end of the command; medians of {rounds} rounds, files in the system's cache", ""]
    lines += [f"{name:20} {median(each):.3f}" for name, each in values.items()]
    write_result(lines, {"unit": "seconds", "rounds": rounds, "seconds": values})


if __name__ == "__main__":
    main()

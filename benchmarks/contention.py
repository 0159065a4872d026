"""Training images/s alone and beside one other busy process: Convoy against plain torch with a thread a core.

    python benchmarks/contention.py [--rounds 5]

LeNet, MNIST, batch 128, no augmentation. The other process is an endless loop in Python. Convoy trains an epoch a round
with `compute.threads = "auto"`, so that the seconds it takes to notice the other process are in its number. Plain torch
does the bare step on one resident batch (benchmarks/loop_overhead.py).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable
from statistics import median
from tempfile import TemporaryDirectory

from loop_overhead import bare, epoch
from measure import in_turn, ratio, serve, ways, write_result

MODEL = "lenet"
WAYS = ("plain torch", "convoy")


def beside_busy_process(measure_round: Callable[[], float]) -> Callable[[], float]:
    def measured() -> float:
        other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        try:
            return measure_round()
        finally:
            other.kill()
            other.wait()

    return measured


def compare(rounds: int) -> None:
    with TemporaryDirectory() as folder, ways({name: ["--serve", name, folder] for name in WAYS}) as started:
        measured: dict[str, Callable[[], float]] = {}
        for name, way in started.items():
            measured[f"{name}, alone"] = way
            measured[f"{name}, beside another"] = beside_busy_process(way)
        values = in_turn(measured, rounds)
    falls = {name: ratio(values, f"{name}, alone", f"{name}, beside another") for name in WAYS}
    lines = [f"Training images/s, {MODEL} on MNIST; medians of {rounds} rounds", ""]
    lines += [f"{name:30} {median(each):9,.0f}" for name, each in values.items()]
    lines += [f"{name} falls by a factor of {fall:.2f}" for name, fall in falls.items()]
    write_result(lines, {"unit": "training images/s", "rounds": rounds, "images_per_second": values, "falls_by": falls})


def main() -> None:
    if sys.argv[1:2] == ["--serve"]:
        way, folder = sys.argv[2:]
        serve(bare(MODEL) if way == "plain torch" else epoch(MODEL, folder, []))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    compare(parser.parse_args().rounds)


if __name__ == "__main__":
    main()

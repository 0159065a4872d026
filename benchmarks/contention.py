"""Training images/s on an idle machine and next to one or two busy processes: Convoy and plain torch.

    python -m benchmarks.contention [--rounds 5]

12,800 images of MNIST per round, batch size 128, no augmentation, as many threads as cores. A busy process is an
endless loop in Python. Convoy sets GOMP_SPINCOUNT=1000; "default spinning" is Convoy with libgomp's default. Plain
torch repeats the training step on one batch in memory (benchmarks/loop_overhead.py), with libgomp's default.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.loop_overhead import BATCH_SIZE, bare, epoch
from benchmarks.measure import interleaved, ratio, serve, variants, write_result

MODELS = ("lenet", "two_conv_cnn")
SPINNING = {"GOMP_SPINCOUNT": "300000"}  # libgomp's default
VARIANTS = {"plain torch": SPINNING, "convoy, default spinning": SPINNING, "convoy": {}}
BUSY = (0, 1, 2)  # number of busy processes
STEPS = 100


def next_to(count: int, measure_round: Callable[[], float]) -> float:
    """Measures a round next to this many busy processes."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        return measure_round()
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def compare(rounds: int) -> None:
    lines = [f"Training images/s on MNIST; medians of {rounds} rounds, and the slow-down next to busy processes"]
    numbers: dict[str, object] = {"unit": "training images/s", "rounds": rounds}
    for model in MODELS:
        arguments = {name: ["--serve", name, model] for name in VARIANTS}
        cases = {f"{name}, {count}": (name, count) for name in VARIANTS for count in BUSY}
        with TemporaryDirectory() as out, variants({n: [*a, out] for n, a in arguments.items()}, VARIANTS) as started:
            measured = {case: partial(next_to, count, started[name]) for case, (name, count) in cases.items()}
            values = interleaved(measured, rounds)
        slower = {case: ratio(values, f"{name}, 0", case) for case, (name, _) in cases.items()}
        lines += ["", f"{model:26} {'idle':>8} {'next to one':>22} {'next to two':>22}"]
        for name in VARIANTS:
            cells = [f"{median(values[f'{name}, 0']):8,.0f}"]
            cells += [f"{median(values[f'{name}, {n}']):12,.0f} (1/{slower[f'{name}, {n}']:.2f})" for n in BUSY[1:]]
            lines.append(f"{name:26} {'   '.join(cells)}")
        numbers[model] = {"images_per_second": values, "slower_by": slower}
    write_result(lines, numbers)


def main() -> None:
    if sys.argv[1:2] == ["--serve"]:
        variant, model, folder = sys.argv[2:]
        serve(bare(model, STEPS) if variant == "plain torch" else epoch(model, folder, [], limit=STEPS * BATCH_SIZE))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    compare(parser.parse_args().rounds)


if __name__ == "__main__":
    main()

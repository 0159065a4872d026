"""Training images/s late in a run, with and without flushing denormal numbers to zero (Convoy's default).

    python benchmarks/denormals.py [--rounds 5]

two_conv_cnn on 12,000 images of MNIST, batch 16, as tensor-mnist trains it: a softmax before the loss makes gradients
vanish, and Adam's means with them. The run is trained once for 8 epochs without flushing; a round is its ninth epoch.
With one thread, as in a worker process, and with two, as for a single run.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from measure import in_turn, ratio, serve, ways, write_result

from convoy.events import EpochEnded
from convoy.recipe import Recipe
from convoy.runs import Run
from convoy.training.run import run_one as runner

EPOCHS = 8
WAYS = ("as they are", "taken for zero")
THREADS = (1, 2)


def recipe_on(threads: int) -> Recipe:
    return Recipe.load("tensor-mnist/corrected").override(
        {
            "model.name": "two_conv_cnn_published",
            "data.limit": 12_000,
            "train.epochs": EPOCHS + 1,
            "stop.patience_epochs": 0,
            "compute.threads": threads,
            "compute.device": "cpu",
        }
    )


def begin(folder: Path) -> None:
    """Trains the run except its last epoch."""
    runner.denormals_as_zero = nullcontext
    for event in runner.run_one(recipe_on(1), folder, test=False, until=EPOCHS):
        if isinstance(event, EpochEnded):
            print(event.text, file=sys.stderr)


def last_epoch(way: str, threads: int, begun: Path) -> Callable[[], float]:
    if way == WAYS[0]:
        runner.denormals_as_zero = nullcontext

    def measure_round() -> float:
        with TemporaryDirectory() as folder:
            shutil.copytree(begun, folder, dirs_exist_ok=True)
            *_, end = runner.run_one(recipe_on(threads), folder, test=False)
            run = Run(end.run)
            before, last = (epoch.train_seconds for epoch in run.metrics[-2:])
            return float(run.data.counts["train"] / (last - before))

    return measure_round


def compare(rounds: int) -> None:
    lines = [f"Training images/s in epoch {EPOCHS + 1}, two_conv_cnn, batch 16; medians of {rounds} rounds", ""]
    numbers: dict[str, object] = {}
    with TemporaryDirectory() as folder:
        begin(Path(folder))
        for threads in THREADS:
            with ways({way: ["--serve", way, str(threads), folder] for way in WAYS}) as measured:
                values = in_turn(measured, rounds)
            gain = ratio(values, WAYS[1], WAYS[0])
            lines += [f"{threads} thread{'s' * (threads > 1)}, {way:15} {median(values[way]):7,.0f}" for way in WAYS]
            lines += [f"  faster by a factor of {gain:.2f}", ""]
            numbers[f"threads {threads}"] = {"images_per_second": values, "faster_by": gain}
    write_result(lines[:-1], {"unit": "training images/s", "rounds": rounds, **numbers})


def main() -> None:
    if sys.argv[1:2] == ["--serve"]:
        way, threads, folder = sys.argv[2:]
        serve(last_epoch(way, int(threads), Path(folder)))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    compare(parser.parse_args().rounds)


if __name__ == "__main__":
    main()

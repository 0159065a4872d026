"""Training images/s late in a run, with and without flushing denormal numbers to zero (Convoy's default).

    python -m benchmarks.denormals [--rounds 5]

two_conv_cnn on 12,000 images of MNIST, batch 16, as in tensor-mnist: a softmax before the loss makes gradients and
Adam's moments vanish. The run is trained once for 8 epochs without flushing; a round is its ninth epoch. One thread, as
in a worker process, and two threads, as for a single run.
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

from benchmarks.measure import interleaved, ratio, serve, variants, write_result

from convoy.events import Ended, EpochEnded
from convoy.recipe import Recipe
from convoy.runs import Run
from convoy.training.run import run_one as runner

EPOCHS = 8
VARIANTS = ("not flushed", "flushed")
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


def train_all_but_last_epoch(folder: Path) -> None:
    runner.denormals_as_zero = nullcontext  # type: ignore[assignment]
    for event in runner.run_one(recipe_on(1), folder, test=False, until=EPOCHS):
        if isinstance(event, EpochEnded):
            print(event.text, file=sys.stderr)


def last_epoch(variant: str, threads: int, unfinished: Path) -> Callable[[], float]:
    if variant == VARIANTS[0]:
        runner.denormals_as_zero = nullcontext  # type: ignore[assignment]

    def measure_round() -> float:
        with TemporaryDirectory() as folder:
            shutil.copytree(unfinished, folder, dirs_exist_ok=True)
            *_, end = runner.run_one(recipe_on(threads), folder, test=False)
            assert isinstance(end, Ended)
            run = Run(end.run)
            before, last = (epoch.train_seconds for epoch in run.metrics[-2:])
            return float(run.data.counts["train"] / (last - before))

    return measure_round


def compare(rounds: int) -> None:
    lines = [f"Training images/s in epoch {EPOCHS + 1}, two_conv_cnn, batch 16; medians of {rounds} rounds", ""]
    numbers: dict[str, object] = {}
    with TemporaryDirectory() as folder:
        train_all_but_last_epoch(Path(folder))
        for threads in THREADS:
            with variants({variant: ["--serve", variant, str(threads), folder] for variant in VARIANTS}) as measured:
                values = interleaved(measured, rounds)
            gain = ratio(values, VARIANTS[1], VARIANTS[0])
            name = f"{threads} thread{'s' * (threads > 1)}"
            lines += [f"{name}, {variant:15} {median(values[variant]):7,.0f}" for variant in VARIANTS]
            lines += [f"  faster by a factor of {gain:.2f}", ""]
            numbers[f"threads {threads}"] = {"images_per_second": values, "faster_by": gain}
    write_result(lines[:-1], {"unit": "training images/s", "rounds": rounds, **numbers})


def main() -> None:
    if sys.argv[1:2] == ["--serve"]:
        variant, threads, folder = sys.argv[2:]
        serve(last_epoch(variant, int(threads), Path(folder)))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    compare(parser.parse_args().rounds)


if __name__ == "__main__":
    main()

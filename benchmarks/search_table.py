"""Makes the table for search_replay.py: the validation accuracy of LeNet after each of 27 epochs, at 81 points.

    python -m benchmarks.search_table --out search-table        # about half an hour on 2 cores

Nine batch sizes by nine learning rates, constant learning rate, AdamW, 10,000 MNIST images for training and 2,500 for
validation; the test set is not opened. Finished runs are reused, so the script can be stopped and restarted. The table
stores accuracies as numbers of correct images.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from itertools import product
from pathlib import Path

from convoy.events import Ended
from convoy.recipe import Recipe
from convoy.runs import Run
from convoy.studies.execute import execute
from convoy.studies.session import Session
from convoy.training.machine import environment
from convoy.training.machine.device import device_of

BATCH_SIZES = (16, 24, 32, 48, 64, 96, 128, 192, 256)
LEARNING_RATES = (1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2)
EPOCHS = 27
FOLDER = Path(__file__).parent / "results"


def points() -> list[tuple[int, float]]:
    return list(product(BATCH_SIZES, LEARNING_RATES))


def recipe(batch_size: int, lr: float) -> Recipe:
    base = Recipe.load("defaults/mnist").override(
        {"schedule": {"name": "constant"}, "model.options.activation": "sigmoid"}
    )
    changes = {"data.limit": 12_500, "train.epochs": EPOCHS, "train.batch_size": batch_size, "optim.lr": lr}
    return base.override(changes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="search-table")
    out = parser.parse_args().out
    # The largest batches first, because they are the fastest.
    order = sorted(range(len(points())), key=lambda point: -points()[point][0])
    runs: dict[int, Run] = {}
    for position, event in execute((recipe(*points()[point]) for point in order), Session(out, test=False)):
        if isinstance(event, Ended):
            point = order[position]
            runs[point] = Run(event.run)
            print(f"{len(runs)} of {len(order)}: batch size and learning rate {points()[point]}", flush=True)
    correct = [
        [epoch.validation.correct for epoch in runs[point].metrics if epoch.validation is not None]
        for point in range(len(points()))
    ]
    first = runs[0]
    table = {
        "about": "correctly classified validation images, by point and epoch",
        "model": "lenet",
        "train_images": first.data.counts["train"],
        "validation_images": first.data.counts["validation"],
        "epochs": EPOCHS,
        "points": [{"train.batch_size": batch_size, "optim.lr": lr} for batch_size, lr in points()],
        "correct": correct,
        "environment": asdict(environment.describe(device_of(first.recipe), first.recipe)),
    }
    (FOLDER / "search_table.json").write_text(json.dumps(table) + "\n")


if __name__ == "__main__":
    main()

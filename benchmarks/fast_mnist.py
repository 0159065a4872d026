"""Test accuracy and training seconds of the recipe defaults/fast-mnist over many seeds.

    python -m benchmarks.fast_mnist [--seeds 10]

Each run is full-size: new initial weights, all 60,000 training images, the test set opened once at the end. The seconds
are those from the first to the last step; the data are in memory.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from tempfile import TemporaryDirectory

from benchmarks.measure import write_result

RECIPE = "defaults/fast-mnist"


def train(seeds: int) -> None:
    import convoy
    from convoy.stats import t_interval

    recipe = convoy.Recipe.load(RECIPE)
    with TemporaryDirectory() as folder:
        runs = [
            convoy.train(recipe, seed=recipe.seed + offset, out=folder, device="cpu", show=False)
            for offset in range(seeds)
        ]
        accuracies = [run.scores["test"].accuracy for run in runs]
        seconds = [run.cost.train_seconds or 0 for run in runs]
    accuracy, duration = t_interval(accuracies), t_interval(seconds)
    lines = [
        f"{RECIPE}, seeds {recipe.seed} to {recipe.seed + seeds - 1}",
        f"test accuracy    {accuracy.text()}, sd {100 * (accuracy.sd or 0):.3f}, lowest {min(accuracies):.2%}",
        f"training seconds {duration.text('s')}, longest {max(seconds):.2f}",
    ]
    write_result(
        lines,
        {
            "recipe": RECIPE,
            "test_accuracy": {**asdict(accuracy), "values": accuracies},
            "train_seconds": {**asdict(duration), "values": seconds},
        },
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    train(parser.parse_args().seeds)


if __name__ == "__main__":
    main()

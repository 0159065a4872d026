"""Measures how many training images a network needs to reach an accuracy. `--quick` uses these numbers.

    python -m benchmarks.images_to_learn classics-mnist/lenet tensor-mnist/published --accuracy 0.9 --seeds 3

Trains each recipe, and scores 1,000 held-out images whenever the number of images seen has grown by about a tenth.
Prints one line per run: the number of images at the first of two consecutive scores that reach the accuracy.
"""

from __future__ import annotations

import argparse
import time

from convoy.data.augment import build as build_augmentation
from convoy.data.batches import Batches
from convoy.evaluation.predict import predict
from convoy.recipe import Recipe
from convoy.training.run.plan import plan_one

SCORED = 1000
GROWTH = 1.1  # ratio of the numbers of images at two consecutive scores


def images_to_learn(recipe: Recipe, accuracy: float, most: int) -> int | None:
    """None if `most` images are not enough."""
    plan = plan_one(recipe)
    prepared, learner = plan.prepared, plan.learner()
    batches = Batches(
        prepared.train,
        batch_size=recipe.train.batch_size,
        seed=recipe.seed,
        normaliser=plan.normaliser,
        augmentation=build_augmentation(recipe.data.augment),
    )
    held_out = prepared.validation or prepared.train
    images, labels = held_out.images[:SCORED], held_out.labels[:SCORED]
    seen, next_score, reached = 0, 1000.0, None
    while seen < most:
        epoch, step = divmod(seen // recipe.train.batch_size, batches.steps_per_epoch)
        x, y = batches.at(epoch, step)
        learner.step(x, y)
        seen += recipe.train.batch_size
        if seen >= next_score:
            next_score = seen * GROWTH
            if (predict(learner.module, images, plan.normaliser).argmax(1) == labels).mean() >= accuracy:
                if reached is not None:
                    return reached
                reached = seen
            else:
                reached = None
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="+")
    parser.add_argument("--accuracy", type=float, default=0.9)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--most", type=int, default=200_000, help="images")
    parser.add_argument("--data")
    parser.add_argument("--precision", default="float32")
    arguments = parser.parse_args()
    for name in arguments.recipes:
        recipe = Recipe.load(name, [("compute.precision", arguments.precision)])
        if arguments.data is not None:
            recipe = recipe.override({"data.name": arguments.data})
        for offset in range(arguments.seeds):
            seed, start = recipe.seed + offset, time.perf_counter()
            images = images_to_learn(recipe.override({"seed": seed}), arguments.accuracy, arguments.most)
            number = f"more than {arguments.most:,}" if images is None else f"{images:,}"
            print(f"{name} seed {seed}: {number} images, {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()

"""How many training images a network needs to reach an accuracy; `--quick` uses these numbers.

    python benchmarks/images_to_learn.py classics-mnist/lenet tensor-mnist/published --accuracy 0.9 --seeds 3

Trains each recipe and scores 1,000 held-out images each time the number of images has grown by about a tenth. Prints
one line per run: the images at the first of two scores in a row that reach the accuracy.
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
GROWTH = 1.1  # growth of the number of images between two scores


def images_to_learn(recipe: Recipe, accuracy: float, most: int) -> int | None:
    """None if `most` images are not enough."""
    ready = plan_one(recipe)
    prepared, learner = ready.prepared, ready.learner()
    batches = Batches(
        prepared.train,
        batch_size=recipe.train.batch_size,
        seed=recipe.seed,
        normaliser=ready.normaliser,
        augmentation=build_augmentation(recipe.data.augment),
    )
    held_out = prepared.validation or prepared.train
    images, labels = held_out.images[:SCORED], held_out.labels[:SCORED]
    seen, following, reached = 0, 1000.0, None
    while seen < most:
        epoch, step = divmod(seen // recipe.train.batch_size, batches.steps_per_epoch)
        x, y = batches.at(epoch, step)
        learner.step(x, y)
        seen += recipe.train.batch_size
        if seen >= following:
            following = seen * GROWTH
            if (predict(learner.module, images, ready.normaliser).argmax(1) == labels).mean() >= accuracy:
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
    asked = parser.parse_args()
    for name in asked.recipes:
        recipe = Recipe.load(name, [("compute.precision", asked.precision)])
        if asked.data is not None:
            recipe = recipe.override({"data.name": asked.data})
        for offset in range(asked.seeds):
            begun = time.perf_counter()
            found = images_to_learn(recipe.override({"seed": recipe.seed + offset}), asked.accuracy, asked.most)
            images = f"more than {asked.most:,}" if found is None else f"{found:,}"
            print(
                f"{name} seed {recipe.seed + offset}: {images} images, {time.perf_counter() - begun:.0f} s", flush=True
            )


if __name__ == "__main__":
    main()

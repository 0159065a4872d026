"""Overhead of Convoy's epoch relative to the bare step: forward, backward and optimizer step on one batch in memory.

    python -m benchmarks.loop_overhead [--rounds 7]

The bare step has Convoy's memory format, fused optimizer and memory retention, so that only the loop is compared:
order, batches, conversion, normalisation, accuracy, gradient norm, skipping of steps that are not finite, records,
schedule. Augmentation is measured separately. Batch 128, AdamW, float32, as many threads as cores.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

from benchmarks.measure import interleaved, ratio, serve, variants, write_result

COMPARED = ("lenet", "two_conv_cnn")
VARIANTS = ("bare step", "convoy", "convoy, augmented")
BATCH_SIZE, STEPS = 128, 469  # 60,000 images, an epoch of MNIST
AUGMENT = [{"name": "rotate", "degrees": 10}, {"name": "shift", "fraction": 0.1}]


def bare(model: str, steps: int = STEPS) -> Callable[[], float]:
    import torch
    import torch.nn.functional as F

    from convoy.models import create
    from convoy.recipe.sections import AdamW
    from convoy.training.machine.memory import MemoryRetention
    from convoy.training.step.optimizers import build

    MemoryRetention()
    network = create(model, in_chans=1, num_classes=10, image_size=28).train()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x, y = torch.randn(BATCH_SIZE, 1, 28, 28), torch.randint(10, (BATCH_SIZE,))
    x = x.to(memory_format=torch.channels_last)
    optimizer = build(AdamW(), network)

    def measure_round() -> float:
        start = perf_counter()
        for _ in range(steps):
            network.zero_grad()
            F.cross_entropy(network(x), y).backward()
            optimizer.step()
        return steps * BATCH_SIZE / (perf_counter() - start)

    return measure_round


def epoch(model: str, out: str, augment: list[dict[str, object]], *, limit: int | None = None) -> Callable[[], float]:
    import convoy

    recipe = convoy.Recipe.load("defaults/mnist").override(
        {
            "model.name": model,
            "data.split.validation": 0.0,
            "data.augment": augment,
            "train.epochs": 1,
            "train.batch_size": BATCH_SIZE,
            "compute.device": "cpu",
        }
    )

    def measure_round() -> float:
        run = convoy.train(recipe, limit=limit, out=out, fresh=True, test=False, show=False)
        assert run.cost.images_per_second is not None
        return run.cost.images_per_second

    return measure_round


def compare(rounds: int) -> None:
    numbers: dict[str, object] = {}
    lines = [f"Training images/s on MNIST, batch {BATCH_SIZE}; medians of {rounds} rounds", ""]
    with TemporaryDirectory() as folder:
        for model in COMPARED:
            with variants({name: ["--serve", model, name, folder] for name in VARIANTS}) as measured:
                values = interleaved(measured, rounds)
            ratios = {name: ratio(values, name, "bare step") for name in VARIANTS[1:]}
            lines += [f"{model:13} {name:18} {median(values[name]):9,.0f}" for name in VARIANTS]
            lines += [f"{model:13} {name} / bare step: {value:.3f}" for name, value in ratios.items()] + [""]
            numbers[model] = {"images_per_second": values, "ratio_to_bare_step": ratios}
    write_result(lines, {"unit": "training images/s", "rounds": rounds, "models": numbers})


def main() -> None:
    if sys.argv[1:2] == ["--serve"]:
        model, variant, folder = sys.argv[2:]
        augment = AUGMENT if "augmented" in variant else []
        serve(bare(model) if variant == "bare step" else epoch(model, folder, augment))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    compare(parser.parse_args().rounds)


if __name__ == "__main__":
    main()

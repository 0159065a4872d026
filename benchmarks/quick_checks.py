"""CPU seconds of the doctor's quick checks of each registered network, and what they find.

    python -m benchmarks.quick_checks [--repeats 3]

Each network is built for 32 x 32 pixels and 10 classes, and for the images and classes of its paper ("own"). The images
are random. The time is that of one thread (`time.process_time`), without building the network; medians of the repeats.
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import torch
from benchmarks.measure import write_result

from convoy.diagnosing.network import IMAGES, Network
from convoy.diagnosing.table import CHECKS, TOO_SLOW, Topic, examine
from convoy.models import MODELS, create
from convoy.models.entry import CIFAR, Geometry
from convoy.recipe import Recipe

QUICK = [check for check in CHECKS if check.quick and check.topic in (Topic.NETWORK, Topic.FORWARD, Topic.OUTPUTS)]


def measured(name: str, geometry: Geometry, repeats: int) -> tuple[list[float], list[str]]:
    """Returns the CPU seconds of each repeat, and the findings of the last as "check: severity"."""
    torch.manual_seed(0)
    module = create(name, **geometry._asdict())
    x = torch.randn(IMAGES, geometry.in_chans, geometry.image_size, geometry.image_size)
    y = torch.arange(IMAGES) % geometry.num_classes
    seconds, found = [], []
    for _ in range(repeats):
        network = Network(module, Recipe(), x, y, geometry.num_classes, build=lambda: module, may_skip=True)
        started = time.process_time()
        found = list(examine(network, QUICK))
        seconds.append(time.process_time() - started)
    return seconds, [f"{finding.check}: {finding.severity}" for finding in found]


def main(repeats: int) -> None:
    torch.set_num_threads(1)
    measured("lenet", MODELS["lenet"].counted_at, 1)  # warm-up
    lines = [f"CPU seconds of the quick checks of networks, one thread; medians of {repeats} repeats", ""]
    numbers: dict[str, object] = {}
    for title, geometry in (("32 x 32", CIFAR), ("own", None)):
        medians, skipped = [], 0
        for name in MODELS:
            own = MODELS[name].counted_at
            seconds, found = measured(name, geometry or own, repeats)
            medians.append(median(seconds))
            skipped += f"{TOO_SLOW}: hint" in found
            size = (geometry or own).image_size
            lines.append(f"{name:28} {size:3} pixels  {medians[-1]:.3f}  {', '.join(found)}")
            numbers[f"{name}, {title}"] = {"seconds": seconds, "findings": found}
        below = sum(value < 1 for value in medians)
        lines += [f"{title}: {below} of {len(medians)} below 1 s, median {median(medians):.2f}, max {max(medians):.2f}"]
        lines += [f"checks skipped for {skipped}", ""]
    write_result(lines, numbers)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    main(parser.parse_args().repeats)

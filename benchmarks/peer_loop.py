"""Training images/s of Convoy and of the loop in the lab reports (torchvision, PIL transforms, DataLoader).

    python -m benchmarks.peer_loop [--rounds 5]     needs torchvision: see benchmarks/README.md

Same network, same torch, two threads; MNIST, batch 128, AdamW, rotation up to 10 degrees, shift up to a tenth. The
first peer has the two transforms of the reports, RandomRotation and RandomAffine; the second has one RandomAffine,
which rotates and shifts in one resampling. Each runs with 0 and 2 DataLoader workers, and the faster is compared. The
start-up of the peers (workers, the first batches) is not timed. Convoy is `convoy.train` as called by a user.
"""

from __future__ import annotations

import argparse
import gzip
import sys
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

from benchmarks.measure import interleaved, ratio, serve, variants, write_result

COMPARED = ("lenet", "two_conv_cnn")
PEERS = {  # name: (transforms, workers)
    "two transforms, 0 workers": ("two", 0),
    "two transforms, 2 workers": ("two", 2),
    "one transform, 0 workers": ("one", 0),
    "one transform, 2 workers": ("one", 2),
}
BATCH_SIZE, THREADS = 128, 2
WARM_UP_BATCHES, TIMED_BATCHES = 5, 150


def write_raw_files(root: Path) -> None:
    """Writes torchvision's layout: decompressed IDX files in root/MNIST/raw."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    packaged = Path(str(resources.files("convoy") / "data" / "mnist"))
    for path in packaged.glob("*.gz"):
        (raw / path.stem).write_bytes(gzip.decompress(path.read_bytes()))


def peer(model: str, kind: str, workers: int, root: Path) -> Callable[[], float]:
    import torch
    import torch.nn.functional as F
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    from convoy.models import create

    torch.set_num_threads(THREADS)
    augmentations = {
        "two": [transforms.RandomRotation(10), transforms.RandomAffine(0, translate=(0.1, 0.1))],
        "one": [transforms.RandomAffine(10, translate=(0.1, 0.1))],
    }
    transform = transforms.Compose(
        [*augmentations[kind], transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
    )
    loader = DataLoader(
        datasets.MNIST(root, train=True, transform=transform), batch_size=BATCH_SIZE, shuffle=True, num_workers=workers
    )
    network = create(model, in_chans=1, num_classes=10, image_size=28).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)

    def measure_round() -> float:
        batches = iter(loader)
        loss_sum, correct, start = 0.0, 0, 0.0
        for count in range(WARM_UP_BATCHES + TIMED_BATCHES):
            if count == WARM_UP_BATCHES:
                start = perf_counter()
            images, labels = next(batches)
            optimizer.zero_grad()
            logits = network(images)
            loss = F.cross_entropy(logits, labels)
            loss.backward()
            optimizer.step()
            loss_sum += loss.item() * len(labels)
            correct += (logits.argmax(1) == labels).sum().item()
        return TIMED_BATCHES * BATCH_SIZE / (perf_counter() - start)

    return measure_round


def convoy_variant(model: str, out: Path) -> Callable[[], float]:
    import convoy

    recipe = convoy.Recipe.load("defaults/mnist").override(
        {
            "model.name": model,
            "data.split.validation": 0.0,
            "data.augment": [{"name": "rotate", "degrees": 10}, {"name": "shift", "fraction": 0.1}],
            "train.epochs": 1,
            "train.batch_size": BATCH_SIZE,
            "compute.device": "cpu",
            "compute.threads": THREADS,
        }
    )

    def measure_round() -> float:
        run = convoy.train(recipe, out=out, fresh=True, test=False, show=False)
        assert run.cost.images_per_second is not None
        return run.cost.images_per_second

    return measure_round


def compare(rounds: int) -> None:
    numbers: dict[str, object] = {}
    lines = [
        f"Training images/s on MNIST, augmented, batch {BATCH_SIZE}, {THREADS} threads; medians of {rounds} rounds",
        "",
    ]
    with TemporaryDirectory() as folder:
        write_raw_files(Path(folder))
        for model in COMPARED:
            arguments = {name: ["--serve", model, name, folder] for name in (*PEERS, "convoy")}
            with variants(arguments) as measured:
                values = interleaved(measured, rounds)
            lines += [f"{model:13} {name:26} {median(values[name]):9,.0f}" for name in values]
            ratios = {}
            for kind in ("two", "one"):
                best = max((name for name in PEERS if PEERS[name][0] == kind), key=lambda name: median(values[name]))
                ratios[best] = ratio(values, "convoy", best)
                lines.append(f"{model:13} convoy / {best}: {ratios[best]:.2f}")
            lines.append("")
            numbers[model] = {"images_per_second": values, "ratio_to_best_peer": ratios}
    write_result(lines, {"unit": "training images/s", "rounds": rounds, "models": numbers})


def main() -> None:
    if sys.argv[1:2] == ["--serve"]:
        model, variant, folder = sys.argv[2:]
        root = Path(folder)
        serve(convoy_variant(model, root) if variant == "convoy" else peer(model, *PEERS[variant], root))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    compare(parser.parse_args().rounds)


if __name__ == "__main__":
    main()

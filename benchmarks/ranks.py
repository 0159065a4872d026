"""Training images/s of one network: one process with two threads, and two processes of torchrun with one thread each.

    python -m benchmarks.ranks [--rounds 5]

MNIST without augmentation, batch size 128. Each round trains both once, in turn; the speed is that of cost.json, which
counts neither the imports nor the evaluations.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measure import interleaved, ratio, write_result

from convoy.runs import Run

LIMITS = {"lenet": 40_000, "two_conv_cnn": 12_000, "basic_cnn": 3_000}  # images, for about 5 s
COMMANDS = {
    "one process, two threads": [sys.executable],
    "two processes, one thread": [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"],
}


def images_per_second(model: str, command: list[str], out: Path) -> float:
    options = ["--limit", str(LIMITS[model]), "--epochs", "1", "--out", str(out), "--fresh"]
    subprocess.run([*command, "-m", "convoy", "train", model, *options], check=True, capture_output=True)
    (path,) = (out / "runs").iterdir()
    speed = Run(path).cost.images_per_second
    assert speed is not None
    return speed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    one, two = COMMANDS
    lines = [f"Training images/s on MNIST; medians of {rounds} rounds", "", f"{'':14} {one:>26} {two:>26} {'ratio':>8}"]
    numbers: dict[str, object] = {"unit": "training images/s", "rounds": rounds}
    for model in LIMITS:
        with TemporaryDirectory() as folder:
            measured: dict[str, Callable[[], float]] = {
                name: partial(images_per_second, model, command, Path(folder, name))
                for name, command in COMMANDS.items()
            }
            values = interleaved(measured, rounds)
        faster = ratio(values, two, one)
        middle = {name: sorted(speeds)[len(speeds) // 2] for name, speeds in values.items()}
        lines.append(f"{model:14} {middle[one]:26,.0f} {middle[two]:26,.0f} {faster:8.2f}")
        numbers[model] = {"images_per_second": values, "ratio": faster}
    write_result(lines, numbers)


if __name__ == "__main__":
    main()

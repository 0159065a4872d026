"""Compares the test accuracy of training with Convoy and with plain PyTorch loops: three networks, ten seeds each.

    python -m benchmarks.training_parity [--cifar FOLDER] [--seeds 10] [--only lenet] [--out FOLDER]

The loops are in `plain_training.py`, written from the descriptions in the reports without code of Convoy. Both sides
read the same .npz file (a subset of the training images, all 10,000 test images), train for the same number of epochs
on one thread, and draw their own split, initial weights, batches and augmentation for each seed.

Two one-sided Welch tests at 5 % decide whether the mean test accuracies differ by less than 0.2 points. This is
equivalent to a 90 % interval (Welch) of the difference within 0.2 points:

    equivalent    the interval is within -0.2 to +0.2 points
    different     not equivalent, and Welch's two-sided test rejects equal means at 5 %
    inconclusive  otherwise; prints how many seeds would show equivalence with a power of 80 %

basic_cnn needs CIFAR-10 as a folder of images (train/ and test/) and is skipped without --cifar. Each finished training
is a line of OUT/trainings.jsonl; a rerun trains only what is missing and reports all settings in the file.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

MARGIN = 0.002  # of the test accuracy, a fraction: 0.2 points
ALPHA = 0.05
POWER = 0.8
SIDES = ("convoy", "plain")


@dataclass(frozen=True)
class Setting:
    """The settings of a comparison, the same for both sides."""

    network: str
    recipe: str
    data: str  # "mnist" or "cifar10"
    train_images: int  # including validation images
    epochs: int
    protocol: str  # "as published" or "corrected"


SETTINGS = (
    Setting("lenet", "classics-mnist/lenet-published", "mnist", 60_000, 12, "as published"),
    Setting("two_conv_cnn", "tensor-mnist/corrected", "mnist", 30_000, 4, "corrected"),
    Setting("basic_cnn", "cifar-course/basic-cnn", "cifar10", 4_000, 5, "corrected"),
)


class Verdict(StrEnum):
    EQUIVALENT = "equivalent"
    DIFFERENT = "different"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class Parity:
    """Test accuracies as fractions; differences are Convoy minus the plain loop."""

    mean_convoy: float
    sd_convoy: float
    n_convoy: int
    mean_plain: float
    sd_plain: float
    n_plain: int
    difference: float
    low_90: float
    high_90: float
    p_equivalence: float  # the larger of the two one-sided tests
    p_difference: float  # Welch, two-sided
    verdict: Verdict
    seeds_needed: int | None  # per side; only if inconclusive
    schema: int = 1


def compare(convoy: Sequence[float], plain: Sequence[float]) -> Parity:
    """Compares at least two accuracies per side."""
    a, b = np.asarray(convoy), np.asarray(plain)
    welch = stats.ttest_ind(a, b, equal_var=False)
    interval = welch.confidence_interval(1 - 2 * ALPHA)
    above = stats.ttest_ind(a + MARGIN, b, equal_var=False, alternative="greater").pvalue
    below = stats.ttest_ind(a - MARGIN, b, equal_var=False, alternative="less").pvalue
    p_equivalence = float(max(above, below))
    if p_equivalence < ALPHA:
        verdict = Verdict.EQUIVALENT
    elif welch.pvalue < ALPHA:
        verdict = Verdict.DIFFERENT
    else:
        verdict = Verdict.INCONCLUSIVE
    sd_convoy, sd_plain = float(a.std(ddof=1)), float(b.std(ddof=1))
    return Parity(
        float(a.mean()), sd_convoy, len(a),
        float(b.mean()), sd_plain, len(b),
        float(a.mean() - b.mean()), float(interval.low), float(interval.high),
        p_equivalence, float(welch.pvalue), verdict,
        seeds_needed(sd_convoy, sd_plain) if verdict is Verdict.INCONCLUSIVE else None,
    )  # fmt: skip


def seeds_needed(sd_convoy: float, sd_plain: float) -> int:
    """Seeds per side with which the test shows equivalence with a power of 80 %, if the means are equal."""
    variances = sd_convoy**2, sd_plain**2
    n = 2
    while True:
        standard_error = math.sqrt(sum(variances) / n)
        df = (n - 1) * sum(variances) ** 2 / sum(variance**2 for variance in variances)
        limit = MARGIN / standard_error - stats.t.ppf(1 - ALPHA, df)
        if 2 * stats.t.cdf(limit, df) - 1 >= POWER:
            return n
        n += 1


def write_subset(setting: Setting, source: str, folder: Path) -> Path:
    """Writes the .npz file that both sides read: a random subset of the training images, and all test images."""
    path = folder / f"{setting.data}-{setting.train_images}.npz"
    if path.exists():
        return path
    from convoy.data import load

    dataset = load(source)
    assert dataset.test is not None
    subset = np.sort(np.random.default_rng(0).permutation(len(dataset.train))[: setting.train_images])
    folder.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part.npz")
    np.savez(
        temporary,
        x_train=dataset.train.images[subset],
        y_train=dataset.train.labels[subset],
        x_test=dataset.test.images,
        y_test=dataset.test.labels,
    )
    temporary.replace(path)
    return path


def train_convoy(setting: Setting, data: Path, seed: int, out: Path) -> float:
    import convoy

    values = {
        "data.name": str(data),
        "data.split.seed": seed,
        "train.epochs": setting.epochs,
        "compute.threads": 1,
    }
    recipe = convoy.Recipe.load(setting.recipe, list(values.items()))
    run = convoy.train(recipe, seed=seed, out=out, device="cpu", show=False)
    return run.scores["test"].accuracy


def train_plain(setting: Setting, data: Path, seed: int, out: Path) -> float:
    """Runs in a separate process, because Convoy changes settings of torch."""
    arguments = [setting.network, str(data), "--seed", str(seed), "--epochs", str(setting.epochs)]
    process = subprocess.run(
        [sys.executable, "-m", "benchmarks.plain_training", *arguments], check=True, stdout=subprocess.PIPE, text=True
    )
    return float(process.stdout.splitlines()[-1])


def key(setting: Setting, side: str, seed: int) -> dict[str, Any]:
    return {
        "network": setting.network,
        "train_images": setting.train_images,
        "epochs": setting.epochs,
        "side": side,
        "seed": seed,
    }


def read(trainings: Path) -> list[dict[str, Any]]:
    if not trainings.exists():
        return []
    return [json.loads(line) for line in trainings.read_text(encoding="utf-8").splitlines() if line.endswith("}")]


def train_missing(settings: Sequence[Setting], sources: dict[str, str], seeds: int, out: Path) -> None:
    """Trains seed by seed, so that the numbers of seeds are nearly equal after an interruption."""
    trainings = out / "trainings.jsonl"
    for seed in range(seeds):
        for setting in settings:
            for side, train in zip(SIDES, (train_convoy, train_plain), strict=True):
                training = key(setting, side, seed)
                if any(training.items() <= record.items() for record in read(trainings)):
                    continue
                data = write_subset(setting, sources[setting.data], out / "data")
                start = time.perf_counter()
                accuracy = train(setting, data, seed, out / "runs")
                record = {**training, "test_accuracy": accuracy, "seconds": round(time.perf_counter() - start, 1)}
                with trainings.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(record) + "\n")
                print(json.dumps(record), file=sys.stderr, flush=True)


def accuracies(setting: Setting, side: str, records: Sequence[dict[str, Any]]) -> list[float]:
    common = key(setting, side, 0)
    del common["seed"]
    return [record["test_accuracy"] for record in records if common.items() <= record.items()]


def lines_of(setting: Setting, parity: Parity) -> list[str]:
    seeds = f"{parity.n_convoy}" if parity.n_convoy == parity.n_plain else f"{parity.n_convoy} and {parity.n_plain}"
    lines = [
        f"{setting.network} {setting.protocol} ({setting.recipe}): {setting.train_images:,} training and validation "
        f"images, {setting.epochs} epochs, {seeds} seeds per side",
        f"  Convoy      {parity.mean_convoy:.2%}, sd {100 * parity.sd_convoy:.2f}",
        f"  plain loop  {parity.mean_plain:.2%}, sd {100 * parity.sd_plain:.2f}",
        f"  difference  {100 * parity.difference:+.2f} points, 90 % interval {100 * parity.low_90:+.2f} to "
        f"{100 * parity.high_90:+.2f}",
        f"  {parity.verdict} within {100 * MARGIN:.1f} points (two one-sided tests: p = {parity.p_equivalence:.3f}; "
        f"equal means: p = {parity.p_difference:.2f})",
    ]
    if parity.seeds_needed is not None:
        lines.append(
            f"  {parity.seeds_needed} seeds per side would show equivalence of equal means with a power of {POWER:.0%}"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cifar", help="CIFAR-10 as a folder of images with train/ and test/")
    parser.add_argument("--seeds", type=int, default=10, help="per side")
    parser.add_argument("--only", nargs="+", choices=[setting.network for setting in SETTINGS])
    parser.add_argument("--out", type=Path, default=Path("parity-runs"))
    arguments = parser.parse_args()

    os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported, here and in the process of the plain loop
    from benchmarks.measure import write_result

    sources = {"mnist": "mnist"} | ({"cifar10": arguments.cifar} if arguments.cifar else {})
    settings = [
        setting
        for setting in SETTINGS
        if setting.data in sources and (arguments.only is None or setting.network in arguments.only)
    ]
    train_missing(settings, sources, arguments.seeds, arguments.out)
    records = read(arguments.out / "trainings.jsonl")
    lines: list[str] = []
    numbers: dict[str, Any] = {}
    for setting in SETTINGS:
        values = {side: accuracies(setting, side, records) for side in SIDES}
        if min(map(len, values.values())) < 2:
            lines.append(f"{setting.network}: not compared, fewer than 2 seeds per side are trained")
            continue
        parity = compare(values["convoy"], values["plain"])
        lines += lines_of(setting, parity)
        numbers[setting.network] = {**asdict(setting), **asdict(parity), "test_accuracies": values}
    write_result(lines, {"margin": MARGIN, "settings": numbers})


if __name__ == "__main__":
    main()

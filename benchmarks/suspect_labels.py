"""F1 of finding wrong labels: Convoy, cleanlab, and the rule "the predicted class differs from the label".

    python -m benchmarks.suspect_labels make FOLDER mnist  # writes noisy labels, prints the commands of the trainings
    python -m benchmarks.suspect_labels make FOLDER cifar10=PATH
    python -m benchmarks.suspect_labels make FOLDER cifar10=PATH --all  # all 50,000 images
    pip install --no-deps --target /tmp/cleanlab cleanlab==2.9.0 termcolor pandas
    PYTHONPATH=src:/tmp/cleanlab python -m benchmarks.suspect_labels score FOLDER

A share of the labels is replaced by a random other class. All methods use the same out-of-fold outputs. Intervals are
95 % bootstrap intervals over images (1,000 resamples). cleanlab is not installed with Convoy, which does not need it.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
from benchmarks.measure import write_result

SHARES = (0.2, 0.4)


class Sample(NamedTuple):
    seeds: tuple[int, ...]
    network: str
    training: str
    images: int = 6000


PLAIN = "--folds 5 --batch-size 64 --data.augment '[]' --data.split.validation 0"
CROP_AND_FLIP = '[{name = "crop", padding = 4}, {name = "flip"}]'
AUGMENTED = f"--folds 4 --batch-size 128 --data.augment '{CROP_AND_FLIP}' --data.split.validation 0"
SAMPLES = {
    "mnist": Sample((0, 1, 2, 3), "fast_mnist_cnn", f"--epochs 6 {PLAIN}"),
    "cifar10": Sample((0, 1), "basic_cnn", f"--epochs 8 {PLAIN}"),
    "cifar10all": Sample((0,), "basic_cnn", f"--epochs 10 {AUGMENTED}", 50_000),
}


def make(folder: Path, data: str, every: bool) -> None:
    from convoy.data import load

    folder.mkdir(parents=True, exist_ok=True)
    dataset, kind = load(data), data.partition("=")[0] + "all" * every
    sample = SAMPLES[kind]
    assert dataset.test is not None
    for seed in sample.seeds:
        for share in SHARES:
            draw = np.random.default_rng([seed, int(100 * share)])
            index = np.sort(draw.choice(len(dataset.train), sample.images, replace=False))
            true = dataset.train.labels[index]
            wrong = draw.random(sample.images) < share
            given = np.where(wrong, (true + draw.integers(1, 10, sample.images)) % 10, true)
            name = f"{kind}-{int(100 * share)}-{seed}"
            np.savez(
                folder / f"noisy-{name}.npz",
                x_train=dataset.train.images[index],
                y_train=given,
                x_test=dataset.test.images[:500],
                y_test=dataset.test.labels[:500],
            )
            np.save(folder / f"true-{name}.npy", true)
            print(
                f"convoy crossval {sample.network} --data {folder}/noisy-{name}.npz {sample.training} "
                f"--out {folder}/out-{name}"
            )


def f1(flagged: np.ndarray, wrong: np.ndarray) -> float:
    return float(2 * (flagged & wrong).sum() / (flagged.sum() + wrong.sum()))


def score(folder: Path) -> None:
    from importlib.metadata import version

    from cleanlab.filter import find_label_issues

    from convoy.diagnosing.suspects import find_suspects

    lines = ["F1 of finding wrong labels [95 % interval]; in brackets by how much Convoy is better, in points"]
    numbers: dict[str, object] = {"cleanlab": version("cleanlab")}
    for path in sorted(folder.glob("out-*/studies/*/oof.npz")):
        name = path.parts[-4].removeprefix("out-")
        outputs = np.load(path)
        true, given, logits = (
            np.load(folder / f"true-{name}.npy")[outputs["index"]],
            outputs["labels"],
            outputs["logits"],
        )
        likely = np.exp(logits - logits.max(1, keepdims=True))
        likely /= likely.sum(1, keepdims=True)
        suspect = np.zeros(len(true), bool)
        suspect[find_suspects(logits, given).flagged] = True
        methods = {"rule": outputs["predicted"] != given, "convoy": suspect}
        for filter_by in ("prune_by_noise_rate", "both"):
            methods[f"cleanlab {filter_by}"] = find_label_issues(given, likely, filter_by=filter_by, n_jobs=1)
        wrong, draw = given != true, np.random.default_rng(0)
        kind, share, seed = name.split("-")
        accuracy = float((outputs["predicted"] == true).mean())
        lines += ["", f"{kind}, {share} % wrong labels, sample {seed}: {len(true):,} images, {SAMPLES[kind].network}"]
        lines.append(f"accuracy of the out-of-fold predictions against the true labels: {accuracy:.3f}")
        samples = [draw.integers(len(true), size=len(true)) for _ in range(1000)]
        for method, flagged in methods.items():
            low, high = np.quantile([f1(flagged[each], wrong[each]) for each in samples], (0.025, 0.975))
            gain = [f1(methods["convoy"][each], wrong[each]) - f1(flagged[each], wrong[each]) for each in samples]
            ends = np.quantile(gain, (0.025, 0.975))
            better = f1(methods["convoy"], wrong) - f1(flagged, wrong)
            difference = f"  ({100 * better:+.1f}: {100 * ends[0]:+.1f} to {100 * ends[1]:+.1f})"
            precision, recall = wrong[flagged].mean(), flagged[wrong].mean()
            lines.append(
                f"{method:28}  {f1(flagged, wrong):.4f} [{low:.4f} to {high:.4f}]  precision {precision:.3f}, "
                f"recall {recall:.3f}{difference * (method != 'convoy')}"
            )
            spans = {"span": [low, high], "convoy_is_better": [*ends]}
            numbers[f"{name} {method}"] = {"f1": f1(flagged, wrong), "precision": precision, "recall": recall, **spans}
    lines += [
        "",
        "Trained with the commands that `suspect_labels make` prints:",
        *(f"{kind}: {sample.network} {sample.training}" for kind, sample in SAMPLES.items()),
        f"cleanlab {version('cleanlab')}",
    ]
    write_result(lines, numbers)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=["make", "score"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("data", nargs="?", default="mnist", help="mnist or cifar10=PATH")
    parser.add_argument("--all", action="store_true", help="all training images instead of 6,000")
    arguments = parser.parse_args()
    if arguments.action == "make":
        make(arguments.folder, arguments.data, arguments.all)
    else:
        score(arguments.folder)

"""F1 of finding wrong labels: Convoy, cleanlab, and the rule "the predicted class differs from the label".

    python benchmarks/suspect_labels.py make FOLDER  # writes noisy labels, prints the commands that cross-validate them
    PYTHONPATH=src /tmp/cleanlab/bin/python benchmarks/suspect_labels.py score FOLDER  # needs cleanlab

Labels of MNIST images are replaced by a random other class. All methods use the same out-of-fold outputs. Intervals
are 95 % bootstrap intervals over images (1,000 resamples). cleanlab has its own environment: Convoy does not need it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

IMAGES, SEEDS, SHARES = 6000, (0, 1, 2), (0.2, 0.4)
TRAINING = "--folds 5 --epochs 6 --batch-size 64 --data.augment '[]' --data.split.validation 0"


def make(folder: Path) -> None:
    from convoy.data import load

    folder.mkdir(parents=True, exist_ok=True)
    dataset = load("mnist")
    assert dataset.test is not None
    for seed in SEEDS:
        for share in SHARES:
            draw = np.random.default_rng([seed, int(100 * share)])
            index = np.sort(draw.choice(len(dataset.train), IMAGES, replace=False))
            true = dataset.train.labels[index]
            wrong = draw.random(IMAGES) < share
            given = np.where(wrong, (true + draw.integers(1, 10, IMAGES)) % 10, true)
            name = f"{int(100 * share)}-{seed}"
            parts = {"x_test": dataset.test.images[:500, 0], "y_test": dataset.test.labels[:500]}
            np.savez(folder / f"noisy-{name}.npz", x_train=dataset.train.images[index, 0], y_train=given, **parts)
            np.save(folder / f"true-{name}.npy", true)
            print(
                f"convoy crossval fast_mnist_cnn --data {folder}/noisy-{name}.npz {TRAINING} --out {folder}/out-{name}"
            )


def f1(flagged: np.ndarray, wrong: np.ndarray) -> float:
    return float(2 * (flagged & wrong).sum() / (flagged.sum() + wrong.sum()))


def score(folder: Path) -> None:
    from cleanlab.filter import find_label_issues

    from convoy.diagnosing.suspects import find_suspects

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
        methods = {"rule": outputs["predicted"] != given, "convoy": find_suspects(logits, given).probability > 0.5}
        for filter_by in ("prune_by_noise_rate", "both"):
            methods[f"cleanlab {filter_by}"] = find_label_issues(given, likely, filter_by=filter_by, n_jobs=1)
        wrong, draw = given != true, np.random.default_rng(0)
        samples = [draw.integers(len(true), size=len(true)) for _ in range(1000)]
        for method, flagged in methods.items():
            low, high = np.quantile([f1(flagged[each], wrong[each]) for each in samples], (0.025, 0.975))
            gain = [f1(methods["convoy"][each], wrong[each]) - f1(flagged[each], wrong[each]) for each in samples]
            ends = np.quantile(gain, (0.025, 0.975))
            better = f1(methods["convoy"], wrong) - f1(flagged, wrong)
            print(f"{name}  {method:28}  F1 {f1(flagged, wrong):.4f} [{low:.4f} to {high:.4f}]")
            print(f"    Convoy is better by {better:+.4f} [{ends[0]:+.4f} to {ends[1]:+.4f}]")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=["make", "score"])
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    (make if arguments.action == "make" else score)(arguments.folder)

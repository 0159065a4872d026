"""Writes finished run folders and studies with synthetic numbers, in milliseconds.

Accuracy, confusion matrix, per-class scores and curves of a run are consistent. The images are from MNIST.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from convoy.counts import count_scores
from convoy.files import write_arrays, write_json
from convoy.recipe import Recipe, fingerprint
from convoy.recipe.faults import limited
from convoy.run_contents import EpochMetrics, PartScore
from convoy.runs import Member, Run, Study, Workspace

DIGITS = tuple(str(digit) for digit in range(10))


@dataclass(frozen=True)
class FakeModel:
    """Expected results of a model's runs, to which noise is added."""

    accuracy: float = 0.98
    parameters: int = 44_426
    train_seconds: float = 12.0


@dataclass(frozen=True)
class Setting:
    """Settings of all runs of a study."""

    classes: tuple[str, ...] = DIGITS
    channels: int = 1
    epochs: int = 5
    counts: Mapping[str, int] = field(default_factory=lambda: {"train": 48_000, "validation": 12_000, "test": 10_000})
    flags: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    limit: int | None = None
    openings: int = 1
    filters: bool = True
    spread: float = 0.001  # sd of the accuracy over seeds
    scored: tuple[str, ...] = ("validation", "test")


DEFAULT = Setting()
THREE_MODELS = {
    "lenet": FakeModel(0.981, 44_426, 9.0),
    "two_conv_cnn": FakeModel(0.990, 421_642, 34.0),
    "fast_mnist_cnn": FakeModel(0.9905, 93_322, 6.1),
}


@cache
def mnist(part: str) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [N, 1, 28, 28] and labels of "train" or "t10k"."""
    folder = Path(str(resources.files("convoy") / "data" / "mnist"))
    images = gzip.decompress((folder / f"{part}-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((folder / f"{part}-labels-idx1-ubyte.gz").read_bytes())
    return np.frombuffer(images, np.uint8, offset=16).reshape(-1, 1, 28, 28), np.frombuffer(labels, np.uint8, offset=8)


def fake_study(
    out: Path,
    models: Mapping[str, FakeModel] = THREE_MODELS,
    *,
    seeds: Sequence[int] = (42, 43, 44),
    setting: Setting = DEFAULT,
    name: str = "compare",
) -> Study:
    """A study with its runs, study.toml and finding.json. The keys of `models` are labels."""
    from convoy.studies import findings
    from convoy.studies.compare.finding import conclude

    members = [
        Member(label, seed, fake_run(out, label, model, seed=seed, setting=setting))
        for label, model in models.items()
        for seed in seeds
    ]
    command = f"convoy compare {' '.join(models)} --data mnist --seeds {len(seeds)}"
    study = Workspace(out).write_study(name, "compare", members, command)
    findings.write(study, conclude(members))
    return study


def fake_run(
    out: Path,
    label: str = "lenet",
    model: FakeModel | None = None,
    *,
    seed: int = 42,
    setting: Setting = DEFAULT,
    changes: Mapping[str, Any] | None = None,
) -> Run:
    """`changes`: additional keys of the recipe."""
    model = model or FakeModel()
    random = np.random.default_rng([seed, *label.encode()])
    recipe = Recipe.load("defaults/mnist").override(
        {
            "model.name": label,
            "seed": seed,
            "train.epochs": setting.epochs,
            "protocol.faults": list(setting.faults),
            **({"data.limit": setting.limit} if setting.limit else {}),
            **(changes or {}),
        }
    )
    digest = fingerprint(recipe, options={}, hashes={"data": "d" * 64, "setting": str(setting)}, training_revision=1)
    run = Workspace(out).open_run(recipe, digest)
    parts = [part for part in setting.scored if setting.counts.get(part)]
    deviation = random.normal(0, setting.spread)
    confusions = {part: _confusion(model.accuracy + deviation, setting, part, random) for part in parts}
    scores = {part: _scores(confusion, setting.classes) for part, confusion in confusions.items()}
    write_json(run.path / "environment.json", _environment(label))
    write_json(run.path / "data.json", _data(setting))
    write_json(run.path / "scores.json", scores)
    write_arrays(run.path / "predictions.npz", _predictions(confusions, seed))
    write_json(run.path / "cost.json", _cost(model, setting, random))
    final = scores.get("test" if setting.faults else "validation", {}).get("accuracy")
    metrics = _metrics(model, final, setting, random)
    steps = _steps(metrics[-1].step, random)
    means = steps["loss"].astype(float).reshape(len(metrics), -1).mean(axis=1)
    pairs = zip(metrics, means.tolist(), strict=True)
    metrics = [replace(epoch, train=replace(epoch.train, loss=mean)) for epoch, mean in pairs]
    write_metrics(run, metrics)
    write_arrays(run.path / "steps.npz", steps)
    _write_pictures(run, model, setting, random)
    run.write_status(
        state="finished", reason=f"{setting.epochs} epochs done", label=label, seed=seed, epochs=setting.epochs,
        steps=metrics[-1].step, best_epoch=setting.epochs, flags=_flags(setting),
    )  # fmt: skip
    return run


def _flags(setting: Setting) -> list[str]:
    return [*setting.flags, *([limited(setting.limit)] if setting.limit and not setting.flags else [])]


def _confusion(accuracy: float, setting: Setting, part: str, random: np.random.Generator) -> np.ndarray:
    """Confusion matrix [true, predicted]. Classes differ in difficulty; each is mostly confused with a few others."""
    k, total = len(setting.classes), setting.counts[part]
    per_class = np.full(k, total // k) + (np.arange(k) < total % k)
    difficulty = random.dirichlet(np.full(k, 3.0)) * k
    confusion = np.zeros((k, k), dtype=int)
    for row in range(k):
        others = random.dirichlet(np.full(k, 0.4))
        others[row] = 0
        miss = min(0.95, (1 - accuracy) * difficulty[row])
        shares = others / others.sum() * miss
        shares[row] = 1 - miss
        confusion[row] = random.multinomial(per_class[row], shares)
    return confusion


def _scores(confusion: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
    true, predicted = np.divmod(np.repeat(np.arange(confusion.size), confusion.reshape(-1)), len(classes))
    score = count_scores(true, predicted, classes)
    top_k = {"3": min(1.0, score.accuracy + 0.007)}
    return replace(score, loss=3.2 * (1 - score.accuracy), top_k=top_k).as_table()


def _predictions(confusions: Mapping[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    """Labels and predicted classes of the confusion matrices; without logits, as in an archive."""
    arrays = {}
    for part, confusion in confusions.items():
        random = np.random.default_rng([seed, len(part), *np.diag(confusion)])
        rows = [np.repeat(np.arange(len(row)), row) for row in confusion]
        predicted = np.concatenate([random.permutation(row) for row in rows])
        arrays[f"{part}_labels"] = np.repeat(np.arange(len(confusion)), confusion.sum(1))
        arrays[f"{part}_predicted"] = predicted.astype(np.uint8)
    return arrays


def _environment(label: str) -> dict[str, Any]:
    return {
        "convoy": "0.1.0", "torch": "2.13.0+cpu", "python": "3.11.9", "platform": "Linux-6.8-x86_64",
        "cpu": "Example CPU @ 2.5 GHz", "cores": 2, "threads": 1, "device": "cpu", "date": "2026-11-22T09:30:00",
        "command": f"convoy train {label} --data mnist --epochs 5", "training_revision": 1,
    }  # fmt: skip


def _data(setting: Setting) -> dict[str, Any]:
    k = len(setting.classes)
    counts = {"validation": 0, "test": 0, **setting.counts}
    tilt = 1 + 0.1 * np.sin(np.arange(k))
    return {
        "name": "mnist",
        "classes": list(setting.classes),
        "in_chans": setting.channels,
        "image_size": 28,
        "counts": counts,
        "per_class": {part: np.round(n * tilt / tilt.sum()).astype(int).tolist() for part, n in counts.items() if n},
        "data_hash": "d1" * 32,
        "split_hash": "5a" * 32,
        "mean": [0.1307] * setting.channels,
        "std": [0.3081] * setting.channels,
        "limit": setting.limit,
        "notes": [],
        "test_openings": setting.openings,
        "selection": "test" if setting.faults else "validation" if counts["validation"] else None,
    }


def _cost(model: FakeModel, setting: Setting, random: np.random.Generator) -> dict[str, Any]:
    seconds = model.train_seconds * random.uniform(0.95, 1.05)
    return {
        "parameters": model.parameters,
        "flops_per_image": 20 * model.parameters,
        "macs_per_image": 10 * model.parameters,
        "train_seconds": seconds,
        "total_seconds": seconds * 1.2,
        "images_per_second": setting.counts["train"] * setting.epochs / seconds,
        "peak_memory_bytes": 412_000_000 + 12 * model.parameters,
        "ms_per_image": seconds / 40,
    }


def _metrics(
    model: FakeModel, final: float | None, setting: Setting, random: np.random.Generator
) -> list[EpochMetrics]:
    """Curves that rise to the final accuracy; with faults, the test set selects the epoch."""
    metrics = []
    steps_per_epoch = -(-setting.counts["train"] // 128)
    part = "test" if setting.faults else "validation"
    total = setting.counts.get(part, 0)
    for epoch in range(1, setting.epochs + 1):
        gap = 0.12 * np.exp(-1.1 * epoch) * random.uniform(0.9, 1.1)
        train = min(1.0, model.accuracy - gap + 0.004 * epoch / setting.epochs)
        seconds = model.train_seconds * epoch / setting.epochs
        scores = {"train": part_score(train, 3.2 * (1 - train), setting.counts["train"])}
        if total and final is not None:
            accuracy = final - max(gap / 2, (setting.epochs - epoch) / total) * (epoch < setting.epochs)
            scores[part] = part_score(accuracy, 3.2 * (1 - accuracy), total)
        metrics.append(
            EpochMetrics(
                epoch=epoch, step=epoch * steps_per_epoch, lr=1e-3 * (1 - epoch / (setting.epochs + 1)),
                grad_norm=1.5 / epoch, skipped=0, train_seconds=seconds, total_seconds=1.2 * seconds,
                images_per_second=setting.counts["train"] * setting.epochs / model.train_seconds, best=True, **scores,
            )
        )  # fmt: skip
    return metrics


def part_score(accuracy: float, loss: float | None = 1.0, total: int = 100) -> PartScore:
    return PartScore(loss, round(accuracy * total) / total, round(accuracy * total), total)


def epoch_metrics(epoch: int = 1, *, step: int = 1, seconds: float = 1.0, **scores: PartScore) -> EpochMetrics:
    """`scores` by part; the default accuracy of train is 0.9."""
    scores = {"train": part_score(0.9)} | scores
    return EpochMetrics(
        epoch=epoch, step=step, lr=0.1, grad_norm=1.0, skipped=0, train_seconds=seconds, total_seconds=seconds,
        images_per_second=100.0, best=True, **scores,
    )  # fmt: skip


def write_metrics(run: Run, metrics: Iterable[EpochMetrics]) -> None:
    (run.path / "metrics.jsonl").write_text("".join(json.dumps(epoch.as_line()) + "\n" for epoch in metrics))


def _steps(steps: int, random: np.random.Generator) -> dict[str, np.ndarray]:
    at = np.arange(steps)
    loss = 2.3 * np.exp(-at / 60) + 0.08 + random.gamma(2, 0.02, steps)
    lr = 5e-4 * (1 + np.cos(np.pi * at / steps))
    return {name: values.astype(np.float32) for name, values in {"loss": loss, "lr": lr, "grad_norm": loss}.items()}


def _write_pictures(run: Run, model: FakeModel, setting: Setting, random: np.random.Generator) -> None:
    images, labels = _images(setting)
    k = len(setting.classes)
    per_class = [np.flatnonzero(labels == c)[:10] for c in range(k)] if k <= 10 else [[c] for c in range(k)]
    samples = np.concatenate(per_class).astype(int)
    predicted, hardest = random.choice(len(images), 36, replace=False), random.choice(len(images), 24, replace=False)
    is_wrong = random.random(36) > model.accuracy - 0.05
    arrays = {"samples_images": images[samples], "samples_labels": labels[samples]}
    for name, index, wrong in (("predictions", predicted, is_wrong), ("hardest", hardest, np.ones(24, bool))):
        arrays |= {
            f"{name}_images": images[index],
            f"{name}_labels": labels[index],
            f"{name}_predicted": np.where(wrong, (labels[index] + 1 + index % (k - 1)) % k, labels[index]),
            f"{name}_confidence": np.where(
                wrong, random.uniform(0.4, 0.99, len(index)), random.uniform(0.9, 1, len(index))
            ),
            f"{name}_index": index,
        }
    write_arrays(run.path / "gallery.npz", arrays)
    if setting.filters:
        filters = random.normal(0, 0.3, (16, setting.channels, 5, 5)).astype(np.float32)
        write_arrays(run.path / "arrays.npz", {"first_layer_filters": filters})


def _images(setting: Setting) -> tuple[np.ndarray, np.ndarray]:
    """The first MNIST test images, with the channels and classes of the setting."""
    images, labels = (part[:400] for part in mnist("t10k"))
    k = len(setting.classes)
    labels = labels.astype(np.int64) if k == 10 else np.arange(len(images)) % k
    if setting.channels == 3:
        tint = np.array([[1.0, 0.7, 0.4], [0.3, 0.8, 1.0]])[np.arange(len(images)) % 2]  # (N, 3)
        images = (images * tint[:, :, None, None]).astype(np.uint8)
    return images, labels

"""Corrupts run folders at random and checks that each corruption is detected, and that an interrupted run survives it.

    python -m benchmarks.corrupt_runs [--finished 600] [--interrupted 400] [--loads 1000]

One file is corrupted: bits are flipped, it is truncated, a block of it is zeroed, it is deleted, bytes are appended, a
line or block is repeated, it is replaced by the same file of another run, or by a file of an earlier epoch. Of a
finished run, the corruption must be named by `record.contradictions`, which reports, the doctor, `convoy test`, `convoy
verify` and the reuse of runs call, or be an error of reading status.json. A run that was paused with two checkpoints
must resume and end with the bits of an uninterrupted run. Copies that are not corrupted must have no contradiction.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from convoy.events import Control, Ended, EpochEnded
from convoy.recipe import Recipe
from convoy.record import contradictions
from convoy.run_files import sha256_of
from convoy.runs import Run
from convoy.training.machine.autosave import Autosave
from convoy.training.run.run_one import run_one

NOT_CHECKED = ("log.txt", ".lock")  # a log for people; it is appended to and decides nothing
RESULTS = ("best.safetensors", "last.safetensors", "steps.npz", "predictions.npz", "scores.json")
Corrupt = Callable[[Path, Path, random.Random], None]  # file, other run's folder, random numbers


def flip(path: Path, other: Path, draw: random.Random) -> None:
    content = bytearray(path.read_bytes())
    for _bit in range(draw.choice((1, 1, 1, 8))):
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)


def truncate(path: Path, other: Path, draw: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: draw.randrange(len(content))])


def zero(path: Path, other: Path, draw: random.Random) -> None:
    content = bytearray(path.read_bytes())
    start = draw.randrange(len(content))
    end = min(len(content), start + draw.choice((1, 64, 4096)))
    content[start:end] = bytes(end - start)
    path.write_bytes(content)


def delete(path: Path, other: Path, draw: random.Random) -> None:
    path.unlink()


def append(path: Path, other: Path, draw: random.Random) -> None:
    path.write_bytes(path.read_bytes() + draw.randbytes(draw.choice((1, 100))))


def repeat(path: Path, other: Path, draw: random.Random) -> None:
    """Repeats a line or, in a binary file, a block."""
    pieces = path.read_bytes().splitlines(keepends=True)
    place = draw.randrange(len(pieces))
    path.write_bytes(b"".join([*pieces[: place + 1], *pieces[place:]]))


def swap(path: Path, other: Path, draw: random.Random) -> None:
    """Replaces a file by that of another run, also in a checkpoint."""
    name = path.relative_to(_folder(path)).as_posix()
    shutil.copyfile(other / name, path)


def stale(path: Path, other: Path, draw: random.Random) -> None:
    """Replaces a file by that of an earlier epoch."""
    folder = _folder(path)
    checkpoints = sorted((folder / "checkpoints").glob("*"), key=lambda each: int(each.name))
    if path.suffix == ".safetensors" and path.parent.parent.name != "checkpoints":
        shutil.copyfile(folder / "weights" / "epoch-00000.safetensors", path)
    elif path.name == "metrics.jsonl":
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    elif len(checkpoints) > 1 and path.parent == checkpoints[-1]:
        shutil.copyfile(checkpoints[0] / path.name, path)
    else:
        raise FileNotFoundError(path)


CORRUPTIONS: tuple[Corrupt, ...] = (flip, truncate, zero, delete, append, repeat, swap, stale)


def _folder(path: Path) -> Path:
    return next(parent for parent in path.parents if parent.parent.name == "runs")


@dataclass(frozen=True)
class Corruption:
    kind: str
    file: str


def corrupt(folder: Path, other: Path, draw: random.Random) -> Corruption:
    """Changes the content of one file."""
    while True:
        paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in NOT_CHECKED)
        path, kind = draw.choice([path for path in paths if path.stat().st_size]), draw.choice(CORRUPTIONS)
        before = path.read_bytes()
        try:
            kind(path, other, draw)
        except OSError:  # the other run, or the earlier epoch, has no such file
            continue
        if not path.is_file() or path.read_bytes() != before:
            return Corruption(kind.__name__, path.relative_to(folder).as_posix())


def is_detected(run: Path) -> bool:
    """Whether the files of a finished run are known not to be what the run wrote."""
    try:
        return not Run(run).finished or bool(contradictions(Run(run)))
    except ValueError:
        return True


def bits(run: Path) -> dict[str, str]:
    return {name: sha256_of(run / name) for name in RESULTS if (run / name).is_file()}


# ---- the runs ----

NET = """
from torch import nn


class Tiny(nn.Module):
    def __init__(self, in_chans, num_classes, image_size):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(in_chans, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2))
        self.head = nn.Linear(4 * (image_size // 2) ** 2, num_classes)

    def forward(self, x):
        return self.head(self.body(x).flatten(1))
"""


def make_recipe(folder: Path, seed: int) -> Recipe:
    """A tiny network on 300 images of noise with a bar: 3 epochs of 4 steps, the weights of each epoch kept."""
    (folder / "net.py").write_text(NET)
    draw = np.random.default_rng(0)
    labels = np.arange(400) % 3
    images = draw.integers(0, 160, size=(400, 12, 12), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[:, 4 * label + 1 : 4 * label + 3] += 60
    np.savez(folder / "bars.npz", x_train=images[:300], y_train=labels[:300], x_test=images[300:], y_test=labels[300:])
    values = {"train.epochs": 3, "train.batch_size": 60, "optim.lr": 0.01, "compute.threads": 1, "seed": seed}
    named = [("model.name", f"{folder / 'net.py'}:Tiny"), ("data.name", str(folder / "bars.npz"))]
    return Recipe.load("defaults/images", [*named, *values.items(), ("probe.keep_weights", True)])


def train(recipe: Recipe, out: Path, *, pause_after: int | None = None) -> Path:
    """Returns the folder of the run. With `pause_after`, it pauses after so many epochs, each of which is saved."""
    epochs, ended = 0, out

    def control() -> Control:
        return Control.PAUSE if epochs == pause_after else Control.CONTINUE

    for event in run_one(recipe, out, control=control):
        epochs += isinstance(event, EpochEnded)
        if isinstance(event, Ended):
            ended = event.run
    return ended


@dataclass(frozen=True)
class Runs:
    """A finished and a paused run, and another run of the same recipe with another seed in the same two states."""

    recipe: Recipe
    finished: Path
    paused: Path
    other_finished: Path
    other_paused: Path

    def resumed(self, out: Path) -> Path:
        return train(self.recipe, out)


def make_runs(folder: Path) -> Runs:
    due = Autosave.due
    try:
        Autosave.due = lambda autosave, now: True  # type: ignore[method-assign,assignment]
        recipes = [make_recipe(folder, seed) for seed in (1, 2)]
        finished = [train(recipe, folder / f"finished-{recipe.seed}") for recipe in recipes]
        paused = [train(recipe, folder / f"paused-{recipe.seed}", pause_after=2) for recipe in recipes]
    finally:
        Autosave.due = due  # type: ignore[method-assign]
    assert len(list(paused[0].glob("checkpoints/*"))) == 2
    return Runs(recipes[0], finished[0], paused[0], finished[1], paused[1])


def copied(run: Path, out: Path) -> Path:
    """A copy in an empty workspace."""
    shutil.rmtree(out, ignore_errors=True)
    return Path(shutil.copytree(run, out / "runs" / run.name))


def main() -> None:
    from benchmarks.measure import write_result

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--finished", type=int, default=600)
    parser.add_argument("--interrupted", type=int, default=400)
    parser.add_argument("--loads", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    os.environ["CONVOY_DOCTOR"] = "off"
    started, draw, kinds, missed = time.process_time(), random.Random(arguments.seed), Counter[str](), []
    with TemporaryDirectory() as name:
        folder = Path(name)
        runs, out = make_runs(folder), folder / "out"
        for _number in range(arguments.finished):
            run = copied(runs.finished, out)
            each = corrupt(run, runs.other_finished, draw)
            kinds[each.kind] += 1
            if not is_detected(run):
                missed.append(f"not detected in a finished run: {each}")
                print(missed[-1], file=sys.stderr)
        expected = bits(runs.finished)
        equal = 0
        for _number in range(arguments.interrupted):
            each = corrupt(copied(runs.paused, out), runs.other_paused, draw)
            kinds[each.kind] += 1
            try:
                resumed = bits(runs.resumed(out))
            except ValueError as error:
                resumed = {str(error): ""}
            equal += resumed == expected
            if resumed != expected:
                missed.append(f"not resumed to the bit: {each} {[*resumed][:1]}")
                print(missed[-1], file=sys.stderr)
        alarms = sum(is_detected(copied(runs.finished, out)) for _number in range(arguments.loads))
    detected = arguments.finished - sum(text.startswith("not detected") for text in missed)
    lines = [
        f"corruptions of a finished run: {detected} of {arguments.finished} detected",
        f"corruptions of an interrupted run: {equal} of {arguments.interrupted} have the bits of an uninterrupted run",
        f"false alarms: {alarms} of {arguments.loads} loads",
        "kinds: " + ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items())),
        f"seed {arguments.seed}; {time.process_time() - started:.0f} CPU seconds",
        *missed,
    ]
    numbers = {"detected": detected, "equal": equal, "alarms": alarms, "kinds": kinds, "seed": arguments.seed}
    write_result(lines, {**numbers, **vars(arguments)})
    sys.exit(bool(missed or alarms))


if __name__ == "__main__":
    main()

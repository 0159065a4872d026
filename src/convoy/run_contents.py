"""What the files of a run folder hold, as types. What an archived run did not record has its default."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, astuple, dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from convoy.files import read_json

T = TypeVar("T")


class RunState(StrEnum):
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    PRUNED = "pruned"
    FINISHED = "finished"


DIVERGED = "diverged"  # the name of a stop rule


def read(kind: type[T], path: Path) -> T:
    """The object in a JSON file. Raises ValueError, with the file's name, if a value without a default is missing."""
    required = [
        each.name
        for each in fields(kind)  # type: ignore[arg-type]
        if each.default is MISSING and each.default_factory is MISSING
    ]
    return from_table(kind, read_json(path, *required))


def from_table(kind: type[T], table: Mapping[str, Any]) -> T:
    """An object of one of these classes; keys that it does not name are left out."""
    names = {each.name for each in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in table.items() if name in names})


@dataclass(frozen=True)
class Status:
    """status.json."""

    state: str  # a RunState
    fingerprint: str
    reason: str = ""  # why it ended, as a sentence
    stopped: str | None = None  # the name of a stop rule, or "epochs"; early archived runs did not record it
    label: str = ""
    seed: int = 0
    flags: Sequence[str] = ()  # sentences that every output of the run shows
    epochs: int = 0  # of a finished run
    steps: int = 0
    best_epoch: int = 0
    files: Mapping[str, str] = field(default_factory=dict)  # SHA-256 by name
    bits: Mapping[str, str] = field(default_factory=dict)  # of an archived run: SHA-256 of its curves and predictions
    measured: Mapping[str, float] = field(default_factory=dict)  # of an archived run: numbers from its full curves

    @property
    def diverged(self) -> bool:
        """Ended because the loss or the gradient stayed infinite or NaN."""
        return self.stopped == DIVERGED


@dataclass(frozen=True)
class ClassScore:
    name: str
    precision: float
    recall: float
    f1: float
    n: int


@dataclass(frozen=True)
class Score:
    """Of one part. Qualities are fractions."""

    accuracy: float  # correct / n
    correct: int  # images
    n: int  # images
    loss: float | None = None  # None: not finite
    top_k: Mapping[str, float] = field(default_factory=dict)  # by k: share with the class among the k best
    per_class: Sequence[ClassScore] = ()  # precision, recall and F1
    macro_f1: float | None = None  # mean over the classes
    mcc: float | None = None  # Matthews correlation
    confusion: Sequence[Sequence[int]] = ()  # rows are true, columns predicted
    not_finite: int = 0  # images with NaN or +inf among their outputs

    def as_table(self) -> dict[str, object]:
        """As in scores.json: without what was not counted."""
        table = {each.name: getattr(self, each.name) for each in fields(self)}
        table["per_class"] = [dict(zip(CLASS_KEYS, astuple(row), strict=True)) for row in self.per_class]
        return {key: value for key, value in table.items() if key == "loss" or value not in (None, (), [], {})}


CLASS_KEYS = ("class", "precision", "recall", "f1", "n")


def score_of(table: Mapping[str, Any]) -> Score:
    rows = tuple(ClassScore(*(row[key] for key in CLASS_KEYS)) for row in table.get("per_class", ()))
    return from_table(Score, {**table, "per_class": rows})


@dataclass(frozen=True)
class PartScore:
    """Of one part in one epoch."""

    loss: float | None  # None: not finite
    accuracy: float
    correct: int
    total: int


@dataclass(frozen=True)
class EpochMetrics:
    """A line of metrics.jsonl. The values of `train` are recorded during the epoch."""

    epoch: int  # from 1
    step: int  # steps of the run so far
    lr: float  # of the last step
    train: PartScore
    grad_norm: float | None  # mean over the epoch's steps that were not skipped; None: all were
    skipped: int  # steps
    train_seconds: float  # of the run so far; total_seconds with evaluations
    total_seconds: float
    images_per_second: float
    best: bool  # on the part that selects the best epoch
    validation: PartScore | None = None  # None: not scored in this epoch
    test: PartScore | None = None

    def of(self, part: str) -> PartScore | None:
        """The score of "train", "validation" or "test"."""
        return {"train": self.train, "validation": self.validation, "test": self.test}[part]

    def as_line(self) -> dict[str, float | None]:
        """Without nested tables: `train_loss`, `validation_accuracy`, ..."""
        line: dict[str, float | None] = {}
        for name, value in asdict(self).items():
            if isinstance(value, dict):
                line |= {f"{name}_{key}": inner for key, inner in value.items()}
            elif name not in ("validation", "test"):
                line[name] = value
        return line


def epoch_of(line: Mapping[str, Any]) -> EpochMetrics:
    keys = ("loss", "accuracy", "correct", "total")
    parts = {
        part: PartScore(*(line[f"{part}_{key}"] for key in keys))
        for part in ("train", "validation", "test")
        if f"{part}_accuracy" in line
    }
    return from_table(EpochMetrics, {**line, **parts})


@dataclass(frozen=True)
class Cost:
    """cost.json; all None before a run has finished."""

    parameters: int | None = None  # of the network
    flops_per_image: int | None = None  # 2 per multiply-add
    macs_per_image: int | None = None  # multiply-adds
    train_seconds: float | None = None  # without evaluations
    total_seconds: float | None = None  # with evaluations
    images_per_second: float | None = None  # in training
    peak_memory_bytes: int | None = None  # of the process, or of the GPU
    ms_per_image: float | None = None  # median time of one image, alone
    ms_per_image_quartiles: Sequence[float] | None = None  # lower and upper


@dataclass(frozen=True)
class RunData:
    """data.json."""

    name: str  # of the data set
    classes: Sequence[str]  # their names, in the order of the labels
    in_chans: int  # 1 grey, 3 colour
    image_size: int  # pixels per side
    counts: Mapping[str, int]  # images by part
    per_class: Mapping[str, Sequence[int]]  # by part
    data_hash: str  # of all images and labels
    split_hash: str  # of the parts
    mean: Sequence[float]  # by channel, of the normalisation
    std: Sequence[float]  # by channel
    parts_hash: Mapping[str, str] = field(default_factory=dict)  # by part: of the data and the positions of its images
    limit: int | None = None  # images, if limited
    notes: Sequence[str] = ()  # sentences on how the data were read
    test_openings: int = 0  # of the test set in the workspace so far
    selection: str | None = None  # the part that selected the best epoch


@dataclass(frozen=True)
class Change:
    """Of a value in environment.json when a run was resumed."""

    key: str
    before: object
    after: object


@dataclass(frozen=True)
class Environment:
    """environment.json: everything besides the recipe that the weights and the speed of a run depend on."""

    torch: str
    cpu: str
    threads: int
    date: str
    command: str
    convoy: str = ""
    libraries: Mapping[str, str] = field(default_factory=dict)  # versions of timm, torchvision
    python: str = ""
    platform: str = ""
    cpu_flags: Sequence[str] = ()
    cores: int = 0
    device: str = "cpu"
    precision: str = ""
    training_revision: int | None = None
    resumed_with: Sequence[Change] = ()

    def __post_init__(self) -> None:
        changes = [Change(**each) if isinstance(each, dict) else each for each in self.resumed_with]
        object.__setattr__(self, "resumed_with", changes)

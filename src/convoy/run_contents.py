"""The types of the files in a run folder. A value that an archived run did not record has its default."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, astuple, dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from convoy.files import once, read_json
from convoy.text import gettext as _
from convoy.text import ngettext

T = TypeVar("T")
Machine = tuple[str, ...]
MACHINE = ("cpu", "cpu_flags", "device", "threads", "ranks", "torch")  # keys of environment.json that affect times


class RunState(StrEnum):
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    PRUNED = "pruned"
    FINISHED = "finished"


def part_name(part: str) -> str:
    """Returns the name of a part in the language of messages."""
    names = {"train": _("train"), "validation": _("validation"), "test": _("test"), "fold": _("fold")}
    return names.get(part, part)


def state_name(state: str) -> str:
    """Returns the state of a run in the language of messages."""
    names = {
        RunState.RUNNING: _("running"),
        RunState.INTERRUPTED: _("interrupted"),
        RunState.PRUNED: _("pruned"),
        RunState.FINISHED: _("finished"),
    }
    return names[RunState(state)] if state in list(RunState) else state


DIVERGED, ALL_EPOCHS = "diverged", "epochs"  # names of stop rules


@once
def read(path: Path, kind: type[T]) -> T:
    """Reads an object of one of these classes from a JSON file.

    Raises ValueError if the file is damaged or a value without a default is missing.
    """
    required = [
        key.name
        for key in fields(kind)  # type: ignore[arg-type]
        if key.default is MISSING and key.default_factory is MISSING
    ]
    return from_table(kind, read_json(path, *required))


def from_table(kind: type[T], table: Mapping[str, Any]) -> T:
    """Returns an object of one of these classes; ignores other keys."""
    names = {key.name for key in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in table.items() if name in names})


@dataclass(frozen=True)
class Status:
    """status.json."""

    state: str  # a RunState
    fingerprint: str
    reason: str = ""  # why the run ended, as a sentence
    stopped: str | None = None  # the name of a stop rule, or "epochs"; None in early archived runs
    label: str = ""
    seed: int = 0
    flags: Sequence[str] = ()  # sentences shown in all output of the run
    epochs: int = 0  # 0 before the run has finished, as for steps and best_epoch
    steps: int = 0
    best_epoch: int = 0
    finished_at: str = ""  # "2026-11-29 12:01:05"; "": not finished, or not recorded
    files: Mapping[str, str] = field(default_factory=dict)  # SHA-256 of the files, by name
    updating: bool = False  # a process is writing to the finished run, or was killed while it did
    # For an archived run, computed from the complete curves:
    bits: Mapping[str, str] = field(default_factory=dict)  # SHA-256 of curves and predictions
    measured: Mapping[str, float] = field(default_factory=dict)

    @property
    def ending(self) -> str:
        """Why the run ended. Early archived runs stored `reason` as an English text."""
        return all_epochs(self.epochs) if self.stopped == ALL_EPOCHS else self.reason

    @property
    def diverged(self) -> bool:
        """Whether the run ended because the loss or the gradient stayed non-finite."""
        return self.stopped == DIVERGED


def all_epochs(epochs: int) -> str:
    return ngettext("{n} epoch trained", "all {n} epochs trained", epochs)


@dataclass(frozen=True)
class ClassScore:
    name: str
    precision: float
    recall: float
    f1: float
    n: int


@dataclass(frozen=True)
class Score:
    """The score of a network on one part of the data. Accuracies, precisions, ... are fractions."""

    accuracy: float  # correct / n
    correct: int  # number of correctly classified images
    n: int  # number of images
    loss: float | None = None  # mean loss; None: not finite
    top_k: Mapping[str, float] = field(default_factory=dict)  # top-k accuracy, by k
    per_class: Sequence[ClassScore] = ()
    macro_f1: float | None = None  # mean F1 of the classes
    mcc: float | None = None  # Matthews correlation coefficient
    confusion: Sequence[Sequence[int]] = ()  # rows: true classes; columns: predicted classes
    not_finite: int = 0  # images with NaN or +inf among their outputs

    def as_table(self) -> dict[str, object]:
        """Returns the table of scores.json, which omits values that were not computed."""
        table = {key.name: getattr(self, key.name) for key in fields(self)}
        table["per_class"] = [dict(zip(CLASS_KEYS, astuple(row), strict=True)) for row in self.per_class]
        return {key: value for key, value in table.items() if key == "loss" or value not in (None, (), [], {})}


CLASS_KEYS = ("class", "precision", "recall", "f1", "n")


def score_of(table: Mapping[str, Any]) -> Score:
    rows = tuple(ClassScore(*(row[key] for key in CLASS_KEYS)) for row in table.get("per_class", ()))
    return from_table(Score, {**table, "per_class": rows})


@dataclass(frozen=True)
class PartScore:
    """The score on one part of the data in one epoch."""

    loss: float | None  # mean loss; None: not finite
    accuracy: float
    correct: int
    total: int


@dataclass(frozen=True)
class EpochMetrics:
    """A line of metrics.jsonl."""

    epoch: int  # number of the epoch, from 1
    step: int  # number of steps since the start of the run
    lr: float  # learning rate of the last step
    train: PartScore  # score on the training batches of the epoch
    grad_norm: float | None  # mean gradient norm of the steps that were not skipped; None if all were skipped
    skipped: int  # number of skipped steps
    train_seconds: float  # training time since the start of the run, without evaluations
    total_seconds: float  # time since the start of the run, with evaluations
    images_per_second: float
    best: bool  # whether this is the best epoch so far
    validation: PartScore | None = None  # score on the validation images; None: not scored in this epoch
    test: PartScore | None = None

    def of(self, part: str) -> PartScore | None:
        """Returns the score on "train", "validation" or "test"."""
        return {"train": self.train, "validation": self.validation, "test": self.test}[part]

    def as_line(self) -> dict[str, float | None]:
        """Returns the values without nested tables: `train_loss`, `validation_accuracy`, ..."""
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
    """cost.json. All values are None before the run has finished."""

    parameters: int | None = None
    flops_per_image: int | None = None  # FLOPs of a forward pass, 2 per multiply-add
    macs_per_image: int | None = None  # multiply-adds of a forward pass
    train_seconds: float | None = None  # training time without evaluations
    total_seconds: float | None = None  # time with evaluations
    images_per_second: float | None = None  # training speed
    peak_memory_bytes: int | None = None  # peak memory of the process, or of the GPU
    ms_per_image: float | None = None  # median latency at batch size 1
    ms_per_image_quartiles: Sequence[float] | None = None  # (lower, upper)


@dataclass(frozen=True)
class RunData:
    """data.json."""

    name: str  # name of the data set
    classes: Sequence[str]  # names of the classes, in the order of the labels
    in_chans: int  # 1 for grey, 3 for colour images
    image_size: int  # pixels per side
    counts: Mapping[str, int]  # number of images, by part
    per_class: Mapping[str, Sequence[int]]  # number of images of each class, by part
    data_hash: str  # hash of all images and labels
    split_hash: str  # hash of the assignment of images to parts
    mean: Sequence[float]  # mean of the normalisation, by channel
    std: Sequence[float]  # standard deviation of the normalisation, by channel
    parts_hash: Mapping[str, str] = field(default_factory=dict)  # hash of data and image indices, by part
    limit: int | None = None  # maximum number of images, if limited
    notes: Sequence[str] = ()  # sentences about how the data were read
    test_openings: int = 0  # how often the test set was opened in the workspace
    selection: str | None = None  # the part that selected the best epoch


@dataclass(frozen=True)
class Change:
    """A value of environment.json that differed when the run was resumed."""

    key: str
    before: object
    after: object


@dataclass(frozen=True)
class PretrainedWeights:
    """Weights of another library with which a run was initialised."""

    source: str  # as given by the library: a URL, or a repository of the Hugging Face hub
    sha256: str  # hash of name, shape and bytes of the loaded tensors, sorted by name
    random: Sequence[str] = ()  # layers that were not loaded, such as the head


@dataclass(frozen=True)
class Environment:
    """environment.json: everything that affects the weights and the speed of a run, except the recipe."""

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
    # Instruction set of torch's kernels, then variables and settings that limit oneDNN and MKL. "": of an older version
    kernels: str = ""
    cores: int = 0
    ranks: int = 1  # processes of torchrun, each with `threads`
    device: str = "cpu"
    precision: str = ""
    training_revision: int | None = None
    resumed_with: Sequence[Change] = ()
    weights: PretrainedWeights | None = None

    def __post_init__(self) -> None:
        if isinstance(self.weights, dict):
            object.__setattr__(self, "weights", PretrainedWeights(**self.weights))
        changes = [Change(**change) if isinstance(change, dict) else change for change in self.resumed_with]
        object.__setattr__(self, "resumed_with", changes)

    @property
    def machine(self) -> Machine:
        """What affects times: only times of equal machines are compared."""
        moved = (f"{change.key}: {change.before}" for change in self.resumed_with if change.key in MACHINE)
        return (*(str(getattr(self, key)) for key in MACHINE), *moved)


def usual_machine(environments: Iterable[Environment]) -> Machine | None:
    """Returns the most frequent machine, the first of equally frequent ones, or None without environments."""
    counts = Counter(environment.machine for environment in environments)
    return max(counts, key=lambda machine: counts[machine], default=None)


@dataclass(frozen=True)
class StudyRun:
    """A run of a study, as listed in study.toml."""

    label: str
    seed: int
    run: str  # folder of the run, relative to that of the study


@dataclass(frozen=True)
class StudyContents:
    """study.toml."""

    kind: str = ""  # "" is not a valid kind
    command: str = ""
    runs: Sequence[StudyRun] = ()


def read_study(path: Path) -> StudyContents:
    """Raises ValueError if study.toml is damaged."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        runs = [from_table(StudyRun, entry) for entry in table.get("runs", ())]
        return from_table(StudyContents, {**table, "runs": runs})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError, TypeError) as error:
        raise ValueError(_("{path} is damaged: {error}", path=path, error=error)) from None

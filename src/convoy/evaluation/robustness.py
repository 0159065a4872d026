"""The accuracy on corrupted test images: the types of corruptions.json. Does not import torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from convoy.files import read_json, write_json
from convoy.run_contents import from_table
from convoy.run_files import recorded_hashes, sha256_of
from convoy.runs import Run
from convoy.stats import Estimate, wilson
from convoy.text import gettext as _

FILE = "corruptions.json"
WEIGHTS = "best.safetensors"


@dataclass(frozen=True)
class CorruptedScore:
    """The score on all images with one kind of corruption at one severity."""

    kind: str  # kind of corruption, as in convoy.evaluation.corruptions
    severity: int  # 1 to 5
    correct: int
    n: int

    @property
    def accuracy(self) -> Estimate:
        return wilson(self.correct, self.n)


@dataclass(frozen=True)
class Robustness:
    """The scores of a network on corrupted images of one test set."""

    data: str  # name of the data set
    n: int  # number of images
    limit: int | None  # maximum number of images, if limited
    seed: int  # seed of the corruptions
    clean_correct: int  # number of images that are classified correctly without corruption
    scores: tuple[CorruptedScore, ...]  # scores by kind, then by severity
    mean_error: Estimate  # mean corruption error: over kinds, severities and images; interval over images (bootstrap)
    weights: str = ""  # SHA-256 of the weights file
    revision: int = 0  # revision of the corruptions
    schema: int = 1

    @property
    def kinds(self) -> list[str]:
        return list(dict.fromkeys(score.kind for score in self.scores))

    @property
    def clean(self) -> Estimate:
        return wilson(self.clean_correct, self.n)

    def of(self, kind: str) -> list[CorruptedScore]:
        """The scores of a kind by severity."""
        return [score for score in self.scores if score.kind == kind]

    def error_of(self, kind: str) -> float:
        """The mean error of a kind over its severities."""
        scores = self.of(kind)
        return 1 - sum(score.correct / score.n for score in scores) / len(scores)

    @property
    def hardest(self) -> str:
        """The kind with the highest mean error."""
        return max(self.kinds, key=self.error_of)


def weights_hash(run: Run) -> str:
    """SHA-256 of the weights of a run; empty for an archived run, which has none."""
    recorded = recorded_hashes(run.path).get(WEIGHTS, "")
    return recorded or (sha256_of(run.path / WEIGHTS) if (run.path / WEIGHTS).is_file() else "")


def of_run(run: Run) -> Robustness | None:
    """The stored result of a run; None if there is none, or if the run has been retrained since then.

    Raises ValueError if the file is damaged or has changed.
    """
    path = run.file(FILE)
    if not path.is_file():
        return None
    result = read(path)
    return result if weights_hash(run) in ("", result.weights) else None


def write(run: Run, result: Robustness) -> Path:
    """Stores a result in a finished run and records the SHA-256 of the file."""
    path = run.path / FILE
    with run.updating():
        write_json(path, asdict(result))
    return path


def read(path: Path) -> Robustness:
    """Raises ValueError if the file is damaged."""
    table = read_json(path, "data", "n", "limit", "seed", "clean_correct", "scores", "mean_error")
    try:
        scores = tuple(_score(row) for row in table["scores"])
        return from_table(Robustness, {**table, "scores": scores, "mean_error": Estimate(**table["mean_error"])})
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            _("{path} is damaged: {error}; run convoy test --corruptions again", path=path, error=error)
        ) from None


def _score(row: Mapping[str, Any]) -> CorruptedScore:
    score = from_table(CorruptedScore, row)
    if not 0 <= score.correct <= score.n:
        raise TypeError(_("{correct} correct of {n}", correct=score.correct, n=score.n))
    return score

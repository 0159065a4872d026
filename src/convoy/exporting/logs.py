"""Plain text logs with numbers separated by spaces, in the format of the report tensor-mnist.

    epochs:  one line per epoch: epoch, training loss, training accuracy, validation loss, validation accuracy
    bests:   one line per new best epoch: epoch, test accuracy

The first line of both is zeros, for the untrained network.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convoy.runs import Run

COLUMNS = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy")


def contents(run: Run, files: int) -> list[bytes]:
    if not run.metrics:
        raise ValueError(f"{run.path} has no finished epoch")
    texts = [_epochs(run), *([_bests(run)] if files > 1 else [])]
    return [text.encode() for text in texts]


def _epochs(run: Run) -> str:
    lines = ["0 0 0 0 0"]
    for line in run.metrics:
        if "validation_accuracy" not in line:
            selection = run.data.selection or "nothing"
            raise ValueError(
                f"{run.path}: the log of the epochs needs a validation score in each epoch, but this run was scored on "
                f"{'the test set' if selection == 'test' else selection} (data.split.validation, protocol.faults)"
            )
        lines.append(_line(line, COLUMNS))
    return "\n".join(lines) + "\n"


def _bests(run: Run) -> str:
    lines = ["0 0"]
    for line in run.metrics:
        if not line["best"]:
            continue
        if "test_accuracy" not in line:
            raise ValueError(
                f"{run.path}: the log of the test accuracies needs a test score at each new best epoch "
                "(protocol.faults: test_opened_at_each_best), which this run does not have"
            )
        lines.append(_line(line, ("test_accuracy",)))
    return "\n".join(lines) + "\n"


def _line(line: Mapping[str, Any], columns: tuple[str, ...]) -> str:
    """A loss that is not finite is written as `nan`."""
    values = [float("nan") if line[column] is None else line[column] for column in columns]
    return " ".join([f"{line['epoch']:03d}", *(f"{value:.5f}" for value in values)])

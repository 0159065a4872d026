"""Text logs of space-separated numbers, in the format of the report tensor-mnist.

    first file:   one line per epoch: epoch, training loss, training accuracy, validation loss, validation accuracy
    second file:  one line per new best epoch: epoch, test accuracy

The first line of both has only zeros.
"""

from __future__ import annotations

from collections.abc import Sequence

from convoy.exporting.content import Contents, Settings
from convoy.runs import Run
from convoy.text import gettext as _


def contents(run: Run, settings: Settings) -> Contents:
    if not run.metrics:
        raise ValueError(_("{path} has no finished epoch", path=run.path))
    texts = [_epoch_log(run), *([_test_log(run)] if settings.files > 1 else [])]
    return Contents([text.encode() for text in texts])


def _epoch_log(run: Run) -> str:
    lines = ["0 0 0 0 0"]
    for epoch in run.metrics:
        if epoch.validation is None:
            parts = {"test": _("the test set"), "fold": _("the fold"), None: _("nothing")}
            raise ValueError(
                _(
                    "{path}: the log of the epochs needs a validation score in each epoch, but this run was "
                    "scored on {value} (data.split.validation, protocol.faults)",
                    path=run.path,
                    value=parts.get(run.data.selection, run.data.selection),
                )
            )
        scores = (epoch.train, epoch.validation)
        lines.append(_line(epoch.epoch, [value for score in scores for value in (score.loss, score.accuracy)]))
    return "\n".join(lines) + "\n"


def _test_log(run: Run) -> str:
    lines = ["0 0"]
    for epoch in run.metrics:
        if not epoch.best:
            continue
        if epoch.test is None:
            raise ValueError(
                _(
                    "{path}: the log of the test accuracies needs a test score at each new best epoch "
                    "(protocol.faults: test_opened_at_each_best), which this run does not have",
                    path=run.path,
                )
            )
        lines.append(_line(epoch.epoch, [epoch.test.accuracy]))
    return "\n".join(lines) + "\n"


def _line(epoch: int, values: Sequence[float | None]) -> str:
    """Writes None, a loss that is not finite, as `nan`."""
    return " ".join([f"{epoch:03d}", *("nan" if value is None else f"{value:.5f}" for value in values)])

"""Accuracy by fold; caption of the curves of the folds."""

from __future__ import annotations

from collections.abc import Sequence

from convoy.reporting.figures_curves import CurveNumbers, training_values
from convoy.reporting.palette import Look
from convoy.reporting.rows import Row, Rows, Value, span_of
from convoy.studies.crossval.finding import CrossvalFinding


def folds(finding: CrossvalFinding, look: Look, lines: Sequence[str]) -> Rows:
    """`lines`: the label of each fold's curve, whose colour and mark it has."""
    values: dict[int, list[Value]] = {}
    for row, label in zip(finding.rows, lines, strict=True):
        values.setdefault(row.fold, []).append(Value.of(row.accuracy, look.colour(label), look.mark(label)))
    return Rows(
        tuple(Row(str(fold + 1), tuple(repeats)) for fold, repeats in sorted(values.items())),
        "accuracy of the scored fold",
        "%",
        line=100 * finding.accuracy.mean,
        band=span_of(finding.accuracy),
        dashed=span_of(finding.naive) or (),
    )


def caption(finding: CrossvalFinding) -> str:
    repeats = ", repeats below each other" if finding.repeats > 1 else ""
    return (
        f"Rows: folds (n = {finding.folds}{repeats}); marks: 95 % intervals over their images. Line: mean; band: its "
        "corrected 95 % interval; dashed: the plain t interval, too narrow because folds share training images. "
        "The axis does not begin at 0."
    )


def curves_caption(accuracy: CurveNumbers) -> str:
    """The scored folds are not in the figure."""
    bands = "Lines: means; bands: range over folds. " if accuracy.seeds > 1 else ""
    return f"{bands}The scored folds are not shown: each is scored once, after training. {training_values()}"

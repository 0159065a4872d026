"""Figure of the accuracy by fold, and captions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from convoy.reporting.figures_curves import CurveNumbers, training_values
from convoy.reporting.palette import Look
from convoy.reporting.rows import ChartRow, RowChart, Value, interval_of
from convoy.studies.crossval.finding import CrossvalFinding
from convoy.text import gettext as _


def folds(finding: CrossvalFinding, look: Look, lines: Sequence[str]) -> RowChart:
    """`lines` are the labels of the folds' curves, whose colours and marks are used."""
    values: dict[int, list[Value]] = {}
    for row, label in zip(finding.rows, lines, strict=True):
        value = Value.of(row.accuracy, look.colour(label), look.mark(label))
        values.setdefault(row.fold, []).append(replace(value, diverged=(value.value,)) if row.diverged else value)
    return RowChart(
        tuple(ChartRow(str(fold + 1), tuple(repeats)) for fold, repeats in sorted(values.items())),
        _("accuracy of the scored fold"),
        "%",
        line=100 * finding.accuracy.mean,
        band=interval_of(finding.accuracy),
        dashed=interval_of(finding.naive) or (),
    )


def caption(finding: CrossvalFinding) -> str:
    sentences = [
        _("One row per fold (n = {n}), with its 95 % interval over images.", n=finding.folds),
        _(
            "Line: mean; band: its corrected 95 % interval; dashed: the plain t interval, too narrow because folds "
            "share training images. The axis does not begin at 0."
        ),
    ]
    sentences += [_("The repeats of a fold are drawn one below the other.")] if finding.repeats > 1 else []
    sentences += [_("Crosses: runs that diverged.")] if any(row.diverged for row in finding.rows) else []
    return " ".join(sentences)


def curves_caption(accuracy: CurveNumbers) -> str:
    """Caption of curves that do not include the scored folds."""
    sentences = [_("Lines: mean; bands: minimum to maximum over folds.")] if max(accuracy.seeds) > 1 else []
    sentences.append(_("The scored folds are not shown: each is scored once, after training."))
    return " ".join([*sentences, training_values()])

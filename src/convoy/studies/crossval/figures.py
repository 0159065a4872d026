"""Accuracy by fold; caption of the curves of the folds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from convoy.reporting.figures_curves import CurveNumbers, training_values
from convoy.reporting.palette import Look
from convoy.reporting.rows import Row, Rows, Value, span_of
from convoy.studies.crossval.finding import CrossvalFinding
from convoy.text import gettext as _


def folds(finding: CrossvalFinding, look: Look, lines: Sequence[str]) -> Rows:
    """`lines`: the label of each fold's curve, whose colour and mark it has."""
    values: dict[int, list[Value]] = {}
    for row, label in zip(finding.rows, lines, strict=True):
        value = Value.of(row.accuracy, look.colour(label), look.mark(label))
        values.setdefault(row.fold, []).append(replace(value, crossed=(value.value,)) if row.diverged else value)
    return Rows(
        tuple(Row(str(fold + 1), tuple(repeats)) for fold, repeats in sorted(values.items())),
        _("accuracy of the scored fold"),
        "%",
        line=100 * finding.accuracy.mean,
        band=span_of(finding.accuracy),
        dashed=span_of(finding.naive) or (),
    )


def caption(finding: CrossvalFinding) -> str:
    sentences = [
        _("Rows: folds (n = {n}); marks: 95 % intervals over their images.", n=finding.folds),
        _(
            "Line: mean; band: its corrected 95 % interval; dashed: the plain t interval, too narrow because folds "
            "share training images. The axis does not begin at 0."
        ),
    ]
    sentences += [_("Repeats are below each other.")] if finding.repeats > 1 else []
    sentences += [_("Crosses: runs that diverged.")] if any(row.diverged for row in finding.rows) else []
    return " ".join(sentences)


def curves_caption(accuracy: CurveNumbers) -> str:
    """The scored folds are not in the figure."""
    sentences = [_("Lines: means; bands: range over folds.")] if accuracy.seeds > 1 else []
    sentences.append(_("The scored folds are not shown: each is scored once, after training."))
    return " ".join([*sentences, training_values()])

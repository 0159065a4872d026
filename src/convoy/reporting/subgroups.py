"""The accuracy of classes and groups in reports and on the console."""

from __future__ import annotations

from collections.abc import Sequence

from convoy.evaluation.subgroups import Subgroup, by_group, in_order, worst
from convoy.reporting.content import Cell, Field, Table, TextField, table_of
from convoy.run_contents import Score
from convoy.runs import Run
from convoy.stats import wilson
from convoy.text import gettext as _

MANY_GROUPS = 25


def of_score(score: Score) -> tuple[Subgroup, ...]:
    """The recall of each class with images, lowest first."""
    counted = [row for row in score.per_class if row.n]
    return in_order([Subgroup(row.name, wilson(round(row.recall * row.n), row.n)) for row in counted])


def of_run(run: Run, part: str) -> tuple[Subgroup, ...]:
    """The accuracy of each group among the images of a part, lowest first; empty if the run has no groups."""
    groups = run.predictions.get(f"{part}_groups")
    return () if groups is None else by_group(*run.predicted(part), groups)


def lowest_class(classes: Sequence[Subgroup]) -> str:
    """A sentence about the class with the lowest recall; empty for fewer than two classes."""
    if len(classes) < 2 or (lowest := worst(classes)) is None:
        return ""
    return _("lowest recall: class {name} with {accuracy}", name=lowest.name, accuracy=lowest.accuracy.text())


def lowest_group(groups: Sequence[Subgroup]) -> str:
    """A sentence about the group with the lowest accuracy; empty for fewer than two groups."""
    if len(groups) < 2 or (lowest := worst(groups)) is None:
        return ""
    return _(
        "lowest accuracy of {n:,} groups: {name} with {accuracy}",
        n=len(groups),
        name=lowest.name,
        accuracy=lowest.accuracy.text(),
    )


def table(groups: Sequence[Subgroup], group_by: str) -> Table:
    """One row per group, lowest accuracy first; with many groups, only the lowest."""
    fields: list[Field[Subgroup]] = [
        TextField(_("Group"), lambda each: each.name),
        Field(_("Accuracy"), lambda each: Cell(*each.accuracy.parts(scale=100)), "%"),
        Field(_("Images"), lambda each: f"{each.accuracy.n:,}"),
    ]
    sentence = lowest_group(groups)
    sentences = [_("{sentence}.", sentence=f"{sentence[:1].upper()}{sentence[1:]}")] if sentence else []
    if group_by:
        sentences.append(_("Groups: {group_by}.", group_by=group_by))
    sentences.append(_("Ranges: 95 % intervals over the images of the group (Wilson)."))
    if len(groups) > MANY_GROUPS:
        sentences.append(_("Shown: the {n} groups with the lowest accuracy.", n=MANY_GROUPS))
    return table_of(fields, groups[:MANY_GROUPS], " ".join(sentences), _("Accuracy by group"))

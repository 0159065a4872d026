"""The tables of a report. Units are in the column titles."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import quote

from convoy.reporting import subgroups
from convoy.reporting.content import Cell, Field, Table, TextField, table_of
from convoy.reporting.figures_classes import ConfusedPair
from convoy.reporting.quantities import MIB, quartile_range
from convoy.reporting.reading import PARTS, Groups, RunView, all_views, distinct
from convoy.reporting.words import accuracy_title
from convoy.run_contents import ClassScore, Cost, Environment, Score, part_name
from convoy.stats import wilson
from convoy.text import gettext as _
from convoy.text import ngettext
from convoy.text.labels import label_text
from convoy.text.lists import clauses
from convoy.text.numbers import compact, fixed, plain

MANY_CLASSES = 25
MANY_ROWS = 8  # longer tables of runs or tests are collapsed


def scores_table(view: RunView) -> Table:
    """The scores of a run, one row per part."""
    scores = {part: view.scores[part] for part in PARTS if part in view.scores}
    tops = sorted({k for score in scores.values() for k in score.top_k}, key=int)
    fields: list[Field[tuple[str, Score]]] = [
        TextField(_("Part"), lambda row: part_name(row[0])),
        Field(_("Accuracy"), lambda row: Cell(*wilson(row[1].correct, row[1].n).parts(scale=100)), "%"),
        Field(_("Correct"), lambda row: correct_cell(row[1]), images_unit()),
        *(Field(_("Top {k}", k=k), partial(_top, k=k), "%") for k in tops),
        Field(_("Loss"), lambda row: _text(row[1].loss, partial(fixed, digits=4))),
        Field(_("Macro F1"), lambda row: _text(row[1].macro_f1, partial(fixed, digits=4))),
        Field(_("MCC"), lambda row: _text(row[1].mcc, partial(fixed, digits=4))),
    ]
    note = _("Ranges: 95 % intervals over images (Wilson). Loss: mean of the recipe's loss over images.")
    return table_of(fields, scores.items(), note)


def images_unit(n: int = 2) -> str:
    """The unit of a number of images. In Chinese, it is not the word for images."""
    return ngettext("image", "images", n)


def correct_cell(score: Score) -> Cell:
    return Cell(f"{score.correct:,}", _("of {n:,}", n=score.n))


def _top(row: tuple[str, Score], k: str) -> str:
    return f"{100 * row[1].top_k[k]:.2f}" if k in row[1].top_k else ""


def cost_table(view: RunView) -> Table:
    cost = view.cost
    fields: list[Field[Cost]] = [
        Field(_("Training"), lambda cost: _text(cost.train_seconds, plain), _("s")),
        Field(_("Total"), lambda cost: _text(cost.total_seconds, plain), _("s")),
        Field(_("Training speed"), lambda cost: _text(cost.images_per_second, plain), _("images/s")),
        Field(_("Parameters"), lambda cost: "" if cost.parameters is None else f"{cost.parameters:,}"),
        Field(
            _("MACs") if _reports_macs(view) else _("FLOPs"),
            lambda cost: _text(cost.flops_per_image, compact),
            _("per image"),
        ),
        Field(_("Inference"), lambda cost: _text(cost.ms_per_image, plain), _("ms/image")),
        Field(
            _("Quartiles"),
            lambda cost: quartile_range(cost.ms_per_image or 0, cost.ms_per_image_quartiles),
            _("ms/image"),
        ),
        Field(_("Peak memory"), lambda cost: _text(cost.peak_memory_bytes, lambda size: plain(size / MIB)), "MiB"),
    ]
    return table_of([field for field in fields if field.of(cost)], [cost], flops_note([view]))


def flops_cell(value: float | None, view: RunView) -> Cell:
    """The FLOPs of a run, marked as MACs if the run has the fault macs_as_flops."""
    return Cell(_text(value, compact), _("MACs") if value is not None and _reports_macs(view) else "")


def flops_note(views: Sequence[RunView]) -> str:
    macs = [view for view in views if _reports_macs(view)]
    if not macs:
        return _("FLOPs count a multiply-add as two.")
    if len(macs) == len(views):
        return _("The FLOPs are MACs (fault macs_as_flops): a multiply-add counts as one.")
    return _("FLOPs count a multiply-add as two; values marked MACs (fault macs_as_flops) count it as one.")


def _reports_macs(view: RunView) -> bool:
    return any(fault.info.counts_macs for fault in view.recipe.protocol.faults)


def confused_table(pairs: Mapping[str, Sequence[ConfusedPair]]) -> Table:
    """The most confused pairs of each model, one row per model."""

    def pair(row: tuple[str, Sequence[ConfusedPair]], index: int) -> Cell:
        if index >= len(row[1]):
            return Cell("")
        confused = row[1][index]
        note = _("{n:,}, {percent:.2f} %", n=confused.images, percent=confused.percent)
        return Cell(f"{confused.true} → {confused.predicted}", note)

    columns = max(map(len, pairs.values()))
    fields: list[Field[tuple[str, Sequence[ConfusedPair]]]] = [
        *((TextField(_("Model"), lambda row: Cell(label_text(row[0]), model=row[0])),) if len(pairs) > 1 else ()),
        *(TextField(f"{index + 1}.", partial(pair, index=index)) for index in range(columns)),
    ]
    note = _("True class → predicted class, number of these images and their share of the true class.")
    return table_of(fields, pairs.items(), note, _("Most confused pairs"))


def class_table(score: Score) -> Table:
    """Scores by class, in the order of the classes. With many classes, shows only those with the lowest F1."""

    def recall(entry: ClassScore) -> Cell:
        return Cell(*wilson(round(entry.recall * entry.n), entry.n).parts(scale=100)) if entry.n else Cell("")

    entries, note = score.per_class, _("Ranges: 95 % intervals over the images of the class (Wilson).")
    if len(entries) > MANY_CLASSES:
        lowest = _("Shown: the {n} classes with the lowest F1; scores.json has all.", n=MANY_CLASSES)
        entries, note = sorted(entries, key=lambda entry: entry.f1)[:MANY_CLASSES], f"{lowest} {note}"
    if sentence := subgroups.lowest_class(subgroups.of_score(score)):
        note = " ".join([_("{sentence}.", sentence=f"{sentence[:1].upper()}{sentence[1:]}"), note])
    fields: list[Field[ClassScore]] = [
        TextField(_("Class"), lambda entry: entry.name),
        Field(_("Precision"), lambda entry: f"{100 * entry.precision:.2f}", "%"),
        Field(_("Recall"), recall, "%"),
        Field(_("F1"), lambda entry: f"{100 * entry.f1:.2f}", "%"),
        Field(_("Images"), lambda entry: f"{entry.n:,}"),
    ]
    return table_of(fields, entries, note, _("Scores by class"))


def runs_table(groups: Groups, folder: Path) -> Table:
    """One row per run, with a link relative to `folder` (of the report). Shows the rates if a label has several."""
    views = all_views(groups)
    parts = [part for part in PARTS if any(part in view.scores for view in views)]
    endings = distinct(map(_ending, views))
    differ = any(len({view.recipe.optim.lr for view in group}) > 1 for group in groups.values())
    fields: list[Field[RunView]] = [
        TextField(_("Recipe"), lambda view: Cell(label_text(view.label), model=view.label)),
        *((Field(_("Learning rate"), lambda view: f"{view.recipe.optim.lr:g}"),) if differ else ()),
        Field(_("Seed"), lambda view: str(view.seed)),
        *(Field(accuracy_title(part), partial(_accuracy, part=part), "%") for part in parts),
        Field(_("Best epoch"), best_epoch_cell),
        Field(_("Training"), lambda view: _text(view.cost.train_seconds, plain), _("s")),
        *((TextField(_("Reason for stopping"), _ending),) if len(endings) > 1 else ()),
        TextField(_("Run folder"), partial(run_cell, folder=folder)),
    ]
    note = _("The run folders contain all scores, curves, predictions and weights.")
    if len(views) == 1:
        note = _("The run folder contains all scores, curves, predictions and weights.")
    if len(endings) == 1:
        note = _("Reason for stopping: {reason}.", reason=endings[0]) + " " + note
    collapsed = _("All {n} runs", n=len(views)) if len(views) > MANY_ROWS else ""
    return table_of(fields, views, note, _("Runs") if len(views) > 1 else _("Run"), collapsed)


def _ending(view: RunView) -> str:
    return view.status.ending or view.status.state


def _accuracy(view: RunView, part: str) -> str:
    return f"{100 * view.scores[part].accuracy:.2f}" if part in view.scores else ""


def best_epoch_cell(view: RunView) -> Cell:
    status = view.status
    return Cell(str(status.best_epoch or ""), _("of {n:,}", n=status.epochs) if status.epochs else "")


def run_cell(view: RunView, folder: Path) -> Cell:
    """The name of the run folder, with a link relative to `folder` (of the report)."""
    path = view.run.path
    return Cell(path.name, link=quote(os.path.relpath(path.resolve(), folder.resolve()).replace(os.sep, "/")))


def properties_table(title: str, properties: Sequence[tuple[str, str]]) -> Table:
    """Two columns, name and value, without empty values."""
    fields: list[Field[tuple[str, str]]] = [
        TextField("", lambda fact: fact[0]),
        TextField("", lambda fact: fact[1]),
    ]
    return table_of(fields, [each for each in properties if each[1]], title=title)


def environment_table(environments: Sequence[Environment]) -> Table:
    """One row per property of the environment, with its distinct values over all runs."""
    names = {
        "convoy": "Convoy", "training_revision": _("Training revision"), "torch": "PyTorch", "python": "Python",
        "platform": _("Platform"), "cpu": _("Processor"), "cores": _("Cores"), "threads": _("Threads"),
        "device": _("Device"), "date": _("Date"),
    }  # fmt: skip
    rows = [replace(environment, date=environment.date[:10]) for environment in environments]
    properties = {
        name: distinct(value for row in rows if (value := getattr(row, key)) is not None) for key, name in names.items()
    }
    if any(each.ranks > 1 for each in rows):
        properties[_("Processes")] = distinct(each.ranks for each in rows)
    weights = [each.weights for each in rows if each.weights is not None]
    properties[_("Pretrained weights")] = distinct(f"{each.source}, SHA-256 {each.sha256}" for each in weights)
    return properties_table(_("Environment"), [(name, clauses(values)) for name, values in properties.items()])


def _text(value: float | None, text_of: Callable[[float], str]) -> str:
    return "" if value is None else text_of(value)

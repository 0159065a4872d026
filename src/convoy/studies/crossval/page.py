"""The page of a cross-validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from convoy.reporting import calibration, sections, tables
from convoy.reporting import figures_classes as classes_
from convoy.reporting.content import Cell, Chart, Field, Gallery, Page, Section, Strip, Table, TextField, Tile, table_of
from convoy.reporting.figures_curves import CurveNumbers, training_values
from convoy.reporting.figures_images import prediction_tiles
from convoy.reporting.palette import MODELS, Look
from convoy.reporting.reading import Groups, RunView, all_views, read_study
from convoy.reporting.rows import ChartRow, RowChart, Value, interval_of
from convoy.runs import Study
from convoy.stats import Estimate
from convoy.studies.crossval import words
from convoy.studies.crossval.finding import FOLD, CrossvalFinding, Fold
from convoy.text import gettext as _
from convoy.text.labels import label_text
from convoy.text.numbers import plain

HARDEST = 24


def page(study: Study, finding: CrossvalFinding, folder: Path) -> Page:
    groups = read_study(study)
    views = all_views(groups)  # in the order of finding.rows
    curves = curve_groups(groups)
    labels = tuple(dict.fromkeys((*curves, *groups)))
    look = Look(labels)
    line_of = {view.label: label for label, group in curves.items() for view in group}
    lines = [line_of[view.label] for view in views]
    chart = Chart("cv_accuracy", _("Accuracy"), (folds_chart(finding, look, lines).panel(),), _caption(finding))
    training = sections.curves(curves, look, held_out=_("inner validation"), caption=_curves_caption)
    title = _("{label} on {data}: {n} folds", label=label_text(finding.label), data=finding.data, n=finding.folds)
    return Page(
        kicker=sections.kicker(_("Cross-validation"), study.name, views),
        title=f"{title} × {finding.repeats}" if finding.repeats > 1 else title,
        sentence=words.sentence(finding),
        caveats=tuple(words.caveats(finding)),
        tables=(_summary(finding),),
        sections=sections.present(
            Section(_("Accuracy by fold"), (chart, _folds(finding, views, folder, lines))),
            sections.section(_("Training"), training),
            _errors(finding, views),
            calibration.spread_section({finding.label: views}, FOLD, _("Recipe")),
            sections.data(groups),
            sections.setup(groups, folder, [study.command]),
        ),
        labels=labels,
    )


def folds_chart(finding: CrossvalFinding, look: Look, lines: Sequence[str]) -> RowChart:
    """`lines` are the labels of the folds' curves; each row has the colour and mark of its curve."""
    values: dict[int, list[Value]] = {}
    for row, label in zip(finding.rows, lines, strict=True):
        value = Value.of(row.accuracy, look.colour(label), look.mark(label))
        values.setdefault(row.fold, []).append(replace(value, diverged=(value.value,)) if row.diverged else value)
    return RowChart(
        tuple(ChartRow(str(fold + 1), tuple(repeats)) for fold, repeats in sorted(values.items())),
        _("fold accuracy"),
        "%",
        line=100 * finding.accuracy.mean,
        band=interval_of(finding.accuracy),
        dashed=interval_of(finding.naive) or (),
    )


def _caption(finding: CrossvalFinding) -> str:
    sentences = [
        _("One row per fold (n = {n}), with its 95 % interval over images.", n=finding.folds),
        _(
            "Line: mean; band: its corrected 95 % interval; dashed: the plain t interval, which is too "
            "narrow because folds share training images. The axis may start above 0."
        ),
    ]
    sentences += [_("Repeats of a fold are drawn below each other.")] if finding.repeats > 1 else []
    sentences += [_("Crosses: runs that diverged.")] if any(row.diverged for row in finding.rows) else []
    return " ".join(sentences)


def _curves_caption(accuracy: CurveNumbers) -> str:
    """Caption of curves that do not include the scored folds."""
    sentences = [_("Lines: mean; bands: minimum to maximum over folds.")] if max(accuracy.seeds) > 1 else []
    sentences.append(_("The scored folds are not shown: each is scored once, after training."))
    return " ".join([*sentences, training_values()])


def _summary(finding: CrossvalFinding) -> Table:
    """Table of the mean over folds with both intervals, and of the accuracy over all images."""
    rows = [
        (_("Mean over folds, corrected interval"), finding.accuracy),
        (_("Mean over folds, plain t interval (too narrow)"), finding.naive),
    ]
    for repeat, images in enumerate(finding.out_of_fold, start=1):
        name = _("All images, out of fold")
        rows.append((_("{name}, repeat {n}", name=name, n=repeat) if finding.repeats > 1 else name, images))
    fields: list[Field[tuple[str, Estimate]]] = [
        TextField("", lambda row: Cell(row[0], bold=row is rows[0])),
        Field(_("Accuracy"), lambda row: Cell(*row[1].parts(scale=100), bold=row is rows[0]), "%"),
        Field(_("Spread"), lambda row: "" if row[1].sd is None else f"{100 * row[1].sd:.2f}", _("sd, points")),
        Field(
            "n", lambda row: Cell(f"{row[1].n:,}", tables.images_unit(row[1].n) if row[1].over_images else _("folds"))
        ),
    ]
    note = _(
        "±: half-width of the 95 % interval. Corrected: takes into account that folds share training "
        "images (Nadeau and Bengio 2003). All images: each is classified by the network that was not "
        "trained on it; range: 95 % interval over images (Wilson). oof.npz in the study folder "
        "contains the predictions."
    )
    return table_of(fields, rows, note)


def _folds(finding: CrossvalFinding, views: Sequence[RunView], folder: Path, lines: Sequence[str]) -> Table:
    """Table with one row per fold. `lines` are the labels of the folds' curves."""
    rows = list(zip(finding.rows, views, lines, strict=True))
    fields: list[Field[tuple[Fold, RunView, str]]] = [
        TextField(
            _("Fold"), lambda row: Cell(_("{n} of {folds}", n=row[0].fold + 1, folds=finding.folds), model=row[2])
        ),
        *([Field(_("Repeat"), lambda row: str(row[0].repeat + 1))] if finding.repeats > 1 else []),
        Field(_("Seed"), lambda row: str(row[0].seed)),
        Field(_("Accuracy"), lambda row: Cell(*row[0].accuracy.parts(scale=100)), "%"),
        Field(_("Correct"), lambda row: tables.correct_cell(row[1].scores[FOLD]), tables.images_unit()),
        Field(_("Trained on"), lambda row: f"{row[1].data.counts['train']:,}", tables.images_unit()),
        Field(_("Validation"), lambda row: f"{row[0].validation_images:,}", tables.images_unit()),
        Field(_("Best epoch"), lambda row: tables.best_epoch_cell(row[1])),
        Field(_("Training"), lambda row: "" if (value := row[1].cost.train_seconds) is None else plain(value), _("s")),
        TextField(_("Run folder"), lambda row: tables.run_cell(row[1], folder)),
    ]
    return table_of(fields, rows, _("Ranges: 95 % intervals over the images of a fold (Wilson)."), _("Folds"))


def curve_groups(groups: Groups) -> dict[str, list[RunView]]:
    """Groups the runs into one curve per fold if there are enough colours, otherwise one per repeat."""
    views = all_views(groups)
    if len(views) <= len(MODELS):
        return dict(groups)
    lines: dict[str, list[RunView]] = {}
    for view in views:
        lines.setdefault(_("repeat {n}", n=view.recipe.data.split.repeat + 1), []).append(view)
    return lines


def _errors(finding: CrossvalFinding, views: Sequence[RunView]) -> Section | None:
    """Creates the out-of-fold confusion matrix, most confused pairs and hardest images of all folds."""
    scores = [view.scores[FOLD] for view in views]
    if not all(score.confusion for score in scores):
        return None
    numbers = classes_.confusion_numbers(finding.label, views[0].classes, scores)
    numbers = numbers._replace(runs=1)  # each image is counted once
    worst, tiles = numbers.worst(sections.CONFUSED_PAIRS), hardest(views)
    caption = _(
        "The {n} images with the highest out-of-fold loss; {wrong} are misclassified. Red: a wrong prediction, "
        "with the true class below.",
        n=len(tiles),
        wrong=sum(bool(tile.true_class) for tile in tiles),
    )
    return sections.section(
        _("Out-of-fold errors"),
        sections.confusion_chart([numbers], named=False),
        tables.confused_table({finding.label: worst}) if worst else None,
        Gallery("hardest", _("Hardest images"), (Strip("", tiles),), caption) if tiles else None,
    )


class _Hardest(NamedTuple):
    """Arrays with one element per image."""

    images: np.ndarray
    labels: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray
    loss: np.ndarray
    indices: np.ndarray  # among the training images

    @classmethod
    def of(cls, view: RunView) -> _Hardest | None:
        """Returns None if the run does not store these arrays."""
        gallery, arrays = view.gallery, view.run.predictions
        logits, index = (arrays.get(f"{FOLD}_{name}") for name in ("logits", "index"))
        if logits is None or index is None or "hardest_images" not in gallery:
            return None
        keys = ("images", "labels", "predicted", "confidence", "index")
        images, labels, predicted, confidence, shown = (gallery[f"hardest_{key}"] for key in keys)
        logits = logits[shown].astype(np.float64)
        highest = logits.max(axis=1)
        total = highest + np.log(np.exp(logits - highest[:, None]).sum(axis=1))
        loss = np.nan_to_num(total - logits[np.arange(len(labels)), labels], nan=np.inf)
        return cls(images, labels, predicted, confidence, loss, index[shown])


def hardest(views: Sequence[RunView]) -> tuple[Tile, ...]:
    """Returns the images of all folds with the highest cross-entropy, without repetition; empty if none are stored."""
    folds = [fold for view in views if (fold := _Hardest.of(view))]
    if len(folds) < len(views):
        return ()
    joined = _Hardest(*map(np.concatenate, zip(*folds, strict=True)))
    order = np.argsort(-joined.loss, kind="stable")
    _values, firsts = np.unique(joined.indices[order], return_index=True)  # an image can be hard in several repeats
    chosen = order[np.sort(firsts)[:HARDEST]]
    images, labels, predicted, confidence, _loss, places = (array[chosen] for array in joined)
    return prediction_tiles(images, labels, predicted, confidence, views[0].classes, places)

"""Sections that the reports of runs and studies share: training, errors, data, setup."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import tomli_w

from convoy.recipe import SplitSpec
from convoy.reporting import canvas, tables
from convoy.reporting import figures_classes as classes_
from convoy.reporting import figures_curves as curves_
from convoy.reporting import figures_images as images_
from convoy.reporting.content import (
    Block,
    Cell,
    Chart,
    Code,
    Column,
    Gallery,
    Panel,
    Section,
    Strip,
    Table,
)
from convoy.reporting.palette import Look
from convoy.reporting.quantities import listed
from convoy.reporting.reading import PART_NAMES, Groups, Reading, distinct, every, scored

MAX_STRIPS = 6  # models whose images are shown
MAX_CONFUSIONS = 10  # with more models only the best MAX_STRIPS matrices are drawn
CONFUSED_PAIRS = 5
FILTERS = 64  # the complete first layer of AlexNet and of ResNets


def kicker(kind: str, name: str, readings: Sequence[Reading]) -> str:
    """The line above the title: kind, name, and the date of the last run."""
    date = max((str(reading.environment.get("date", "")) for reading in readings), default="")[:10]
    return " · ".join(part for part in (kind, name, date) if part)


def curves(
    groups: Groups,
    look: Look,
    *,
    held_out: str = "",
    caption: Callable[[curves_.CurveNumbers], str] = curves_.curves_caption,
) -> Chart | None:
    """Loss and accuracy by epoch; None if no run finished an epoch. `held_out` names the solid line."""
    lines = {label: [r.metrics for r in group if r.metrics] for label, group in groups.items()}
    lines = {label: metrics for label, metrics in lines.items() if metrics}
    if not lines:
        return None
    loss, accuracy = (curves_.curve_numbers(lines, quantity) for quantity in ("loss", "accuracy"))
    panels = tuple(
        Panel(title, partial(curves_.draw_curves, numbers=numbers, look=look))
        for title, numbers in (("Loss", loss), ("Accuracy", accuracy))
    )
    solid = next((curve.part for curve in accuracy.curves if curve.part != "train"), "")
    line_legend = f"training dashed, {held_out or solid} solid" if solid else "training, dashed"
    return Chart(
        "curves",
        "Loss and accuracy by epoch",
        panels,
        caption(accuracy),
        legend=tuple(lines),
        line_legend=line_legend,
    )


def errors(groups: Groups, part: str, look: Look, *, tiles: int) -> Section | None:
    """Confusion matrices, most confused pairs, predictions, hardest images; None if there are no scores."""
    with_confusion = scored(groups, part)
    with_confusion = {
        label: [r for r in group if r.scores[part].confusion and r.classes == group[0].classes]
        for label, group in with_confusion.items()
    }
    if not with_confusion:
        return None
    panels = [
        classes_.confusion_numbers(label, group[0].classes, [r.scores[part] for r in group])
        for label, group in with_confusion.items()
    ]
    chart = confusion_chart(
        panels if len(panels) <= MAX_CONFUSIONS else panels[:MAX_STRIPS], named=len(with_confusion) > 1
    )
    if len(chart.panels) < len(panels):
        shown = f"Shown: the best {len(chart.panels)} of {len(panels)} models; the next table has all."
        chart = replace(chart, caption=f"{chart.caption} {shown}")
    blocks: list[Block] = [chart]
    confused = {numbers.label: numbers.worst(CONFUSED_PAIRS) for numbers in panels}
    if any(confused.values()):
        blocks.append(tables.confused_table(confused))
    firsts = [group[0] for group in with_confusion.values()]
    predictions = _gallery(firsts, "predictions", tiles)
    if predictions:
        blocks.append(
            Gallery(
                "predictions", "Predictions", predictions, _predictions_caption(predictions, _of_first_seed(groups))
            )
        )
    hardest = _gallery(firsts, "hardest", tiles)
    if hardest:
        blocks.append(
            Gallery("hardest", "Hardest images", hardest, _hardest_caption(hardest, part, _of_first_seed(groups)))
        )
    return Section("Errors", tuple(blocks))


def confusion_chart(panels: Sequence[classes_.ConfusionNumbers], *, named: bool) -> Chart:
    scale = classes_.confusion_scale(panels)
    longest = max(map(len, classes_.class_names(panels[0].classes)))
    left = 0.55 + 0.085 * longest
    many = longest * len(panels[0].classes) > 45 or len(panels[0].classes) > classes_.MANY_CLASSES
    bottom = 0.45 + (0.085 * longest if many else 0.15)
    top = 0.42 if named else 0.12
    height = canvas.WIDTH - left - 0.15 + bottom + top
    matrices = tuple(
        Panel(
            numbers.label if named else "",
            partial(classes_.draw_confusion, numbers=numbers, scale=scale),
            height=height,
            left=left,
            bottom=bottom,
            top=top,
        )
        for numbers in panels
    )
    return Chart(
        "confusion",
        "Confusion matrix" if len(panels) == 1 else "Confusion matrices",
        matrices,
        classes_.confusion_caption(panels),
    )


def _gallery(firsts: Sequence[Reading], name: str, tiles: int) -> tuple[Strip, ...]:
    strips = []
    for reading in firsts[:MAX_STRIPS]:
        strip_tiles = images_.gallery_tiles(reading.gallery, name, reading.classes, tiles)
        if strip_tiles:
            title = f"{reading.label}, seed {reading.seed}" if len(firsts) > 1 else ""
            strips.append(Strip(title, strip_tiles, model=reading.label))
    return tuple(strips)


def _of_first_seed(groups: Groups) -> str:
    cut = f" Shown: the best {MAX_STRIPS} models." if len(groups) > MAX_STRIPS else ""
    return f" First seed of each model.{cut}" if len(every(groups)) > 1 else ""


def _hardest_caption(strips: Sequence[Strip], part: str, which: str) -> str:
    tiles = [tile for strip in strips for tile in strip.tiles]
    wrong = sum(bool(tile.true_class) for tile in tiles)
    return (
        f"The {len(tiles)} images of the {PART_NAMES[part]} with the highest loss; {wrong} are misclassified. "
        f"Red: a wrong prediction, with the true class below. %: confidence.{which}"
    )


def _predictions_caption(strips: Sequence[Strip], which: str) -> str:
    counts = []
    for strip in strips:
        correct = sum(not tile.true_class for tile in strip.tiles)
        counts.append(f"{correct} of {len(strip.tiles)}{f' ({strip.model})' if len(strips) > 1 else ''}")
    return (
        f"Random images; correct: {listed(counts)}. Red: a wrong prediction, with the true class below. "
        f"%: confidence.{which}"
    )


def data(groups: Groups) -> Section:
    """Sample images, class balance, first-layer filters."""
    first = every(groups)[0]
    blocks: list[Block] = []
    samples = images_.sample_strips(first.gallery, first.classes)
    if samples:
        titles_left = len(samples) > 1
        count = sum(len(strip.tiles) for strip in samples)
        layout = "one row per class" if titles_left else "one per class"
        table = first.data
        depth = {1: "grey", 3: "colour"}.get(table.in_chans, f"{table.in_chans} channels")
        size = f"{table.image_size} × {table.image_size} pixels"
        caption = f"{count} images of {table.name}, {layout}: {size}, {depth}. "
        pictured = len(set(first.gallery["samples_labels"].tolist()))
        if pictured < len(first.classes):
            caption += f"{pictured} of {len(first.classes)} classes are shown. "
        caption += images_.brightness(first.gallery, first.classes)
        blocks.append(Gallery("samples", "Samples", samples, caption, titles_left=titles_left))
    balance = classes_.balance_numbers(first.data.per_class, first.classes)
    if balance.counts:
        longest = max(map(len, classes_.class_names(balance.classes)))
        panel = Panel("", partial(classes_.draw_balance, numbers=balance), height=3.2, bottom=0.3 + 0.085 * longest)
        blocks.append(Chart("balance", "Class balance", (panel,), classes_.balance_caption(balance)))
    filters = _filters(groups)
    if filters:
        blocks.append(filters)
    return Section("Data", tuple(blocks))


def _filters(groups: Groups) -> Gallery | None:
    strips, shapes = [], []
    for label, group in list(groups.items())[:MAX_STRIPS]:
        weights = group[0].run.arrays.get("first_layer_filters")
        if weights is not None and weights.ndim == 4 and len(weights):
            strips.append(Strip(label if len(groups) > 1 else "", images_.filter_tiles(weights, FILTERS), model=label))
            count, _, height, width = weights.shape
            count_text = f"{FILTERS} of {count}" if count > FILTERS else str(count)
            faint = images_.faint_filters(weights)
            shapes.append((label, f"{count_text} filters of {height} × {width} ({faint} faint)"))
    if not strips:
        return None
    texts = distinct(text for _, text in shapes)
    if len(texts) > 1:
        texts = [f"{label} {text}" for label, text in shapes]
    caption = (
        f"First convolution: {listed(texts)}. Faint: the largest weight is below a tenth of the "
        "layer's largest. Grey: 0; white and black: plus and minus the largest weight of the filter."
    )
    return Gallery("filters", "First-layer filters", tuple(strips), caption)


def setup(groups: Groups, folder: Path, commands: Sequence[str]) -> Section:
    """Runs, command, data, environment and recipe: all that is needed to reproduce the page."""
    readings = every(groups)
    first = readings[0]
    blocks: list[Block] = [
        tables.runs_table(groups, folder),
        Code("\n".join(commands), "Command" if len(commands) == 1 else "Commands"),
        tables.facts_table("Data", _data_facts(readings)),
        tables.facts_table("Environment", _environment_facts(readings)),
    ]
    title = "Recipe" if len(readings) == 1 else f"Recipe of {first.label}, seed {first.seed}"
    blocks.append(Code(_toml(first), title, columns=True))
    if len(readings) > 1:
        blocks.append(_recipe_differences(groups))
    return Section("Setup and runs", tuple(blocks))


def _data_facts(readings: Sequence[Reading]) -> list[tuple[str, str]]:
    first, split = readings[0].data, readings[0].recipe.data.split
    counts = ", ".join(f"{part} {count:,}" for part, count in first.counts.items() if count)
    mean, std = (", ".join(f"{value:.4f}" for value in values) for values in (first.mean, first.std))
    openings = max((reading.data.test_openings for reading in readings), default=0)
    return [
        ("Data set", str(first.name)),
        ("Images", counts + (f" (limited to {first.limit:,})" if first.limit else "")),
        ("Classes", f"{len(first.classes)}"),
        (
            "Split",
            f"{_folds(split)}validation {split.validation:g}, seed {split.seed}, "
            f"{'' if split.stratified else 'not '}stratified"
            f"{'' if split.group_by is None else f', grouped by {split.group_by}'}",
        ),
        ("Normalisation", f"mean {mean}; standard deviation {std} (pixels in 0 to 1)"),
        ("Best epoch selected on", first.selection or "none: the last epoch is kept"),
        ("Test set opened", f"{openings} times in this workspace so far" if openings != 1 else "once"),
        ("SHA-256 of the data", "; ".join(distinct(r.data.data_hash for r in readings))),
        ("SHA-256 of the split", "; ".join(distinct(r.data.split_hash for r in readings))),
        ("Notes", "; ".join(first.notes)),
    ]


def _folds(split: SplitSpec) -> str:
    return f"{split.folds} folds of the training images; of the remaining images: " if split.folds else ""


def _environment_facts(readings: Sequence[Reading]) -> list[tuple[str, str]]:
    names = {
        "convoy": "Convoy", "training_revision": "Training revision", "torch": "PyTorch", "python": "Python",
        "platform": "Platform", "cpu": "Processor", "cores": "Cores", "threads": "Threads", "device": "Device",
        "date": "Date",
    }  # fmt: skip
    environments = [reading.environment for reading in readings]
    facts = []
    for key, name in names.items():
        values = distinct(table[key] for table in environments if table.get(key) is not None)
        if key == "date":
            values = distinct(value[:10] for value in values)
        facts.append((name, "; ".join(values)))
    return facts


def _toml(reading: Reading) -> str:
    """The complete recipe, with short lists on one line."""
    table = reading.recipe.as_table()
    del table["expected"]
    text = tomli_w.dumps(table).strip()
    return re.sub(r"\[\n([^\[\]{}]*?),?\n\]", lambda m: f"[{' '.join(m.group(1).split())}]", text)


def _recipe_differences(groups: Groups) -> Table:
    base = _flat(every(groups)[0].recipe.as_table())
    rows = []
    for label, group in groups.items():
        differences = []
        tables_ = [_flat(reading.recipe.as_table()) for reading in group]
        for key in sorted({key for table in tables_ for key in table} | set(base)):
            values = distinct(table.get(key, "absent") for table in tables_)
            if key != "seed" and not key.startswith(("about", "expected")) and values != [base.get(key, "absent")]:
                differences.append(f"{key} = {' or '.join(values)}")
        seeds = ", ".join(str(reading.seed) for reading in group)
        rows.append((Cell(label, model=label), Cell("; ".join(differences) or "none"), Cell(seeds)))
    columns = (Column("Model", numeric=False), Column("Differences from this recipe", numeric=False), Column("Seeds"))
    return Table(columns, tuple(rows), title="Other recipes")


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Dotted key -> value in TOML syntax."""
    flat: dict[str, str] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = " ".join(tomli_w.dumps({"v": value}).removeprefix("v = ").split())
    return flat

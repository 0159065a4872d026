"""The sections common to reports of runs and studies: training, errors, data, setup."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import tomli_w

from convoy.recipe import few_images
from convoy.recipe.files import flattened
from convoy.reporting import canvas, tables
from convoy.reporting import figures_classes as classes_
from convoy.reporting import figures_curves as curves_
from convoy.reporting import figures_images as images_
from convoy.reporting.content import (
    Block,
    Cell,
    Chart,
    Code,
    Field,
    Gallery,
    Panel,
    Section,
    Strip,
    Table,
    TextField,
    table_of,
)
from convoy.reporting.palette import Look
from convoy.reporting.reading import Groups, RunView, all_views, distinct, with_score
from convoy.run_contents import part_name
from convoy.text import gettext as _
from convoy.text import ngettext
from convoy.text.labels import label_text
from convoy.text.lists import clauses, joined, listed

MAX_STRIPS = 6  # number of models whose images are shown
MAX_CONFUSIONS = 10  # number of confusion matrices
CONFUSED_PAIRS = 5
FILTERS = 64  # shown filters; enough for the first layer of AlexNet and ResNets


def kicker(kind: str, name: str, views: Sequence[RunView]) -> str:
    """Returns the line above the title: kind, name, and the date of the last run."""
    date = max((view.environment.date for view in views), default="")[:10]
    return " · ".join(part for part in (kind, name, date) if part)


def section(title: str, *blocks: Block | None) -> Section | None:
    """Creates a section of the blocks that are not None. Returns None if there are none."""
    present = tuple(block for block in blocks if block is not None)
    return Section(title, present) if present else None


def present(*sections: Section | None) -> tuple[Section, ...]:
    """Omits sections that are None."""
    return tuple(section for section in sections if section is not None)


def curves(
    groups: Groups,
    look: Look,
    *,
    held_out: str = "",
    caption: Callable[[curves_.CurveNumbers], str] = curves_.curves_caption,
) -> Chart | None:
    """Creates the chart of loss and accuracy by epoch; None without a finished epoch. `held_out`: the solid line."""
    lines = {label: [r.metrics for r in group if r.metrics] for label, group in groups.items()}
    lines = {label: metrics for label, metrics in lines.items() if metrics}
    if not lines:
        return None
    loss, accuracy = (curves_.curve_numbers(lines, quantity) for quantity in ("loss", "accuracy"))
    panels = tuple(
        Panel(title, partial(curves_.draw_curves, numbers=numbers, look=look))
        for title, numbers in ((_("Loss"), loss), (_("Accuracy"), accuracy))
    )
    solid = next((curve.part for curve in accuracy.curves if curve.part != "train"), "")
    line_legend = (
        _("dashed: training, solid: {part}", part=held_out or part_name(solid)) if solid else _("dashed: training")
    )
    return Chart(
        "curves",
        _("Loss and accuracy by epoch"),
        panels,
        caption(accuracy),
        legend=tuple(lines),
        line_legend=line_legend,
    )


def errors(groups: Groups, part: str, look: Look, *, tiles: int) -> Section | None:
    """Creates confusion matrices, most confused pairs, predictions and hardest images; None without scores."""
    with_confusion = with_score(groups, part)
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
    chart = confusion_chart(panels[:MAX_CONFUSIONS], named=len(panels) > 1)
    if len(panels) > MAX_CONFUSIONS:
        limit = _(
            "Shown: the best {n} of {total} models; the next table lists all.", n=MAX_CONFUSIONS, total=len(panels)
        )
        chart = replace(chart, caption=f"{chart.caption} {limit}")
    blocks: list[Block] = [chart]
    confused = {numbers.label: numbers.worst(CONFUSED_PAIRS) for numbers in panels}
    if any(confused.values()):
        blocks.append(tables.confused_table(confused))
    firsts = [group[0] for group in with_confusion.values()]
    notes = [_("Red: wrong prediction, with the true class below. Percentages: confidence.")]
    notes += [_("Predictions of the first seed of each model.")] if len(all_views(groups)) > 1 else []
    notes += [_("Shown: the best {n} models.", n=MAX_STRIPS)] if len(groups) > MAX_STRIPS else []
    for name, title, caption in (
        ("predictions", _("Predictions"), _("Randomly chosen images.")),
        ("hardest", _("Hardest images"), _("Images with the highest loss ({part}).", part=part_name(part))),
    ):
        strips = _strips(firsts, name, tiles)
        if strips:
            blocks.append(Gallery(name, title, strips, " ".join([caption, *notes])))
    return Section(_("Errors"), tuple(blocks))


def confusion_chart(panels: Sequence[classes_.ConfusionNumbers], *, named: bool) -> Chart:
    scale = max(float(numbers.errors.max()) for numbers in panels)
    longest = max(map(len, classes_.class_names(panels[0].classes)))
    left = 0.55 + 0.085 * longest
    many = longest * len(panels[0].classes) > 45 or len(panels[0].classes) > classes_.MANY_CLASSES
    bottom = 0.45 + (0.085 * longest if many else 0.15)
    top = 0.42 if named else 0.12
    height = canvas.WIDTH - left - 0.15 + bottom + top
    matrices = tuple(
        Panel(
            label_text(numbers.label) if named else "",
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
        _("Confusion matrix") if len(panels) == 1 else _("Confusion matrices"),
        matrices,
        classes_.confusion_caption(panels),
    )


def _strips(firsts: Sequence[RunView], name: str, tiles: int) -> tuple[Strip, ...]:
    strips = []
    for view in firsts[:MAX_STRIPS]:
        strip_tiles = images_.gallery_tiles(view.gallery, name, view.classes, tiles)
        if strip_tiles:
            title = _("{label}, seed {seed}", label=label_text(view.label), seed=view.seed) if len(firsts) > 1 else ""
            strips.append(Strip(title, strip_tiles, model=view.label))
    return tuple(strips)


def data(groups: Groups) -> Section:
    """Creates the section with sample images, class balance and first-layer filters."""
    first = all_views(groups)[0]
    blocks: list[Block] = []
    samples = images_.sample_strips(first.gallery, first.classes)
    if samples:
        titles_left = len(samples) > 1
        table = first.data
        caption = _(
            "{n} images of {data}: {size} × {size} pixels, {channels}.",
            n=sum(len(strip.tiles) for strip in samples),
            data=table.name,
            size=table.image_size,
            channels={1: _("grey"), 3: _("colour")}.get(table.in_chans) or _("{n} channels", n=table.in_chans),
        )
        pictured = len(set(first.gallery["samples_labels"].tolist()))
        if pictured < len(first.classes):
            caption += " " + _("Shown: {n} of {total} classes.", n=pictured, total=len(first.classes))
        blocks.append(Gallery("samples", _("Samples"), samples, caption, titles_left=titles_left))
    balance = classes_.balance_numbers(first.data.per_class, first.classes)
    if balance.counts:
        longest = max(map(len, classes_.class_names(balance.classes)))
        panel = Panel("", partial(classes_.draw_balance, numbers=balance), height=3.2, bottom=0.3 + 0.085 * longest)
        blocks.append(Chart("balance", _("Class balance"), (panel,), classes_.balance_caption(balance)))
    filters = _filters(groups)
    if filters:
        blocks.append(filters)
    return Section(_("Data"), tuple(blocks))


def _filters(groups: Groups) -> Gallery | None:
    strips = tuple(
        Strip(
            _("{label}: {height} × {width}", label=label_text(label), height=weights.shape[2], width=weights.shape[3]),
            images_.filter_tiles(weights, FILTERS),
            model=label,
        )
        for label, group in list(groups.items())[:MAX_STRIPS]
        if (weights := group[0].run.arrays.get("first_layer_filters")) is not None
        and weights.ndim == 4
        and len(weights)
    )
    if not strips:
        return None
    caption = _(
        "Weights of the first convolution, at most {n} filters. Grey: 0; white and black: plus and minus the largest "
        "absolute weight of the filter.",
        n=FILTERS,
    )
    return Gallery("filters", _("First-layer filters"), strips, caption)


def setup(groups: Groups, folder: Path, commands: Sequence[str]) -> Section:
    """Creates the section that describes how to reproduce the page: runs, command, data, environment, recipe."""
    views = all_views(groups)
    first = views[0]
    blocks: list[Block] = [
        tables.runs_table(groups, folder),
        Code("\n".join(commands), _("Command") if len(commands) == 1 else _("Commands")),
        tables.properties_table(_("Data"), _data_facts(views)),
        tables.environment_table([view.environment for view in views]),
    ]
    title = _("Recipe")
    if len(views) > 1:
        title = _("Recipe: {label}, seed {seed}", label=label_text(first.label), seed=first.seed)
    blocks.append(Code(_toml(first), title, columns=True))
    if len(views) > 1:
        blocks.append(_recipe_differences(groups))
    return Section(_("Setup and runs"), tuple(blocks))


def _data_facts(views: Sequence[RunView]) -> list[tuple[str, str]]:
    first, split = views[0].data, views[0].recipe.data.split
    counts = joined(f"{part_name(part)} {count:,}" for part, count in first.counts.items() if count)
    mean, std = (", ".join(f"{value:.4f}" for value in values) for values in (first.mean, first.std))
    openings = max((view.data.test_openings for view in views), default=0)
    strata = _("stratified") if split.stratified else _("not stratified")
    return [
        (_("Data set"), str(first.name)),
        (_("Images"), counts),
        (_("Limit"), ngettext("{n:,} image", "{n:,} images", first.limit) if first.limit else ""),
        (_("Classes"), f"{len(first.classes)}"),
        (_("Folds of the training images"), f"{split.folds or ''}"),
        (
            _("Split"),
            _("validation {share:g}, seed {seed}, {strata}", share=split.validation, seed=split.seed, strata=strata),
        ),
        (_("Grouped by"), split.group_by or ""),
        (
            _("Normalisation"),
            _("mean {mean}; standard deviation {std} (pixels in 0 to 1)", mean=mean, std=std),
        ),
        (
            _("Best epoch selected on"),
            _("{part} set", part=part_name(first.selection)) if first.selection else _("none: the last epoch is used"),
        ),
        (
            _("Test set opened"),
            ngettext("once in this workspace so far", "{n} times in this workspace so far", openings),
        ),
        (_("SHA-256 of the data"), clauses(distinct(r.data.data_hash for r in views))),
        (_("SHA-256 of the split"), clauses(distinct(r.data.split_hash for r in views))),
        (_("Notes"), clauses((*few_images.sentences(views[0].recipe), *first.notes))),
    ]


def _toml(view: RunView) -> str:
    """Returns the complete recipe as TOML, with short lists on one line."""
    text = view.recipe.to_toml().strip()
    return re.sub(r"\[\n([^\[\]{}]*?),?\n\]", lambda m: f"[{' '.join(m.group(1).split())}]", text)


def _recipe_differences(groups: Groups) -> Table:
    base = _flat(all_views(groups)[0].recipe.as_table())
    fields: list[Field[tuple[str, list[RunView]]]] = [
        TextField(_("Recipe"), lambda row: Cell(label_text(row[0]), model=row[0])),
        TextField(_("Differences from this recipe"), lambda row: _differences(row[1], base)),
        Field(_("Seeds"), lambda row: joined(map(str, sorted(view.seed for view in row[1])))),
    ]
    return table_of(fields, groups.items(), title=_("Other recipes"))


def _differences(group: Sequence[RunView], base: Mapping[str, str]) -> str:
    texts = []
    recipes = [_flat(view.recipe.as_table()) for view in group]
    for key in sorted({key for recipe in recipes for key in recipe} | set(base)):
        values = distinct(recipe.get(key, _("not set")) for recipe in recipes)
        if key not in ("seed", "about", "chosen") and values != [base.get(key, _("not set"))]:
            texts.append(f"{key} = {listed(values, 'or')}")
    return clauses(texts) or _("none")


def _flat(table: Mapping[str, Any]) -> dict[str, str]:
    """Maps dotted keys to values in TOML syntax."""
    values = flattened(table).items()
    return {key: " ".join(tomli_w.dumps({"v": value}).removeprefix("v = ").split()) for key, value in values}

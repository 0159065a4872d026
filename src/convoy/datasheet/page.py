"""The page of a data set: data-sheet.html, with data-sheet.json and duplicates.csv next to it."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from io import StringIO
from pathlib import Path

import numpy as np

from convoy.datasheet import figures as levels_
from convoy.datasheet import words
from convoy.datasheet.facts import Arrays, Facts, Made, Pairs
from convoy.files import write_bytes, write_json
from convoy.reporting import figures_classes as classes_
from convoy.reporting import figures_images as images_
from convoy.reporting import render
from convoy.reporting.content import (
    Block,
    Cell,
    Chart,
    Column,
    Gallery,
    Page,
    Panel,
    Section,
    Strip,
    Table,
    Tile,
)
from convoy.reporting.tables import facts_table

MANY_CLASSES = 25  # with as many, the table of classes is collapsed
MAX_PICTURED_CLASSES = 100


def write_data_sheet(facts: Facts, arrays: Arrays, made: Made, folder: Path) -> Path:
    """Writes data-sheet.html, .md and .json, duplicates.csv and figures/; returns the path of data-sheet.html."""
    write_json(folder / "data-sheet.json", {**asdict(facts), "made": asdict(made)})
    write_bytes(folder / "duplicates.csv", _all_pairs(facts, arrays).encode())
    return render.write(data_sheet_page(facts, arrays, made), folder, "data-sheet")


def data_sheet_page(facts: Facts, arrays: Arrays, made: Made) -> Page:
    classes = facts.classes
    origin = [("Convoy", made.convoy), ("Date", made.date), ("Command", made.command)]
    return Page(
        kicker="Data sheet · of all images, including test images; nothing is trained",
        title=facts.name,
        sentence=words.sentence(facts),
        caveats=tuple(words.caveats(facts)),
        tables=(_table(words.parts_rows(facts), words.PARTS_NOTE),),
        sections=(
            Section("Images", tuple(_pictures(arrays, classes))),
            Section("Classes and pixel values", tuple(_numbers(arrays, classes, facts))),
            Section("Duplicates", tuple(_duplicates(arrays, classes, facts))),
            Section("About", (facts_table("", [*words.about(facts), *origin]),)),
        ),
        labels=(),
    )


def _table(rows: Sequence[Mapping[str, str]], note: str = "", collapsed_title: str = "") -> Table:
    """The first column is text, the others are numbers; a title may end with a unit in brackets."""
    titles = [title.removesuffix(")").partition(" (") for title in rows[0]]
    columns = tuple(Column(title, unit, numeric=index > 0) for index, (title, _, unit) in enumerate(titles))
    return Table(columns, tuple(tuple(map(Cell, row.values())) for row in rows), note, collapsed_title=collapsed_title)


def _pictures(arrays: Arrays, classes: Sequence[str]) -> list[Block]:
    pictured = classes[:MAX_PICTURED_CLASSES]
    cut = f" Shown: the first {len(pictured)} of {len(classes)} classes." if len(pictured) < len(classes) else ""
    in_shown = arrays.samples_labels < len(pictured)
    gallery = {"samples_images": arrays.samples_images[in_shown], "samples_labels": arrays.samples_labels[in_shown]}
    samples = images_.sample_strips(gallery, pictured)
    titles_left = len(samples) > 1
    caption = f"Random training images, {'one row' if titles_left else 'one'} per class. "
    means = tuple(
        Tile(image, classes[label], alt=f"the mean of {classes[label]}")
        for image, label in zip(arrays.means_images, arrays.means_labels.tolist(), strict=True)
        if label < len(pictured)
    )
    return [
        Gallery("samples", "Samples", samples, caption + cut, titles_left=titles_left),
        Gallery(
            "means",
            "Mean images",
            (Strip("", means),),
            "Mean of all training images of each class: sharp where they agree, grey where they differ." + cut,
        ),
    ]


def _numbers(arrays: Arrays, classes: Sequence[str], facts: Facts) -> list[Block]:
    balance = classes_.balance_numbers(
        {part: part_facts.per_class for part, part_facts in facts.parts.items()}, classes
    )
    longest = max(map(len, classes_.class_names(classes)))
    bars = Panel("", partial(classes_.draw_balance, numbers=balance), height=3.2, bottom=0.3 + 0.085 * longest)
    levels = levels_.level_numbers(arrays.levels)
    lines = Panel("", partial(levels_.draw_levels, numbers=levels), height=3.2)
    rows = words.classes_rows(facts)
    return [
        Chart("balance", "Class balance", (bars,), classes_.balance_caption(balance)),
        _table(rows, collapsed_title=f"All {len(rows)} classes" if len(rows) >= MANY_CLASSES else ""),
        Chart("levels", "Pixel values", (lines,), levels_.levels_caption(levels)),
    ]


def _duplicates(arrays: Arrays, classes: Sequence[str], facts: Facts) -> list[Block]:
    blocks: list[Block] = [_table(words.duplicates_rows(facts), words.DUPLICATES_NOTE)]
    pairs = arrays.pairs.take(arrays.pictured)
    differ = pairs.labels_differ
    parts = list(facts.parts)
    rows = words.between_parts_first(facts)
    groups = [("pairs-two-labels", "Pairs with different labels", rows, differ)]
    for row in rows:
        here = ~differ & (pairs.part == [parts.index(part) for part in row.parts]).all(axis=1)
        groups.append(("-".join(["pairs", *row.parts]), f"Pairs {words.between(*row.parts)}", [row], here))
    for name, title, of_rows, mask in groups:
        places = np.flatnonzero(mask).tolist()
        if places:
            tiles = tuple(_pair(arrays.pictured_images[place], pairs, place, classes, parts) for place in places)
            caption = words.pairs_caption(of_rows, len(tiles), two_labels=name == "pairs-two-labels")
            blocks.append(Gallery(name, title, (Strip("", tiles),), caption))
    return blocks


def _pair(images: np.ndarray, pairs: Pairs, place: int, classes: Sequence[str], parts: Sequence[str]) -> Tile:
    """Both images next to each other."""
    picture = images_.mosaic([Tile(image) for image in images], gap=max(1, images.shape[2] // 14))
    names = [classes[label] for label in pairs.label[place]]
    sources = [
        f"{parts[part]} {index} ({name})"
        for part, index, name in zip(pairs.part[place], pairs.index[place], names, strict=True)
    ]
    return Tile(
        picture.transpose(2, 0, 1),
        " | ".join(dict.fromkeys(names)),
        "same pixels" if pairs.kind[place] == 0 else "",
        alt=" and ".join(sources),
    )


def _all_pairs(facts: Facts, arrays: Arrays) -> str:
    parts, classes = list(facts.parts), facts.classes
    file = StringIO()
    table = csv.writer(file, lineterminator="\n")
    table.writerow(["kind", "part", "index", "class", "other_part", "other_index", "other_class", "distance"])
    pairs = arrays.pairs
    columns = (each.tolist() for each in (pairs.kind, pairs.part, pairs.index, pairs.label, pairs.distance))
    for kind, part, index, label, distance in zip(*columns, strict=True):
        sides = [value for side in (0, 1) for value in (parts[part[side]], index[side], classes[label[side]])]
        table.writerow([("same pixels", "same picture")[kind], *sides, f"{distance:.3f}"])
    return file.getvalue()

"""The page of a data set: data-sheet.html, with data-sheet.json and duplicates.csv beside it."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from convoy.files import write_bytes, write_json
from convoy.reporting import data_sheet_words as words
from convoy.reporting import figures_classes as classes_
from convoy.reporting import figures_images as images_
from convoy.reporting import figures_levels as levels_
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
    clean,
)
from convoy.reporting.tables import facts_table

MANY_CLASSES = 25  # from here on the table of the classes is folded
PICTURED_CLASSES = 100
Facts = Mapping[str, Any]  # as convoy.data.sheet makes them
Arrays = Mapping[str, np.ndarray]


def write_data_sheet(facts: Facts, arrays: Arrays, made: Facts, folder: Path) -> Path:
    """data-sheet.html, data-sheet.md, data-sheet.json, duplicates.csv and figures/; the path of the page."""
    write_json(folder / "data-sheet.json", {**facts, "made": dict(made)})
    write_bytes(folder / "duplicates.csv", _all_pairs(facts, arrays).encode())
    return render.write(data_sheet_page(facts, arrays, made), folder, "data-sheet")


def data_sheet_page(facts: Facts, arrays: Arrays, made: Facts) -> Page:
    classes = [clean(name) for name in facts["classes"]]
    made_of = [
        (title, str(made[key])) for key, title in (("convoy", "Convoy"), ("date", "Date"), ("command", "Command"))
    ]
    return Page(
        kicker="Data sheet · every image is read, the test images too; nothing is trained",
        title=clean(facts["name"]),
        sentence=words.sentence(facts),
        caveats=tuple(words.caveats(facts)),
        tables=(_table(words.parts_rows(facts), words.PARTS_NOTE),),
        sections=(
            Section("Images", tuple(_pictures(arrays, classes))),
            Section("Classes and levels", tuple(_numbers(arrays, classes, facts))),
            Section("Duplicates", tuple(_duplicates(arrays, classes, facts))),
            Section("What it is", (facts_table("", [*words.about(facts), *made_of]),)),
        ),
        labels=(),
    )


def _table(rows: Sequence[Mapping[str, str]], note: str = "", folded: str = "") -> Table:
    """The first column is of words, the others of numbers; a unit stands in brackets behind its title."""
    titles = [title.removesuffix(")").partition(" (") for title in rows[0]]
    columns = tuple(Column(title, unit, numeric=place > 0) for place, (title, _, unit) in enumerate(titles))
    return Table(columns, tuple(tuple(map(Cell, row.values())) for row in rows), note, folded=folded)


def _pictures(arrays: Arrays, classes: Sequence[str]) -> list[Block]:
    shown = classes[:PICTURED_CLASSES]
    cut = f" The first {len(shown)} of {len(classes)} classes." if len(shown) < len(classes) else ""
    samples = images_.sample_strips(arrays, shown)
    beside = len(samples) > 1
    told = f"Training images, drawn at random, {'a row a class' if beside else 'one a class'}. "
    in_shown = arrays["samples_labels"] < len(shown)
    told += images_.brightness({key: arrays[key][in_shown] for key in ("samples_images", "samples_labels")}, shown)
    means = tuple(
        Tile(image, classes[label], about=f"the mean of {classes[label]}")
        for image, label in zip(arrays["means_images"], arrays["means_labels"].tolist(), strict=True)
        if label < len(shown)
    )
    return [
        Gallery("samples", "Samples", samples, told + cut, beside=beside),
        Gallery(
            "means",
            "Mean images",
            (Strip("", means),),
            "The mean of all training images of a class: sharp where they agree, a grey cloud where they do not." + cut,
        ),
    ]


def _numbers(arrays: Arrays, classes: Sequence[str], facts: Facts) -> list[Block]:
    balance = classes_.balance_numbers(
        {"per_class": {part: found["per_class"] for part, found in facts["parts"].items()}}, classes
    )
    longest = max(map(len, classes_.class_names(classes)))
    bars = Panel("", partial(classes_.draw_balance, numbers=balance), height=3.2, bottom=0.3 + 0.085 * longest)
    levels = levels_.level_numbers({part: arrays[f"levels_{part}"] for part in facts["parts"]})
    lines = Panel("", partial(levels_.draw_levels, numbers=levels), height=3.2)
    rows = words.classes_rows(facts)
    return [
        Chart("balance", "Class balance", (bars,), classes_.balance_caption(balance)),
        _table(rows, folded=f"All {len(rows)} classes" if len(rows) >= MANY_CLASSES else ""),
        Chart("levels", "Levels of the pixels", (lines,), levels_.levels_caption(levels)),
    ]


def _duplicates(arrays: Arrays, classes: Sequence[str], facts: Facts) -> list[Block]:
    blocks: list[Block] = [_table(words.duplicates_rows(facts), words.DUPLICATES_NOTE)]
    pairs = {key: arrays[f"pairs_{key}"][arrays["pictured"]] for key in ("kind", "part", "index", "label")}
    differ = pairs["label"][:, 0] != pairs["label"][:, 1]
    parts = list(facts["parts"])
    rows = words.most_telling_first(facts)
    groups = [("pairs-two-labels", "Pairs with two labels", rows, differ)]
    for row in rows:
        here = ~differ & (pairs["part"] == [parts.index(part) for part in row["parts"]]).all(axis=1)
        groups.append(("-".join(["pairs", *row["parts"]]), f"Pairs {words.between(*row['parts'])}", [row], here))
    for name, title, of_rows, chosen in groups:
        places = np.flatnonzero(chosen).tolist()
        if places:
            tiles = tuple(_pair(arrays["pictured_images"][place], pairs, place, classes, parts) for place in places)
            caption = words.pairs_caption(of_rows, len(tiles), two_labels=name == "pairs-two-labels")
            blocks.append(Gallery(name, title, (Strip("", tiles),), caption))
    return blocks


def _pair(
    images: np.ndarray, pairs: Mapping[str, np.ndarray], place: int, classes: Sequence[str], parts: Sequence[str]
) -> Tile:
    """Both images beside each other, nothing between them."""
    picture = images_.mosaic([Tile(image) for image in images], gap=max(1, images.shape[2] // 14))
    names = [classes[label] for label in pairs["label"][place]]
    told = [
        f"{parts[part]} {index} ({name})"
        for part, index, name in zip(pairs["part"][place], pairs["index"][place], names, strict=True)
    ]
    return Tile(
        picture.transpose(2, 0, 1),
        " | ".join(dict.fromkeys(names)),
        "same pixels" if pairs["kind"][place] == 0 else "",
        about=" and ".join(told),
    )


def _all_pairs(facts: Facts, arrays: Arrays) -> str:
    parts, classes = list(facts["parts"]), facts["classes"]
    file = StringIO()
    table = csv.writer(file, lineterminator="\n")
    table.writerow(["kind", "part", "index", "class", "other_part", "other_index", "other_class", "distance"])
    columns = (arrays[f"pairs_{key}"].tolist() for key in ("kind", "part", "index", "label", "distance"))
    for kind, part, index, label, distance in zip(*columns, strict=True):
        sides = [value for side in (0, 1) for value in (parts[part[side]], index[side], classes[label[side]])]
        table.writerow([("same pixels", "same picture")[kind], *sides, f"{distance:.3f}"])
    return file.getvalue()

"""The page of a data set: data-sheet.html, with data-sheet.json and duplicates.csv next to it."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from io import StringIO
from pathlib import Path

import numpy as np

from convoy.datasheet import figures as levels_
from convoy.datasheet import words
from convoy.datasheet.summary import Arrays, DataSummary, Pairs, Provenance
from convoy.files import write_bytes, write_json
from convoy.reporting import figures_classes as classes_
from convoy.reporting import figures_images as images_
from convoy.reporting import render
from convoy.reporting.content import Block, Chart, Gallery, Page, Panel, Section, Strip, Tile
from convoy.reporting.tables import properties_table
from convoy.text import gettext as _

MAX_PICTURED_CLASSES = 100


def write_data_sheet(summary: DataSummary, arrays: Arrays, provenance: Provenance, folder: Path) -> Path:
    """Writes data-sheet.html, .md and .json, duplicates.csv and figures/; returns the path of data-sheet.html."""
    write_json(folder / "data-sheet.json", {**asdict(summary), "made": asdict(provenance)})
    write_bytes(folder / "duplicates.csv", _all_pairs(summary, arrays).encode())
    return render.write(data_sheet_page(summary, arrays, provenance), folder, "data-sheet")


def overview(summary: DataSummary) -> Page:
    """Returns the page without the sections that need images."""
    return Page(
        kicker=_("Data sheet · all images, including test images; no training"),
        title=summary.name,
        sentence=words.sentence(summary),
        caveats=tuple(words.caveats(summary)),
        tables=(words.parts_table(summary),),
        sections=(Section(_("Classes and pixel values"), (_balance(summary), words.classes_table(summary))),),
        labels=(),
    )


def data_sheet_page(summary: DataSummary, arrays: Arrays, provenance: Provenance) -> Page:
    page = overview(summary)
    lines = Panel("", partial(levels_.draw_levels, numbers=levels_.level_numbers(arrays.levels)), height=3.2)
    levels = Chart("levels", _("Pixel values"), (lines,), levels_.levels_caption())
    (classes,) = page.sections
    origin = [("Convoy", provenance.convoy), (_("Date"), provenance.date), (_("Command"), provenance.command)]
    return replace(
        page,
        sections=(
            Section(_("Images"), _pictures(arrays, summary.classes)),
            replace(classes, blocks=(*classes.blocks, levels)),
            Section(_("Duplicates"), (words.duplicates_table(summary), *_pairs(arrays, summary))),
            Section(_("About"), (properties_table("", [*words.about(summary), *origin]),)),
        ),
    )


def _pictures(arrays: Arrays, classes: Sequence[str]) -> tuple[Block, ...]:
    shown, n = min(len(classes), MAX_PICTURED_CLASSES), len(classes)
    is_shown = arrays.samples_labels < shown
    gallery = {"samples_images": arrays.samples_images[is_shown], "samples_labels": arrays.samples_labels[is_shown]}
    samples = images_.sample_strips(gallery, classes[:shown])
    means = tuple(
        Tile(image, classes[label], alt=_("the mean of {name}", name=classes[label]))
        for image, label in zip(arrays.means_images, arrays.means_labels.tolist(), strict=True)
        if label < shown
    )
    limit = [_("Shown: the first {shown} of {n} classes.", shown=shown, n=n)] if shown < n else []
    samples_caption = _("Random training images of each class.")
    means_caption = _("Mean of all training images of each class: sharp where they agree, grey where they differ.")
    return (
        Gallery("samples", _("Samples"), samples, " ".join([samples_caption, *limit]), titles_left=len(samples) > 1),
        Gallery("means", _("Mean images"), (Strip("", means),), " ".join([means_caption, *limit])),
    )


def _balance(summary: DataSummary) -> Chart:
    balance = classes_.balance_numbers({name: part.per_class for name, part in summary.parts.items()}, summary.classes)
    longest = max(map(len, classes_.class_names(summary.classes)))
    bars = Panel("", partial(classes_.draw_balance, numbers=balance), height=3.2, bottom=0.3 + 0.085 * longest)
    return Chart("balance", _("Class balance"), (bars,), classes_.balance_caption(balance))


def _pairs(arrays: Arrays, summary: DataSummary) -> Iterator[Block]:
    """Yields galleries of the pairs with different labels, then of the pairs between any two parts."""
    pairs, parts = arrays.pairs, list(summary.parts)
    groups = [("pairs-two-labels", _("Pairs with different labels"), pairs.labels_differ)]
    for row in words.between_parts_first(summary):
        between = ~pairs.labels_differ & (pairs.part == [parts.index(part) for part in row.parts]).all(axis=1)
        title = _("Pairs: {where}", where=words.between(*row.parts))
        groups.append(("-".join(["pairs", *row.parts]), title, between))
    pictured = pairs.take(arrays.pictured)
    for name, title, mask in groups:
        tiles = tuple(
            _pair(arrays.pictured_images[index], pictured, index, summary.classes, parts)
            for index in np.flatnonzero(mask[arrays.pictured]).tolist()
        )
        if tiles:
            yield Gallery(name, title, (Strip("", tiles),), words.pairs_caption(len(tiles), int(mask.sum())))


def _pair(images: np.ndarray, pairs: Pairs, pair: int, classes: Sequence[str], parts: Sequence[str]) -> Tile:
    """Returns both images of a pair next to each other."""
    picture = images_.mosaic([Tile(image) for image in images], gap=max(1, images.shape[2] // 14))
    names = [classes[label] for label in pairs.label[pair]]
    rows = zip(pairs.part[pair], pairs.index[pair], names, strict=True)
    sources = [f"{words.part_name(parts[part])} {index} ({name})" for part, index, name in rows]
    return Tile(
        picture.transpose(2, 0, 1),
        " | ".join(dict.fromkeys(names)),
        _("exact duplicates") if pairs.kind[pair] == 0 else "",
        alt=" | ".join(sources),
    )


def _all_pairs(summary: DataSummary, arrays: Arrays) -> str:
    """Returns the content of duplicates.csv."""
    parts, classes = list(summary.parts), summary.classes
    file = StringIO()
    table = csv.writer(file, lineterminator="\n")
    table.writerow(["kind", "part", "index", "class", "other_part", "other_index", "other_class", "distance"])
    pairs = arrays.pairs
    columns = (values.tolist() for values in (pairs.kind, pairs.part, pairs.index, pairs.label, pairs.distance))
    for kind, part, index, label, distance in zip(*columns, strict=True):
        images = [value for image in (0, 1) for value in (parts[part[image]], index[image], classes[label[image]])]
        table.writerow([("same pixels", "same picture")[kind], *images, f"{distance:.3f}"])
    return file.getvalue()

"""Sentences and tables of a data sheet, for the page and the console."""

from __future__ import annotations

from convoy.datasheet.summary import About, DataSummary, DuplicateCounts, Part
from convoy.reporting.content import Field, Table, TextField, table_of
from convoy.reporting.tables import images_unit
from convoy.text import gettext as _
from convoy.text import translated
from convoy.text.lists import listed

UNBALANCED = 1.5  # largest class / smallest class
MIN_CLASS_IMAGES = 5  # training images of a class
MANY_CLASSES = 25  # from this number on, the table of classes is collapsed
MAX_NAMES = 8  # listed in a sentence


def part_name(part: str) -> str:
    return {"train": _("training"), "validation": _("validation"), "test": _("test")}[part]


def sentence(summary: DataSummary) -> str:
    """States the size of the data set and the number of test images that are also training images."""
    contents = _(
        "{images:,} images of {classes:,} classes, {size} × {size} pixels, {colours}",
        images=sum(part.images for part in summary.parts.values()),
        classes=len(summary.classes),
        size=summary.size,
        colours=_("grey") if summary.channels == 1 else _("colour"),
    )
    part = "test" if "test" in summary.parts else "train"
    n, total = summary.duplicates.of("train", part).images, summary.parts[part].images
    if part == "test":
        duplicates = _(
            "Test images with an exact or near duplicate among the training images: {n:,} of {total:,} ({percent} %)",
            n=n,
            total=total,
            percent=_percent(n, total),
        )
    else:
        duplicates = _(
            "Training images with an exact or near duplicate: {n:,} of {total:,} ({percent} %)",
            n=n,
            total=total,
            percent=_percent(n, total),
        )
    return f"{contents}. {duplicates}"


def caveats(summary: DataSummary) -> list[str]:
    texts = []
    pixels = sum(row.same_pixels.labels_differ for row in summary.duplicates.between)
    picture = sum(row.same_picture.labels_differ for row in summary.duplicates.between)
    if pixels or picture:
        texts.append(
            _(
                "Pairs with different labels: exact duplicates {pixels:,}, near duplicates {picture:,}. "
                "One label is wrong, or the image shows both classes",
                pixels=pixels,
                picture=picture,
            )
        )
    if "test" not in summary.parts:
        texts.append(
            _(
                "The data set has no test set: a recipe splits one from the training images, and duplicates can end up "
                "on both sides"
            )
        )
    if not summary.duplicates.same_picture_searched:
        texts.append(_("Too few images to search for near duplicates: only exact duplicates were searched"))
    return texts + _caveats_of_classes(summary) + [note[:1].upper() + note[1:] for note in summary.notes]


def _caveats_of_classes(summary: DataSummary) -> list[str]:
    texts = []
    for part, part_summary in summary.parts.items():
        missing = [name for name, count in zip(summary.classes, part_summary.per_class, strict=True) if not count]
        if missing:
            texts.append(
                _(
                    "The {part} set has no image of {names}",
                    part=part_name(part),
                    names=listed(missing, max_items=MAX_NAMES),
                )
            )
    counts = summary.parts["train"].per_class
    few = [
        f"{name} ({count:,})"
        for name, count in zip(summary.classes, counts, strict=True)
        if 0 < count < MIN_CLASS_IMAGES
    ]
    if few:
        texts.append(
            _("Fewer than {n} training images: {names}", n=MIN_CLASS_IMAGES, names=listed(few, max_items=MAX_NAMES))
        )
    largest, smallest = max(counts), min(count for count in counts if count)
    if largest >= UNBALANCED * smallest:
        texts.append(
            _(
                "The classes are unbalanced: from {smallest:,} to {largest:,} training images. Always predicting the "
                "largest class is correct for {percent} % of them",
                smallest=smallest,
                largest=largest,
                percent=_percent(largest, sum(counts)),
            )
        )
    return texts


def parts_table(summary: DataSummary) -> Table:
    fields: list[Field[tuple[str, Part]]] = [
        TextField(_("Part"), lambda row: part_name(row[0])),
        Field(_("Images"), lambda row: f"{row[1].images:,}"),
        Field(_("Fewest"), lambda row: f"{min(row[1].per_class):,}", _("per class")),
        Field(_("Most"), lambda row: f"{max(row[1].per_class):,}", _("per class")),
        Field(_("Evenness"), lambda row: f"{row[1].evenness:.4f}", _("at most 1")),
        Field(_("Mean"), lambda row: "  ".join(f"{value:.4f}" for value in row[1].mean), _("0 to 1")),
        Field(_("Std"), lambda row: "  ".join(f"{value:.4f}" for value in row[1].std), _("0 to 1")),
    ]
    note = _(
        "Fewest, most: images per class. Evenness: entropy of the class shares divided by its maximum; 1 for classes "
        "of equal size. Mean and standard deviation of the pixels (0 to 1) per channel."
    )
    return table_of(fields, summary.parts.items(), note)


def classes_table(summary: DataSummary) -> Table:
    def columns(name: str, part: Part) -> tuple[Field[int], Field[int]]:
        return (
            Field(part_name(name), lambda label: f"{part.per_class[label]:,}", images_unit()),
            Field(
                _("Share of {part}", part=part_name(name)),
                lambda label: _percent(part.per_class[label], part.images),
                "%",
            ),
        )

    fields: list[Field[int]] = [TextField(_("Class"), lambda label: summary.classes[label])]
    for name, part in summary.parts.items():
        fields += columns(name, part)
    n = len(summary.classes)
    return table_of(fields, range(n), collapsed_title=_("All {n} classes", n=n) if n >= MANY_CLASSES else "")


def duplicates_table(summary: DataSummary) -> Table:
    """Returns a row for each pair of parts and for each part."""
    fields: list[Field[DuplicateCounts]] = [
        TextField(_("Where"), lambda row: between(*row.parts)),
        Field(_("Exact duplicates"), lambda row: f"{row.same_pixels.pairs:,}", _("pairs")),
        Field(_("Exact duplicates, different labels"), lambda row: f"{row.same_pixels.labels_differ:,}", _("pairs")),
        Field(_("Near duplicates"), lambda row: f"{row.same_picture.pairs:,}", _("pairs")),
        Field(_("Near duplicates, different labels"), lambda row: f"{row.same_picture.labels_differ:,}", _("pairs")),
        Field(_("Images"), lambda row: f"{row.images:,}"),
        Field(_("Share"), lambda row: _percent(row.images, summary.parts[row.parts[1]].images), "%"),
    ]
    note = _(
        "Exact duplicates: the first image of a set, and each copy of it in this or a later set. Near duplicates: two "
        "images that are more similar than expected by chance in this data set, for example because one was saved "
        "again, resized, brightened or cropped. Some pairs may only be very similar; mirrored or shifted copies are "
        "not found. Images: number of images in pairs, from the set named last. All pairs are in "
        "duplicates.csv; indices start at 0."
    )
    return table_of(fields, between_parts_first(summary), note)


def between_parts_first(summary: DataSummary) -> list[DuplicateCounts]:
    """Returns duplicates between parts, then within a part."""
    return sorted(summary.duplicates.between, key=lambda row: row.parts[0] == row.parts[1])


def between(first: str, second: str) -> str:
    if first == second:
        return _("within {part}", part=part_name(first))
    return _("between {first} and {second}", first=part_name(first), second=part_name(second))


def pairs_caption(shown: int, pairs: int) -> str:
    return _(
        "Shown: {shown:,} of {n:,} pairs, exact duplicates first, then the most similar. The image of the "
        "set named first is on the left.",
        shown=shown,
        n=pairs,
    )


def about(summary: DataSummary) -> list[tuple[str, str]]:
    description = summary.about or About("", "", "", "")
    test_set = _("read for this data sheet; nothing is trained or selected, so this does not count as an opening")
    return [
        (_("Content"), translated(description.summary)),
        (_("Licence"), description.licence),
        (_("Source"), description.citation),
        (_("Home page"), description.homepage),
        (_("SHA-256 of the data"), summary.content_hash),
        (_("Test set"), test_set if "test" in summary.parts else ""),
    ]


def _percent(count: int, total: int) -> str:
    return f"{100 * count / total:.2f}"

"""Sentences and rows of a data sheet, shared by the page and the console."""

from __future__ import annotations

from collections.abc import Sequence

from convoy.datasheet.facts import Between, Facts
from convoy.reporting.quantities import listed

UNBALANCED = 1.5  # the largest class over the smallest
TOO_FEW = 5  # training images of a class
PARTS_NOTE = (
    "Fewest, most: images per class. Evenness: entropy of the class shares divided by its maximum; 1 for classes of "
    "equal size. Mean and standard deviation of the pixels (0 to 1) per channel."
)
DUPLICATES_NOTE = (
    "Same pixels: an image and each later copy of it. Same picture: two images more similar than chance explains in "
    "this data set, for example saved, resized, lit or cropped differently. Some may only be very similar; mirrored or "
    "shifted pictures are not found. Images: of the part named last, each counted once. All pairs are in "
    "duplicates.csv; indices begin at 0."
)
READ = "read for this sheet; it does not train or select anything, so it does not count as an opening"
_PARTS = {"train": "training", "validation": "validation", "test": "test"}


def sentence(facts: Facts) -> str:
    """Size of the data set, and how many test images are also among the training images."""
    counts = {part: part_facts.images for part, part_facts in facts.parts.items()}
    depth = {1: "grey", 3: "colour"}[facts.channels]
    summary = f"{sum(counts.values()):,} images of {len(facts.classes):,} classes, {_pixels(facts)}, {depth}"
    if "test" not in counts:
        twins = facts.duplicates.of("train", "train").images
        if not twins:
            return f"{summary}; no exact or near duplicates"
        share = f"{twins:,} of the {counts['train']:,} training images ({_percent(twins, counts['train'])} %)"
        return f"{summary}; {share} have an exact or near duplicate"
    shared = facts.duplicates.of("train", "test").images
    if not shared:
        return f"{summary}; no test image has an exact or near duplicate among the training images"
    share = f"{shared:,} of the {counts['test']:,} test images ({_percent(shared, counts['test'])} %)"
    return f"{summary}; {share} have an exact or near duplicate among the training images"


def caveats(facts: Facts) -> list[str]:
    sentences = []
    rows = facts.duplicates.between
    differ = {kind: sum(getattr(row, kind).labels_differ for row in rows) for kind in ("same_pixels", "same_picture")}
    kinds = [f"{count:,} with the {kind.replace('_', ' ')}" for kind, count in differ.items() if count]
    if kinds:
        sentences.append(f"Pairs with different labels: {listed(kinds)}; one label is wrong, or the picture shows both")
    if "test" not in facts.parts:
        sentences.append(
            "The data set has no test set: a recipe splits one from the training images, and duplicates can end up on "
            "both sides"
        )
    if not facts.duplicates.same_picture_searched:
        sentences.append("Too few images to search for the same picture: only identical pixels were searched")
    return sentences + _caveats_of_classes(facts) + [note[:1].upper() + note[1:] for note in facts.notes]


def _caveats_of_classes(facts: Facts) -> list[str]:
    sentences = []
    classes = facts.classes
    for part, part_facts in facts.parts.items():
        missing = [name for name, count in zip(classes, part_facts.per_class, strict=True) if not count]
        if missing:
            sentences.append(f"The {_PARTS[part]} set has no image of {_some(missing)}")
    counts = facts.parts["train"].per_class
    few = [f"{name} ({count:,})" for name, count in zip(classes, counts, strict=True) if 0 < count < TOO_FEW]
    if few:
        sentences.append(
            f"Fewer than {TOO_FEW} training images: {_some(few) if len(few) < len(classes) else 'every class'}"
        )
    largest, smallest = max(counts), min(count for count in counts if count)
    if largest >= UNBALANCED * smallest:
        sentences.append(
            f"The classes are unbalanced: from {smallest:,} to {largest:,} training images; always predicting the "
            f"largest class is correct for {_percent(largest, sum(counts))} % of them"
        )
    return sentences


def parts_rows(facts: Facts) -> list[dict[str, str]]:
    return [
        {
            "Part": _PARTS[part],
            "Images": f"{part_facts.images:,}",
            "Fewest (per class)": f"{min(part_facts.per_class):,}",
            "Most (per class)": f"{max(part_facts.per_class):,}",
            "Evenness (at most 1)": f"{part_facts.evenness:.4f}",
            "Mean (0 to 1)": "  ".join(f"{value:.4f}" for value in part_facts.mean),
            "Std (0 to 1)": "  ".join(f"{value:.4f}" for value in part_facts.std),
        }
        for part, part_facts in facts.parts.items()
    ]


def classes_rows(facts: Facts) -> list[dict[str, str]]:
    rows = []
    for place, name in enumerate(facts.classes):
        row = {"Class": name}
        for part, part_facts in facts.parts.items():
            count = part_facts.per_class[place]
            row[_PARTS[part].capitalize()] = f"{count:,}"
            row[f"of {_PARTS[part]} (%)"] = _percent(count, part_facts.images)
        rows.append(row)
    return rows


def duplicates_rows(facts: Facts) -> list[dict[str, str]]:
    """One row per pair of parts and per part."""
    return [
        {
            "Where": between(*row.parts),
            "Same pixels (pairs)": f"{row.same_pixels.pairs:,}",
            "Different labels (of them)": f"{row.same_pixels.labels_differ:,}",
            "Same picture (pairs)": f"{row.same_picture.pairs:,}",
            "Different labels (of these)": f"{row.same_picture.labels_differ:,}",
            "Images": f"{row.images:,}",
            "Share (%)": _percent(row.images, facts.parts[row.parts[1]].images),
        }
        for row in between_parts_first(facts)
    ]


def between_parts_first(facts: Facts) -> list[Between]:
    """Duplicates between parts, then within a part."""
    return sorted(facts.duplicates.between, key=lambda row: row.parts[0] == row.parts[1])


def between(first: str, second: str) -> str:
    return f"within {_PARTS[first]}" if first == second else f"between {_PARTS[first]} and {_PARTS[second]}"


def pairs_caption(rows: Sequence[Between], count: int, *, two_labels: bool) -> str:
    """`rows`: those of Duplicates.between whose pairs are shown, with different labels or with the same."""
    same, similar = (
        sum(each.labels_differ if two_labels else each.pairs - each.labels_differ for each in counts)
        for counts in ([row.same_pixels for row in rows], [row.same_picture for row in rows])
    )
    number = f"{count} of {same + similar:,}" if count < same + similar else f"{count}"
    order = "same pixels first, then the most similar" if same and similar else "same pixels"
    parts = rows[0].parts
    left = "" if two_labels or parts[0] == parts[1] else f"; left: the {_PARTS[parts[0]]} image"
    return f"{number} {'pair' if number == '1' else 'pairs'}, {order if same else 'most similar first'}{left}."


def about(facts: Facts) -> list[tuple[str, str]]:
    named = facts.about
    description = (named.summary, named.licence, named.citation, named.homepage) if named else ("",) * 4
    return [
        *zip(("Content", "Licence", "Source", "Home page"), description, strict=True),
        ("SHA-256 of the data", facts.content_hash),
        ("Test set", READ if "test" in facts.parts else ""),
    ]


def _pixels(facts: Facts) -> str:
    return f"{facts.size} × {facts.size} pixels"


def _percent(count: int, total: int) -> str:
    return f"{100 * count / total:.2f}"


def _some(names: Sequence[str], most: int = 8) -> str:
    return listed(names) if len(names) <= most else f"{', '.join(names[:most])} and {len(names) - most:,} more"

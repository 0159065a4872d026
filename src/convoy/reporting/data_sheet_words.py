"""What a data sheet says in words and in rows; the page and the console show the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from convoy.reporting.content import clean
from convoy.reporting.quantities import listed

UNBALANCED = 1.5  # the largest class over the smallest
TOO_FEW = 5  # training images of a class
PARTS_NOTE = (
    "Fewest, most: images of a class. Evenness: the entropy of the classes' shares over its largest value, 1 where all "
    "classes have as many images. Mean and standard deviation: of the pixels, from 0 to 1, a channel each."
)
DUPLICATES_NOTE = (
    "The same pixels: an image and each later copy of it. The same picture: two images so alike that chance does not "
    "explain it among the images of this set, as when one was saved, sized, lit or a little cut in another way; some "
    "may be no more than very much alike, and pictures that were mirrored or moved are not found. Images: of the part "
    "named last, each once. All pairs stand in duplicates.csv, images counted from 0."
)
READ = "read for this sheet; nothing is trained or chosen by it, and no opening is counted"
_PARTS = {"train": "training", "validation": "validation", "test": "test"}
Facts = Mapping[str, Any]


def sentence(facts: Facts) -> str:
    """What it is, and whether its test images are new to a network that learned from its training images."""
    counts = {part: found["images"] for part, found in facts["parts"].items()}
    depth = {1: "grey", 3: "colour"}[facts["channels"]]
    told = f"{sum(counts.values()):,} images of {len(facts['classes']):,} classes, {_pixels(facts)}, {depth}"
    if "test" not in counts:
        twice = _row(facts, "train", "train")["images"]
        if not twice:
            return f"{told}; none shows the picture of another one"
        of = f"{twice:,} of the {counts['train']:,} training images ({_percent(twice, counts['train'])} %)"
        return f"{told}; {of} show a picture that another one shows too"
    shared = _row(facts, "train", "test")["images"]
    if not shared:
        return f"{told}; no test image shows a picture that stands among the training images"
    of = f"{shared:,} of the {counts['test']:,} test images ({_percent(shared, counts['test'])} %)"
    return f"{told}; {of} show a picture that stands among the training images"


def caveats(facts: Facts) -> list[str]:
    told = []
    rows = facts["duplicates"]["between"]
    differ = {kind: sum(row[kind]["labels_differ"] for row in rows) for kind in ("same_pixels", "same_picture")}
    kinds = [f"{count:,} of the {kind.replace('_', ' ')}" for kind, count in differ.items() if count]
    if kinds:
        told.append(f"Pairs with two labels: {listed(kinds)}; one of them is wrong, or the picture shows both")
    if "test" not in facts["parts"]:
        told.append(
            "The data bring no test part: a recipe cuts one from the training images, where images that share a "
            "picture can fall on both sides"
        )
    if not facts["duplicates"]["same_picture_searched"]:
        told.append("So few images: those with the very same pixels were looked for, and not the same picture")
    return told + _caveats_of_classes(facts) + [clean(note)[:1].upper() + clean(note)[1:] for note in facts["notes"]]


def _caveats_of_classes(facts: Facts) -> list[str]:
    told = []
    classes = [clean(name) for name in facts["classes"]]
    for part, found in facts["parts"].items():
        missing = [name for name, count in zip(classes, found["per_class"], strict=True) if not count]
        if missing:
            told.append(f"The {_PARTS[part]} part has no image of {_some(missing)}")
    counts = facts["parts"]["train"]["per_class"]
    few = [f"{name} ({count:,})" for name, count in zip(classes, counts, strict=True) if 0 < count < TOO_FEW]
    if few:
        told.append(f"Fewer than {TOO_FEW} training images: {_some(few) if len(few) < len(classes) else 'every class'}")
    largest, smallest = max(counts), min(count for count in counts if count)
    if largest >= UNBALANCED * smallest:
        told.append(
            f"The classes are unbalanced: {largest:,} training images of one, {smallest:,} of another; who always "
            f"names the largest is right on {_percent(largest, sum(counts))} % of them"
        )
    return told


def parts_rows(facts: Facts) -> list[dict[str, str]]:
    return [
        {
            "Part": _PARTS[part],
            "Images": f"{found['images']:,}",
            "Fewest (a class)": f"{min(found['per_class']):,}",
            "Most (a class)": f"{max(found['per_class']):,}",
            "Evenness (at most 1)": f"{found['evenness']:.4f}",
            "Mean (0 to 1)": "  ".join(f"{value:.4f}" for value in found["mean"]),
            "Std (0 to 1)": "  ".join(f"{value:.4f}" for value in found["std"]),
        }
        for part, found in facts["parts"].items()
    ]


def classes_rows(facts: Facts) -> list[dict[str, str]]:
    rows = []
    for place, name in enumerate(facts["classes"]):
        row = {"Class": clean(name)}
        for part, found in facts["parts"].items():
            count = found["per_class"][place]
            row[_PARTS[part].capitalize()] = f"{count:,}"
            row[f"of {_PARTS[part]} (%)"] = _percent(count, found["images"])
        rows.append(row)
    return rows


def duplicates_rows(facts: Facts) -> list[dict[str, str]]:
    """A row between any two parts and within each."""
    return [
        {
            "Where": between(*row["parts"]),
            "Same pixels (pairs)": f"{row['same_pixels']['pairs']:,}",
            "Two labels (of them)": f"{row['same_pixels']['labels_differ']:,}",
            "Same picture (pairs)": f"{row['same_picture']['pairs']:,}",
            "Two labels (of these)": f"{row['same_picture']['labels_differ']:,}",
            "Images": f"{row['images']:,}",
            "Share (%)": _percent(row["images"], facts["parts"][row["parts"][1]]["images"]),
        }
        for row in most_telling_first(facts)
    ]


def most_telling_first(facts: Facts) -> list[Facts]:
    """What training and another part share, then what each part holds twice."""
    return sorted(facts["duplicates"]["between"], key=lambda row: row["parts"][0] == row["parts"][1])


def between(first: str, second: str) -> str:
    return f"within {_PARTS[first]}" if first == second else f"between {_PARTS[first]} and {_PARTS[second]}"


def pairs_caption(rows: Sequence[Facts], shown: int, *, two_labels: bool) -> str:
    """`rows` are those of facts["duplicates"]["between"] whose pairs, with two labels or with one, are shown."""
    same, alike = (
        sum(
            row[kind]["labels_differ"] if two_labels else row[kind]["pairs"] - row[kind]["labels_differ"]
            for row in rows
        )
        for kind in ("same_pixels", "same_picture")
    )
    number = f"{shown} of {same + alike:,}" if shown < same + alike else f"{shown}"
    order = "the same pixels first, then the closest" if same and alike else "of the same pixels"
    parts = rows[0]["parts"]
    left = "" if two_labels or parts[0] == parts[1] else f"; the {_PARTS[parts[0]]} image stands to the left"
    return f"{number} {'pair' if number == '1' else 'pairs'}, {order if same else 'the closest first'}{left}."


def about(facts: Facts) -> list[tuple[str, str]]:
    known = facts["about"] or {}
    return [
        ("Holds", known.get("summary", "")),
        ("Licence", known.get("licence", "")),
        ("Source", known.get("citation", "")),
        ("Home page", known.get("homepage", "")),
        ("SHA-256 of the data", facts["content_hash"]),
        ("Test part", READ if "test" in facts["parts"] else ""),
    ]


def _row(facts: Facts, first: str, second: str) -> Facts:
    return next(row for row in facts["duplicates"]["between"] if row["parts"] == [first, second])


def _pixels(facts: Facts) -> str:
    return f"{facts['size']} × {facts['size']} pixels"


def _percent(count: int, of: int) -> str:
    return f"{100 * count / of:.2f}"


def _some(names: Sequence[str], most: int = 8) -> str:
    return listed(names) if len(names) <= most else f"{', '.join(names[:most])} and {len(names) - most:,} more"

"""The page of a data sheet, from synthetic summary and images."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.reporting.parsed import Page

from convoy.datasheet import words
from convoy.datasheet.figures import level_numbers
from convoy.datasheet.page import data_sheet_page, write_data_sheet
from convoy.datasheet.summary import (
    About,
    Arrays,
    DataSummary,
    DuplicateCounts,
    Duplicates,
    PairCount,
    Pairs,
    Part,
    Provenance,
)
from convoy.reporting.content import Gallery, Strip, Tile
from convoy.reporting.figures_images import mosaic

MADE = Provenance("0.1.0", "2026-11-22 10:00:00", "convoy data show pets")
Pair = tuple[int, tuple[int, int], tuple[int, int], tuple[int, int]]  # kind, parts, indices, labels


def between(first: str, second: str, all_pairs: list[Pair], parts: list[str]) -> DuplicateCounts:
    pairs = [pair for pair in all_pairs if [parts[part] for part in pair[1]] == [first, second]]
    counts = []
    for kind in (0, 1):
        of_kind = [labels for pair_kind, _, _, labels in pairs if pair_kind == kind]
        counts.append(PairCount(len(of_kind), sum(a != b for a, b in of_kind)))
    images = {index for _, _, indices, _ in pairs for index in (indices if first == second else indices[1:])}
    return DuplicateCounts((first, second), *counts, len(images))


def make_sheet(
    pairs: list[Pair] | None = None,
    *,
    per_class: dict[str, list[int]] | None = None,
    classes: list[str] | None = None,
    channels: int = 1,
    **changed: Any,
) -> tuple[DataSummary, Arrays]:
    pairs = pairs or []
    per_class = per_class or {"train": [40, 40], "test": [10, 10]}
    parts = list(per_class)
    draw = np.random.default_rng(0)
    count = len(next(iter(per_class.values())))
    summary = DataSummary(
        name="pets",
        about=None,
        classes=tuple(classes or [f"class {label}" for label in range(count)]),
        channels=channels,
        size=8,
        content_hash="d1" * 32,
        notes=(),
        parts={
            part: Part(sum(counts), tuple(counts), 1.0, (0.25,) * channels, (0.5,) * channels)
            for part, counts in per_class.items()
        },
        duplicates=Duplicates(
            True, tuple(between(a, b, pairs, parts) for a, b in combinations_with_replacement(parts, 2))
        ),
    )
    summary = replace(summary, **changed)
    fields = list(zip(*pairs, strict=True)) if pairs else [[], [], [], []]
    part, index, label = (np.array(values, np.int64).reshape(-1, 2) for values in fields[1:])
    arrays = Arrays(
        samples_images=draw.integers(0, 256, (2 * count, channels, 8, 8), dtype=np.uint8),
        samples_labels=np.repeat(np.arange(count), 2),
        means_images=draw.integers(0, 256, (count, channels, 8, 8), dtype=np.uint8),
        means_labels=np.arange(count),
        levels={part: draw.integers(1, 99, (channels, 256)) for part in parts},
        pairs=Pairs(np.array(fields[0], np.int64), part, index, label, np.linspace(0, 0.5, len(pairs))),
        pictured=np.arange(len(pairs)),
        pictured_images=draw.integers(0, 256, (len(pairs), 2, channels, 8, 8), dtype=np.uint8),
    )
    return summary, arrays


def page_of(folder: Path, *args: Any, **kwargs: Any) -> Page:
    return Page(write_data_sheet(*make_sheet(*args, **kwargs), MADE, folder).read_text())


LEAK: list[Pair] = [(0, (0, 1), (3, 5), (0, 0)), (1, (0, 1), (8, 5), (1, 0)), (1, (0, 0), (1, 2), (1, 1))]


def test_first_sentence_has_the_number_of_test_images_among_the_training_images(tmp_path: Path) -> None:
    sentence = words.sentence(make_sheet()[0])
    assert re.findall(r"[\d.]*\d", sentence) == ["100", "2", "8", "8", "0", "20", "0.00"]
    assert "1 of 20 (5.00 %)" in page_of(tmp_path, LEAK).text


@pytest.mark.parametrize(
    ("pairs", "phrase"),
    [([], "0 of 80"), (LEAK[2:], "2 of 80 (2.50 %)")],
)
def test_without_a_test_set_duplicates_among_training_images_are_counted(
    tmp_path: Path, pairs: list[Pair], phrase: str
) -> None:
    page = page_of(tmp_path, pairs, per_class={"train": [40, 40]})
    assert phrase in page.text
    assert "no test set" in page.text


@pytest.mark.parametrize(
    ("changed", "part"),
    [
        ({"pairs": LEAK}, "near duplicates 1"),
        ({"per_class": {"train": [40, 40], "test": [20, 0]}}, "no image of class 1"),
        ({"per_class": {"train": [40, 4], "test": [5, 5]}}, "class 1 (4)"),
        ({"per_class": {"train": [60, 20], "test": [5, 5]}}, "75.00 %"),
        ({"notes": ["left out, not images: 2 .txt"]}, "Left out, not images: 2 .txt"),
    ],
    ids=["two labels", "class without images", "few images", "unbalanced", "notes"],
)
def test_problems_of_a_data_set_are_caveats(changed: dict[str, Any], part: str) -> None:
    assert words.caveats(make_sheet()[0]) == []
    assert any(part in caveat for caveat in words.caveats(make_sheet(**changed)[0]))


def test_a_search_without_similar_pictures_is_a_caveat(tmp_path: Path) -> None:
    summary, _ = make_sheet()
    summary = replace(summary, duplicates=replace(summary.duplicates, same_picture_searched=False))
    assert "only exact duplicates" in words.caveats(summary)[0]


def test_both_images_of_a_pair_are_shown(tmp_path: Path) -> None:
    page = page_of(tmp_path, LEAK, classes=["cat", "dog"])
    alt_texts = [attributes["alt"] for tag, attributes in page.tags if tag == "img"]

    pairs = [set(re.findall(r"(\d+) \((\w+)\)", text)) for text in alt_texts]
    assert {("3", "cat"), ("5", "cat")} in pairs
    assert {("8", "dog"), ("5", "cat")} in pairs
    assert "dog | cat" in page.text
    names = [path.stem for path in (tmp_path / "figures").glob("pairs*.png")]
    assert sorted(names) == ["pairs-train-test", "pairs-train-train", "pairs-two-labels"]


def test_duplicates_csv_contains_all_pairs(tmp_path: Path) -> None:
    page_of(tmp_path, LEAK, classes=["a,b", '"c"'])
    rows = list(csv.DictReader((tmp_path / "duplicates.csv").open()))
    assert [row["kind"] for row in rows] == ["same pixels", "same picture", "same picture"]
    assert rows[1] == {
        "kind": "same picture", "part": "train", "index": "8", "class": '"c"',
        "other_part": "test", "other_index": "5", "other_class": "a,b", "distance": "0.250",
    }  # fmt: skip


def test_captions_have_the_number_of_pairs_shown(tmp_path: Path) -> None:
    summary, arrays = make_sheet([*LEAK, (1, (0, 1), (2, 7), (1, 1))])
    page = data_sheet_page(summary, replace(arrays, pictured=arrays.pictured[:3]), MADE)
    captions = {block.name: block.caption for block in page.blocks if isinstance(block, Gallery)}
    assert captions["pairs-train-test"].startswith("Shown: 1 of 2")
    assert captions["pairs-two-labels"].startswith("Shown: 1 of 1")


def test_page_loads_no_external_resources(tmp_path: Path) -> None:
    about = About("pets", "CC0", "Doe 2020", "https://example.org/pets")
    page = page_of(tmp_path, LEAK, about=about)

    external = re.compile(r"https?:")
    assert not [attributes for _, attributes in page.tags if external.match(attributes.get("src", ""))]
    assert not [tag for tag, _ in page.tags if tag in ("script", "link")]
    assert about.licence in page.text
    assert about.homepage in page.text
    assert "nothing is trained" in page.text


def test_figures_and_markdown_are_next_to_the_page(tmp_path: Path) -> None:
    page_of(tmp_path, LEAK)
    markdown = (tmp_path / "data-sheet.md").read_text()
    links = re.findall(r"\]\((figures/[^)]+)\)", markdown)
    assert len(links) == 7
    assert all((tmp_path / path).is_file() for path in links)
    assert (tmp_path / "data-sheet.json").is_file()


@pytest.mark.usefixtures("page_alone")
def test_page_of_500_classes_is_limited(tmp_path: Path) -> None:
    page = page_of(tmp_path, per_class={"train": [4] * 500, "test": [1] * 500})
    assert len((tmp_path / "data-sheet.html").read_text()) < 1_000_000
    assert sum(tag == "img" for tag, _ in page.tags) == 200
    assert "100 of 500" in page.text
    assert "All 500 classes" in page.text


def test_page_shows_colour_and_a_validation_part(tmp_path: Path) -> None:
    counts = {"train": [40, 40], "validation": [5, 5], "test": [10, 10]}
    page = page_of(tmp_path, channels=3, per_class=counts)
    assert "colour" in page.text
    assert "and validation" in page.text


def test_names_are_escaped(tmp_path: Path) -> None:
    name = "<script>alert(1)</script>\u202e|`*"
    page = page_of(tmp_path, LEAK, classes=[name, "dog"], name=name)
    assert not [tag for tag, _ in page.tags if tag == "script"]
    assert "<script>alert(1)</script>" in page.text
    assert "\u202e" not in page.text


@pytest.mark.usefixtures("page_alone")
def test_writing_again_gives_the_same_page(tmp_path: Path) -> None:
    first = write_data_sheet(*make_sheet(LEAK), MADE, tmp_path / "a").read_text()
    assert write_data_sheet(*make_sheet(LEAK), MADE, tmp_path / "b").read_text() == first


def test_level_numbers_are_shares_of_the_pixels() -> None:
    counts = np.zeros((1, 256), int)
    counts[0, [0, 1, 255]] = 30, 30, 40
    numbers = level_numbers({"train": counts, "test": counts[:, ::-1]})

    assert numbers.shares["train"][0, [0, -1]].tolist() == [60, 40]
    assert numbers.shares["test"][0, [0, -1]].tolist() == [40, 60]


def test_row_of_a_class_with_one_sample_is_as_wide_as_the_others() -> None:
    tile = Tile(np.zeros((1, 8, 8), np.uint8))
    assert mosaic([tile], gap=1, columns=3).shape == mosaic([tile] * 3, gap=1).shape
    assert Strip("", (tile,)).aspect == 1

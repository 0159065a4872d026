"""The numbers behind each figure."""

from __future__ import annotations

import re
from base64 import b64decode
from collections import Counter
from dataclasses import replace
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from tests.fake_runs import epoch_metrics, fake_run, mnist, part_score

from convoy.api import report
from convoy.files import write_arrays
from convoy.reporting import figures_images
from convoy.reporting.canvas import WIDTH, chart_svg, draw_chart, inline_panels
from convoy.reporting.content import Chart, Gallery, Panel, Strip, Tile, shortened
from convoy.reporting.figures_classes import (
    balance_caption,
    balance_numbers,
    confusion_numbers,
)
from convoy.reporting.figures_curves import (
    curve_numbers,
    curves_caption,
    draw_curves,
    loss_numbers,
    losses_caption,
    selected_accuracy,
    step_numbers,
    steps_caption,
)
from convoy.reporting.figures_images import (
    MAX_HEIGHT,
    data_uri,
    draw_gallery,
    filter_tiles,
    mosaic,
    prediction_tiles,
    sample_strips,
    save_gallery,
)
from convoy.reporting.pages import run_page
from convoy.reporting.palette import MODELS, SCREEN, Look
from convoy.reporting.tables import class_table
from convoy.run_contents import ClassScore, Score
from convoy.text.numbers import compact, plain


def lines(accuracies, part="validation"):
    return [
        epoch_metrics(epoch, train=part_score(a + 0.01, 1 - a), **{part: part_score(a, 1 - a)})
        for epoch, a in enumerate(accuracies, start=1)
    ]


def test_curves_are_means_over_seeds_with_their_extremes():
    numbers = curve_numbers({"net": [lines([0.5, 0.7]), lines([0.6, 0.9])]}, "accuracy")
    validation = numbers.curves[1]
    assert (validation.part, validation.mean) == ("validation", pytest.approx((55, 80)))
    assert (validation.low, validation.high) == (pytest.approx((50, 70)), pytest.approx((60, 90)))


def test_curves_of_unequal_length_are_truncated_to_the_shortest():
    numbers = curve_numbers({"net": [lines([0.5, 0.7, 0.8]), lines([0.6])]}, "loss")
    assert [len(curve.mean) for curve in numbers.curves] == [1, 1]
    assert numbers.truncated


def test_curves_caption_names_the_fault_of_selecting_on_the_test_part():
    caption = curves_caption(curve_numbers({"a": [lines([0.5, 0.7], "test")]}, "accuracy"))
    assert "Protocol fault" in caption


def test_a_test_set_opened_in_addition_to_validation_selects_no_epoch():
    metrics = [epoch_metrics(e, validation=part_score(0.8 + 0.01 * e), test=part_score(0.85)) for e in range(1, 4)]
    numbers = curve_numbers({"lenet": [metrics]}, "accuracy")
    assert [curve.part for curve in numbers.curves] == ["train", "validation"]
    assert "Protocol fault" not in curves_caption(numbers)


def test_steps_are_smoothed_without_skipped_steps():
    loss = np.ones(1000, np.float32)
    loss[[3, 500]] = np.nan, np.inf
    numbers = step_numbers({"loss": loss, "lr": np.full(1000, 0.1, np.float32)})
    assert numbers.window == 20
    assert len(numbers.at) == 600
    assert numbers.loss == pytest.approx(np.ones(600))
    assert (numbers.at[0], numbers.at[-1]) == (1, 1000)


def test_caption_of_few_steps_mentions_no_mean():
    numbers = step_numbers({"loss": np.ones(30, np.float32), "lr": np.ones(30, np.float32)})
    assert steps_caption(numbers) == "Loss of individual steps."
    assert "mean over 20 steps" in steps_caption(numbers._replace(window=20))


@pytest.mark.parametrize("loss", [[], [1.0], [np.nan, np.nan]])
def test_fewer_than_two_steps_have_no_figure(loss):
    assert step_numbers({"loss": np.array(loss, np.float32), "lr": np.zeros(len(loss), np.float32)}) is None


def test_selected_accuracy_is_computed_on_the_part_that_selected_the_epoch():
    numbers = selected_accuracy({"a": [lines([0.7, 0.8])], "b": [lines([0.6, 0.9])]})
    assert [(curve.label, curve.part) for curve in numbers.curves] == [("a", "validation"), ("b", "validation")]


def test_runs_without_selection_have_no_selected_accuracy():
    assert selected_accuracy({"a": [[epoch_metrics()]]}) is None


def test_caption_says_up_to_only_if_models_have_different_numbers_of_seeds():
    two, one = [lines([0.7, 0.8]), lines([0.6, 0.9])], [lines([0.7, 0.8])]
    assert "over 2 seeds" in curves_caption(selected_accuracy({"a": two, "b": two}))
    assert "up to 2" in curves_caption(selected_accuracy({"a": two, "b": one}))


def epochs(*ends):
    return [epoch_metrics(step=step, seconds=seconds) for step, seconds in ends]


def test_smoothed_losses_are_means_over_ten_steps_with_the_range_over_seeds():
    seeds = [({"loss": np.full(100, value, np.float32)}, epochs((50, 2.0), (100, 6.0))) for value in (1.0, 3.0)]
    line = loss_numbers({"net": seeds}, {"net": True}).lines[0]
    assert (line.step[0], line.step[-1]) == (10, 100)
    assert (line.mean[0], line.low[0], line.high[0]) == pytest.approx((2.0, 1.0, 3.0))
    assert line.seconds[[0, -1]] == pytest.approx([0.4, 6.0])
    assert loss_numbers({"net": seeds}, {"net": False}).lines[0].seconds is None


def test_smoothed_losses_omit_skipped_steps():
    loss = np.ones(100, np.float32)
    loss[[3, 50]] = np.nan, np.inf
    assert loss_numbers({"net": [({"loss": loss}, [])]}, {}).lines[0].mean == pytest.approx(1.0)


def test_smoothed_losses_of_unequal_length_are_truncated_to_the_shortest():
    runs = [({"loss": np.ones(count, np.float32)}, []) for count in (40, 100)]
    numbers = loss_numbers({"net": runs}, {})
    assert numbers.lines[0].step[-1] == 40
    assert numbers.truncated


def test_archived_steps_keep_their_numbers_and_are_mentioned_in_the_caption():
    steps = {"loss": np.ones(50, np.float32), "step": np.arange(0, 200, 4)}
    numbers = loss_numbers({"net": [(steps, [])]}, {})
    assert (numbers.lines[0].step[0], numbers.lines[0].step[-1]) == (37, 197)
    assert "up to 40 steps" in losses_caption(numbers, "step")


@pytest.mark.parametrize("loss", [[], [1.0] * 10])
def test_fewer_steps_than_a_window_have_no_figure(loss):
    assert loss_numbers({"net": [({"loss": np.array(loss, np.float32)}, [])]}, {}) is None


CONFUSION = Score(accuracy=22 / 30, correct=22, n=30, confusion=[[8, 2, 0], [0, 10, 0], [5, 1, 4]])


def test_confusions_add_up_over_seeds_and_rank_the_pairs():
    numbers = confusion_numbers("net", ("cat", "dog", "cow"), [CONFUSION, CONFUSION])
    assert numbers.counts.sum() == 60
    assert [(pair.true, pair.predicted, pair.images, pair.total) for pair in numbers.worst(2)] == [
        ("cow", "cat", 10, 20),
        ("cat", "dog", 4, 20),
    ]
    assert numbers.errors.max() == pytest.approx(0.5)


def test_recall_has_an_interval_and_of_many_classes_the_lowest_are_shown():
    rows = [ClassScore(name, 0, recall, 0, 10) for name, recall in (("cat", 0.8), ("dog", 1.0), ("cow", 0.4))]
    table = class_table(replace(CONFUSION, per_class=rows))
    assert [row[2].text for row in table.rows] == ["80.00", "100.00", "40.00"]
    assert table.rows[2][2].note
    many = [ClassScore(str(place), 0, 0, place / 100, 0) for place in range(100)]
    assert [row[0].text for row in class_table(replace(CONFUSION, per_class=many)).rows] == [*map(str, range(25))]


def test_balance_omits_empty_parts_and_gives_the_ratio():
    numbers = balance_numbers({"train": [40, 100], "test": []}, ("a", "b"))
    assert tuple(numbers.counts) == ("train",)
    assert "2.50" in balance_caption(numbers)


def test_samples_have_a_strip_per_class_and_with_many_classes_one_strip():
    images, labels = np.zeros((40, 1, 8, 8), np.uint8), np.repeat(np.arange(20), 2)
    gallery = {"samples_images": images, "samples_labels": labels}
    few = sample_strips(gallery, [str(place) for place in range(5)])
    many = sample_strips(gallery, [str(place) for place in range(20)])
    assert [len(strip.tiles) for strip in few] == [2] * 5
    assert [len(strip.tiles) for strip in many] == [20]


def test_filters_are_grey_around_zero_with_their_largest_weight_at_the_end():
    filters = np.zeros((2, 1, 3, 3), np.float32)
    filters[0, 0, 0, 0], filters[1, 0, 1, 1] = -2.0, 0.1
    first = filter_tiles(filters, 8)[0].image
    assert (first[0, 0, 0], first[0, 2, 2]) == (0, 128)


def test_mosaic_separates_tiles_by_transparent_pixels():
    tiles = sample_strips({"samples_images": mnist("t10k")[0][:3], "samples_labels": np.zeros(3)}, ["0"])[0].tiles
    picture = mosaic(tiles, gap=2)
    assert picture.shape == (28, 3 * 28 + 2 * 2, 4)
    assert not picture[:, 28:30, 3].any()


def gallery(count, channels=1, *, labelled=True):
    images, labels = np.repeat(mnist("t10k")[0][:count], channels, axis=1), mnist("t10k")[1][:count].astype(int)
    classes = [f"class {place}" for place in range(10)]
    return prediction_tiles(images, labels if labelled else None, np.arange(count) % 10, np.full(count, 0.5), classes)


@pytest.mark.parametrize(("count", "channels"), [(1, 1), (13, 1), (36, 3)])
def test_gallery_is_wide_enough_for_its_images(tmp_path, count, channels):
    path = tmp_path / "deep" / "predictions.png"
    draw_gallery(gallery(count, channels), path)
    with Image.open(path) as picture:
        assert picture.width > 100 * min(count, 4)


def test_gallery_without_labels_marks_nothing_as_wrong(tmp_path):
    path = tmp_path / "predictions.svg"
    draw_gallery(gallery(4, labelled=False), path)
    assert "true: class" not in path.read_text()


def test_gallery_of_another_format_or_without_images_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"\.png or \.svg"):
        draw_gallery(gallery(2), tmp_path / "x.gif")
    with pytest.raises(ValueError, match="at least one image"):
        draw_gallery((), tmp_path / "x.png")


def test_all_colours_differ():
    """A page finds a colour by its light value."""
    light = [pair[0] for pair in (*SCREEN.values(), *MODELS)]
    assert len(light) == len(set(light))


@pytest.mark.parametrize(
    ("names", "length", "shown"),
    [
        (["cat", "dog"], 12, ["cat", "dog"]),
        (["a long name", "b long name"], 6, ["a lon…", "b lon…"]),
        (["class 1", "class 2"], 6, ["…1", "…2"]),
        (["x" * 20 + "1" + "y" * 20, "x" * 20 + "2" + "y" * 20], 8, ["…1yyyyy…", "…2yyyyy…"]),
    ],
)
def test_shortened_names_stay_distinct(names, length, shown):
    assert shortened(names, length) == shown


@pytest.mark.parametrize(("value", "text"), [(999, "999"), (999_600, "1 M"), (44_426, "44.4 k"), (8.43e6, "8.43 M")])
def test_compact_numbers_have_three_digits_and_a_magnitude(value, text):
    assert compact(value) == text


@pytest.mark.parametrize(("value", "text"), [(12_345.6, "12,346"), (12.34, "12.3"), (1.234, "1.23"), (0.1234, "0.123")])
def test_plain_numbers_have_at_least_three_digits(value, text):
    assert plain(value) == text


def test_a_loss_that_was_not_finite_is_a_gap() -> None:
    metrics = [epoch_metrics(n, train=part_score(0.9, loss)) for n, loss in enumerate((0.5, None), start=1)]
    numbers = curve_numbers({"net": [metrics]}, "loss")
    assert np.isnan(numbers.curves[0].mean[1])
    axes = Figure().subplots()
    draw_curves(axes, numbers, Look(("net",)))
    assert axes.get_xlabel() == "epoch"


def test_a_report_shows_all_64_filters_of_a_first_layer(tmp_path: Path) -> None:
    run = fake_run(tmp_path, "alexnet")
    filters = np.random.default_rng(0).normal(0, 0.1, (64, 3, 7, 7)).astype(np.float32)
    write_arrays(run.path / "arrays.npz", {"first_layer_filters": filters})

    (block,) = (
        block for block in run_page(run, tmp_path).blocks if isinstance(block, Gallery) and block.name == "filters"
    )
    save_gallery(block, tmp_path)

    assert [len(strip.tiles) for strip in block.strips] == [64]
    assert "7 × 7" in block.strips[0].title
    picture = Image.open(tmp_path / "filters.png")
    assert picture.height > picture.width / 3  # six rows of twelve


def test_a_picture_of_a_gallery_keeps_the_pixels_of_its_images(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (3, 4, 4), dtype=np.uint8)
    save_gallery(Gallery("samples", "", (Strip("a", (Tile(image), Tile(image[:1]))),), ""), tmp_path)
    picture = np.asarray(Image.open(tmp_path / "samples.png").convert("RGB")).reshape(-1, 3)
    counts = Counter(map(tuple, picture.tolist()))
    for pixel in image.transpose(1, 2, 0).reshape(-1, 3).tolist():
        assert counts[tuple(pixel)] == 37 * 37  # a tile of 148 pixels
    for value in image[0].ravel().tolist():
        assert counts[value, value, value] >= 37 * 37


@pytest.mark.usefixtures("page_alone")
def test_the_page_of_a_run_on_large_photographs_is_below_2_mb(tmp_path: Path) -> None:
    run = fake_run(tmp_path, "lenet")
    rng = np.random.default_rng(0)

    def photographs(count: int) -> np.ndarray:
        """Colourful gradients with as much texture as a photograph."""
        coarse = rng.integers(0, 256, (count, 7, 7, 3), dtype=np.uint8)
        smooth = [np.asarray(Image.fromarray(each).resize((224, 224), Image.Resampling.BICUBIC)) for each in coarse]
        textured = np.stack(smooth) + rng.normal(0, 5, (count, 224, 224, 1))
        return textured.clip(0, 255).astype(np.uint8).transpose(0, 3, 1, 2)

    large = {
        name: photographs(len(values)) if name.endswith("_images") else values for name, values in run.gallery.items()
    }
    write_arrays(run.path / "gallery.npz", large)
    html = report(run).read_text()
    assert len(html) < 2_000_000
    pictures = [Image.open(BytesIO(b64decode(each))) for each in re.findall(r"data:image/webp;base64,([^\"]+)", html)]
    assert len(pictures) > 40
    assert {picture.height for picture in pictures} == {MAX_HEIGHT}


def test_small_images_keep_their_pixels_on_a_page() -> None:
    image = np.random.default_rng(0).integers(0, 256, (3, 32, 32), dtype=np.uint8)
    head, data = data_uri(image).split(",")
    assert head == "data:image/png;base64"
    assert np.array_equal(np.asarray(Image.open(BytesIO(b64decode(data)))), image.transpose(1, 2, 0))


def test_the_panels_of_a_page_are_parts_of_one_svg(tmp_path: Path) -> None:
    titles = ("one", "two", "three")
    drawn: list[str] = []
    panels = tuple(
        Panel(title, lambda axes, title=title: drawn.append(title) or axes.plot([0, 1], "o"), height=2 + place)
        for place, title in enumerate(titles)
    )
    chart = Chart("c", "Chart", panels, "")
    svg, png = draw_chart(chart, Look(()))
    page = "".join(inline_panels(chart, svg, "f"))
    parsed = ElementTree.fromstring(f'<div xmlns:xlink="http://www.w3.org/1999/xlink">{page}</div>')
    assert [[title in "".join(svg.itertext()) for title in titles] for svg in parsed] == np.eye(3, dtype=bool).tolist()
    assert [svg.get("viewBox") for svg in parsed] == [
        f"{72 * left:g} {72 * top:g} {72 * WIDTH:g} {72 * height:g}"
        for left, top, height in ((0, 0, 2), (WIDTH, 0, 3), (0, 3, 4))
    ]
    assert drawn == list(titles)
    assert png.startswith(b"\x89PNG")


def test_text_of_a_figure_is_one_line_without_control_characters() -> None:
    hostile = "$a_1$\n\x00\u202e\ud800<b>"

    def draw(axes: Axes) -> None:
        axes.set_yticks([0, 1], [hostile, "\x00"])
        axes.set_xlabel(hostile)

    svg = chart_svg(Chart("names", hostile, (Panel(hostile, draw),), "", line_legend=hostile), Look(()))
    texts = [text.text for text in ElementTree.fromstring(svg).iter() if text.tag.endswith("}text")]
    assert texts.count("$a_1$ <b>") == 4
    assert "(no name)" in texts


def test_long_class_names_stay_distinct_and_within_their_tile() -> None:
    classes = [f"class number {index} {'with a very long name ' * 8}" for index in range(6)]
    images = np.zeros((6, 1, 8, 8), np.uint8)
    tiles = figures_images.prediction_tiles(images, np.arange(6), np.arange(6)[::-1], np.ones(6), classes)
    strips = [Strip(name, (tile,)) for name, tile in zip(classes, tiles, strict=True)]
    row = figures_images._figure([Strip("", tiles)], 6)
    column = figures_images._figure(strips, 1, titles_left=True)

    labels = [text for text in row.axes[0].texts if "true" not in text.get_text()]
    true = [text for text in row.axes[0].texts if "true" in text.get_text()]
    titles = [text for text in column.axes[0].texts if text.get_horizontalalignment() == "right"]
    for texts in (labels, true, titles):
        assert len({text.get_text() for text in texts}) == 6
    renderer = FigureCanvasAgg(row).get_renderer()
    for texts in (labels, true):
        boxes = sorted((text.get_window_extent(renderer) for text in texts), key=lambda box: box.x0)
        assert all(box.x1 < after.x0 for box, after in pairwise(boxes))

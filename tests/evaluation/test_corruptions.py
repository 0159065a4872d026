"""Corrupted images, compared with Pillow, scipy and colorsys, and their scores."""

from __future__ import annotations

import colorsys
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

import convoy
from convoy.archive import archive_run
from convoy.evaluation import robustness
from convoy.evaluation.corruptions import COLOUR, GREY, SEVERITIES, Kind, blur, corrupt, digital, kinds_for
from convoy.reporting import corruptions as section
from convoy.reporting.content import Table
from convoy.reporting.reading import read_run
from convoy.runs import Run

Call = Callable[..., tuple[int, str, str]]
ALL = [(1, 28, kind.name) for kind in GREY] + [(3, 32, kind.name) for kind in COLOUR]


def images(count: int, channels: int, size: int) -> np.ndarray:
    """Smooth images with a bright cross, uint8."""
    random = np.random.default_rng(0)
    values = gaussian_filter(random.random((count, channels, size, size)), (0, 0, 2, 2))
    values = (values - values.min()) / (values.max() - values.min()) * 150
    values[:, :, size // 2 - 1 : size // 2 + 2] += 90
    values[:, :, :, size // 2 - 1 : size // 2 + 1] += 15
    return values.astype(np.uint8)


def test_kinds_have_different_names_and_parameters_for_each_severity() -> None:
    assert len({kind.name for kind in GREY}) == len(GREY)
    assert len({kind.name for kind in COLOUR}) == len(COLOUR)
    assert all(len(kind.levels) == len(SEVERITIES) for kind in GREY + COLOUR)


@pytest.mark.parametrize(("channels", "kinds"), [(1, GREY), (3, COLOUR)])
def test_the_differences_from_the_published_images_are_of_existing_kinds(channels: int, kinds: Sequence[Kind]) -> None:
    names = [name for several in section.differences(channels) for name in several]

    assert len({*names}) == len(names) > 4
    assert {*names} <= {kind.name for kind in kinds}


@pytest.mark.parametrize(("channels", "size", "kind"), ALL)
def test_a_kind_changes_images_more_at_higher_severity_and_is_a_function_of_the_seed(
    channels: int, size: int, kind: str
) -> None:
    clean = images(6, channels, size)
    mildest, strongest = (corrupt(clean, kind, severity) for severity in (1, 5))
    change = [np.abs(each.astype(float) - clean).mean() for each in (mildest, strongest)]

    assert mildest.shape == clean.shape
    assert mildest.dtype == np.uint8
    assert change[0] > 0
    if kind not in ("elastic_transform", "canny_edges", "spatter", "snow"):  # other changes than larger ones
        assert change[1] > change[0]
    assert np.array_equal(mildest, corrupt(clean, kind, 1))


def test_images_of_other_sizes_are_corrupted_and_other_channels_refused() -> None:
    for size in (12, 17, 64):
        for channels in (1, 3):
            for kind in kinds_for(channels, size):
                assert corrupt(images(2, channels, size), kind.name, 5).shape == (2, channels, size, size)
    with pytest.raises(ValueError, match="2x28x28"):
        kinds_for(2, 28)
    with pytest.raises(ValueError, match="1x8x8"):
        kinds_for(1, 8)
    with pytest.raises(ValueError, match="severity = 6"):
        corrupt(images(1, 1, 28), "fog", 6)
    with pytest.raises(ValueError, match="fog"):
        corrupt(images(1, 1, 28), "fogg", 1)


def test_filters_and_colours_equal_those_of_other_libraries() -> None:
    clean = (images(2, 3, 32) / 255).astype(np.float32)
    blurred = gaussian_filter(clean, (0, 0, 1.2, 1.2), mode="nearest")
    assert blur.gaussian(clean, 1.2) == pytest.approx(blurred, abs=1e-5)

    brighter = digital.brightness(clean, 0.2, np.random.default_rng(0))
    for row, column in ((3, 4), (16, 16), (31, 0)):
        hue, saturation, value = colorsys.rgb_to_hsv(*clean[0, :, row, column].tolist())
        expected = colorsys.hsv_to_rgb(hue, saturation, min(1, value + 0.2))
        assert brighter[0, :, row, column] == pytest.approx(expected, abs=1e-5)


def test_pixelated_images_and_jpeg_are_close_to_those_of_pillow() -> None:
    clean = images(4, 3, 32)
    for severity, share, quality in ((1, 0.95, 80), (5, 0.65, 40)):
        pixelated, compressed = corrupt(clean, "pixelate", severity), corrupt(clean, "jpeg_compression", severity)
        for number, image in enumerate(clean.transpose(0, 2, 3, 1)):
            small = Image.fromarray(image).resize((int(32 * share),) * 2, Image.Resampling.BOX)
            expected = np.array(small.resize((32, 32), Image.Resampling.BOX))
            assert np.abs(pixelated[number].transpose(1, 2, 0) - expected.astype(int)).max() <= 1
            Image.fromarray(image).save(file := BytesIO(), "JPEG", quality=quality)
            difference = compressed[number].transpose(1, 2, 0) - np.array(Image.open(file)).astype(int)
            assert np.abs(difference).mean() < 4


def test_canny_edges_surround_a_square() -> None:
    square = np.zeros((1, 1, 28, 28), np.uint8)
    square[:, :, 8:20, 8:20] = 255
    edges = corrupt(square, "canny_edges", 3)[0, 0] > 0

    assert not edges[12:16, 12:16].any()
    assert not edges[:6].any()
    assert edges[14].sum() in (2, 4)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, stripes: Path) -> Run:
    net = tmp_path_factory.mktemp("code") / "net.py"
    net.write_text(NET)
    return convoy.train(f"{net}:Tiny", data=str(stripes), epochs=1, out=tmp_path_factory.mktemp("out"), show=False)


NET = """
from torch import nn

class Tiny(nn.Sequential):
    def __init__(self, in_chans, num_classes, image_size):
        super().__init__(nn.Flatten(), nn.Linear(in_chans * image_size**2, num_classes))
"""


def test_scores_are_stored_in_the_run_and_in_its_report_with_one_opening(run: Run, call: Call, tmp_path: Path) -> None:
    assert robustness.of_run(run) is None
    code, out, err = call("test", run.path, "--corruptions", "--json")
    assert code == 0, err
    result = robustness.of_run(run)

    assert result is not None
    assert len(result.scores) == len(GREY) * len(SEVERITIES)
    assert result.clean_correct == run.scores["test"].correct
    mean = np.mean([1 - score.correct / score.n for score in result.scores])
    assert result.mean_error.mean == pytest.approx(mean)
    assert json.loads(out)["openings"] == 2
    assert json.loads(out)["corruptions"]["mean_error"]["mean"] == pytest.approx(mean)
    assert len(section.run_section(read_run(run)).blocks) == 3  # type: ignore[union-attr]
    models = section.models_section({"Tiny": [read_run(run)]})
    assert models is not None
    assert models.blocks[0].rows[0][1].text == f"{100 * mean:.2f}"  # type: ignore[union-attr]
    assert robustness.of_run(archive_run(run, tmp_path / "archive")) == result
    run.check_files()


def test_results_on_other_images_are_not_compared(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = robustness.of_run(run)
    assert stored is not None
    results = [replace(stored, revision=revision, n=n) for revision, n in [(1, 200), (1, 200), (0, 200), (1, 300)]]
    monkeypatch.setattr(robustness, "of_run", lambda run: run)
    views = [SimpleNamespace(run=result) for result in results]

    models = section.models_section({"one": [views[0], views[2]], "other": [views[1]], "small": [views[3]]})  # type: ignore[list-item]

    assert models is not None
    (table,) = models.blocks
    assert isinstance(table, Table)
    assert [(row[0].text, row[-1].text) for row in table.rows] == [("one", "1"), ("other", "1")]
    assert re.search(r"\b2\b", table.note)  # left out


def test_scores_of_other_weights_are_not_shown(run: Run) -> None:
    stored = robustness.of_run(run)
    assert stored is not None
    robustness.write(run, replace(stored, weights="0" * 64))
    assert robustness.of_run(run) is None
    robustness.write(run, stored)
    assert robustness.of_run(run) == stored


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / robustness.FILE).write_text('{"data": "mnist"}')

    with pytest.raises(ValueError, match="damaged"):
        robustness.read(tmp_path / robustness.FILE)


def test_an_unfinished_run_is_refused_before_the_test_set_is_opened(run: Run) -> None:
    openings = (run.path.parents[1] / "test_openings.json").read_bytes()
    run.write_status(state="interrupted")

    with pytest.raises(ValueError, match="interrupted"):
        convoy.test(run, corruptions=True, show=False)
    assert (run.path.parents[1] / "test_openings.json").read_bytes() == openings

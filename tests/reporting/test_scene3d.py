from __future__ import annotations

import base64
import gzip
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.reporting.parsed import Page as Html

from convoy.reporting import render, scene3d
from convoy.reporting.content import Code, Page, Path3D, Points3D, Scene3D, Section, Surface3D

RATES = np.array([1e-4, 1e-3, 1e-2])
POINTS = Points3D(np.array([16.0, 32.0, 64.0]), RATES, np.array([90.0, 98.0, 95.0]), text=("a", "b", "</script><b>"))
BEST = Points3D(np.array([32.0]), np.array([1e-3]), np.array([98.0]), label="<winner>")
SCATTER = Scene3D("scatter", "Accuracy", "All.", (POINTS, BEST), ("batch size", "rate", "%"), (True, True, False))
GRID = np.linspace(-1, 1, 5)
HEIGHTS = np.add.outer(GRID**2, GRID**2) + 0.5
SURFACE = Scene3D(
    "surface",
    "Loss",
    "Around the weights.",
    (Surface3D(GRID, GRID, HEIGHTS), Path3D(GRID, GRID, 2 * GRID**2 + 0.5, "training")),
    ("first", "second", "loss"),
)


def page(*blocks: object) -> Page:
    return Page("", "Title", "Sentence", (), (), (Section("Section", blocks),), ())


def plotly_figure(block: Scene3D) -> dict:
    return json.loads(scene3d.plotly_json(block))


def test_page_with_3d_figures_embeds_plotly_once_and_loads_nothing(tmp_path: Path) -> None:
    html = render.write(page(SCATTER, SURFACE), tmp_path).read_text()

    assert html.count('id="plotly"') == 1
    assert b"plotly.js v" in gzip.decompress(base64.b64decode(scene3d.library()))[:200]
    assert len(html) < 3_000_000
    assert re.findall('<figure id="(.*?)"', html.split('<div class="row two">')[1]) == ["scatter", "surface"]
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', html.replace(scene3d.library(), ""))


def test_page_without_3d_figures_does_not_embed_plotly(tmp_path: Path) -> None:
    html = render.write(page(Code("text")), tmp_path).read_text()

    assert len(html) < 50_000


def test_the_hint_to_rotate_is_only_shown_on_an_interactive_page(tmp_path: Path) -> None:
    html = render.write(page(SCATTER), tmp_path).read_text()
    screen, print_ = html.split("@media print", 1)
    hint = Html(html.split('<span class="hint">')[1].split("</span>")[0]).text

    assert ".hint, .narrow { display: none; }" in screen
    assert ".scene3d.live .hint { display: inline; }" in screen
    assert re.search(r"\.scene3d \.hint \{ display: none !important; \}", print_)
    assert hint
    assert hint not in (tmp_path / "report.md").read_text()


def test_static_images_are_in_the_page_in_markdown_and_in_the_folder(tmp_path: Path) -> None:
    html = render.write(page(SCATTER), tmp_path).read_text()

    assert [image["src"][:10] for image in Html(html).all("img")] == ["data:image"]
    assert "(figures/scatter.png)" in (tmp_path / "report.md").read_text()
    assert "Figure 1. All." in (tmp_path / "report.md").read_text()
    assert Image.open(tmp_path / "figures" / "scatter.png").width > 800
    assert (tmp_path / "figures" / "scatter.svg").read_text().startswith("<?xml")


def test_names_cannot_end_the_script_or_become_markup() -> None:
    text = scene3d.plotly_json(SCATTER)

    assert "<" not in text
    assert plotly_figure(SCATTER)["traces"][1]["name"] == "&lt;winner&gt;"


def test_points_are_coloured_by_height_and_a_labelled_one_has_its_own_colour() -> None:
    points, best, *stems = plotly_figure(SCATTER)["traces"]

    assert points["marker"]["color"] == [90, 98, 95]
    assert best["marker"]["color"].startswith("#")
    assert (points["showlegend"], best["showlegend"]) == (False, True)
    assert stems[0]["z"][:6] == [90, 90, None, 90, 98, None]  # as in the static image


def test_logarithmic_axis_has_its_few_values_as_ticks_in_plain_digits() -> None:
    axes = plotly_figure(SCATTER)["axes"]

    assert (axes["yaxis"]["type"], axes["yaxis"]["ticktext"]) == ("log", ["0.0001", "0.001", "0.01"])
    assert "ticktext" not in axes["zaxis"]


def test_values_that_are_not_finite_are_gaps_in_a_surface() -> None:
    heights = HEIGHTS.copy()
    heights[0, 0] = np.nan
    block = Scene3D("gap", "", "", (Surface3D(GRID, GRID, heights),), ("x", "y", "z"))

    assert plotly_figure(block)["traces"][0]["z"][0][0] is None
    assert scene3d.static_uri(block).startswith("data:image/png")


@pytest.mark.parametrize("log", [False, True])
def test_colours_of_a_surface_use_the_scale_of_its_axis(log: bool) -> None:
    block = Scene3D("s", "", "", SURFACE.traces, SURFACE.axes, (False, False, log))

    expected = np.log10(HEIGHTS) if log else HEIGHTS
    assert np.allclose(plotly_figure(block)["traces"][0]["surfacecolor"], expected)


def test_few_values_that_are_not_crowded_are_ticks() -> None:
    def ticks(*values: float) -> object:
        points = Points3D(np.array(values), np.array(values), np.array(values))
        return plotly_figure(Scene3D("t", "", "", (points,), ("a", "b", "c")))["axes"]["xaxis"].get("ticktext")

    assert ticks(0.0, 0.1, 0.2, 0.5) == ["0", "0.1", "0.2", "0.5"]
    assert ticks(0.0, 0.01, 0.5) is None
    assert ticks(0.12345, 0.5, 0.9) is None

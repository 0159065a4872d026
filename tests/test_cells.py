"""The output of runs, studies, findings, profiles, data sheets and recipes in a notebook."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from tests.fake_runs import FakeModel, Setting, fake_run, fake_study

import convoy
from convoy.api.study import Study

VOID = {"br", "img", "wbr", "meta"}
HOSTILE = "<script>alert(1)</script>"


class Cell(HTMLParser):
    """The tags and the text of an output; fails if a tag is not closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)
        self.open += [tag] if tag not in VOID else []

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data.replace("\u00a0", " ") if "style" not in self.open else ""


def cell_of(result: Any) -> Cell:
    html = result._repr_html_()
    assert len(html) < 100_000
    assert re.search(r"<h\d|<script| id=\"(?!f-|n-)|https?://", html) is None  # no headings for the table of contents
    return Cell(html)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study(fake_study(tmp_path).path)


def test_a_run_shows_its_scores_and_curves(tmp_path: Path) -> None:
    run = fake_run(tmp_path)
    cell = cell_of(run)

    assert f"{100 * run.scores['test'].accuracy:.2f}" in cell.text
    assert cell.tags.count("svg") == 2  # loss and accuracy
    assert "\n" not in repr(run)


def test_a_study_shows_its_sentence_first_table_and_first_figure(study: Study) -> None:
    cell = cell_of(study)

    assert "fast_mnist_cnn" in cell.text
    assert cell.tags.count("table") == 1
    assert cell.tags.count("figure") == 1
    assert str(study.path / "report.html") in cell.text


def test_a_finding_shows_its_attributes(study: Study) -> None:
    cell = cell_of(study.finding)

    assert "CompareFinding" in cell.text
    assert f"{len(study.finding.rows)} × ModelSummary" in cell.text
    assert "schema" not in cell.text


def test_a_recipe_shows_its_toml() -> None:
    recipe = convoy.Recipe.load("fast-mnist")
    cell = cell_of(recipe)

    assert recipe.to_toml() in cell.text
    assert "\n" not in repr(recipe)


def test_a_profile_shows_the_picture_and_the_layers_of_each_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convoy.evaluation.cost.LATENCY_SECONDS", 0.02)
    monkeypatch.setattr("convoy.profiling.measure.LARGE_BATCH", 4)
    profiled = convoy.profile("lenet", "residual_cnn", save=tmp_path)
    several, one = cell_of(profiled), cell_of(profiled.profiles[0])

    assert several.tags.count("svg") >= 2
    assert "features.0" in one.text
    assert "44,426" in one.text
    assert len(repr(profiled.profiles[0])) < 100


def test_a_data_sheet_shows_its_parts_and_the_balance_of_its_classes(tmp_path: Path) -> None:
    sheet = convoy.data_sheet("digits", save=tmp_path)

    assert "1,797" in cell_of(sheet).text
    assert cell_of(sheet.summary).tags.count("figure") == 1
    assert len(repr(sheet.summary)) < 100


def test_names_of_classes_and_models_cannot_become_markup(tmp_path: Path) -> None:
    setting = Setting(classes=(HOSTILE, *"123456789"))
    run = fake_run(tmp_path, setting=setting, changes={"model.name": f"net.py:{HOSTILE}"})
    study = fake_study(tmp_path, {HOSTILE: FakeModel(), "b": FakeModel(0.9)}, setting=setting)

    for result in (run, run.recipe, study, Study(study.path).finding):
        cell = cell_of(result)
        assert "script" not in cell.tags
        assert HOSTILE in cell.text


@pytest.mark.parametrize("name", ["recipe.toml", "data.json", "scores.json"])
def test_a_damaged_run_shows_the_error(name: str, tmp_path: Path) -> None:
    run = fake_run(tmp_path)
    (run.path / name).write_text("{ not")

    assert str(run.path / name) in cell_of(convoy.Run(run.path)).text


def test_a_study_without_its_runs_shows_the_error(study: Study) -> None:
    for member in study.members:
        (member.run.path).rename(member.run.path.with_name("gone" + member.run.name))

    assert "is missing" in cell_of(study).text


def test_showing_a_run_loads_no_torch(tmp_path: Path) -> None:
    run = fake_run(tmp_path)
    code = (
        "import sys, pathlib, convoy.runs as runs\n"
        f"html = runs.Run(pathlib.Path({str(run.path)!r}))._repr_html_()\n"
        "print(html[:5], 'torch' in sys.modules)"
    )

    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (process.stdout, process.stderr) == ("<div  False\n", "")


def test_importing_convoy_loads_nothing_that_draws() -> None:
    code = "import sys, convoy, convoy.runs; print({'matplotlib', 'jinja2', 'IPython', 'convoy.api'} & {*sys.modules})"

    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (process.stdout, process.stderr) == ("set()\n", "")

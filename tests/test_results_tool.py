"""The list of results, the table made from it and from the committed archive, and a small list trained."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import ModuleType

import pytest
from tools import results

from convoy.runs import Run

ROOT = Path(__file__).parents[1]
RECIPE = """
about = "A small network on small digits"
[model]
name = "two_conv_cnn"
[data]
name = "digits"
limit = 200
[train]
epochs = 1
batch_size = 64
[compute]
threads = 1
"""
EXPERIMENT = """
title = "Small digits"
about = "For tests"
data = "digits"
seeds = 2
[[model]]
label = "net"
corrected = "corrected.toml"
[[study]]
kind = "crossval"
recipes = "corrected.toml"
arguments = { folds = 2 }
"""
WITHOUT_FIGURES = """
import sys
from convoy import cli
from convoy.api import experiments
experiments.report = lambda study: study.path / "report.html"
cli.main(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    results.NICE = 0
    command_of = results.command_of
    results.command_of = lambda *given: [sys.executable, "-c", WITHOUT_FIGURES, *command_of(*given)[3:]]
    return results


@pytest.fixture
def small(tmp_path: Path) -> Path:
    (tmp_path / "corrected.toml").write_text(RECIPE)
    (tmp_path / "experiment.toml").write_text(EXPERIMENT)
    command = f"convoy reproduce {tmp_path / 'experiment.toml'} --only"
    items = [("networks", f"{command} models"), ("folds", f"{command} crossval"), ("elsewhere", f"{command} models")]
    text = "".join(f"[[item]]\nname = '{name}'\nabout = 'x'\ncommand = '{command}'\n" for name, command in items)
    (tmp_path / "items.toml").write_text(text + "cifar = true\n")
    (tmp_path / "status.md").write_text("before\n<!-- begin: written by make results -->\n<!-- end -->\nafter\n")
    return tmp_path


def call(tool: ModuleType, folder: Path, minutes: float, jobs: int = 1) -> int:
    places = {"items": "items.toml", "archive": "kept/runs", "page": "status.md", "out": "out"}
    options = [text for name, place in places.items() for text in (f"--{name}", str(folder / place))]
    return int(tool.main(["--minutes", str(minutes), "--jobs", str(jobs), *options]))


def rows(folder: Path) -> dict[str, list[str]]:
    lines = [line for line in (folder / "status.md").read_text().splitlines() if line.startswith("|")][2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {name: rest for name, *rest in cells}


def test_every_item_is_a_command_of_an_experiment_part_and_model_that_exist(tool: ModuleType) -> None:
    items = tool.read_items(ROOT / "docs" / "results" / "items.toml")

    assert items
    for item in items:
        assert item.settings().only, item.name
        assert item.cifar == (item.experiment.data == "cifar10"), item.name


def test_the_committed_table_is_that_of_the_committed_archive(tool: ModuleType) -> None:
    folder = ROOT / "docs" / "results"
    items = tool.read_items(folder / "items.toml")
    made = tool.table(items, tool.read_status(folder / "status.json"), tool.finished_in(folder / "runs"))

    assert made in (folder / "status.md").read_text(encoding="utf-8"), "run: python -m tools.results --table"


def test_a_model_that_does_not_exist_is_refused_with_those_that_do(tool: ModuleType) -> None:
    item = tool.Item("x", "convoy reproduce classics-mnist --only models --models lenett", "x")

    with pytest.raises(ValueError, match="lenet, alexnet"):
        item.settings()


def test_missing_items_are_trained_archived_and_shown_and_the_others_named(
    tool: ModuleType, small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(tool, small, minutes=0) == 0
    assert rows(small)["networks"][1] == "0 of 2"

    assert call(tool, small, minutes=5) == 0

    assert rows(small)["networks"][1] == "2 of 2"
    assert rows(small)["folds"][1] == "1 of 1"
    assert rows(small)["elsewhere"][1] == "not estimated"
    assert "elsewhere: skipped" in capsys.readouterr().out
    kept = [Run(path.parent) for path in (small / "kept" / "runs").glob("*/recipe.toml")]
    assert len(kept) == 4
    assert all(run.finished for run in kept)
    text = (small / "status.md").read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")


def test_an_interrupted_call_keeps_finished_runs_and_the_next_call_continues(
    tool: ModuleType, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def one_is_kept() -> bool:
        return any((small / "kept" / "runs").glob("*/recipe.toml"))

    with monkeypatch.context() as patch:
        train = tool.train
        patch.setattr(
            tool, "train", lambda command, cores, seconds, stopping: train(command, cores, seconds, one_is_kept)
        )
        call(tool, small, minutes=5)
    before = rows(small)

    assert before["folds"][1] == "0 of 1"
    assert call(tool, small, minutes=5) == 0
    assert rows(small)["networks"][1] == "2 of 2"
    assert rows(small)["folds"][1] == "1 of 1"


def test_items_of_one_run_are_trained_next_to_each_other_on_cores_of_their_own(
    tool: ModuleType, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[float, float, tuple[int, ...]]] = []

    def train(command: list[str], cores: list[int], seconds: float, stopping: object) -> int:
        began = time.monotonic()
        time.sleep(0.3)
        started.append((began, time.monotonic(), tuple(cores)))
        return 1

    monkeypatch.setattr(tool, "train", train)
    monkeypatch.setattr(tool, "_cores", lambda count: list(range(count)))
    assert call(tool, small, minutes=5, jobs=3) == 1
    fewer, more = sorted(started, key=lambda each: len(each[2]))
    assert max(fewer[0], more[0]) < min(fewer[1], more[1])
    assert (len(fewer[2]), len(more[2])) == (1, 2)  # one study, two runs
    assert not set(fewer[2]) & set(more[2])

"""The items of results, the table of their status, and training the missing results of small items."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from types import ModuleType

import pytest
from tools import results

from convoy import cli
from convoy.archive import TEMPORARY
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
    results.command_of = lambda *args: [sys.executable, "-c", WITHOUT_FIGURES, *command_of(*args)[3:]]
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
    paths = {"items": "items.toml", "archive": "archive/runs", "page": "status.md", "out": "out"}
    options = [text for name, path in paths.items() for text in (f"--{name}", str(folder / path))]
    return int(tool.main(["--minutes", str(minutes), "--jobs", str(jobs), *options]))


def rows(folder: Path) -> dict[str, list[str]]:
    lines = [line for line in (folder / "status.md").read_text().splitlines() if line.startswith("|")][2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {name: others for name, *others in cells}


def test_commands_of_all_items_are_valid(tool: ModuleType) -> None:
    items = tool.read_items(ROOT / "docs" / "results" / "items.toml")

    assert items
    for item in items:
        assert item.settings().only, item.name
        assert item.cifar == (item.experiment.data == "cifar10"), item.name


def test_committed_table_is_up_to_date(tool: ModuleType) -> None:
    folder = ROOT / "docs" / "results"
    items = tool.read_items(folder / "items.toml")
    table = tool.table(items, tool.read_status(folder / "status.json"), tool.finished_in(folder / "runs"))

    assert table in (folder / "status.md").read_text(encoding="utf-8"), "run: python -m tools.results --table"


def test_error_about_an_unknown_model_lists_the_models(tool: ModuleType) -> None:
    item = tool.Item("x", "convoy reproduce classics-mnist --only models --models lenett", "x")

    with pytest.raises(ValueError, match="lenet, alexnet"):
        item.settings()


@pytest.mark.usefixtures("words_alone")
def test_results_in_another_precision_of_auto_are_not_missing(
    tool: ModuleType, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = small / "items.toml"
    items.write_text(items.read_text().partition("[[item]]\nname = 'folds'")[0].replace("models", "models --set P"))
    precision = "compute.precision="
    text = items.read_text()
    items.write_text(text.replace("P'", f"{precision}bfloat16'"))
    monkeypatch.setattr(tool, "train", lambda command, *_: cli.main(command[3:]) or 0)  # in this process
    assert call(tool, small, minutes=5) == 0
    monkeypatch.setattr("convoy.training.machine.device.has_fast_bfloat16", lambda recipe: False)

    items.write_text(text.replace("P'", f"{precision}auto'"))
    assert call(tool, small, minutes=0) == 0
    assert rows(small)["networks"][1] == "2 of 2"


@pytest.mark.usefixtures("words_alone")
def test_missing_items_are_trained_archived_and_in_the_table(
    tool: ModuleType, small: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool, "train", lambda command, *_: cli.main(command[3:]) or 0)  # in this process
    assert call(tool, small, minutes=0) == 0
    assert rows(small)["networks"][1] == "0 of 2"

    assert call(tool, small, minutes=5) == 0

    assert rows(small)["networks"][1] == "2 of 2"
    assert rows(small)["folds"][1] == "1 of 1"
    assert rows(small)["elsewhere"][1] == "not estimated"
    assert "elsewhere: skipped" in capsys.readouterr().out
    archived = [Run(path.parent) for path in (small / "archive" / "runs").glob("*/recipe.toml")]
    assert len(archived) == 4
    assert all(run.finished for run in archived)
    text = (small / "status.md").read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")


@pytest.mark.usefixtures("words_alone")
def test_the_next_call_continues_after_an_interruption(
    tool: ModuleType, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = small / "archive" / "runs"

    def one_is_archived() -> bool:
        return any(runs.glob("*/recipe.toml"))

    with monkeypatch.context() as patch:
        train = tool.train
        patch.setattr(
            tool, "train", lambda command, cores, seconds, stopping: train(command, cores, seconds, one_is_archived)
        )
        call(tool, small, minutes=5)
    assert rows(small)["folds"][1] == "0 of 1"

    (runs / f"{TEMPORARY}x").mkdir()  # left by a killed process
    monkeypatch.setattr(tool, "train", lambda command, *_: cli.main(command[3:]) or 0)  # in this process
    assert call(tool, small, minutes=5) == 0
    assert not any(runs.glob(f"{TEMPORARY}*"))
    assert rows(small)["networks"][1] == "2 of 2"
    assert rows(small)["folds"][1] == "1 of 1"


def test_small_items_are_trained_in_parallel_on_different_cores(
    tool: ModuleType, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[int, ...]] = []  # cores
    together = threading.Barrier(2)

    def train(command: list[str], cores: list[int], seconds: float, stopping: object) -> int:
        together.wait(timeout=60)
        calls.append(tuple(cores))
        return 1

    monkeypatch.setattr(tool, "train", train)
    monkeypatch.setattr(tool, "_cores", lambda count: list(range(count)))
    assert call(tool, small, minutes=5, jobs=3) == 1
    study, runs = sorted(calls, key=len)
    assert (len(study), len(runs)) == (1, 2)
    assert not set(study) & set(runs)

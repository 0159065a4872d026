"""Saved weights on a test set: what may be set, and where the opening is counted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import convoy
from convoy.files import read_json
from convoy.recipe import Recipe
from convoy.runs import Run

Make = Callable[..., Recipe]
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tiny: Make, tmp_path: Path) -> Run:
    return convoy.train(tiny(("train.epochs", 1)), out=tmp_path / "elsewhere", show=False)


def test_an_opening_is_counted_in_the_workspace_of_the_run_under_its_name(call: Call, run: Run) -> None:
    code, out, err = call("test", run.path, "--json")
    assert code == 0, err
    assert json.loads(out)["openings"] == 2
    ((_, names),) = read_json(run.path.parents[1] / "test_openings.json").items()
    assert names == [run.name, run.name]
    assert not Path("convoy-runs").exists()


def test_normalisation_of_a_file_of_weights_is_that_of_the_command(run: Run, tmp_path: Path, stripes: Path) -> None:
    weights = shutil.copyfile(run.path / "best.safetensors", tmp_path / "weights.safetensors")
    net, out = run.recipe.model.name, tmp_path / "out"
    own = {"data.normalise": [run.data.mean, run.data.std]}
    same = convoy.test(weights, model=net, data=str(stripes), set=own, out=out)
    other = convoy.test(weights, model=net, data=str(stripes), set={"data.normalise": [0.9, 0.1]}, out=out)
    assert same.score.loss == run.scores["test"].loss
    assert other.score.loss != same.score.loss


@pytest.mark.parametrize("path", ["data.normalise", "optim.lr", "data.augment", "train.epochs"])
def test_a_run_is_tested_as_it_was_trained(run: Run, path: str) -> None:
    values = {"data.normalise": [0.5, 0.5], "optim.lr": 0.1, "data.augment": [], "train.epochs": 3}
    for target in (run, run.path / "best.safetensors"):
        with pytest.raises(ValueError, match=f"^{path}: .*data.limit"):
            convoy.test(target, set={path: values[path]})

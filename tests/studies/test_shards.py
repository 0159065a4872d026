"""Studies whose runs are trained by separate jobs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.experiments.small_digits import EXPERIMENT, PUBLISHED, RECIPE, again, found, write

from convoy import api
from convoy.runs import Workspace
from convoy.studies.shards import Shard

Call = Callable[..., tuple[int, str, str]]


@given(st.lists(st.integers(1, 1000), max_size=30), st.integers(1, 8))
def test_shards_are_disjoint_complete_and_balanced(work: list[int], count: int) -> None:
    order = sorted(range(len(work)), key=lambda position: -work[position])
    shards = [Shard(number, count).of(order, dict(enumerate(work))) for number in range(1, count + 1)]
    assert sorted(position for shard in shards for position in shard) == list(range(len(work)))
    loads = [sum(work[position] for position in shard) for shard in shards]
    assert max(loads) - min(loads) <= max(work, default=0)


@pytest.fixture
def compare(call: Call, stripes: Path, net: Path) -> Call:
    def run(*options: object) -> tuple[int, str, str]:
        own = ["--data", stripes, "--epochs", 1, "--vary", "lr=0.01,0.02", "--seeds", 2]
        return call("compare", f"{net}:Tiny", *own, *options)

    return run


@pytest.mark.usefixtures("words_alone")
def test_two_jobs_share_a_workspace_and_the_last_command_reports(compare: Call, tmp_path: Path) -> None:
    code, out, _ = compare("--shard", "1/2", "--out", "a")
    assert (code, out.splitlines()[-1].startswith("2 of 4 runs")) == (0, True)
    workspace = Workspace(tmp_path / "a")
    first = {run.name for run in workspace.runs()}
    assert json.loads(compare("--shard", "2/2", "--out", "a", "--json")[1]) == {"finished": 4, "runs": 4}
    assert (len(first), len({run.name for run in workspace.runs()} - first)) == (2, 2)
    assert not list(workspace.studies())
    trained_at = {run.name: run.status.finished_at for run in workspace.runs()}
    code, out, _ = compare("--out", "a")
    assert (code, out.count("already trained")) == (0, 4)
    assert [len(study.members) for study in workspace.studies()] == [4]
    assert {run.name: run.status.finished_at for run in workspace.runs()} == trained_at


@pytest.mark.usefixtures("words_alone")
def test_openings_of_the_test_set_are_counted_when_workspaces_are_joined(compare: Call, tmp_path: Path) -> None:
    for number in (1, 2):
        compare("--shard", f"{number}/2", "--out", str(number))
    for path in (tmp_path / "2" / "runs").iterdir():
        shutil.copytree(path, tmp_path / "1" / "runs" / path.name)
    for _repeat in range(2):
        compare("--out", "1")
        runs = list(Workspace(tmp_path / "1").runs())
        assert Workspace(tmp_path / "1").openings_by([run.name for run in runs]) == 4
        assert max(run.data.test_openings for run in runs) == 4


@pytest.mark.parametrize("shard", ["0/2", "3/2", "2", "1/0", "a/b", "-1/2"])
def test_an_invalid_shard_is_an_error(compare: Call, tmp_path: Path, shard: str) -> None:
    code, _, err = compare(f"--shard={shard}")
    assert (code, "K/N" in err) == (2, True)
    assert not (tmp_path / "convoy-runs").exists()


def test_a_search_cannot_be_split(call: Call, stripes: Path, net: Path) -> None:
    code, _, err = call("search", f"{net}:Tiny", "--data", stripes, "--grid", "lr=0.01,0.02", "--shard", "1/2")
    assert (code, "--where" in err) == (2, True)


def test_a_search_of_an_experiment_cannot_be_split(tmp_path: Path) -> None:
    study = '[[study]]\nkind = "search"\nrecipes = "corrected.toml"\narguments = { grid = { "optim.lr" = [0.1, 0.2] } }'
    path = write(tmp_path, corrected=RECIPE, published=PUBLISHED, experiment=f"{EXPERIMENT}\n{study}")
    with pytest.raises(ValueError, match="cannot split a search"):
        api.reproduce(path, only="search", shard="1/2", show=False, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_shards_of_an_experiment_are_all_of_its_runs(tmp_path: Path) -> None:
    arguments = "lrs = [1e-3, 1e-2], surfaces = { images = 4, resolution = 3 }"
    study = f'[[study]]\nkind = "landscape"\nrecipes = ["corrected.toml"]\narguments = {{ {arguments} }}'
    path = write(tmp_path, corrected=RECIPE, published=PUBLISHED, experiment=f"{EXPERIMENT}\n{study}")
    options = {"seeds": 1, "epochs": 1, "out": tmp_path / "out"}
    counts = []
    for number in (1, 2):
        with pytest.raises(api.ShardEnded) as ended:
            api.reproduce(path, shard=f"{number}/2", show=False, **options)
        counts.append((ended.value.finished, ended.value.runs))
    assert counts[0][0] < counts[0][1] == counts[1][0] == counts[1][1]
    workspace = Workspace(tmp_path / "out")
    assert not list(workspace.studies())
    trained_at = {run.name: run.status.finished_at for run in workspace.runs()}
    assert found(again(path, **options)).complete
    assert {run.name: run.status.finished_at for run in workspace.runs()} == trained_at

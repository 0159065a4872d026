"""convoy verify: values computed again from data, weights and recipe."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.fake_runs import FakeModel, fake_study

import convoy
from convoy import api
from convoy.archive import archive_run
from convoy.checkpoint import load_weights, save_weights
from convoy.counts import count_scores
from convoy.files import read_arrays, read_json, write_arrays, write_json
from convoy.recipe import Recipe
from convoy.run_files import sealed, sha256_of
from convoy.runs import Run, Workspace
from convoy.verifying.result import Gap, State, Verification

Make = Callable[..., Recipe]
Call = Callable[..., tuple[int, str, str]]
WEIGHTS = "best.safetensors"


@pytest.fixture(scope="module")
def trained(stripes: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    changes = {
        "model.name": "lenet", "data.size": 28, "train.epochs": 3, "train.batch_size": 60, "compute.threads": 1,
        "probe.keep_weights": True,
    }  # fmt: skip
    recipe = Recipe.load("defaults/images", [("data.name", str(stripes)), *changes.items()])
    return api.train(recipe, out=tmp_path_factory.mktemp("out"), show=False)


@pytest.fixture
def run(trained: Run, tmp_path: Path) -> Run:
    return Run(Path(shutil.copytree(trained.path, tmp_path / "runs" / trained.name)))


def forge_hashes(run: Run) -> None:
    status = read_json(run.path / "status.json")
    files = {name: sha256_of(run.path / name) for name in status["files"]}
    write_json(run.path / "status.json", sealed(status | {"files": files}))


def states(verification: Verification) -> dict[str, State]:
    return {str(each.check): each.state for each in verification.checks}


def differing(verification: Verification) -> set[str]:
    return {check for check, state in states(verification).items() if state is State.DIFFERS}


def test_an_unchanged_run_agrees_to_the_bit_also_when_its_first_epochs_are_trained_again(trained: Run) -> None:
    verification = convoy.verify(trained, stretch=2)
    assert set(states(verification).values()) == {State.AGREES}
    assert len(verification.checks) == 9
    for check in ("predictions", "training"):
        assert [each.gap for each in verification.of(check)] == [Gap(0.0, 0.0)]


def test_verifying_does_not_count_as_an_opening_of_the_test_set(trained: Run) -> None:
    workspace = Workspace(trained.path.parents[1])
    before = workspace.openings(), {path: path.read_bytes() for path in trained.path.glob("*.*")}
    convoy.verify(trained)
    assert (workspace.openings(), {path: path.read_bytes() for path in trained.path.glob("*.*")}) == before


def test_forged_predictions_with_their_scores_and_hashes_differ_from_the_weights(call: Call, run: Run) -> None:
    arrays = read_arrays(run.path / "predictions.npz")
    labels = arrays["test_labels"]
    write_arrays(run.path / "predictions.npz", arrays | {"test_logits": np.eye(3, dtype=np.float32)[labels]})
    scores = read_json(run.path / "scores.json")
    forged = count_scores(labels, labels, run.data.classes).as_table()
    write_json(run.path / "scores.json", scores | {"test": scores["test"] | forged})
    forge_hashes(run)
    code, out, _ = call("verify", run.path, "--json")
    table = json.loads(out)
    assert (code, table["differs"]) == (1, True)
    assert {each["check"] for each in table["checks"] if each["state"] == "differs"} == {"predictions"}


def change_a_weight(run: Run, name: str) -> None:
    weights = load_weights(run.path / name)
    first = sorted(weights)[0]
    save_weights(run.path / name, weights | {first: weights[first] * 1.001})


def replace(run: Run, before: str, after: str) -> None:
    text = (run.path / "recipe.toml").read_text()
    assert before in text
    (run.path / "recipe.toml").write_text(text.replace(before, after))


def change_json(name: str, **values: object) -> Callable[[Run], None]:
    return lambda run: write_json(run.path / name, read_json(run.path / name) | values)


@pytest.mark.parametrize(
    ("change", "checks"),
    [
        (lambda run: change_a_weight(run, WEIGHTS), {"predictions", "training"}),
        (lambda run: change_a_weight(run, "weights/epoch-00001.safetensors"), {"training"}),
        (change_json("data.json", data_hash="0" * 64), {"data"}),
        (lambda run: replace(run, "batch_size = 60", "batch_size = 50"), {"recipe", "training"}),
        (change_json("cost.json", parameters=7), {"cost"}),
    ],
    ids=["best weights", "weights of an epoch", "data", "recipe", "cost"],
)
def test_a_change_with_forged_hashes_differs_from_what_is_computed_again(
    run: Run, change: Callable[[Run], object], checks: set[str]
) -> None:
    change(run)
    forge_hashes(run)
    stretch = 3 if "training" in checks else None
    assert differing(convoy.verify(run, stretch=stretch)) == checks


@pytest.mark.skipif(torch.backends.cpu.get_cpu_capability() == "DEFAULT", reason="no other kernels")
@pytest.mark.parametrize("variable", ["ATEN_CPU_CAPABILITY=default", "ONEDNN_MAX_CPU_ISA=SSE41"])
def test_with_other_kernels_outputs_and_retrained_epochs_are_compared_to_a_tolerance(
    trained: Run, variable: str
) -> None:
    name, _, value = variable.partition("=")
    command = [sys.executable, "-m", "convoy", "verify", str(trained.path), "--stretch", "1", "--json"]
    result = subprocess.run(command, env=os.environ | {name: value}, stdout=subprocess.PIPE)
    checks = json.loads(result.stdout)["checks"]
    assert (result.returncode, {each["state"] for each in checks}) == (0, {State.AGREES})
    gaps = [each["gap"] for each in checks if each["gap"] is not None]
    assert [gap["tolerance"] for gap in gaps] == [1e-4, 1e-4]
    assert 0 < max(gap["largest"] for gap in gaps) <= 1e-4  # other bits


@pytest.mark.parametrize(
    ("factors", "state"),
    [((1, 1 + 1e-5), State.AGREES), ((1, 1 + 1e-5, 1.001), State.UNKNOWN), ((1, 1, 1.1), State.DIFFERS),
     ((1.1,), State.DIFFERS)],
)  # fmt: skip
def test_on_another_machine_steps_may_differ_gradually_but_not_suddenly(
    run: Run, factors: tuple[float, ...], state: State
) -> None:
    """The factors are those of the losses of the first steps; the last is that of all further steps."""
    change_json("environment.json", kernels="AVX512")(run)
    steps = read_arrays(run.path / "steps.npz")
    padding = np.full(len(steps["loss"]) - len(factors), factors[-1])
    write_arrays(run.path / "steps.npz", steps | {"loss": steps["loss"] * np.float32([*factors, *padding])})
    forge_hashes(run)
    [training] = convoy.verify(run, stretch=1).of("training")
    assert training.state is state


def test_of_an_archived_run_everything_but_the_weights_is_checked(trained: Run, tmp_path: Path) -> None:
    archived = archive_run(trained, tmp_path / "archive")
    verification = convoy.verify(archived, stretch=1)
    unknown = {check for check, state in states(verification).items() if state is State.UNKNOWN}
    assert unknown <= {"predictions", "cost", "data", "recipe", "training"}
    assert differing(verification) == set()
    assert states(verification)["files"] is states(verification)["curves"] is State.AGREES


def test_a_finding_that_does_not_follow_from_its_runs_differs(tmp_path: Path) -> None:
    study = fake_study(tmp_path, {"lenet": FakeModel(), "two_conv_cnn": FakeModel(0.99)}, seeds=(1, 2))
    assert "finding" not in differing(convoy.verify(study))
    finding = read_json(study.path / "finding.json")
    finding["rows"][0]["accuracy"]["mean"] = 0.9999
    write_json(study.path / "finding.json", finding)
    assert "finding" in differing(convoy.verify(study))


def test_more_epochs_than_the_run_has_are_an_error(trained: Run) -> None:
    with pytest.raises(ValueError, match="1 to 3"):
        convoy.verify(trained, stretch=4)

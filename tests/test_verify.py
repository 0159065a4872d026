"""convoy verify: values computed again from data, weights and recipe."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
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
from convoy.verifying.result import State, Verification

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
        assert [each.largest for each in verification.of(check)] == [0]


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

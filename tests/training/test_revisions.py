"""A revision changes exactly the fingerprints of the runs that it affects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from convoy import archive
from convoy.models import MODELS
from convoy.recipe import Recipe
from convoy.runs import Workspace
from convoy.training.run import revisions
from convoy.training.run.ledger import Ledger
from convoy.training.run.plan import plan_one

pytestmark = pytest.mark.any_kernels

KEPT = Path(__file__).parents[2] / "docs" / "results" / "runs"
ONE_EPOCH = {"train.epochs": 1}


def fingerprint(name: str, overrides: Mapping[str, Any]) -> str:
    return plan_one(Recipe.load(name).override(overrides)).fingerprint


def raise_model(patch: pytest.MonkeyPatch, name: str) -> None:
    patch.setitem(MODELS._entries, name, replace(MODELS[name], revision=MODELS[name].revision + 1))


def test_an_epoch_as_accurate_as_the_best_is_not_a_new_best() -> None:
    ledger = Ledger()
    accuracies, losses = [0.5, 0.5, 0.6, 0.6], [0.9, 0.8, 0.7, 0.6]
    best = [ledger.select(epoch, *pair) for epoch, pair in enumerate(zip(accuracies, losses, strict=True), start=1)]
    assert best == [True, False, True, False]
    assert ledger.best_epoch == 3


@pytest.mark.parametrize(
    ("name", "overrides", "digest"),  # as version 0.1 computed them, before models and rules had revisions
    [
        (
            "tensor-mnist/corrected",
            {"data.split.validation": 0, "stop.patience_epochs": 0},
            "05238f53116278f6c0df330ff96c95431831eae98749b35d3b34d9aad52da791",
        ),
        (
            "course-mnist/wide-kernel-cnn",
            ONE_EPOCH,
            "4872871d6c0beec18f8698ee94bed9786f13c3366d468aede58aa47e21394633",
        ),
        ("classics-mnist/mobilenet-v1", ONE_EPOCH, "1dfb433bfda83a80b3e9f584c39e12455498acc8ca08eaae09cfde7375a54676"),
    ],
)
def test_runs_without_a_new_revision_keep_their_fingerprint(name: str, overrides: dict[str, Any], digest: str) -> None:
    assert fingerprint(name, overrides) == digest


def test_a_revision_of_a_model_only_changes_its_fingerprints(monkeypatch: pytest.MonkeyPatch) -> None:
    before = [fingerprint(name, ONE_EPOCH) for name in ("classics-mnist/lenet", "classics-mnist/mobilenet-v1")]
    raise_model(monkeypatch, "mobilenet_v1")
    after = [fingerprint(name, ONE_EPOCH) for name in ("classics-mnist/lenet", "classics-mnist/mobilenet-v1")]
    assert after[0] == before[0]
    assert after[1] != before[1]


def test_a_revision_of_a_rule_only_changes_fingerprints_of_runs_that_use_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """An epoch is selected if there are several epochs and a part to select by."""
    cases: list[dict[str, Any]] = [{}, {"train.epochs": 2}, ONE_EPOCH, {"data.split.validation": 0}]
    before = [fingerprint("classics-mnist/lenet", case) for case in cases]
    selection = revisions.RULE_REVISIONS["selection"]
    monkeypatch.setitem(revisions.RULE_REVISIONS, "selection", selection._replace(revision=selection.revision + 1))
    after = [fingerprint("classics-mnist/lenet", case) for case in cases]
    assert [old != new for old, new in zip(before, after, strict=True)] == [True, True, False, False]


@pytest.mark.parametrize(
    ("name", "overrides", "folder"),
    [
        ("classics-mnist/lenet", {}, "lenet-s42-2d4302a9d211"),
        ("tensor-mnist/corrected", {}, "two_conv_cnn-s42-20cb8cba14dc"),
        ("tensor-mnist/published", {"seed": 43}, "two_conv_cnn_published-s43-515abb4bc775"),
        (
            "resnet-mnist/corrected",
            {"data.limit": 4000, "train.epochs": 4, "compute.precision": "bfloat16"},
            "mnist_resnet-s42-6af3b9be05ce",
        ),
    ],
)
def test_an_archived_run_is_found_by_its_recipe(
    name: str, overrides: dict[str, Any], folder: str, tmp_path: Path
) -> None:
    assert archive.restore(KEPT, tmp_path) > 0
    run = Workspace(tmp_path).find(fingerprint(name, overrides))
    assert run is not None
    assert run.name == folder
    assert run.finished

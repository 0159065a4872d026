"""Mixing, policies, erasing, class weights and balanced sampling, in complete runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.training.test_run_one import bits, finish, pause_after

from convoy.recipe import Recipe
from convoy.training.run.plan import plan_one
from convoy.training.step import loop

Make = Callable[..., Recipe]
ALL_TOOLS: list[tuple[str, Any]] = [
    (
        "data.augment",
        [
            {"name": "crop", "padding": 1},
            {"name": "rand_augment", "magnitude": 3},
            {"name": "erase"},
            {"name": "mixup"},
            {"name": "cutmix"},
        ],
    ),
    ("data.sampling", "balanced"),
    ("train.class_weights", "balanced"),
    ("train.loss", {"name": "cross_entropy", "label_smoothing": 0.1}),
]


@pytest.mark.parametrize("precision", ["float32", "float64", "bfloat16"])
def test_a_recipe_with_all_tools_trains(tiny: Make, tmp_path: Path, precision: str) -> None:
    run = finish(tiny(*ALL_TOOLS, ("compute.precision", precision), ("train.epochs", 4)), tmp_path)
    assert run.scores["test"].accuracy > 0.9


def test_an_interrupted_run_with_all_tools_equals_the_uninterrupted_one_bit_exactly(
    tiny: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "RECORD_SECONDS", 0.0)
    recipe = tiny(*ALL_TOOLS)
    uninterrupted = finish(recipe, tmp_path / "uninterrupted")
    assert finish(recipe, tmp_path / "broken", control=pause_after(11)).state == "interrupted"
    assert bits(finish(recipe, tmp_path / "broken")) == bits(uninterrupted)


def test_accuracy_in_training_counts_the_dominant_label(tiny: Make, tmp_path: Path) -> None:
    mixed = [("data.augment", [{"name": "mixup", "alpha": 0.01}])]  # hardly ever in equal parts
    run = finish(tiny(*mixed, ("train.epochs", 4)), tmp_path)
    assert run.metrics[-1].train.total == 480
    assert run.metrics[-1].train.accuracy > 0.9


def test_class_weights_only_affect_the_training_loss(tiny: Make, tmp_path: Path) -> None:
    """With a learning rate near 0, both networks hardly change, so that losses differ only due to class weights."""
    still = [("optim.lr", 1e-30), ("optim.weight_decay", 0.0), ("train.epochs", 1)]
    plain = finish(tiny(*still), tmp_path).metrics[0]
    weighted = finish(tiny(*still, ("train.class_weights", [1, 1, 50])), tmp_path).metrics[0]
    assert weighted.validation.loss == plain.validation.loss
    assert weighted.train.loss != pytest.approx(plain.train.loss, rel=1e-3)


def test_weights_for_another_number_of_classes_are_an_error_before_anything_is_written(
    tiny: Make, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="expected 3 weights.*got 2"):
        finish(tiny(("train.class_weights", [1, 2])), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_balanced_weights_follow_the_training_part(tiny: Make) -> None:
    weights = plan_one(tiny(("train.class_weights", "balanced"))).class_weights
    assert weights is not None
    assert torch.allclose(weights, torch.ones(3, dtype=torch.float64))

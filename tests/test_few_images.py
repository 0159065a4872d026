"""Batch size and epochs for a user's own few images: real digits as image files."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import convoy
from convoy.api.arguments import named_recipes, recipe_to_train
from convoy.data import load
from convoy.recipe import Recipe, few_images
from convoy.recipe.few_images import fitted
from convoy.runs import Workspace
from convoy.studies.compare.ablation import combine
from convoy.training.run.plan import plan_one

Call = Callable[..., tuple[int, str, str]]
BOTH = ("train.batch_size", "train.epochs")


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 digits of MNIST, four of each class: 26 to train on, 6 for validation, 8 for the test."""
    root = tmp_path_factory.mktemp("own") / "digits"
    train = load("mnist").train
    for label, name in enumerate(train.classes):
        (root / name).mkdir(parents=True)
        for place in np.flatnonzero(train.labels == label)[:4]:
            Image.fromarray(train.images[place, 0]).save(root / name / f"{place}.png")
    return root


def options_of(data: Path | str, **own: object) -> dict[str, object]:
    set_ = {"data.split.stratified": False, **own}
    return {"data": str(data), "set": set_}


def numbers(recipe: Recipe) -> tuple[int, int, tuple[str, ...]]:
    return recipe.train.batch_size, recipe.train.epochs, recipe.chosen


@pytest.mark.parametrize(
    ("images", "batch", "epochs"),
    [(5, 8, 500), (48, 8, 84), (120, 8, 34), (400, 16, 20), (1600, 64, 20), (2560, 128, 25)],
)
def test_few_images_have_small_batches_and_more_epochs(images: int, batch: int, epochs: int) -> None:
    assert numbers(fitted(Recipe.load("defaults/images"), images)) == (
        batch,
        epochs,
        BOTH if batch < 128 else BOTH[1:],
    )


def test_a_recipe_that_trains_enough_steps_is_unchanged() -> None:
    recipe = Recipe.load("defaults/images")
    assert fitted(recipe, 6400) is recipe


@given(
    st.integers(1, 10_000),
    st.integers(1, 512),
    st.integers(1, 40),
    st.sets(st.sampled_from(BOTH)),
)
def test_steps_are_enough_and_only_free_keys_change(images: int, batch: int, epochs: int, fixed: set[str]) -> None:
    own = Recipe().override({"train.batch_size": batch, "train.epochs": epochs})
    recipe = fitted(own, images, fixed=fixed)
    assert not set(recipe.chosen) & fixed
    assert (recipe.train.batch_size, recipe.train.epochs) == (
        recipe.train.batch_size if BOTH[0] in recipe.chosen else batch,
        recipe.train.epochs if BOTH[1] in recipe.chosen else epochs,
    )
    assert recipe.train.batch_size <= batch
    assert recipe.train.epochs >= epochs
    steps = math.ceil(images / recipe.train.batch_size)
    if BOTH[0] not in fixed:
        assert steps >= few_images.STEPS_PER_EPOCH or recipe.train.batch_size < 2 * few_images.MIN_BATCH_SIZE
    if BOTH[1] not in fixed:
        assert steps * recipe.train.epochs >= few_images.STEPS


def test_the_batch_size_is_at_least_the_number_of_micro_batches() -> None:
    recipe = Recipe.load("defaults/images", [("train.accumulate", 32)])
    assert fitted(recipe, 100).train.batch_size == 32


def test_keys_that_are_set_keep_their_values(digits: Path, tmp_path: Path) -> None:
    def of(recipe: Recipe | str | None, data: Path | str = digits, **own: object) -> tuple[int, int, tuple[str, ...]]:
        return numbers(recipe_to_train(recipe, options_of(data, **own)))

    assert of("lenet") == of(None) == (8, 125, BOTH)
    assert of("lenet", **{"train.epochs": 3}) == (8, 3, BOTH[:1])
    assert of("lenet", train={"batch_size": 64}) == (64, 500, BOTH[1:])
    assert of("lenet", **{"train.batch_size": 64, "train.epochs": 3}) == (64, 3, ())
    assert of("fast-mnist") == (256, 1, ())
    assert of(Recipe.load("defaults/images", [("data.name", str(digits))])) == (128, 10, ())
    (tmp_path / "mine.toml").write_text("[train]\nepochs = 4\n")
    assert of(str(tmp_path / "mine.toml")) == (8, 4, BOTH[:1])
    (tmp_path / "more.toml").write_text('extends = "mine.toml"\n[model]\nname = "two_conv_cnn"\n')
    assert of(str(tmp_path / "more.toml")) == (8, 4, BOTH[:1])
    assert of("lenet", "mnist", **{"data.limit": 100}) == (128, 5, ())


def test_members_of_a_comparison_have_one_value_and_their_own_of_a_varied_key(digits: Path) -> None:
    named = named_recipes(["lenet", "two_conv_cnn"], options_of(digits))
    assert {numbers(recipe) for _, recipe in named} == {(8, 125, BOTH)}
    _, points = combine(named, {"train.batch_size": [16, 32]})
    assert {numbers(recipe) for _, recipe in points} == {(16, 125, BOTH[1:]), (32, 125, BOTH[1:])}


def test_a_value_that_is_set_later_is_no_longer_chosen(tmp_path: Path) -> None:
    recipe = fitted(Recipe.load("defaults/images"), 100)
    assert recipe.override({"seed": 3}).chosen == BOTH
    assert recipe.override({"train.epochs": 3}).chosen == BOTH[:1]
    (tmp_path / "run.toml").write_text(recipe.to_toml())
    assert Recipe.load(tmp_path / "run.toml") == recipe
    (tmp_path / "child.toml").write_text('extends = "run.toml"\n')
    assert Recipe.load(tmp_path / "child.toml").chosen == ()


def test_the_choice_is_not_part_of_the_fingerprint(digits: Path) -> None:
    chosen = recipe_to_train("lenet", options_of(digits))
    set_ = recipe_to_train("lenet", options_of(digits, **{"train.batch_size": 8, "train.epochs": 125}))
    assert chosen.chosen != set_.chosen
    assert plan_one(chosen).fingerprint == plan_one(set_).fingerprint


def test_a_run_reports_the_chosen_values_and_its_recipe_contains_them(
    call: Call, digits: Path, page_alone: None
) -> None:
    command = ["train", "lenet", "--data", digits, "--data.split.stratified", "false", "--train.epochs", 2, "--no-test"]
    code, out, err = call(*command)
    assert code == 0, err
    (run,) = Workspace("convoy-runs").runs()
    (sentence,) = few_images.sentences(run.recipe)
    assert numbers(run.recipe) == (8, 2, BOTH[:1])
    for text in (out, (run.path / "log.txt").read_text(), convoy.report(run).read_text()):
        assert text.count(sentence) == 1

    for again in (["train", run.path / "recipe.toml", "--no-test"], command):
        code, out, err = call(*again)
        assert code == 0, err
        assert "already trained" in out
        assert sentence in out
    assert len(list(Workspace("convoy-runs").runs())) == 1

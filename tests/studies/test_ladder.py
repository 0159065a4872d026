"""The recipes that a ladder trains, and its finding."""

from __future__ import annotations

from pathlib import Path

import pytest

import convoy
from convoy.experiments import experiment
from convoy.recipe import Recipe
from convoy.recipe.faults import Fault
from convoy.studies.ladder.finding import LadderFinding, RungAccuracies, Setting, conclude
from convoy.studies.ladder.run import build, changes_between, with_changes

LENET, PUBLISHED = "classics-mnist/lenet", "classics-mnist/lenet-published"
LADDERS = [(name, study.recipes) for name in experiment.names() for study in experiment.load(name).study]


def keys_of(first: Recipe, second: Recipe) -> list[str]:
    return [change.key for change in changes_between(first, second)]


def test_changes_are_faults_and_then_keys() -> None:
    assert keys_of(Recipe.load(LENET), Recipe.load(PUBLISHED)) == [
        "log_softmax",
        "last_weights",
        "data.split.stratified",
        "data.normalise",
    ]


@pytest.mark.parametrize(
    ("overrides", "keys"),
    [
        ({"optim.name": "sgd", "optim.lr": 0.1}, ["optim"]),
        ({"optim.lr": 0.1}, ["optim.lr"]),
        ({"model.options.activation": "sigmoid"}, ["model.options.activation"]),
        ({"seed": 7, "about": "other", "compute.threads": 3}, []),
        ({"model.seed": 7}, ["model.seed"]),
        ({"train.clip_norm": 1.0}, ["train.clip_norm"]),
    ],
)
def test_a_section_with_another_name_is_one_change(overrides: dict[str, object], keys: list[str]) -> None:
    recipe = Recipe().override({"model.name": "lenet"})
    assert keys_of(recipe, recipe.override(overrides)) == keys


@pytest.mark.parametrize(("name", "recipes"), [each for each in LADDERS if len(each[1]) == 2])
def test_changes_lead_from_each_published_recipe_to_the_other_and_back(name: str, recipes: tuple[str, str]) -> None:
    first, second = map(Recipe.load, recipes)
    changes = changes_between(first, second)
    assert changes_between(with_changes(first, changes), second) == []
    assert changes_between(with_changes(second, changes, undone=True), first) == []


def test_the_ladder_ends_with_the_second_recipe_which_is_also_trained_without_each_change() -> None:
    ladder = build(("a", Recipe.load(LENET)), ("b", Recipe.load(PUBLISHED)), seeds=2)
    assert ladder.steps[-1].recipe.canonical() == Recipe.load(PUBLISHED).canonical()
    for step in ladder.steps:
        assert step.without is not None
        assert changes_between(step.without, ladder.steps[-1].recipe) == [*step.changes]
    assert [entry.recipe.seed for entry in ladder.entries[:2]] == [42, 43]
    assert len(ladder.entries) == 2 * (1 + 4 + 4)


def test_a_change_that_is_not_valid_alone_is_made_with_the_next() -> None:
    """The fault needs another key, which comes later."""
    first = Recipe().override({"model.name": "lenet", "data.split.validation": 0.0})
    second = first.override({"data.split.validation": 0.1, "protocol.faults": [Fault.RESPLIT_EVERY_EPOCH]})
    ladder = build(("a", first), ("b", second), seeds=1)
    assert [[change.key for change in step.changes] for step in ladder.steps] == [
        ["resplit_every_epoch", "data.split.validation"]
    ]


@pytest.mark.parametrize(
    ("second", "seeds", "named"),
    [
        ({}, 3, "the same recipe"),
        ({"optim.lr": 0.1}, 0, "seeds = 0"),
        ({"data.name": "digits"}, 1, "same data"),
        ({"data.split.folds": 5}, 1, "folds"),
    ],
)
def test_recipes_without_a_ladder_are_an_error(second: dict[str, object], seeds: int, named: str) -> None:
    recipe = Recipe().override({"model.name": "lenet"})
    with pytest.raises(ValueError, match=named):
        build(("a", recipe), ("b", recipe.override(second)), seeds=seeds)


def found(*accuracies: tuple[dict[int, float], dict[int, float] | None]) -> LadderFinding:
    start = {1: 0.90, 2: 0.92, 3: 0.91}
    rungs = [
        RungAccuracies((Setting(f"key{n}", "a", "b"),), own, without)
        for n, (own, without) in enumerate(accuracies, start=1)
    ]
    return conclude(start, rungs, labels=("a", "b"), data="mnist", part="test", images=10_000)


def test_steps_add_up_to_the_total_and_interaction_remains() -> None:
    finding = found(
        ({1: 0.93, 2: 0.95, 3: 0.94}, {1: 0.91, 2: 0.93, 3: 0.92}),
        ({1: 0.98, 2: 0.96, 3: 0.97}, {1: 0.93, 2: 0.95, 3: 0.94}),
    )
    steps = [rung.step.difference.mean for rung in finding.rungs]
    assert steps == pytest.approx([0.03, 0.03])
    assert sum(steps) == pytest.approx(finding.total.mean)
    assert finding.leave_one_out_total == pytest.approx(0.05 + 0.03)
    assert finding.largest.step.difference.mean == pytest.approx(0.03)


def test_p_values_are_corrected_over_steps_and_leave_one_out_effects() -> None:
    finding = found(
        ({1: 0.93, 2: 0.951, 3: 0.94}, {1: 0.91, 2: 0.935, 3: 0.92}),
        ({1: 0.98, 2: 0.96, 3: 0.97}, {1: 0.93, 2: 0.951, 3: 0.94}),
    )
    effects = [effect for rung in finding.rungs for effect in (rung.step, rung.leave_one_out) if effect is not None]
    smallest = min(effects, key=lambda effect: effect.p or 1)
    assert smallest.p is not None
    assert smallest.p_holm == pytest.approx(3 * smallest.p), "of the last change, both effects are one test"
    assert finding.rungs[-1].leave_one_out == finding.rungs[-1].step


def test_a_missing_leave_one_out_effect_leaves_no_sum() -> None:
    finding = found(({1: 0.93, 2: 0.951, 3: 0.94}, None), ({1: 0.98, 2: 0.96, 3: 0.97}, {1: 0.93, 2: 0.951, 3: 0.94}))
    assert finding.leave_one_out_total is None
    assert finding.rungs[0].leave_one_out is None


def test_one_seed_gives_effects_without_intervals() -> None:
    finding = conclude(
        {5: 0.9},
        [RungAccuracies((Setting("optim.lr", "0.1", "0.2"),), {5: 0.95}, {5: 0.9})],
        labels=("a", "b"),
        data="mnist",
        part="test",
        images=1_000,
    )
    assert (finding.rungs[0].step.difference.low, finding.rungs[0].step.p_holm) == (None, None)
    assert not finding.rungs[0].step.significant


def test_the_finding_follows_from_the_runs(tmp_path: Path) -> None:
    options = {"data": "digits", "epochs": 1, "limit": 120, "seeds": 1, "out": tmp_path, "show": False}
    recipe = Recipe().override({"model.name": "two_conv_cnn", "data.name": "digits"})
    study = convoy.ladder(recipe, recipe.override({"optim.lr": 0.1}), **options)
    finding = study.finding
    (rung,) = finding.rungs
    scores = {member.label: member.run.scores["test"].accuracy for member in study.members}
    assert {finding.start.mean, rung.accuracy.mean} == {*scores.values()}
    assert rung.without == finding.start

"""The contract of built-in experiments: recipes can be trained, faults change only one thing, claims are valid."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest

from convoy.experiments import experiment as experiments
from convoy.experiments.experiment import SIDES, Experiment, Fault, Model, Settings
from convoy.experiments.measures import find
from convoy.experiments.reproduction.scope import Scope
from convoy.recipe import Recipe
from convoy.recipe.files import builtin_names
from convoy.training.run import fault_checks
from convoy.training.run.plan import plan_one

FEW = [("data.limit", 200), ("train.batch_size", 16)]
EXPERIMENTS = {name: experiments.load(name) for name in experiments.names()}
MODELS = [(experiment, model) for experiment in EXPERIMENTS.values() for model in experiment.model]
FAULTS = [(experiment, fault) for experiment in EXPERIMENTS.values() for fault in experiment.fault]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Noise in the shape of CIFAR-10, used instead of it."""
    draw = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("data") / "cifar10.npz"
    parts = {f"x_{part}": draw.integers(0, 256, (n, 32, 32, 3), np.uint8) for part, n in (("train", 300), ("test", 60))}
    np.savez(path, **parts, y_train=np.arange(300) % 10, y_test=np.arange(60) % 10)
    return {"cifar10": f"cifar10={path}", "mnist": "mnist"}


class Planned(NamedTuple):
    recipe: Recipe
    selection: str | None
    fingerprint: str
    parameters: int


@pytest.fixture(scope="module")
def planned(data: dict[str, str]) -> Callable[[Recipe], Planned]:
    """Plans a recipe on few images, which builds its network and takes its first step. Once per recipe."""
    plans: dict[str, Planned] = {}

    def plan(recipe: Recipe) -> Planned:
        few = recipe.override([("data.name", data[recipe.data.name]), *FEW])
        key = json.dumps(few.as_table(), sort_keys=True)
        if key not in plans:
            made = plan_one(few)
            parameters = sum(parameter.numel() for parameter in made.network.parameters())
            plans[key] = Planned(made.recipe, made.selection, made.fingerprint, parameters)
        return plans[key]

    return plan


def test_the_five_experiments_exist() -> None:
    assert set(EXPERIMENTS) == {"course-mnist", "cifar-course", "resnet-mnist", "classics-mnist", "tensor-mnist"}


@pytest.mark.parametrize(("experiment", "model"), MODELS, ids=[model.label for _, model in MODELS])
def test_a_model_trains_under_both_protocols_and_only_the_published_one_has_faults(
    experiment: Experiment, model: Model, planned: Callable[[Recipe], Planned]
) -> None:
    assert model.as_published is not None
    published, corrected = (planned(experiment.recipe(name, [])) for name in (model.as_published, model.corrected))

    assert published.recipe.protocol.faults
    assert not corrected.recipe.protocol.faults
    assert corrected.selection == "validation"
    assert corrected.recipe.data.normalise == "train"
    assert published.recipe.train == corrected.recipe.train
    assert published.recipe.optim == corrected.recipe.optim
    assert published.recipe.seed == corrected.recipe.seed


@pytest.mark.parametrize(("experiment", "model"), MODELS, ids=[model.label for _, model in MODELS])
def test_published_numbers_of_parameters_agree_with_the_networks(
    experiment: Experiment, model: Model, planned: Callable[[Recipe], Planned]
) -> None:
    if "parameters" not in model.published:
        pytest.skip("none is published")

    assert planned(experiment.recipe(model.corrected, [])).parameters == model.published["parameters"]


@pytest.mark.parametrize(("experiment", "fault"), FAULTS, ids=[f"{f.name}: {fault.name}" for f, fault in FAULTS])
def test_a_fault_is_the_base_with_one_change(
    experiment: Experiment, fault: Fault, planned: Callable[[Recipe], Planned]
) -> None:
    without, with_ = fault.sides(experiment.recipe(fault.base, []))

    assert not without.protocol.faults
    if fault.of_one_seed:
        assert without == with_
        return
    assert len(with_.protocol.faults) + bool(fault.set) == 1
    assert planned(with_).fingerprint != planned(without).fingerprint


@pytest.mark.parametrize("name", list(EXPERIMENTS))
def test_every_recipe_of_the_experiment_is_used_by_it(name: str) -> None:
    experiment = EXPERIMENTS[name]
    named = {recipe for model in experiment.model for recipe in (model.as_published, model.corrected)}
    named |= {fault.base for fault in experiment.fault} | {
        recipe for part in experiment.study for recipe in part.recipes
    }

    assert {recipe for recipe in builtin_names() if recipe.startswith(f"{name}/")} == named


@pytest.mark.parametrize("name", list(EXPERIMENTS))
def test_its_claims_have_recipes_under_each_protocol(name: str) -> None:
    checks = Scope(EXPERIMENTS[name], Settings(full_size=True)).claims
    for check in checks:
        for recipe in check.sides.values():
            validation = range(5000) if recipe.data.split.validation else None
            sizes: Any = SimpleNamespace(validation=validation, fold=None, test=range(10_000), classes=range(10))
            fault_checks.check(recipe, sizes)
    assert {(check.claim.id, check.protocol) for check in checks} == {
        (claim.id, side) for claim in EXPERIMENTS[name].claim for side in SIDES if claim.has(side)
    }


@pytest.mark.parametrize("name", list(EXPERIMENTS))
def test_the_guide_counts_its_claims_and_tests(name: str) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "guides" / "ablation.md").read_text(encoding="utf-8")
    tests = sum(bool(check.trials) for check in Scope(EXPERIMENTS[name], Settings(full_size=True)).claims)
    assert f"| `{name}` | {len(EXPERIMENTS[name].claim)} | {tests} | {tests * 0.05:.3g} |" in guide


def test_claims_that_compare_two_measured_sides_have_a_margin_unless_their_grid_is_coarser() -> None:
    compared = [
        claim
        for experiment in EXPERIMENTS.values()
        for claim in experiment.claim
        if claim.b and claim.relation != "about"
    ]
    without = {claim.measure for claim in compared if not claim.margin and not find(claim.measure).exact}
    assert without == {"highest_that_trains"}


def test_classes_of_cifar_10_have_the_names_of_the_course_in_its_claims_and_are_measured_by_those_of_the_data() -> None:
    experiment = EXPERIMENTS["cifar-course"]
    assert experiment.class_names == {"airplane": "plane", "automobile": "car"}
    claim = next(claim for claim in experiment.claim if claim.id == "plane-car-ship")
    assert claim.shown_settings["classes"] == ["plane", "car", "ship"]
    assert claim.settings["classes"] == ["airplane", "automobile", "ship"]


def test_error_for_an_unknown_recipe_or_measure_lists_close_names(tmp_path: Path) -> None:
    path = tmp_path / "experiment.toml"
    model = '[[model]]\nlabel = "a"\ncorrected = "tensor-mnist/corrected"\npublished = { test_acuracy = 1 }\n'
    path.write_text(f'title = "t"\nabout = "a"\ndata = "mnist"\n{model}')

    with pytest.raises(ValueError, match=r"experiment\.toml.*did you mean 'test_accuracy'"):
        experiments.load(str(path))

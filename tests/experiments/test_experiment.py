"""experiment.toml: the files included in Convoy, and errors for invalid files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
import torch

from convoy import api
from convoy.experiments import experiment
from convoy.experiments.parts import EXPERIMENT_PARTS, STUDIES, Arguments, Crossval, StudyKind, StudyPart
from convoy.experiments.reproduction.studies import result_of
from convoy.models import create
from convoy.options import options_of
from convoy.recipe import Recipe
from convoy.runs import Study

HEAD = """
title = "t"
about = "a"
data = "digits"
[[model]]
label = "net"
corrected = "lenet"
[[study]]
"""


def load(folder: Path, study: str) -> experiment.Experiment:
    (folder / "experiment.toml").write_text(HEAD + study)
    return experiment.load(str(folder / "experiment.toml"))


@pytest.mark.parametrize("name", experiment.names())
def test_every_experiment_names_existing_recipes(name: str) -> None:
    read = experiment.load(name)

    for recipe in read.recipe_names:
        assert read.recipe(recipe, []).data.name == read.data


def varied(read: experiment.Experiment) -> Iterator[Recipe]:
    """All recipes of the studies and faults, with one key varied at a time."""
    for study in read.study:
        arguments = study.typed_arguments(quick=False)
        for recipe in (read.recipe(name, [*study.set.items()]) for name in study.recipes):
            yield recipe
            for key, values in {**getattr(arguments, "vary", {}), **getattr(arguments, "grid", {})}.items():
                yield from (recipe.override({key: value}) for value in values)
    for fault in read.fault:
        yield from fault.sides(read.recipe(fault.base, []))


@pytest.mark.parametrize("name", experiment.names())
def test_every_varied_setting_of_an_experiment_builds_a_network(name: str) -> None:
    networks = {
        (recipe.model.name, repr(recipe.model.options)): recipe.model for recipe in varied(experiment.load(name))
    }
    channels = 1 if "mnist" in name else 3

    assert networks
    for model in networks.values():
        with torch.device("meta"):
            create(model.name, in_chans=channels, num_classes=10, image_size=32, options=model.options)


@pytest.mark.parametrize(
    ("study", "message"),
    [
        ('kind = "crossval"\nrecipes = "x"\narguments = { fold = 5 }', "needs folds among its arguments"),
        ('kind = "crossval"\nrecipes = "x"\narguments = { folds = 5, repaets = 2 }', "did you mean 'repeats'"),
        ('kind = "search"\nrecipes = "x"', "the study search needs grid"),
        ('kind = "landscape"\nrecipes = "x"\narguments = { lrs = [1, 2], surfaces = { images = 0, resolution = 9 } }',
         "surfaces.images = 0"),
        ('kind = "crossval"\nrecipes = "x"\narguments = { folds = 5 }\nquick = { folds = 1 }', "folds = 1"),
        ('kind = "crossval"\nrecipes = ["x", "y"]\narguments = { folds = 5 }', "expects one recipe, got 2"),
    ],
)  # fmt: skip
def test_invalid_arguments_of_a_study_are_a_one_line_error(tmp_path: Path, study: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        load(tmp_path, study)

    assert "\n" not in str(error.value)


def test_a_landscape_that_varies_settings_is_the_part_ablation(tmp_path: Path) -> None:
    landscape = 'kind = "landscape"\nrecipes = "x"\n[study.arguments]\nlrs = [0.1, 0.2]\n'

    assert load(tmp_path, landscape).study[0].part == "landscape"
    assert load(tmp_path, landscape + 'vary = { "optim.beta1" = [0.5, 0.9] }').study[0].part == "ablation"


def test_the_types_list_the_kinds_of_the_table() -> None:
    assert set(get_args(StudyPart)) == {*STUDIES}
    assert set(get_args(StudyKind)) == {info.kind for info in STUDIES.values()} <= {*STUDIES}
    assert set(get_args(Arguments)) == {info.arguments for info in STUDIES.values()}


def test_a_study_of_two_recipes_is_reported_under_their_names(tmp_path: Path) -> None:
    section = experiment.ExperimentStudy(kind="ladder", recipes=("x/lenet-published", "x/lenet"))
    recipes = [("lenet_published", Recipe()), ("lenet", Recipe())]
    (tmp_path / "study.toml").touch()

    result = result_of(section, Study(tmp_path), recipes, relative_to=Study(tmp_path), digest="")

    assert result.labels == ("lenet_published", "lenet")


def test_the_help_of_only_lists_the_parts() -> None:
    assert options_of(api.reproduce)["only"].help == f"Comma-separated parts: {', '.join(EXPERIMENT_PARTS)}."


def test_quick_overrides_the_arguments(tmp_path: Path) -> None:
    part = load(
        tmp_path, 'kind = "crossval"\nrecipes = "x"\narguments = { folds = 5, repeats = 2 }\nquick = { folds = 2 }'
    )

    assert part.study[0].typed_arguments(quick=False) == Crossval(folds=5, repeats=2)
    assert part.study[0].typed_arguments(quick=True) == Crossval(folds=2, repeats=2)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (
            'corrected = "lenet"',
            'corrected = "lenet"\npublished = { test_accuracy = [0.97, 0.98] }',
            "expected a number",
        ),
        ('corrected = "lenet"', 'corrected = "lenet"\nreported_as = { test_accuracy = "best_acc" }', "'best_acc'"),
        (
            "[[study]]",
            '[[fault]]\nname = "f"\nsentence = "s"\nbase = "lenet"\nover = "data.split.foldx"',
            "a key whose value is an integer",
        ),
        (
            "[[study]]",
            '[[fault]]\nname = "f"\nsentence = "s"\nbase = "lenet"\nover = "model.name"',
            "a key whose value is an integer",
        ),
    ],
)
def test_errors_are_reported_before_the_training(tmp_path: Path, before: str, after: str, message: str) -> None:
    head = HEAD.replace("[[study]]\n", "") if before != "[[study]]" else HEAD
    (tmp_path / "experiment.toml").write_text(head.replace(before, after))

    with pytest.raises(ValueError, match=message) as error:
        experiment.load(str(tmp_path / "experiment.toml"))

    assert "\n" not in str(error.value)


def test_a_fault_is_added_to_the_faults_of_its_base() -> None:
    fault = experiment.Fault(name="f", sentence="s", base="b", faults=("macs_as_flops",))
    base = Recipe().override({"protocol.faults": ["sampled_labels"]})

    without, with_ = fault.sides(base)

    assert without.protocol.faults == ("sampled_labels",)
    assert set(with_.protocol.faults) == {"sampled_labels", "macs_as_flops"}

"""experiment.toml: the files that come with Convoy, and what is answered to others."""

from __future__ import annotations

from pathlib import Path

import pytest

from convoy.studies import experiment

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
def test_every_experiment_names_recipes_that_are_there(name: str) -> None:
    read = experiment.load(name)

    for recipe in read.recipe_names:
        assert read.recipe(recipe, []).data.name == read.data


@pytest.mark.parametrize(
    ("study", "said"),
    [
        ('kind = "crossval"\nrecipes = "x"\narguments = { fold = 5 }', "needs folds among its arguments"),
        ('kind = "crossval"\nrecipes = "x"\narguments = { folds = 5, repaets = 2 }', "did you mean 'repeats'"),
        ('kind = "search"\nrecipes = "x"', "the study search needs grid"),
        ('kind = "landscape"\nrecipes = "x"\narguments = { lrs = [1, 2], surfaces = { images = 0, resolution = 9 } }',
         "surfaces.images = 0"),
        ('kind = "crossval"\nrecipes = "x"\narguments = { folds = 5 }\nquick = { folds = 1 }', "folds = 1"),
        ('kind = "crossval"\nrecipes = ["x", "y"]\narguments = { folds = 5 }', "takes one recipe, not 2"),
    ],
)  # fmt: skip
def test_arguments_that_a_study_does_not_take_are_answered_in_one_line(tmp_path: Path, study: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as error:
        load(tmp_path, study)

    assert "\n" not in str(error.value)


def test_what_quick_changes_goes_on_top_of_the_arguments(tmp_path: Path) -> None:
    part = load(
        tmp_path, 'kind = "crossval"\nrecipes = "x"\narguments = { folds = 5, repeats = 2 }\nquick = { folds = 2 }'
    )

    assert part.study[0].asked(quick=False) == experiment.Crossval(folds=5, repeats=2)
    assert part.study[0].asked(quick=True) == experiment.Crossval(folds=2, repeats=2)

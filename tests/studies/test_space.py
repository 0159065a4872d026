from __future__ import annotations

import pytest

from convoy.recipe import Recipe
from convoy.studies.search.space import Range, Space, Values, axes_of

BASE = Recipe()


def space(*grid: str, ranges: tuple[str, ...] = ()) -> Space:
    return Space(axes_of(grid, ranges))


def test_values_are_parsed_as_toml_if_possible_and_otherwise_are_text():
    found = space("train.batch_size=64,128", "model.options.activation=relu,tanh", 'data.augment=[{name="flip"}],[]')

    assert [axis.extremes for axis in found.axes] == [(64, 128), ("relu", "tanh"), ([{"name": "flip"}], [])]


def test_mappings_give_the_same_axes_as_text():
    typed = space("train.batch_size=64,128", ranges=("optim.lr=1e-4..1e-1",))

    assert Space(axes_of({"train.batch_size": [64, 128]}, {"optim.lr": (1e-4, 1e-1)})) == typed


def test_the_name_of_a_flag_is_accepted_for_its_key():
    assert space("batch-size=64,128", ranges=("lr=1e-4..1e-1",)).paths == ["train.batch_size", "optim.lr"]


@pytest.mark.parametrize(
    ("text", "log", "integer"),
    [
        ("optim.lr=1e-4..1e-1", True, False),
        ("optim.lr=0.02..0.05", False, False),
        ("optim.weight_decay=0..0.1", False, False),
        ("train.batch_size=16..256", True, True),
        ("train.batch_size=64..128", False, True),
    ],
)
def test_a_range_of_a_decade_is_logarithmic_and_one_between_integers_is_integer(text, log, integer):
    (axis,) = space(ranges=(text,)).axes

    assert (axis.is_log, axis.is_integer) == (log, integer)
    assert axis.distribution.log is log


def test_a_list_read_from_the_storage_is_equal():
    found = space('data.augment=[{name="flip"}],[]')

    values = [value for point in found.points(seed=0) for _key, value in found.overrides(point)]
    assert sorted(values, key=len) == [[], [{"name": "flip"}]]


def test_points_are_the_full_grid_in_an_order_that_depends_on_the_seed():
    found = space("train.batch_size=1,2,3", "optim.lr=0.1,0.2,0.3")

    first, again, other = found.points(1), found.points(1), found.points(2)

    assert first == again != other
    assert sorted(map(str, first)) == sorted(map(str, other))
    assert len(first) == found.size == 9


def test_planned_recipes_together_contain_every_value():
    found = space("train.batch_size=16,32,64", ranges=("optim.lr=1e-4..1e-1",)).check(BASE)

    assert [(each.train.batch_size, each.optim.lr) for _, each in found] == [
        (16, 1e-4),
        (32, 1e-4),
        (64, 1e-4),
        (16, 1e-1),
    ]


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ([Values("optim.lrr", (0.1,))], "unknown key 'optim.lrr'.*did you mean 'optim.lr'"),
        ([Values("optim.lr", (0.1, -1))], "optim.lr = -1.*greater than 0"),
        (
            [Values("train.batch_size", (4, 64)), Values("train.accumulate", (1, 8))],
            "train.accumulate = 8 exceeds",
        ),
        ([Range("train.batch_size", 0, 64)], "train.batch_size = 0"),
    ],
    ids=["key", "value", "two values together", "end of a range"],
)
def test_every_point_is_checked_before_any_is_trained(axes, message):
    with pytest.raises(ValueError, match=message):
        Space(tuple(axes)).check(BASE)


@pytest.mark.parametrize(
    ("grid", "ranges", "message"),
    [
        ((), (), "a search needs a key to vary"),
        (("optim.lr",), (), "expected a key and its values"),
        (("optim.lr=0.1,0.1",), (), "0.1 is given twice"),
        (("optim.lr=0.1", "optim.lr=0.2"), (), "optim.lr is given twice"),
        (("seed=1,2",), (), "seed cannot be searched: the winner is retrained"),
        (
            ("data.split.validation=0.1,0.2",),
            (),
            "data.split.validation cannot be searched: accuracies on",
        ),
        ((), ("optim.lr=1e-4",), "expected KEY=LOW..HIGH"),
        ((), ("optim.lr=a..b",), "optim.lr: expected a number .* got 'a'"),
        ((), ("optim.lr=0.1..0.01",), "got 0.1..0.01"),
    ],
)
def test_an_invalid_axis_is_a_one_line_error(grid, ranges, message):
    with pytest.raises(ValueError, match=message):
        space(*grid, ranges=ranges)

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from convoy.recipe import Recipe
from convoy.runs import Workspace
from convoy.studies.session import Entry, Session
from convoy.studies.train_all import train_all

Make = Callable[..., Recipe]


def test_members_are_in_the_order_of_the_entries(tiny: Make, tmp_path: Path) -> None:
    positions: list[int] = []
    entries = [Entry("short", tiny(("train.epochs", 1))), Entry("long", tiny(("train.epochs", 3)))]
    members = train_all(entries, Session(tmp_path, show=lambda position, event: positions.append(position)))
    assert members is not None
    assert [(member.label, len(member.run.metrics)) for member in members] == [("short", 1), ("long", 3)]
    assert positions[0] == 1  # the longer run starts first


def test_one_recipe_under_two_labels_is_an_error_before_anything_is_trained(tiny: Make, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'a' and 'b' are the same recipe"):
        train_all([Entry("a", tiny()), Entry("b", tiny())], Session(tmp_path))
    assert not list(Workspace(tmp_path).runs())


def test_entries_that_need_not_be_distinct_share_a_run(tiny: Make, tmp_path: Path) -> None:
    members = train_all([Entry("a", tiny()), Entry("b", tiny()), Entry("a", tiny())], Session(tmp_path), distinct=False)
    assert members is not None
    assert [member.label for member in members] == ["a", "b", "a"]
    assert len({member.run.path for member in members}) == 1


def test_every_recipe_is_checked_before_the_first_is_trained(tiny: Make, tmp_path: Path) -> None:
    wrong = tiny(("model.options.colour", 1))
    with pytest.raises(ValueError, match="colour"):
        train_all([Entry("a", tiny()), Entry("b", wrong)], Session(tmp_path))
    assert not list(Workspace(tmp_path).runs())


def test_an_interrupted_call_returns_none_and_is_resumed(tiny: Make, tmp_path: Path) -> None:
    entries = [Entry("a", tiny()), Entry("b", tiny(("seed", 1)))]
    assert train_all(entries, Session(tmp_path, interrupted=lambda: True)) is None
    members = train_all(entries, Session(tmp_path))
    assert members is not None
    assert all(member.run.finished for member in members)


def test_without_entries_there_are_no_members(tmp_path: Path) -> None:
    assert train_all([], Session(tmp_path)) == []

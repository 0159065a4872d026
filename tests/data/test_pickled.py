"""Pickles of plain data are read, all others rejected."""

from __future__ import annotations

import contextlib
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoy.data import DataError
from convoy.data.pickled import read_pickled

BATCH = {
    "data": np.arange(24, dtype=np.uint8).reshape(2, 12),
    "labels": [3, 300, 70_000, -5],
    "filenames": ["a.png", "b.png"],
    "batch_label": b"training batch 1 of 5",
    "mean": np.linspace(0, 1, 6).reshape(2, 3, order="F"),
    "more": (1.5, None, True, {"nested": ("text", b"bytes", 1, 2)}),
}


def like(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_plain_data_equal_those_of_pickle(protocol: int) -> None:
    found = read_pickled(pickle.dumps(BATCH, protocol), "batch")

    assert {key: like(value) for key, value in found.items()} == {key: like(value) for key, value in BATCH.items()}
    assert found["data"].dtype == np.uint8
    assert found["mean"].dtype == np.float64


def test_byte_order_of_an_array_is_kept() -> None:
    found = read_pickled(pickle.dumps({"a": np.arange(3, dtype=">i4")}, 2), "batch")
    assert found["a"].tolist() == [0, 1, 2]


def test_long_lists_and_repeated_objects_are_complete() -> None:
    twice = list(range(2500))
    found = read_pickled(pickle.dumps({"a": twice, "b": twice, "c": np.zeros(3), "d": np.ones(3)}, 2), "batch")
    assert found["a"] == found["b"] == twice
    assert found["d"].tolist() == [1, 1, 1]


class Hostile:
    """An object whose pickle requests a call."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call[0], self.call[1:]


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_system_call_is_refused_by_name_and_not_made(tmp_path: Path, protocol: int) -> None:
    witness = tmp_path / "was_here"
    content = pickle.dumps({"data": Hostile(os.system, f"touch {witness}")}, protocol)

    with pytest.raises(DataError, match=rf"^data_batch_1: .*asks for {os.name}.system; .*nothing in it was run$"):
        read_pickled(content, "data_batch_1")

    assert not witness.exists()


@pytest.mark.parametrize("called", [eval, np.load, np.array, getattr, pickle.loads])
def test_other_callables_are_refused_by_name(called: Any) -> None:
    with pytest.raises(DataError, match=f"asks for .*{called.__name__}"):
        read_pickled(pickle.dumps({"data": Hostile(called, "1")}, 2), "batch")


@pytest.mark.parametrize(
    "call",
    [
        (np._core.multiarray._reconstruct, np.matrix, (0,), b"b"),
        (np.dtype, "O", False, True),
        (np.dtype, "u1,i4", False, True),
    ],
    ids=["subclass", "objects", "record"],
)
def test_arrays_of_other_than_numbers_are_refused(call: tuple[Any, ...]) -> None:
    with pytest.raises(DataError, match="asks for numpy.*matrix|unexpected arguments"):
        read_pickled(pickle.dumps({"data": Hostile(*call)}, 2), "batch")


def test_an_opcode_that_plain_data_do_not_need_is_refused() -> None:
    with pytest.raises(DataError, match="batch: .*opcode INST; .*nothing in it was run"):
        read_pickled(b"(ios\nsystem\n.", "batch")


def test_state_is_set_on_nothing_but_arrays() -> None:
    with pytest.raises(DataError, match="sets the state of a dict"):
        read_pickled(b"\x80\x02}}b.", "batch")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no pickle at all",
        pickle.dumps(BATCH, 2)[:-40],
        b"\x80\x02.",  # nothing on the stack
        b"\x80\x02}K\x01s.",  # a key without a value
        b"\x80\x02}(K\x01u.",
        b"\x80\x02h\x07.",  # a memo that was never written
        b"\x80\x02]K\x01K\x02s.",  # an item of a list
        b"\x80\x02}K\x01a.",  # an element of a dict
    ],
)
def test_a_damaged_pickle_is_an_error(content: bytes) -> None:
    with pytest.raises(DataError, match="^batch: damaged, or not a pickle of plain data: "):
        read_pickled(content, "batch")


def test_a_pickle_without_a_dict_is_an_error() -> None:
    with pytest.raises(DataError, match="^batch: .*dict, got list$"):
        read_pickled(pickle.dumps([1, 2], 2), "batch")


def test_an_array_that_claims_more_than_it_holds_is_damaged() -> None:
    content = pickle.dumps({"data": np.zeros(10, np.uint8)}, 3)
    claims_more = content.replace(b"K\n\x85", b"K\x0b\x85")
    assert claims_more != content
    with pytest.raises(DataError, match=r"an array of shape \(11,\) has 10 bytes"):
        read_pickled(claims_more, "batch")


@given(st.sampled_from([2, 3, 4]), st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=6))
def test_no_corruption_gives_anything_but_a_dict_or_a_data_error(
    protocol: int, bytes_at: list[tuple[int, int]]
) -> None:
    content = bytearray(pickle.dumps(BATCH, protocol))
    for place, value in bytes_at:
        content[place % len(content)] = value
    with contextlib.suppress(DataError):
        assert isinstance(read_pickled(bytes(content), "batch"), dict)

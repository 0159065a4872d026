from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from convoy import files


def test_a_failed_write_keeps_the_old_file_and_no_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    files.write_json(path, {"a": 1})

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        files.write_json(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("size", [3, files.LARGE_BYTES])
def test_pieces_are_written_one_after_the_other_and_hashed_like_the_file(tmp_path: Path, size: int) -> None:
    digest = files.write_pieces(tmp_path / "a", [b"a", memoryview(b"bc" * size)])
    assert (tmp_path / "a").read_bytes() == b"a" + b"bc" * size
    assert digest == hashlib.sha256((tmp_path / "a").read_bytes()).hexdigest()


def test_error_about_damaged_json_contains_the_path(tmp_path: Path) -> None:
    (tmp_path / "scores.json").write_text('{"a": ')
    with pytest.raises(ValueError, match=r"scores\.json is damaged"):
        files.read_json(tmp_path / "scores.json")


def test_within_reading_once_a_file_is_read_again_only_after_a_change(tmp_path: Path) -> None:
    files.write_arrays(path := tmp_path / "a" / "x.npz", {"x": np.arange(3)})
    with files.reading_once():
        first = files.read_arrays(path)
        assert files.read_arrays(tmp_path / "a" / ".." / "a" / "x.npz") is first
        files.write_arrays(path, {"x": np.arange(4)})
        assert len(files.read_arrays(path)["x"]) == 4
    assert files.read_arrays(path) is not files.read_arrays(path)

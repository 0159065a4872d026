from __future__ import annotations

import json
from pathlib import Path

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


def test_error_about_damaged_json_contains_the_path(tmp_path: Path) -> None:
    (tmp_path / "scores.json").write_text('{"a": ')
    with pytest.raises(ValueError, match=r"scores\.json is damaged"):
        files.read_json(tmp_path / "scores.json")

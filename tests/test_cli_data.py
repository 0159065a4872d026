"""convoy data get, add, clean and convoy list data, run in this process."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import Call
from tests.data.published import idx_gz, random_images

from convoy.data import DATA_SETS
from convoy.data.named import Download, RemoteFile


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVOY_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files of a KMNIST of 20 images, in the catalogue, without a server."""
    paths = []
    for part, count in (("train", 20), ("t10k", 10)):
        for kind, values in (("images-idx3", random_images(count, 28, 28)), ("labels-idx1", np.arange(count) % 10)):
            paths.append(tmp_path / f"{part}-{kind}-ubyte.gz")
            paths[-1].write_bytes(idx_gz(values))
    remote = tuple(
        RemoteFile(path.name, sha256(path.read_bytes()).hexdigest(), None, (f"http://127.0.0.1:1/{path.name}",))
        for path in paths
    )
    monkeypatch.setitem(DATA_SETS._entries, "kmnist", replace(DATA_SETS["kmnist"], origin=Download("kmnist", remote)))
    return paths


def test_manually_downloaded_files_become_a_data_set(call: Call, files: list[Path]) -> None:
    code, out, _ = call("data", "add", "kmnist", *files[:3])
    assert (code, out.split(": ")[-1]) == (0, f"{files[3].name}\n")

    code, out, _ = call("data", "add", "kmnist", files[3])
    assert code == 0
    assert out.startswith("kmnist: 20 + 10 images")

    assert call("data", "get", "kmnist")[:2] == (0, out)


def test_json_lists_missing_files_and_then_the_data_set(call: Call, files: list[Path]) -> None:
    _, out, _ = call("data", "add", "kmnist", files[0], "--json")
    assert json.loads(out) == {"name": "kmnist", "missing": [path.name for path in files[1:]]}

    _, out, _ = call("data", "add", "kmnist", *files[1:], "--json")
    assert json.loads(out)["images"] == {"train": 20, "test": 10}


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("data", "get", "kmnsit"), "unknown data set 'kmnsit'; did you mean 'kmnist'"),
        (("data", "get", "kmnist"), "kmnist: cannot download train-images-idx3-ubyte.gz: http://127.0.0.1:1/"),
        (("data", "add", "kmnist", "nothing.gz"), "nothing.gz: does not exist"),
        (("train", "lenet", "--data", "kmnist"), "kmnist: not on this machine"),
    ],
)
def test_errors_are_one_line(call: Call, files: list[Path], command: tuple[str, ...], message: str) -> None:
    code, out, err = call(*command)
    assert (code, out) == (2, "")
    assert err.startswith(f"convoy: {message}")
    assert err.count("\n") == 1


def test_list_shows_which_data_sets_are_available(call: Call, files: list[Path]) -> None:
    def whereabouts() -> dict[str, str]:
        return {row["name"]: row["where"] for row in json.loads(call("list", "data", "--json")[1])["data"]}

    before = whereabouts()
    call("data", "add", "kmnist", *files)

    assert (before["mnist"], before["cifar10"], before["kmnist"]) == ("packaged", "download", "download")
    assert whereabouts() == before | {"kmnist": "here"}
    assert max(map(len, call("list", "data")[1].splitlines())) < 150


def test_clean_removes_decoded_copies_but_not_downloads(call: Call, files: list[Path], tmp_path: Path) -> None:
    call("data", "add", "kmnist", *files)

    assert json.loads(call("data", "clean", "--json")[1])["entries"] == 0
    assert json.loads(call("data", "clean", "--all", "--json")[1])["entries"] == 1
    assert list((tmp_path / "cache" / "data").iterdir()) == []
    assert call("data", "get", "kmnist")[0] == 0

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

from convoy import checkpoint
from convoy.files import write_pieces


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3).to(memory_format=torch.channels_last)
        self.a = nn.Linear(4, 4)
        self.b = nn.Linear(4, 4)
        self.b.weight = self.a.weight


def state_of(step: int) -> dict[str, Any]:
    return {"step": step, "nested": [{0: torch.full((3,), float(step)), "scalar": 0.5}, None], "name": "x"}


def test_tied_and_channels_last_weights_are_equal_after_a_round_trip(tmp_path: Path) -> None:
    module = Tied()
    checkpoint.save_weights(tmp_path / "w.safetensors", module.state_dict())
    loaded = checkpoint.load_weights(tmp_path / "w.safetensors")
    assert loaded.keys() == module.state_dict().keys()
    assert all(torch.equal(value, loaded[name]) for name, value in module.state_dict().items())


def test_packed_tensors_are_the_bytes_that_safetensors_writes() -> None:
    tensors = {}
    for number, dtype in enumerate(checkpoint.DTYPES):
        for name in ("b", 'a/é\n"', "B"):
            tensors[f"{name}{number}"] = (torch.arange(6).reshape(3, 2) % 2).to(dtype)
        tensors |= {f"scalar{number}": torch.ones((), dtype=dtype), f"empty{number}": torch.empty(0, 3, dtype=dtype)}
    assert checkpoint.pack(tensors, {}) == safetensors.torch.save(tensors, metadata={"aliases": "{}"})


def test_saved_weights_have_the_returned_hash(tmp_path: Path) -> None:
    digest = checkpoint.save_weights(tmp_path / "w.safetensors", Tied().state_dict())
    assert digest == hashlib.sha256((tmp_path / "w.safetensors").read_bytes()).hexdigest()


def test_nested_state_is_equal_after_a_round_trip(tmp_path: Path) -> None:
    checkpoint.save_checkpoint(tmp_path, 7, state_of(7))
    loaded = checkpoint.load_checkpoint(tmp_path)
    assert loaded is not None
    assert torch.equal(loaded["nested"][0][0], torch.full((3,), 7.0))
    assert loaded["nested"][0]["scalar"] == 0.5
    assert loaded["nested"][1] is None


def test_only_the_two_newest_checkpoints_remain(tmp_path: Path) -> None:
    for step in (5, 10, 15):
        checkpoint.save_checkpoint(tmp_path, step, state_of(step))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["10", "15"]


def test_incomplete_checkpoints_are_deleted_first(tmp_path: Path) -> None:
    for step in (5, 10):
        checkpoint.save_checkpoint(tmp_path, step, state_of(step))
    (tmp_path / "10" / "manifest.json").unlink()

    checkpoint.save_checkpoint(tmp_path, 8, state_of(8))

    assert sorted(path.name for path in tmp_path.iterdir()) == ["5", "8"]


@pytest.mark.parametrize("damage", ["truncate", "flip", "no manifest", "half written", "not text"])
def test_the_previous_checkpoint_is_loaded_if_the_newest_is_damaged(tmp_path: Path, damage: str) -> None:
    for step in (5, 10):
        checkpoint.save_checkpoint(tmp_path, step, state_of(step))
    tensors = tmp_path / "10" / "tensors.safetensors"
    content = tensors.read_bytes()
    if damage == "truncate":
        tensors.write_bytes(content[: len(content) // 2])
    elif damage == "flip":
        tensors.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "no manifest":
        (tmp_path / "10" / "manifest.json").unlink()
    elif damage == "not text":
        (tmp_path / "10" / "manifest.json").write_bytes(b"\xff\xfe")
    else:
        (tmp_path / "10" / "manifest.json").write_text('{"tensors.sa')
    loaded = checkpoint.load_checkpoint(tmp_path)
    assert loaded is not None
    assert loaded["step"] == 5


def test_a_full_disk_while_saving_leaves_the_previous_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint.save_checkpoint(tmp_path, 5, state_of(5))

    def full(path: Path, pieces: Sequence[bytes | memoryview]) -> str:
        if path.name == "state.json":
            raise OSError(28, "No space left on device")
        return write_pieces(path, pieces)

    monkeypatch.setattr(checkpoint, "write_pieces", full)
    with pytest.raises(OSError, match="No space"):
        checkpoint.save_checkpoint(tmp_path, 10, state_of(10))
    loaded = checkpoint.load_checkpoint(tmp_path)
    assert loaded is not None
    assert loaded["step"] == 5


def test_pth_file_may_nest_its_tensors_under_state_dict(tmp_path: Path) -> None:
    for name, content in {
        "plain.pth": {"w": torch.ones(2)},
        "nested.pth": {"state_dict": {"w": torch.ones(2)}, "epoch": 3},
    }.items():
        torch.save(content, tmp_path / name)
        assert torch.equal(checkpoint.load_weights(tmp_path / name)["w"], torch.ones(2))


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("evil-was-here"),))


@pytest.mark.parametrize(
    "name",
    ["code.pth", "bytes.pth", "module.pth", "text.pth", "empty.pth", "list.pth", "text.safetensors", "absent.pth"],
)
def test_file_without_a_state_dict_is_a_one_line_error_and_executes_no_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / name
    if name == "code.pth":
        torch.save({"w": Evil()}, path)
    elif name == "module.pth":
        torch.save(nn.Linear(2, 2), path)
    elif name == "list.pth":
        torch.save([torch.ones(2)], path)
    elif name.startswith("text"):
        path.write_text("hello")
    elif name == "bytes.pth":
        path.write_bytes(b"\x80\x02}q\x00.0" * 3 + b"a0")
    elif name == "empty.pth":
        path.touch()
    with pytest.raises(ValueError, match=name) as caught:
        checkpoint.load_weights(path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "evil-was-here").exists()


def test_error_about_weights_of_another_network_names_shapes_and_keys(tmp_path: Path) -> None:
    checkpoint.save_weights(tmp_path / "w.safetensors", nn.Linear(3, 2).state_dict())
    with pytest.raises(ValueError, match="\\[2, 4\\] for weight, got \\[2, 3\\]"):
        checkpoint.load_into(nn.Linear(4, 2), tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match="2 missing \\(0.bias\\), 2 unknown"):
        checkpoint.load_into(nn.Sequential(nn.Linear(3, 2)).append(nn.Identity()), tmp_path / "w.safetensors")

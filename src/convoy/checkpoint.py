"""Saves and loads weights and training state as safetensors and JSON: loading never executes code.

A checkpoint is a folder `checkpoints/<step>/` with `tensors.safetensors`, `state.json` and `manifest.json`. The
manifest is written last; it contains the run's fingerprint, the step and the SHA-256 of the other two files. A folder
without a valid manifest, left by a killed process or a full disk, is ignored: the newest valid checkpoint is loaded.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from convoy.files import flush, write_bytes, write_pieces
from convoy.text import gettext as _
from convoy.text.lists import joined

MAX_CHECKPOINTS = 2  # the older one is loaded if the newest is damaged
FILES = ("tensors.safetensors", "state.json")
TENSOR = "$tensor"
WRAPPERS = ("module.", "_orig_mod.")
DTYPES = {  # names in safetensors, in the order in which a file stores the tensors
    torch.uint64: "U64",
    torch.int64: "I64",
    torch.float64: "F64",
    torch.complex64: "C64",
    torch.float32: "F32",
    torch.uint32: "U32",
    torch.int32: "I32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.uint16: "U16",
    torch.int16: "I16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def save_weights(path: Path, weights: Mapping[str, torch.Tensor]) -> str:
    """Saves a state dict as safetensors and returns the SHA-256 (hex) of the file.

    Tied tensors are stored once and listed in the file's metadata.
    """
    return write_pieces(path, _pieces(weights))


def load_weights(path: Path) -> dict[str, torch.Tensor]:
    """Loads a state dict from a .safetensors file, or from a .pth / .pt file that contains only tensors.

    Raises ValueError for a missing or damaged file, another format, or a pickle of objects other than tensors.
    """
    if not path.is_file():
        raise ValueError(_("weights file {path!r} does not exist", path=str(path)))
    if path.suffix == ".safetensors":
        return _unpack(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ValueError(
            _(
                "{path}: expected a state_dict, but the file is damaged or contains objects other than "
                "tensors; not loaded",
                path=path,
            )
        ) from None
    except Exception as error:  # zip, tar and pickle readers fail in many ways
        raise ValueError(
            _(
                "{path}: not a readable weights file: {reason}",
                path=path,
                reason=(str(error) or type(error).__name__).splitlines()[0],
            )
        ) from None
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise ValueError(_("{path}: expected a state_dict of names and tensors", path=path))
    return {str(name): tensor for name, tensor in content.items()}


def load_into(module: torch.nn.Module, path: Path) -> None:
    """Loads a weights file into a network. Raises ValueError if names or shapes do not match."""
    expected = module.state_dict()
    weights = load_named(path, expected)
    for name, tensor in weights.items():
        if tensor.shape != expected[name].shape:
            raise ValueError(
                _(
                    "{path}: expected shape {shape} for {name}, got {found_shape}",
                    path=path,
                    shape=list(expected[name].shape),
                    name=name,
                    found_shape=list(tensor.shape),
                )
            )
    module.load_state_dict(weights)


def load_named(path: Path, expected: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Loads a state dict and removes the prefixes of DataParallel and torch.compile, unless `expected` has them.

    Raises ValueError if the names differ from those of `expected`.
    """
    weights = load_weights(path)
    for prefix in WRAPPERS:
        if all(name.startswith(prefix) for name in weights) and not all(name.startswith(prefix) for name in expected):
            weights = {name.removeprefix(prefix): tensor for name, tensor in weights.items()}
    by_kind = {"missing": sorted(expected.keys() - weights.keys()), "unknown": sorted(weights.keys() - expected.keys())}
    differences = [f"{len(names)} {kind} ({names[0]})" for kind, names in by_kind.items() if names]
    if differences:
        raise ValueError(
            _("{path}: weights of a different network: {differences}", path=path, differences=joined(differences))
        )
    return weights


def save_checkpoint(folder: Path, step: int, state: Mapping[str, Any], run: str = "") -> None:
    """Writes `folder/<step>/` of the run with this fingerprint.

    `state` is a tree of dicts and lists whose leaves are tensors and JSON values.
    """
    tensors: dict[str, torch.Tensor] = {}
    tree = _detach_tensors(state, "", tensors)
    target = folder / str(step)
    target.mkdir(parents=True, exist_ok=True)
    (target / "manifest.json").unlink(missing_ok=True)
    pieces: tuple[Sequence[bytes | memoryview], ...] = (_pieces(tensors), [json.dumps(tree).encode()])
    files = {name: write_pieces(target / name, content) for name, content in zip(FILES, pieces, strict=True)}
    manifest = {"run": run, "step": step, "files": files}
    write_bytes(target / "manifest.json", json.dumps(manifest).encode())
    _flush_folder(target)
    complete = [path for path in _by_step(folder) if (path / "manifest.json").is_file()]
    for path in _by_step(folder):
        if path not in complete[:MAX_CHECKPOINTS]:
            shutil.rmtree(path, ignore_errors=True)


def load_checkpoint(folder: Path, run: str = "") -> dict[str, Any] | None:
    """Returns the state of the newest valid checkpoint of this run, or None."""
    candidate = _newest_valid(folder, run)
    if candidate is None:
        return None
    tensors = _unpack(candidate / FILES[0])
    return _attach_tensors(json.loads((candidate / FILES[1]).read_bytes()), tensors)


def saved_step(folder: Path, run: str = "") -> int | None:
    """The step of the newest valid checkpoint of this run, or None."""
    candidate = _newest_valid(folder, run)
    return None if candidate is None else int(candidate.name)


def _newest_valid(folder: Path, run: str) -> Path | None:
    return next((candidate for candidate in _by_step(folder) if _is_valid(candidate, run)), None)


def _by_step(folder: Path) -> list[Path]:
    """Newest first."""
    return sorted((path for path in folder.glob("*") if path.name.isdigit()), key=lambda path: -int(path.name))


def _is_valid(candidate: Path, run: str) -> bool:
    """Whether the files match the hashes in the manifest, and the manifest belongs to this run and step."""
    try:
        manifest = json.loads((candidate / "manifest.json").read_bytes())
        files = {name: hashlib.sha256((candidate / name).read_bytes()).hexdigest() for name in FILES}
    except (OSError, ValueError, RecursionError):
        return False
    return bool(manifest == {"run": run, "step": int(candidate.name), "files": files})


def pack(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str] | None = None) -> bytes:
    """Returns the bytes of a safetensors file with `metadata` as metadata. Tied tensors are stored once."""
    return b"".join(_pieces(tensors, metadata))


def _pieces(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str] | None = None) -> list[bytes | memoryview]:
    """Returns the content of a safetensors file: its header and the memory of its tensors.

    `safetensors.torch.save` returns the same bytes, but takes five times the processor time, because it copies all
    tensors several times (benchmarks/checkpoint_speed.py). Requires little-endian memory.
    """
    stored: dict[str, torch.Tensor] = {}
    aliases: dict[str, str] = {}
    first: dict[tuple[Any, ...], str] = {}
    for name, tensor in tensors.items():
        identity = (tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride())
        if tensor.numel() and identity in first:
            aliases[name] = first[identity]
        else:
            first[identity] = name
            stored[name] = tensor
    ranks = {dtype: rank for rank, dtype in enumerate(DTYPES)}
    header: dict[str, Any] = {"__metadata__": {"aliases": json.dumps(aliases), **(metadata or {})}}
    content: list[bytes | memoryview] = []
    start = 0
    for name, tensor in sorted(stored.items(), key=lambda item: (ranks[item[1].dtype], item[0])):
        end = start + tensor.nbytes
        header[name] = {"dtype": DTYPES[tensor.dtype], "shape": [*tensor.shape], "data_offsets": [start, end]}
        content.append(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().data)
        start = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return [struct.pack("<Q", len(text)) + text, *content]


def _unpack(path: Path) -> dict[str, torch.Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
            aliases = json.loads((file.metadata() or {}).get("aliases", "{}"))
        return tensors | {name: tensors[original] for name, original in aliases.items()}
    except (SafetensorError, OSError, ValueError, LookupError, AttributeError, TypeError, RecursionError) as error:
        raise ValueError(_("{path}: not a readable safetensors file: {error}", path=path, error=error)) from None


def _detach_tensors(node: Any, path: str, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(node, torch.Tensor):
        tensors[path] = node
        return {TENSOR: path}
    if isinstance(node, Mapping):  # pairs, because an optimizer's state has integer keys
        return {"pairs": [[key, _detach_tensors(value, f"{path}/{key}", tensors)] for key, value in node.items()]}
    if isinstance(node, list | tuple):
        return [_detach_tensors(value, f"{path}/{index}", tensors) for index, value in enumerate(node)]
    return node


def _attach_tensors(node: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    if isinstance(node, dict):
        if TENSOR in node:
            return tensors[node[TENSOR]]
        return {key: _attach_tensors(value, tensors) for key, value in node["pairs"]}
    if isinstance(node, list):
        return [_attach_tensors(value, tensors) for value in node]
    return node


def _flush_folder(folder: Path) -> None:
    """Makes the renames in a folder durable."""
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            flush(handle)
        finally:
            os.close(handle)

"""Tables from TOML files: the chain of `extends`, paths relative to their file, and what is set beside it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from convoy.registry import is_user_class, unknown

Override = tuple[str, Any]
GROUP_FILES = (".npy", ".csv", ".txt")  # what data.split.group_by may name; all else is an expression or a word
EXPERIMENT, CLAIMS = "experiment.toml", "claims.toml"  # beside an experiment's recipes, and none themselves


def builtin_names() -> list[str]:
    root = Path(str(resources.files("convoy") / "recipes"))
    files = (path for path in root.rglob("*.toml") if path.name not in (EXPERIMENT, CLAIMS))
    return sorted(path.relative_to(root).with_suffix("").as_posix() for path in files)


def parse_override(path: str, text: str) -> Override:
    """An override as typed on a command line: the value is TOML where it parses as TOML, else a string."""
    try:
        return path, tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        return path, text


def check_once(overrides: Iterable[Override], varied: Iterable[str] = ()) -> None:
    """Raises ValueError for a key that is set twice, or that a study varies: one of its values would be dropped."""
    given: dict[str, Any] = {}
    for path, value in overrides:
        if path in given:
            raise ValueError(f"{path} is set twice: to {given[path]!r} and to {value!r}")
        given[path] = value
    for path in varied:
        if path in given:
            raise ValueError(f"{path} is both set and varied: to {given[path]!r} beside its values")


def parse_values(text: str) -> tuple[str, list[Any]]:
    """`key=a,b,c` as typed on a command line: the key and its values, each read as an override's.

    A list that reads as TOML is taken so; another is parted at its commas. Raises ValueError: no key, no values.
    """
    path, _, listed = text.partition("=")
    if not (path.strip() and listed.strip()):
        raise ValueError(f"{text!r} must be a key and its values, as in train.batch_size=64,128")
    try:
        values = tomllib.loads(f"values = [{listed}]")["values"]
    except (tomllib.TOMLDecodeError, RecursionError):
        values = [parse_override(path, each.strip())[1] for each in listed.split(",")]
    return path.strip(), values


def read_chain(name: str, relative_to: Path, seen: tuple[Path, ...] = ()) -> tuple[dict[str, Any], str]:
    path = _find(name, relative_to)
    if path in seen:
        circle = " -> ".join(step.stem for step in (*seen, path))
        raise ValueError(f"{path}: extends in a circle: {circle}")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: not valid TOML: {error}") from None
    _anchor_paths(table, path.parent)
    parent = table.pop("extends", None)
    if parent is not None:
        if not isinstance(parent, str):
            raise ValueError(f"{path}: extends = {parent!r}: must be a recipe's name or path")
        inherited, _ = read_chain(parent, path.parent, (*seen, path))
        inherited.pop("expected", None)
        table = _merge(inherited, table)
    return table, str(path)


def _find(name: str, relative_to: Path) -> Path:
    if name.endswith(".toml"):
        path = relative_to / name
        if not path.is_file():
            raise ValueError(f"recipe file {str(path)!r} does not exist")
        return path.resolve()
    if name not in builtin_names():
        raise unknown("recipe", name, builtin_names())
    return Path(str(resources.files("convoy") / "recipes" / f"{name}.toml"))


def _anchor_paths(table: dict[str, Any], folder: Path) -> None:
    """A path in a recipe file is relative to that file."""

    def anchored(path: str) -> str:
        return str((folder / path).resolve()) if (folder / path).exists() else path

    model, data = (table.get(section) for section in ("model", "data"))
    if isinstance(model, dict):
        name, init = model.get("name"), model.get("init")
        if isinstance(name, str) and is_user_class(name):
            file, _, class_name = name.rpartition(":")
            model["name"] = f"{anchored(file)}:{class_name}"
        if isinstance(init, str):
            model["init"] = anchored(init)
    if isinstance(data, dict) and isinstance(data.get("name"), str):
        short, equals, path = data["name"].rpartition("=")  # "cifar10=downloads"
        if equals or "/" in path or Path(path).suffix:
            data["name"] = f"{short}{equals}{anchored(path)}"
    split = data.get("split") if isinstance(data, dict) else None
    if isinstance(split, dict) and str(split.get("group_by", "")).endswith(GROUP_FILES):
        split["group_by"] = anchored(split["group_by"])


def _merge(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Tables merge, all else replaces; a table with another `name` drops the old one's keys (data keep theirs)."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        if isinstance(value, Mapping) and isinstance(old, dict) and key != "expected":
            renamed = key != "data" and "name" in value and value["name"] != old.get("name")
            merged[key] = _merge({} if renamed else old, value)
        else:
            merged[key] = value
    return merged


def apply(table: dict[str, Any], overrides: Iterable[Override]) -> dict[str, Any]:
    """Overrides as one table: names first, so that `optim.lr` given before `optim.name` is not dropped with it."""
    ordered = sorted(overrides, key=lambda pair: not pair[0].endswith(".name"))
    for path, value in ordered:
        *sections, key = path.split(".")
        nested: dict[str, Any] = {key: value}
        for section in reversed(sections):
            nested = {section: nested}
        node: Any = table
        for depth, section in enumerate(sections):
            node = node.get(section, {})
            if not isinstance(node, Mapping):
                raise ValueError(f"{'.'.join(sections[: depth + 1])} is a value, not a table: {path!r} cannot be set")
        table = _merge(table, nested)
    return table

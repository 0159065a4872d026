"""Reads recipes from TOML files: follows `extends`, resolves paths relative to their file, applies overrides."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from convoy.registry import is_user_class, missing, unknown
from convoy.text import gettext as _
from convoy.text.lists import joined

Override = tuple[str, Any]
GROUP_FILES = (".npy", ".csv", ".txt")  # file types of data.split.group_by; other values are not files
EXPERIMENT, CLAIMS = "experiment.toml", "claims.toml"  # files next to an experiment's recipes that are not recipes


@cache
def builtin_names() -> tuple[str, ...]:
    root = Path(str(resources.files("convoy") / "recipes"))
    files = (path for path in root.rglob("*.toml") if path.name not in (EXPERIMENT, CLAIMS))
    return tuple(sorted(path.relative_to(root).with_suffix("").as_posix() for path in files))


def full_name(name: str) -> str:
    """Completes a built-in recipe's name from its last part: "fast-mnist" becomes "defaults/fast-mnist".

    Returns other names unchanged. Raises ValueError if several recipes have this last part.
    """
    names = builtin_names()
    matches = [full for full in names if full.rpartition("/")[2] == name]
    if len(matches) > 1 and name not in names:
        raise ValueError(
            _("recipe {name!r} is ambiguous; expected one of {matches}", name=name, matches=joined(matches))
        )
    return matches[0] if matches and name not in names else name


def parse_override(path: str, text: str) -> Override:
    """Parses an override from the command line. A value that is not valid TOML is a string."""
    try:
        return path, tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        return path, text


def check_once(overrides: Iterable[Override], varied: Iterable[str] = ()) -> None:
    """Raises ValueError if a key is set twice, or both set and varied by a study."""
    values: dict[str, Any] = {}
    for path, value in overrides:
        if path in values:
            raise ValueError(
                _("{path} is set twice: to {values!r} and to {value!r}", path=path, values=values[path], value=value)
            )
        values[path] = value
    for path in varied:
        if path in values:
            raise ValueError(_("{path} cannot be both set (to {values!r}) and varied", path=path, values=values[path]))


def parse_values(text: str) -> tuple[str, list[Any]]:
    """Parses `key=a,b,c` into the key and its values.

    Parses the list as TOML if possible; otherwise splits it at commas and parses each value like an override. Raises
    ValueError if the key or the values are missing.
    """
    path, _equals, listed = text.partition("=")
    if not (path.strip() and listed.strip()):
        raise ValueError(_("expected a key and its values, as in train.batch_size=64,128, got {text!r}", text=text))
    try:
        values = tomllib.loads(f"values = [{listed}]")["values"]
    except (tomllib.TOMLDecodeError, RecursionError):
        values = [parse_override(path, value.strip())[1] for value in listed.split(",")]
    return path.strip(), values


def flattened(table: Mapping[str, Any], prefix: str = "") -> dict[str, object]:
    """Maps dotted keys to the values of a table of tables."""
    flat: dict[str, object] = {}
    for key, value in table.items():
        flat |= flattened(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def read_chain(name: str, relative_to: Path, seen: tuple[Path, ...] = ()) -> tuple[dict[str, Any], str]:
    path = _find(name, relative_to)
    if path in seen:
        cycle = " -> ".join(file.stem for file in (*seen, path))
        raise ValueError(_("{path}: circular extends: {cycle}", path=path, cycle=cycle))
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(_("{path}: not valid TOML: {error}", path=path, error=error)) from None
    if table.get("expected") == {}:  # archived runs have this key
        del table["expected"]
    _resolve_paths(table, path.parent)
    parent = table.pop("extends", None)
    if parent is not None:
        if not isinstance(parent, str):
            raise ValueError(
                _("{path}: extends = {parent!r}: expected a recipe's name or path", path=path, parent=parent)
            )
        inherited, _paths = read_chain(parent, path.parent, (*seen, path))
        inherited.pop("chosen", None)
        table = _merge(inherited, table)
    return table, str(path)


def _find(name: str, relative_to: Path) -> Path:
    if name.endswith(".toml"):
        path = relative_to / name
        if not path.is_file():
            raise ValueError(_("recipe file {path!r} {missing}", path=str(path), missing=missing(path)))
        return path.resolve()
    full = full_name(name)
    if full not in builtin_names():
        raise unknown(_("recipe"), name, builtin_names())
    return Path(str(resources.files("convoy") / "recipes" / f"{full}.toml"))


def _resolve_paths(table: dict[str, Any], folder: Path) -> None:
    """Makes paths that are relative to the recipe file absolute, in place."""

    def anchored(path: str) -> str:
        return str((folder / path).resolve()) if (folder / path).exists() else path

    model, data = (table.get(section) for section in ("model", "data"))
    if isinstance(model, dict):
        name, init = model.get("name"), model.get("init")
        if isinstance(name, str) and is_user_class(name):
            file, _colon, class_name = name.rpartition(":")
            model["name"] = f"{anchored(file)}:{class_name}"
        elif isinstance(name, str) and name.endswith(".py"):
            model["name"] = anchored(name)
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
    """Merges tables; replaces other values. If a table's `name` changes, its old keys are dropped, except in `data`."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        if isinstance(value, Mapping) and isinstance(old, dict):
            renamed = key != "data" and "name" in value and value["name"] != old.get("name")
            merged[key] = _merge({} if renamed else old, value)
        else:
            merged[key] = value
    return merged


def apply(table: dict[str, Any], overrides: Iterable[Override]) -> dict[str, Any]:
    """Merges the overrides into the table. Names come first, because a new `optim.name` drops an earlier `optim.lr`."""
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
                raise ValueError(
                    _(
                        "cannot set {path!r}: {sections} is a value, not a table",
                        path=path,
                        sections=".".join(sections[: depth + 1]),
                    )
                )
        table = _merge(table, nested)
    return table

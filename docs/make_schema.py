"""Writes src/convoy/recipes/schema.json, the JSON schema of recipes that editors read: `make schema`.

Draft 7, which Taplo and Even Better TOML support. Types, bounds and defaults are those of the pydantic sections, the
descriptions the comments in the source, as in docs/reference/recipe.md. Constraints between keys, such as a warm-up
shorter than the run, are checked only when a recipe is loaded.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from reference import comments_of, prose_of

from convoy.data.augment import AUGMENTATIONS
from convoy.data.catalogue import DATA_SETS
from convoy.models import MODELS
from convoy.recipe import Recipe
from convoy.recipe.faults import Fault
from convoy.recipe.files import builtin_names

PATH = Path(__file__).parents[1] / "src" / "convoy" / "recipes" / "schema.json"
Schema = dict[str, Any]
BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
TEXT: Schema = {"type": "string", "minLength": 1}
EMPTY = {"type": "object", "maxProperties": 0}


def schema() -> Schema:
    properties = {
        "extends": {"description": "The recipe from which this one inherits: a built-in one, or a path", **_recipes()},
        **_properties(Recipe),
        "expected": {"description": "Archived runs have this empty table", **EMPTY},
    }
    draft = "http://json-schema.org/draft-07/schema#"
    return {"$schema": draft, "title": "Recipe of Convoy", **_table(properties)}


def text() -> str:
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


def _named(names: Mapping[str, str]) -> Schema:
    """An enum, with a description of each value."""
    return {"enum": [*names], "x-taplo": {"docs": {"enumValues": [*names.values()]}}}


def _recipes() -> Schema:
    full = {name: Recipe.load(name).about for name in builtin_names()}
    short = Counter(name.rpartition("/")[2] for name in full)
    unique = [name for name, count in short.items() if count == 1]
    return {"anyOf": [_named(full), {"enum": unique}, {"type": "string", "pattern": r"\.toml$"}]}


def _own_type(path: str) -> Schema | None:
    """The schema of a key that takes names of a registry, or more forms than pydantic's schema describes."""
    match path:
        case "model.name":
            own = {"type": "string", "pattern": r"\.py(:|$)|^(timm|torchvision):"}
            return {"anyOf": [_named({name: MODELS[name].summary for name in MODELS}), own]}
        case "model.freeze":
            return {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "string"}]}
        case "data.name":
            return {"anyOf": [_named({name: DATA_SETS[name].summary for name in DATA_SETS}), TEXT]}
        case "data.augment":
            kinds = [_of_name(name, AUGMENTATIONS[name], "augmentation") for name in AUGMENTATIONS]
            return {"type": "array", "items": {"anyOf": kinds}}
        case "compute.device":
            return {"anyOf": [{"enum": ["auto", "cpu", "cuda", "mps"]}, {"type": "string", "pattern": "^(cuda|mps):"}]}
        case "protocol.faults":
            faults = _named({fault.value: fault.info.sentence() for fault in Fault})
            return {"anyOf": [{"type": "array", "items": faults, "uniqueItems": True}, faults]}
    return None


def _properties(kind: type[BaseModel], path: str = "") -> dict[str, Schema]:
    """Key -> schema. References are inlined, because draft 7 ignores descriptions and defaults next to a reference."""
    generated = kind.model_json_schema()["properties"]
    return {key: _key(kind, key, generated[key], f"{path}.{key}".lstrip(".")) for key in kind.model_fields}


def _key(kind: type[BaseModel], key: str, generated: Schema, path: str) -> Schema:
    kinds = list(_sections(kind.model_fields[key].annotation))
    if len(kinds) > 1:
        return _any_of(kinds, path)
    if kinds:
        return {**_described(prose_of(kinds[0])), **_table(_properties(kinds[0], path))}
    default = {} if generated.get("default") is None else {"default": generated["default"]}
    return {**_described(comments_of(kind)[key]), **(_own_type(path) or _plain(generated)), **default}


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    for each in get_args(annotation) or [annotation]:
        if isinstance(each, type) and issubclass(each, BaseModel):
            yield each


def _any_of(kinds: Iterable[type[BaseModel]], path: str) -> Schema:
    """One of several sections, selected by `name`; without a name, that of the recipe in `extends` or the default."""
    named, inherited = [], {}
    for kind in kinds:
        name = kind.model_fields["name"].default
        named.append(_of_name(name, kind, path))
        for key, schema in _properties(kind, path).items():
            if key != "name":
                inherited.setdefault(key, []).append(schema)
    either = {key: _either(schemas) for key, schemas in inherited.items()}
    return {"anyOf": [*named, _table(either)]}


def _either(schemas: list[Schema]) -> Schema:
    """Allows what any of these schemas allows; without a default, which depends on the name."""
    bare = [{key: value for key, value in schema.items() if key != "default"} for schema in schemas]
    different = [schema for place, schema in enumerate(bare) if schema not in bare[:place]]
    return different[0] if len(different) == 1 else {"anyOf": different}


def _of_name(name: str, kind: type[BaseModel], path: str) -> Schema:
    properties = {**_properties(kind, path), "name": {"const": name}}
    return {**_described(prose_of(kind)), **_table(properties), "required": ["name"]}


def _table(properties: Mapping[str, Schema]) -> Schema:
    return {"type": "object", "additionalProperties": False, "properties": dict(properties)}


def _described(description: str) -> Schema:
    return {"description": description} if description else {}


def _plain(schema: Schema) -> Schema:
    """Pydantic's schema of a value as draft 7, without null, which TOML does not have."""
    if "anyOf" in schema:
        kinds = [_plain(each) for each in schema["anyOf"] if each.get("type") != "null"]
        return kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
    plain: Schema = {}
    for key, value in schema.items():
        if key == "prefixItems":
            plain |= {"items": [_plain(each) for each in value], "additionalItems": False}
        elif isinstance(value, dict) and key in ("items", "additionalProperties"):
            plain[key] = _plain(value)
        elif key not in ("title", "default") and value != 2**63:  # TOML has no larger integer
            plain[BOUNDS.get(key, key)] = value
    return plain


if __name__ == "__main__":
    PATH.write_text(text(), encoding="utf-8")
    print(PATH)

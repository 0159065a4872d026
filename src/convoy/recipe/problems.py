"""What is wrong with a recipe, in one line: the value, where it stands, what is allowed, what is close."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from convoy.registry import unknown


def first_problem(
    root: type[BaseModel], error: ValidationError, table: dict[str, Any], origin: str, given: Sequence[str]
) -> ValueError:
    """The first thing that pydantic found wrong with a table for `root`, as one line."""
    problem = error.errors()[0]
    node: Any = table
    known: list[str] = list(root.model_fields)
    path: list[str] = []
    section: Any = root
    for part in problem["loc"]:
        if isinstance(node, Mapping) and part in node:
            section, node = _field_type(section, str(part), node[part]), node[part]
            path.append(str(part))
            if isinstance(section, type) and issubclass(section, BaseModel):
                known = list(section.model_fields)
        elif isinstance(node, list | tuple) and isinstance(part, int):
            node = node[part]
            path.append(str(part))
    dotted = ".".join(path)
    if any(f"{each}.".startswith(f"{dotted}.") or dotted.startswith(f"{each}.") for each in given):
        origin = "what was given beside the recipe"
    if problem["type"] == "extra_forbidden":
        parent = ".".join(path[:-1])
        return unknown("key", dotted, [f"{parent}.{name}" if parent else name for name in known], origin)
    if problem["type"].startswith("union_tag"):
        allowed = str(problem["ctx"].get("expected_tags", "")).replace("'", "").split(", ")
        name = node.get("name") if isinstance(node, Mapping) else node
        return unknown(f"{dotted}.name", str(name), allowed, origin)
    if problem["type"] == "literal_error" and isinstance(node, str):
        takes_list = any(each["type"] == "tuple_type" for each in error.errors())
        allowed = _literals(str(problem["ctx"]["expected"])) + ["a list"] * takes_list
        return unknown(dotted, node, allowed, origin)
    message = problem["msg"].removeprefix("Value error, ")
    if not dotted:  # between sections: the message names the keys
        return ValueError(f"{origin}: {message}")
    return ValueError(f"{dotted} = {node!r} in {origin}: {message[:1].lower()}{message[1:]}")


def _literals(expected: str) -> list[str]:
    return [word.strip("' ") for word in expected.replace(" or ", ", ").split(",")]


def _field_type(section: Any, key: str, value: Any) -> Any:
    """The section class behind a key, a union resolved by its `name`; anything else as it is."""
    if not (isinstance(section, type) and issubclass(section, BaseModel)) or key not in section.model_fields:
        return None
    annotation: Any = section.model_fields[key].annotation
    if get_origin(annotation) in (Union, types.UnionType):
        default = getattr(section.model_fields[key].default, "name", None)
        name = value.get("name", default) if isinstance(value, Mapping) else None
        for option in get_args(annotation):
            if isinstance(option, type) and issubclass(option, BaseModel):
                field = option.model_fields.get("name")
                if field is not None and field.default == name:
                    return option
    return annotation

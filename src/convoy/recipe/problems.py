"""Describes an invalid recipe in one line: the key, its value, the file, what is allowed, the closest match."""

from __future__ import annotations

import re
import types
from collections.abc import Mapping, Sequence
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from convoy.registry import unknown
from convoy.text import gettext as _


def first_problem(
    root: type[BaseModel], error: ValidationError, table: dict[str, Any], origin: str, overrides: Sequence[str]
) -> ValueError:
    """Converts pydantic's first error to one line. It names the file `origin` unless an override has set the key."""
    problem = error.errors()[0]
    kind, context = problem["type"], problem.get("ctx", {})
    node: Any = table
    keys: list[str] = list(root.model_fields)
    path: list[str] = []
    section: Any = root
    for part in problem["loc"]:
        if isinstance(node, Mapping) and part in node:
            section, node = _field_type(section, str(part), node[part]), node[part]
            path.append(str(part))
            if isinstance(section, type) and issubclass(section, BaseModel):
                keys = list(section.model_fields)
        elif isinstance(node, list | tuple) and isinstance(part, int) and part < len(node):
            node = node[part]
            path.append(str(part))
    dotted = ".".join(path)
    prefix = f"{dotted}." if dotted else ""
    if any(f"{key}.".startswith(prefix) or dotted.startswith(f"{key}.") for key in overrides):
        origin = ""
    if kind == "extra_forbidden":
        parent = ".".join(path[:-1])
        return unknown(_("key"), dotted, [f"{parent}.{name}" if parent else name for name in keys], origin)
    if kind.startswith("union_tag"):
        allowed = str(context.get("expected_tags", "")).replace("'", "").split(", ")
        name = node.get("name") if isinstance(node, Mapping) else node
        return unknown(f"{dotted}.name", str(name), allowed, origin)
    if kind == "literal_error" and isinstance(node, str):
        takes_list = any(other["type"] == "tuple_type" for other in error.errors())
        allowed = _literals(str(context["expected"])) + [_("a list")] * takes_list
        return unknown(dotted, node, allowed, origin)
    message = _expected(kind, context) or problem["msg"].removeprefix("Value error, ").partition(", unable to parse")[0]
    message = re.sub("^Input should be ", "expected ", message)
    if isinstance(section, type) and issubclass(section, BaseModel):  # a model validator's message names the keys
        return ValueError(f"{origin}: {message}" if origin else message)
    place = _(" in {where}", where=origin) if origin else ""
    message = f"{message[:1].lower()}{message[1:]}"
    return ValueError(_("{key} = {value!r}{place}: {message}", key=dotted, value=node, place=place, message=message))


def _expected(kind: str, context: Mapping[str, Any]) -> str:
    """Returns the message for one of pydantic's most frequent errors, otherwise ""."""
    match kind:
        case "greater_than":
            return _("expected a value greater than {limit}", limit=context["gt"])
        case "greater_than_equal":
            return _("expected a value greater than or equal to {limit}", limit=context["ge"])
        case "less_than":
            return _("expected a value less than {limit}", limit=context["lt"])
        case "less_than_equal":
            return _("expected a value less than or equal to {limit}", limit=context["le"])
        case "int_parsing" | "int_type":
            return _("expected a valid integer")
        case "float_parsing" | "float_type":
            return _("expected a valid number")
    return ""


def _literals(expected: str) -> list[str]:
    return [word.strip("' ") for word in expected.replace(" or ", ", ").split(",")]


def _field_type(section: Any, key: str, value: Any) -> Any:
    """Returns the type of a key; for a union of sections, that with the value's `name`."""
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

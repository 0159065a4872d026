"""Writes and reads typed findings: frozen dataclasses as finding.json."""

from __future__ import annotations

from dataclasses import asdict
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from convoy.files import write_json
from convoy.text import gettext as _

if TYPE_CHECKING:
    from convoy.runs import Study

Finding = TypeVar("Finding")


def write(study: Study, finding: Any) -> None:
    write_json(study.path / "finding.json", asdict(finding))


@cache  # making an adapter takes 10 ms
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def read(study: Study, kind: type[Finding]) -> Finding:
    """Reads a finding. Raises ValueError if it is damaged or of another kind or version."""
    table, expected = study.finding_json, {field: getattr(kind, field) for field in ("kind", "schema")}
    for field, value in expected.items():
        if table.get(field) != value:
            raise ValueError(
                _(
                    "{path}: expected {field} {value!r}, found {found!r}",
                    path=study.path / "finding.json",
                    field=field,
                    value=value,
                    found=table.get(field),
                )
            )
    try:
        return _adapter(kind).validate_python(table)  # type: ignore[arg-type]  # a type is hashable
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(
            _(
                "{path} is damaged: {where}: {problem}",
                path=study.path / "finding.json",
                where=where,
                problem=first["msg"],
            )
        ) from None

"""profile.json of a reproduction: layers, counts and latencies of its networks. Does not import torch."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter

from convoy.experiments.experiment import Side
from convoy.files import write_bytes
from convoy.profiling.result import Profile
from convoy.text.stored import restored, stored


@dataclass(frozen=True)
class Profiles:
    """The networks of an experiment."""

    profiles: list[Profile]
    parameters: dict[str, dict[Side, int]]  # by label and side
    measured_on: str = ""  # processor and date
    key: str = ""  # hash of the fingerprints of their recipes
    recipes: str = ""  # hash of their recipes, in an archive
    counts: dict[str, dict[str, int]] = field(default_factory=dict)  # `networks.ClaimCounter.known`, in an archive


_FILE = TypeAdapter(Profiles)


def as_json(profiles: Profiles, *, indent: int | None = None) -> bytes:
    table = stored(_FILE.dump_python(profiles, by_alias=True))
    return json.dumps(table, indent=indent, allow_nan=False).encode()


def write(profiles: Profiles, path: Path) -> None:
    write_bytes(path, as_json(profiles, indent=1))


def read(content: bytes) -> Profiles | None:
    """Returns None for a file of another version."""
    try:
        return _FILE.validate_python(json.loads(content, object_hook=restored))
    except ValueError:
        return None

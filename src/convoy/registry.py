"""Names and what they stand for: one `Registry` per kind of thing a recipe can name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")

LISTED = 100  # names that a message may hold


def unknown(kind: str, value: str, allowed: Iterable[str], where: str = "") -> ValueError:
    """The one form in which Convoy says that a name is not known: value, place, close matches, what is allowed."""
    names = sorted(allowed)
    place = f" in {where}" if where else ""
    close = get_close_matches(value, names, n=3, cutoff=0.6)
    if close:
        return ValueError(f"unknown {kind} {value!r}{place}; did you mean {' or '.join(map(repr, close))}?")
    if len(names) > LISTED:
        names = [*names[:LISTED], f"... ({len(names):,} in all)"]
    return ValueError(f"unknown {kind} {value!r}{place}; known: {', '.join(names) or 'none'}")


def is_user_class(name: str) -> bool:
    """Whether a model's name is no registered one but a class in a file, "path/to/net.py:MyNet"."""
    return ".py:" in name


def is_external(name: str) -> bool:
    """Whether a model's name is that of another library's network, "timm:NAME" or "torchvision:NAME"."""
    return name.startswith(("timm:", "torchvision:"))


def labels_of(names: Sequence[str]) -> list[str]:
    """What figures call each model or recipe: a class by its own name, a .toml file by its stem.

    Where two files share such a name, as much of their paths precedes it as tells them apart: "first:Net" and
    "second:Net". The same name given twice keeps one label.
    """
    return [_label(name, _depth(name, names)) for name in names]


def _depth(name: str, names: Sequence[str]) -> int:
    """How many parts of a path a label needs so that no other name has the same one."""
    others = [other for other in names if other != name]
    most = len(Path(name).parts)
    labels = ({_label(other, depth) for other in others} for depth in range(most))
    return next((depth for depth, taken in enumerate(labels) if _label(name, depth) not in taken), most)


def _label(name: str, depth: int) -> str:
    """The label behind the last `depth` parts of the path of its file."""
    if is_user_class(name):
        file, _, class_name = name.rpartition(":")
        parts = Path(file).with_suffix("").parts
        return f"{'/'.join(parts[-depth:])}:{class_name}" if depth else class_name
    if name.endswith(".toml"):
        return "/".join(Path(name).with_suffix("").parts[-depth - 1 :])
    return name


class Registry(Generic[T]):
    """A mapping from name to entry that refuses to overwrite and answers a wrong name with the close ones."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}

    def add(self, name: str, entry: T) -> None:
        if name in self._entries:
            raise ValueError(f"{self.kind} {name!r} is registered twice")
        self._entries[name] = entry

    def __getitem__(self, name: str) -> T:
        if name not in self._entries:
            raise unknown(self.kind, name, self._entries)
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries))

    def __len__(self) -> int:
        return len(self._entries)

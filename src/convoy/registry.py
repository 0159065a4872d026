"""Name lookup with helpful errors. There is a `Registry` for each kind of name in a recipe."""

from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Generic, TypeVar

from convoy.text import gettext as _
from convoy.text import translated
from convoy.text.lists import joined, listed

T = TypeVar("T")

HUB = "hf:"  # prefix of a data set or model on the Hugging Face Hub
MAX_LISTED = 100  # names in an error message


def unknown(kind: str, value: str, allowed: Iterable[str], where: str = "") -> ValueError:
    """Returns the error for an unknown name, with close matches or, if there are none, the allowed names."""
    names = sorted(map(str, allowed))  # repr of an enum's member is not its value
    place = _(" in {where}", where=where) if where else ""
    close = get_close_matches(value, names, n=3, cutoff=0.6)
    if close:
        return ValueError(
            _(
                "unknown {kind} {value!r}{place}; did you mean {names}?",
                kind=kind,
                value=value,
                place=place,
                names=listed(map(repr, close), "or"),
            )
        )
    if len(names) > MAX_LISTED:
        names = [*names[:MAX_LISTED], _("... ({n:,} in total)", n=len(names))]
    known = joined(names) or _("none")
    return ValueError(
        _(
            "unknown {kind} {value!r}{place}; known: {names}",
            kind=kind,
            value=value,
            place=place,
            names=known,
        )
    )


def closest(path: str | Path) -> Path | None:
    """Returns the file or folder with the closest name, in the same folder and with the same suffix as `path`."""
    path = Path(path).expanduser()
    try:
        others = {other.name: other for other in path.parent.iterdir() if other.suffix == path.suffix}
    except OSError:
        return None
    close = get_close_matches(path.name, others, n=1, cutoff=0.6)
    return others[close[0]] if close else None


def missing(path: str | Path) -> str:
    """Returns "does not exist", with the closest name if there is one."""
    other = closest(path)
    return _("does not exist") if other is None else _("does not exist; did you mean {name!r}?", name=str(other))


def is_user_class(name: str) -> bool:
    """Whether a model's name refers to a class or function in a file, "path/to/net.py:MyNet"."""
    return ".py:" in name


def is_external(name: str) -> bool:
    """Whether a model's name refers to another library's network, "timm:NAME" or "torchvision:NAME"."""
    return name.startswith(("timm:", "torchvision:"))


def labels_of(names: Sequence[str]) -> list[str]:
    """Returns the labels of models or recipes for figures: a class's name, or the stem of a .toml file.

    Equal labels of different files are prefixed with enough of their paths to make them unique: "first:Net" and
    "second:Net".
    """
    return [_label(name, _depth(name, names)) for name in names]


def _depth(name: str, names: Sequence[str]) -> int:
    """Returns the number of path parts that make a name's label unique."""
    others = [other for other in names if other != name]
    most = len(Path(name).parts)
    labels = ({_label(other, depth) for other in others} for depth in range(most))
    return next((depth for depth, taken in enumerate(labels) if _label(name, depth) not in taken), most)


def _label(name: str, depth: int) -> str:
    """Returns the label, prefixed by the last `depth` parts of its file's path."""
    if is_user_class(name):
        file, _, class_name = name.rpartition(":")
        parts = Path(file).with_suffix("").parts
        return f"{'/'.join(parts[-depth:])}:{class_name}" if depth else class_name
    if name.endswith(".toml"):
        return "/".join(Path(name).with_suffix("").parts[-depth - 1 :])
    return name


class Registry(Generic[T]):
    """A mapping from names to entries. Duplicates raise ValueError; the error for an unknown name lists close ones."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}

    def add(self, name: str, entry: T) -> None:
        if name in self._entries:
            raise ValueError(_("{kind} {name!r} is registered twice", kind=translated(self.kind), name=name))
        self._entries[name] = entry

    def __getitem__(self, name: str) -> T:
        if name not in self._entries:
            raise unknown(translated(self.kind), name, self._entries)
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries))

    def __len__(self) -> int:
        return len(self._entries)

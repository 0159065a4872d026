"""Where and how the runs of a study are trained and shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from convoy.events import Event, OpenTest
from convoy.process import command_line
from convoy.recipe import Recipe
from convoy.studies.shards import Shard
from convoy.text import gettext as _
from convoy.text.labels import label_text

Show = Callable[[int, Event], None]  # arguments: position of the run in the study, event
Stage = Callable[[Sequence[str]], AbstractContextManager[Show]]  # argument: names of the runs trained together


class Entry(NamedTuple):
    """A recipe with one of the study's seeds, and its label."""

    label: str
    recipe: Recipe

    @property
    def title(self) -> str:
        """Names the run in progress lines."""
        return _("{label} (seed {seed})", label=label_text(self.label), seed=self.recipe.seed)


class RetrainOnce:
    """Retrains each recipe once, even if several studies need it."""

    def __init__(self) -> None:
        self.done: set[str] = set()  # fingerprints


@dataclass(frozen=True)
class Session:
    """When `interrupted` returns True, the runs in progress are saved and the study ends. It can be resumed."""

    out: str | Path
    command: str = field(default_factory=command_line)
    fresh: bool | RetrainOnce = False
    test: OpenTest = True
    where: str | None = None  # a cluster, as in the option of the same name; None: this machine
    insecure: bool = False  # whether to allow a scheduler on another machine without TLS
    shard: Shard | None = None  # None: all runs
    interrupted: Callable[[], bool] = lambda: False
    show: Show = lambda position, event: None
    name_study: Callable[[str], None] = lambda name: None  # called before the first run

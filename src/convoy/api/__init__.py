"""The public functions. Each has a command of the same name, whose --help is the docstring.

Their options are declared in TypedDicts (convoy.options). They raise ValueError for invalid arguments before writing
anything, and Stopped after Ctrl-C. Their imports are light, so that --help is fast. `__all__` of a module lists its
public names. The function of a kind of study is in that kind's folder; the import here registers it (an explicit line,
for type checkers).
"""

# ruff: noqa: F403

from typing import TYPE_CHECKING

from convoy.api.describe import *
from convoy.api.doctor import *
from convoy.api.experiments import *
from convoy.api.exports import *
from convoy.api.runs import *
from convoy.api.session import Stopped as Stopped
from convoy.api.verify import *
from convoy.studies.compare.command import compare as compare
from convoy.studies.crossval.command import crossval as crossval
from convoy.studies.ladder.command import ladder as ladder
from convoy.studies.landscape.command import landscape as landscape
from convoy.studies.lr_range.command import lr_range as lr_range
from convoy.studies.search.command import search as search
from convoy.studies.seeds.command import seeds as seeds
from convoy.studies.shards import ShardEnded as ShardEnded

if not TYPE_CHECKING:  # type checkers treat a computed list as empty
    __all__ = sorted(name for name, value in [*globals().items()] if hasattr(value, "__module__") and name[0] != "_")

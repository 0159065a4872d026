"""The public functions; a command of the same name calls each, and its --help is their docstring.

Their options are declared in TypedDicts (convoy.options). They raise ValueError for invalid arguments, before anything
is written, and Stopped after Ctrl-C. Importing them loads little, so that --help is fast. The function of a kind of
study is in its folder, and its line here is the row that registers it: type checkers read these lines.
"""

from typing import TYPE_CHECKING

from convoy.api.describe import DataSheet as DataSheet
from convoy.api.describe import Profiled as Profiled
from convoy.api.describe import data_sheet as data_sheet
from convoy.api.describe import profile as profile
from convoy.api.experiments import check_claim as check_claim
from convoy.api.experiments import reproduce as reproduce
from convoy.api.runs import Prediction as Prediction
from convoy.api.runs import export as export
from convoy.api.runs import predict as predict
from convoy.api.runs import report as report
from convoy.api.runs import test as test
from convoy.api.runs import train as train
from convoy.api.session import Stopped as Stopped
from convoy.studies.compare.command import compare as compare
from convoy.studies.crossval.command import crossval as crossval
from convoy.studies.landscape.command import landscape as landscape
from convoy.studies.lr_range.command import lr_range as lr_range
from convoy.studies.search.command import search as search
from convoy.studies.seeds.command import seeds as seeds

if not TYPE_CHECKING:  # they would take a list that is computed for an empty one
    __all__ = sorted(name for name, value in [*globals().items()] if hasattr(value, "__module__") and name[0] != "_")

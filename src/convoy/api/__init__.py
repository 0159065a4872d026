"""The public functions; a command of the same name calls each, and its --help is their docstring.

Their options are declared in TypedDicts (convoy.options). They raise ValueError for invalid arguments, before anything
is written, and Stopped after Ctrl-C. Importing them loads little, so that --help is fast.
"""

from convoy.api.describe import DataSheet, Profiled, data_sheet, profile
from convoy.api.experiments import check_claim, reproduce
from convoy.api.runs import Prediction, export, predict, report, test, train
from convoy.api.session import Stopped
from convoy.api.studies import compare, crossval, landscape, lr_range, search, seeds

__all__ = [
    "DataSheet",
    "Prediction",
    "Profiled",
    "Stopped",
    "check_claim",
    "compare",
    "crossval",
    "data_sheet",
    "export",
    "landscape",
    "lr_range",
    "predict",
    "profile",
    "report",
    "reproduce",
    "search",
    "seeds",
    "test",
    "train",
]

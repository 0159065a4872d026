"""A published experiment on small images that is reproduced in seconds: recipes and functions for several tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from convoy import api
from convoy.experiments import kinds
from convoy.experiments.reproduction.finding import Reproduction
from convoy.runs import Study

RECIPE = """
about = "A small network on small digits"
[model]
name = "two_conv_cnn"
[data]
name = "digits"
split = { validation = 0.2 }
limit = 300
[train]
epochs = 2
batch_size = 64
[optim]
lr = 1e-3
[compute]
threads = 1
"""
PUBLISHED = """
about = "The same with its faults"
extends = "corrected.toml"
[protocol]
faults = ["softmax_before_loss", "test_opened_at_each_best"]
"""
EXPERIMENT = """
title = "Small digits"
about = "For tests"
data = "digits"
seeds = 2
notes = ["The report has a note"]

[[model]]
label = "net"
as_published = "published.toml"
corrected = "corrected.toml"
published = { test_accuracy = 0.99, parameters = 1234 }

[[model]]
label = "larger"
corrected = "corrected.toml"
seeds = 0

[[fault]]
name = "softmax_before_loss"
sentence = "Softmax before the loss"
base = "corrected.toml"
faults = ["softmax_before_loss"]

[[fault]]
name = "test_opened_at_each_best"
sentence = "The test set is opened often"
base = "corrected.toml"
faults = ["test_opened_at_each_best"]

[[fault]]
name = "one_seed"
sentence = "One seed"
base = "corrected.toml"

[[claim]]
id = "norm"
sentence = "The norm helps"
measure = "test_accuracy"
a = { label = "with", recipe = "corrected.toml" }
b = { label = "without", recipe = "corrected.toml", set = { "model.options.norm" = "none" } }
relation = "above"
seeds = 2

[[study]]
kind = "crossval"
recipes = "corrected.toml"
arguments = { folds = 2 }
"""


def write(folder: Path, **texts: str) -> Path:
    """Writes NAME.toml of each text; returns the path of experiment.toml."""
    for name, text in texts.items():
        (folder / f"{name.replace('_', '-')}.toml").write_text(text)
    return folder / "experiment.toml"


def again(experiment: Path | str, out: Path, *, with_page: bool = False, **options: Any) -> Study:
    """Reproduces without figures, because they take most of the time of such a small experiment."""
    with pytest.MonkeyPatch.context() as patch:
        if with_page:
            patch.setattr("convoy.reporting.render.save_gallery", lambda gallery, folder: None)
            patch.setattr("convoy.reporting.canvas.draw_chart", lambda *_: ("", b""))
            patch.setattr("convoy.reporting.canvas.inline_panels", lambda chart, svg, prefix: [])
        else:
            patch.setattr(api.experiments, "report", lambda study: study.path / "report.html")
        return api.reproduce(experiment, out=out, show=False, **options)


def found(study: Study) -> Reproduction:
    return kinds.finding_of(study)

"""Reports of searches, landscapes and range tests in another language: every text of a page is in the catalog."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from tests.fake_runs import fake_run
from tests.reporting.test_translated import MODELS, NAMES, page_of, untranslated
from tests.reporting.test_translated import catalogs as catalogs

from convoy import text
from convoy.reporting import render
from convoy.reporting.content import Page
from convoy.runs import Member
from convoy.stats import t_interval
from convoy.studies.landscape import arrays
from convoy.studies.landscape import finding as landscape_finding
from convoy.studies.landscape.arrays import FigureArrays, Probes, Surface
from convoy.studies.landscape.band import Curves, edges_of
from convoy.studies.landscape.design import Design
from convoy.studies.landscape.finding import Landscape
from convoy.studies.lr_range.finding import Curve, LrRangeFinding
from convoy.studies.search.finding import Importance, Method, Pruner, Sampler, SearchFinding, State, Trial
from convoy.studies.search.space import Values


def lr_range_page(folder: Path) -> Page:
    curve = Curve((1e-4, 1e-3, 1e-2), (2.0, 1.0, 2.0), (2.0, 1.0, 1.9))
    return page_of(
        folder, [Member("lenet", 42, fake_run(folder))], LrRangeFinding("lenet", "mnist", 2e-4, 1e-3, 5e-3, curve, ())
    )


def search_page(folder: Path) -> Page:
    paths, states = ("train.batch_size", "optim.lr"), (State.FINISHED, State.PRUNED, State.DIVERGED, State.FINISHED)
    trials = [
        Trial(number, dict(zip(paths, point, strict=True)), 0.9 - 0.1 * number, 3, state, None)
        for number, (point, state) in enumerate(zip(product((64, 128), (1e-3, 1e-2)), states, strict=True), start=1)
    ]
    accuracy = t_interval([0.97, 0.98])
    finding = SearchFinding(
        label="lenet",
        data="mnist",
        method=Method(5, False, Sampler.TPE, Pruner.MEDIAN, 42, 3, "validation", parallel=True),
        space=(Values(paths[0], (64, 128)), Values(paths[1], (1e-3, 1e-2))),
        trials=tuple(trials),
        winner=1,
        seeds=(43, 44),
        part="validation",
        accuracy=accuracy,
        scored_accuracy=accuracy,
        importance=Importance({"optim.lr": 0.8, "train.batch_size": 0.2}, 4, only_finished=False),
        test_openings=0,
        flags=(),
    )
    return page_of(folder, [Member("lenet", 42, fake_run(folder))], finding)


def landscape_page(folder: Path) -> Page:
    """Two seeds with a diverged run of each recipe, and surfaces of the first seed."""
    rates, side, path = (1e-3, 1e-2), np.linspace(-1, 1, 3), np.array([[-0.5, 0.2], [0.0, 0.0]])
    random = np.random.default_rng(0)
    results = []
    for label in MODELS:
        runs = [[fake_run(folder, label, seed=seed, changes={"optim.lr": lr}) for lr in rates] for seed in (1, 2)]
        losses = [random.gamma(4, 0.25, (2, 5000)) for _ in runs]
        losses[0][0, 3] = np.inf
        curves = [Curves(np.arange(1, 5001), loss) for loss in losses]
        plane = Surface(side, side, np.exp(3 * side[:, None] + 3 * side))
        with_path = replace(plane, at=path, epochs=np.array([0, 1]), explained=np.array([0.7, 0.2]))
        probes = Probes(np.array([1, 2]), np.ones((2, 5)), np.full((2, 4), np.inf), np.ones(2))
        surfaces = {"line": replace(plane, y=np.zeros(1)), "plane": plane, "path": with_path}
        drawn = FigureArrays(edges_of(curves[0]), probes, surfaces)
        results.append(Landscape(label, runs, [group[0] for group in runs], curves, drawn))
    members = [Member(each.label, run.recipe.seed, run) for each in results for group in each.runs for run in group]
    design = Design(rates, 2, "each", own_seeds=True)
    finding = landscape_finding.conclude(results, design, images=100, step_sizes=(0.1, 0.4))
    arrays.write(folder / "studies" / "study" / "landscape.npz", [each.figures for each in results])
    return page_of(folder, members, finding)


@pytest.mark.usefixtures("page_alone")
@pytest.mark.parametrize("make", [lr_range_page, search_page, landscape_page])
def test_every_text_of_a_page_is_a_message(
    make: Callable[[Path], Page],
    catalogs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(text, "CATALOGS", catalogs)
    monkeypatch.setenv("CONVOY_LANG", "xx")
    assert untranslated(render.write(make(tmp_path), tmp_path / "page").read_text()) <= NAMES

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from tests.fake_runs import FakeModel, fake_run

from convoy import api
from convoy.reporting.content import Chart, Scene3D, Table
from convoy.runs import Member, Study, Workspace
from convoy.stats import t_interval
from convoy.studies import findings
from convoy.studies.search import figures
from convoy.studies.search.finding import Importance, Method, Pruner, SearchFinding, State, Trial
from convoy.studies.search.page import trials
from convoy.studies.search.space import Values

ESTIMATE = t_interval([0.97, 0.98, 0.981])
TWO = {"train.batch_size": [64, 128], "optim.lr": [1e-4, 1e-3, 1e-2]}


def finding(space: dict[str, list[Any]], *, pruner: Pruner = Pruner.HALVING, **changes: Any) -> SearchFinding:
    """Trials over the full grid; the first is the best, and every other one was pruned."""
    points = [dict(zip(space, point, strict=True)) for point in product(*space.values())]
    trials = [
        Trial(
            number=number,
            params=point,
            accuracy=0.98 - 0.01 * number,
            epochs=9 if number % 2 else 3,
            state=State.FINISHED if number % 2 else State.PRUNED,
            run=None,
        )
        for number, point in enumerate(points, start=1)
    ]
    made = SearchFinding(
        label="lenet",
        data="mnist",
        method=Method(len(trials), True, None, pruner, seed=42, epochs=9, scored_on="validation", parallel=False),
        space=tuple(Values(path, tuple(values)) for path, values in space.items()),
        trials=tuple(trials),
        winner=1,
        seeds=(43, 44, 45),
        part="test",
        accuracy=ESTIMATE,
        scored_accuracy=ESTIMATE,
        importance=Importance({"optim.lr": 0.8, "train.batch_size": 0.2}, trials=6, only_finished=False),
        test_openings=0,
        flags=(),
    )
    return replace(made, **changes)


def names(space: dict[str, list[Any]], **changes: Any) -> list[str]:
    return [block.name for block in trials(finding(space, **changes)).blocks if isinstance(block, Chart | Scene3D)]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    with pytest.MonkeyPatch.context() as patch:  # the PNG files of its charts are empty
        patch.setattr("convoy.reporting.canvas.FigureCanvasAgg.print_figure", lambda *of, **options: None)
        return reported(finding(TWO), tmp_path_factory.mktemp("search"))


def reported(finding: SearchFinding, out: Path) -> Study:
    runs = [fake_run(out, "lenet", FakeModel(0.98), seed=seed) for seed in finding.seeds]
    members = [Member("lenet", run.recipe.seed, run) for run in runs]
    study = Workspace(out).write_study("search", "search", members, "convoy search")
    findings.write(study, finding)
    api.report(study)
    return study


def test_report_shows_the_winner_and_its_accuracy_in_the_search_before_any_figure(study: Study) -> None:
    html = (study.path / "report.html").read_text()

    assert html.index("97.70") < html.index("too high") < html.index("<figure")
    assert "97.70 ± 1.51 % (n = 3)" in html
    assert "97.00 % (" in html
    assert re.search(r"36 \(.+ 54\)", html)


def test_two_keys_have_a_3d_figure_and_a_heat_map(study: Study) -> None:
    figures = {path.name for path in (study.path / "figures").glob("search*")}

    assert figures == {"search_3d.png", "search_3d.svg", "search_heat.png", "search_heat.svg"}


def test_figures_follow_the_number_of_keys_and_the_pruner() -> None:
    one, three = {"optim.lr": [1e-4, 1e-3, 1e-2]}, {**TWO, "optim.weight_decay": [0.0, 0.1]}

    assert names(one, importance=None) == ["search_keys"]
    assert names(TWO) == ["search_3d", "search_heat", "importance"]
    assert names(three, pruner=Pruner.NONE) == ["parallel", "search_keys", "importance", "search_history"]


def test_keys_that_are_not_numeric_have_no_3d_figure() -> None:
    assert names({"optim.name": ["sgd", "adamw"], "schedule.name": ["cosine", "constant"]}, importance=None) == [
        "search_heat"
    ]


def test_heat_map_is_sorted_by_value_and_frames_the_winner() -> None:
    heat = figures.heat_numbers(finding(TWO))

    assert (heat.columns, heat.rows) == ((64, 128), (1e-4, 1e-3, 1e-2))
    assert heat.winner == (0, 0)
    assert heat.percent[0, 0] == pytest.approx(97)
    assert (heat.states == State.FINISHED).sum() == 3


def test_values_sampled_from_ranges_have_no_heat_map() -> None:
    made = finding(TWO)
    trials = tuple(
        replace(trial, params={"train.batch_size": 16 + place, "optim.lr": 1e-3 * (1 + place)})
        for place, trial in enumerate(made.trials)
    )

    assert figures.heat_numbers(replace(made, trials=trials)) is None


@pytest.mark.parametrize(
    ("values", "log"),
    [([1e-4, 1e-3, 1e-2], True), ([64, 128, 256], True), ([64, 96, 128], False), ([0.0, 0.1, 1.0], False)],
)
def test_axis_is_logarithmic_if_the_values_double(values: list[float], log: bool) -> None:
    assert figures.is_log(values) is log


def test_table_has_the_best_trials_first_and_those_stopped_early_last() -> None:
    table = next(block for block in trials(finding(TWO)).blocks if isinstance(block, Table))

    assert [row[0].text for row in table.rows] == ["1", "3", "5", "2", "4", "6"]
    assert table.rows[0][0].bold
    assert "6" in table.collapsed_title


def test_history_counts_only_complete_trials() -> None:
    made = finding(TWO)
    unfinished = replace(made.trials[0], state=State.PRUNED)

    assert figures.best_so_far(made) == pytest.approx([97] * 6)
    best = figures.best_so_far(replace(made, trials=(unfinished, *made.trials[1:])))
    assert best == pytest.approx([float("nan"), float("nan"), 95, 95, 95, 95], nan_ok=True)


def diverging(made: SearchFinding, *numbers: int) -> SearchFinding:
    """Returns the finding with diverged trials."""
    trials = [
        replace(trial, state=State.DIVERGED, accuracy=0.0) if trial.number in numbers else trial
        for trial in made.trials
    ]
    return replace(made, trials=tuple(trials))


def test_diverged_trials_have_their_own_marks_and_do_not_affect_the_scale() -> None:
    made = diverging(finding(TWO), 5, 6)
    heat, scene = figures.heat_numbers(made), figures.scene(made)
    table = next(block for block in trials(made).blocks if isinstance(block, Table))

    assert np.isnan(heat.percent[heat.states == State.DIVERGED]).tolist() == [True, True]
    assert [len(trace.z) for trace in scene.traces] == [3, 1, 2]
    assert scene.traces[2].z.tolist() == [pytest.approx(94)] * 2  # the lowest of the others
    assert [row[3].text for row in table.rows if row[0].text in "56"] == ["×", "×"]

    axes = Figure().add_subplot()
    figures.draw_history(axes, made)
    low, high = axes.get_ylim()
    assert 90 < low < high < 100
    (crosses,) = [line for line in axes.lines if line.get_marker() == "x"]
    assert list(crosses.get_xdata()) == [5, 6]


@pytest.mark.usefixtures("page_alone")
@pytest.mark.parametrize(
    "space",
    [
        {"data.augment": [[], [{"name": "flip"}]]},
        {"stop.patience_epochs": [0, 1, "same"]},
        {"data.augment": [[{"name": "rotate", "degrees": d}] for d in range(5)], "optim.lr": [1e-3, 1e-2], "seed": [1]},
    ],
)
def test_values_that_are_not_numbers_have_figures_too(tmp_path: Path, space: dict[str, list[Any]]) -> None:
    study = reported(finding(space), tmp_path)

    assert len(list((study.path / "figures").glob("*.svg"))) >= 2

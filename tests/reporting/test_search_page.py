from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest
from tests.fake_runs import FakeModel, fake_study

from convoy.files import write_json
from convoy.reporting import figures_search as search_
from convoy.reporting import write_report
from convoy.reporting.content import Chart, Scene3D, Table
from convoy.reporting.search_page import search_blocks
from convoy.runs import Study
from convoy.stats import t_interval

ESTIMATE = t_interval([0.97, 0.98, 0.981]).as_json()
TWO = {"train.batch_size": [64, 128], "optim.lr": [1e-4, 1e-3, 1e-2]}


def finding(space: dict[str, list[Any]], *, pruner: str = "halving", **given: Any) -> dict[str, Any]:
    """Trials over the full grid, of which every other one was stopped early; the best is the first."""
    points = [dict(zip(space, point, strict=True)) for point in product(*space.values())]
    trials = [
        {
            "number": number,
            "params": point,
            "accuracy": 0.98 - 0.01 * number,
            "epochs": 9 if number % 2 else 3,
            "state": "trained to the end" if number % 2 else "stopped early",
            "run": None,
        }
        for number, point in enumerate(points, start=1)
    ]
    winner = {"number": 1, "params": points[0], "search_accuracy": 0.97, "seeds": [43, 44, 45]}
    return {
        "kind": "search",
        "sentence": "Of 6 points, one did best",
        "caveats": ["too high"],
        "metric": "test accuracy",
        "part": "test",
        "space": [{"path": path, "values": values} for path, values in space.items()],
        "method": {"grid": True, "trials": len(trials), "sampler": None, "pruner": pruner, "seed": 42},
        "winner": winner | {"accuracy": ESTIMATE, "validation_accuracy": ESTIMATE},
        "epochs": {"each": 9, "trained": 36, "full": 54},
        "importance": {"optim.lr": 0.8, "train.batch_size": 0.2},
        "importance_of": "6 trials, at their last epoch",
        "trials": trials,
    } | given


def names(space: dict[str, list[Any]], **given: Any) -> list[str]:
    return [block.name for block in search_blocks(finding(space, **given)) if isinstance(block, Chart | Scene3D)]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    study = fake_study(tmp_path_factory.mktemp("search"), models={"lenet": FakeModel(0.98)}, seeds=(43, 44, 45))
    write_json(study.path / "finding.json", finding(TWO))
    write_report(study)
    return study


def test_report_shows_the_winner_and_its_accuracy_in_the_search_before_any_figure(study: Study) -> None:
    html = (study.path / "report.html").read_text()

    assert html.index("did best") < html.index("too high") < html.index("<figure")
    assert "97.70 ± 1.51 % (n = 3)" in html
    assert "97.00 % (selected by it: too high)" in html
    assert "36 (without early stopping: 54)" in html


def test_two_keys_have_a_3d_figure_and_a_heat_map(study: Study) -> None:
    figures = {path.name for path in (study.path / "figures").glob("search*")}

    assert figures == {"search_3d.png", "search_3d.svg", "search_heat.png", "search_heat.svg"}


def test_figures_follow_the_number_of_keys_and_the_pruner() -> None:
    one, three = {"optim.lr": [1e-4, 1e-3, 1e-2]}, {**TWO, "optim.weight_decay": [0.0, 0.1]}

    assert names(one, importance=None) == ["search_key"]
    assert names(TWO) == ["search_3d", "search_heat", "importance"]
    assert names(three, pruner="none") == ["parallel", "importance", "search_history"]


def test_keys_that_are_not_numeric_have_no_3d_figure() -> None:
    assert names({"optim.name": ["sgd", "adamw"], "schedule.name": ["cosine", "constant"]}, importance=None) == [
        "search_heat"
    ]


def test_heat_map_is_sorted_by_value_and_frames_the_winner() -> None:
    heat = search_.heat_numbers(search_.trial_numbers(finding(TWO)))

    assert (heat.columns, heat.rows) == ((64, 128), (1e-4, 1e-3, 1e-2))
    assert heat.winner == (0, 0)
    assert heat.percent[0, 0] == pytest.approx(97)
    assert heat.complete.sum() == 3


def test_values_sampled_from_ranges_make_no_heat_map() -> None:
    sampled = finding(TWO)
    for place, trial in enumerate(sampled["trials"]):
        trial["params"] = {"train.batch_size": 16 + place, "optim.lr": 1e-3 * (1 + place)}

    assert search_.heat_numbers(search_.trial_numbers(sampled)) is None


@pytest.mark.parametrize(
    ("values", "log"),
    [([1e-4, 1e-3, 1e-2], True), ([64, 128, 256], True), ([64, 96, 128], False), ([0.0, 0.1, 1.0], False)],
)
def test_axis_is_logarithmic_if_the_values_double(values: list[float], log: bool) -> None:
    assert search_.is_log(values) is log


def test_table_has_the_best_trials_first_and_those_stopped_early_last() -> None:
    table = next(block for block in search_blocks(finding(TWO)) if isinstance(block, Table))

    assert [row[0].text for row in table.rows] == ["1", "3", "5", "2", "4", "6"]
    assert table.rows[0][0].bold
    assert table.collapsed_title.startswith("All 6 trials")


def test_history_counts_only_complete_trials() -> None:
    history = search_.history_numbers(search_.trial_numbers(finding(TWO)))

    assert history.best == pytest.approx((97, 97, 97, 97, 97, 97))
    assert "stopped early (3)" in search_.history_caption(history)


@pytest.mark.parametrize(
    "space",
    [
        {"data.augment": [[], [{"name": "flip"}]]},
        {"stop.patience_epochs": [0, 1, "same"]},
        {"data.augment": [[{"name": "rotate", "degrees": d}] for d in range(5)], "optim.lr": [1e-3, 1e-2], "seed": [1]},
    ],
)
def test_values_that_are_not_numbers_have_figures_too(tmp_path: Path, space: dict[str, list[Any]]) -> None:
    study = fake_study(tmp_path, models={"lenet": FakeModel(0.98)}, seeds=(43, 44, 45))
    write_json(study.path / "finding.json", finding(space))

    write_report(study)

    assert len(list((study.path / "figures").glob("*.png"))) >= 2

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.fake_runs import epoch_metrics, fake_run, part_score, write_metrics

from convoy.experiments.measures import MEASURES, check_settings, comparable
from convoy.experiments.words import words_of
from convoy.files import write_arrays, write_json
from convoy.runs import Run


def with_curve(run: Run, accuracies: list[float], part: str = "validation") -> Run:
    write_metrics(run, [epoch_metrics(n, **{part: part_score(value)}) for n, value in enumerate(accuracies, start=1)])
    return run


def with_steps(run: Run, **arrays: Any) -> Run:
    write_arrays(run.path / "steps.npz", {name: np.asarray(values, np.float32) for name, values in arrays.items()})
    return run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return fake_run(tmp_path)


def test_scores_and_costs_are_read_from_the_run(run: Run) -> None:
    assert MEASURES["test_accuracy"](run) == run.scores["test"].accuracy
    assert MEASURES["parameters"](run) == 44_426
    assert MEASURES["train_seconds"](run) == run.cost.train_seconds


def test_a_missing_score_is_none(run: Run) -> None:
    write_json(run.path / "scores.json", {})
    for name in ("test_accuracy", "validation_accuracy", "generalisation_gap"):
        assert MEASURES[name](run) is None
    assert MEASURES["recall_lead"](run, {"classes": ["0"]}) is None
    assert MEASURES["confusion_lead"](run, {"classes": ["4", "9"]}) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mean_accuracy", 0.7),
        ("fluctuation", (0.2 + 0.1) / 2),  # 0.8 against 0.6, the middle of 0.5 and 0.7; 0.7 against 0.8
    ],
)
def test_measures_of_the_curve(run: Run, name: str, value: float) -> None:
    assert MEASURES[name](with_curve(run, [0.5, 0.8, 0.7, 0.8])) == pytest.approx(value)


def test_a_steady_rise_neither_drops_nor_fluctuates(run: Run) -> None:
    assert MEASURES["fluctuation"](with_curve(run, [0.5, 0.6, 0.7, 0.8])) == pytest.approx(0)
    assert MEASURES["largest_drop"](with_curve(run, [0.5, 0.6, 0.7, 0.8], "test")) == 0


def test_the_largest_drop_is_one_of_the_test_accuracy(run: Run) -> None:
    assert MEASURES["largest_drop"](with_curve(run, [0.5, 0.8, 0.7, 0.8], "test")) == pytest.approx(0.1)
    assert MEASURES["largest_drop"](with_curve(run, [0.5, 0.8, 0.7, 0.8])) is None


def test_a_drop_needs_the_test_accuracy_of_every_epoch(run: Run) -> None:
    with_curve(run, [0.5, 0.8, 0.7], "test")
    first, second, third = run.metrics
    write_metrics(run, [first, replace(second, test=None), third])
    assert MEASURES["largest_drop"](run) is None


def test_largest_validation_drop_is_of_the_part_that_selects_the_epoch(run: Run) -> None:
    assert MEASURES["largest_validation_drop"](with_curve(run, [0.5, 0.8, 0.7, 0.8])) == pytest.approx(0.1)
    assert MEASURES["largest_validation_drop"](with_curve(run, [0.5, 0.6, 0.7])) == 0
    assert MEASURES["largest_validation_drop"](with_curve(run, [0.5])) is None
    assert MEASURES["largest_validation_drop"].resolution(run) == 1 / run.scores["validation"].n


def test_final_train_loss_is_the_loss_of_the_last_epoch(run: Run) -> None:
    with_curve(run, [0.5, 0.6])
    assert MEASURES["final_train_loss"](run) == run.metrics[-1].train.loss


def test_epochs_to_an_accuracy(run: Run) -> None:
    with_curve(run, [0.5, 0.8, 0.9])
    assert MEASURES["epochs_to"](run, {"accuracy": 0.8}) == 2
    assert MEASURES["epochs_to"](run, {"accuracy": 0.95}) == 4  # never: one more than were trained


def test_a_run_without_epochs_has_no_curve(run: Run) -> None:
    with_curve(run, [])
    for name in ("mean_accuracy", "largest_drop", "fluctuation"):
        assert MEASURES[name](run) is None
    assert MEASURES["epochs_to"](run, {"accuracy": 0.5}) is None


SCORE = {"accuracy": 0.9, "correct": 9, "n": 10}


@pytest.mark.parametrize("part", ["test", "fold", "validation"])
def test_generalisation_gap_is_held_out_loss_minus_training_loss(run: Run, part: str) -> None:
    scores = {part: SCORE | {"loss": 0.5}, "train": SCORE | {"loss": 0.2}}
    write_json(run.path / "scores.json", scores)
    assert MEASURES["generalisation_gap"](run) == pytest.approx(0.3)


@pytest.mark.parametrize("scores", [{}, {"train": SCORE | {"loss": None}}])
def test_the_gap_of_an_older_or_diverged_run_is_none(run: Run, scores: dict[str, Any]) -> None:
    write_json(run.path / "scores.json", {"test": SCORE | {"loss": 0.5}, **scores})
    assert MEASURES["generalisation_gap"](run) is None


def test_recall_lead_compares_the_worst_named_class_with_the_mean_of_the_others(run: Run) -> None:
    recalls = {"0": 0.9, "1": 0.8, "2": 0.5, "3": 0.7}
    rows = [{"class": name, "recall": recall, "precision": 1.0, "f1": 1.0, "n": 1} for name, recall in recalls.items()]
    write_json(run.path / "scores.json", {"test": SCORE | {"per_class": rows}})
    assert MEASURES["recall_lead"](run, {"classes": ["0", "1"]}) == pytest.approx(0.8 - 0.6)


def test_confusion_lead_counts_both_directions(run: Run) -> None:
    confusion = np.diag([90] * 10)
    confusion[3, 5], confusion[5, 3], confusion[4, 9] = 6, 4, 8
    write_json(run.path / "scores.json", {"test": SCORE | {"confusion": confusion.tolist()}})
    images = int(confusion.sum())
    assert MEASURES["confusion_lead"](run, {"classes": ["3", "5"]}) == pytest.approx((10 - 8) / images)
    assert MEASURES["confusion_lead"](run, {"classes": ["4", "9"]}) == pytest.approx((8 - 10) / images)


def test_error_names_a_class_that_is_not_in_the_data(run: Run) -> None:
    with pytest.raises(ValueError, match="unknown class 'cat' in the claim"):
        MEASURES["confusion_lead"](run, {"classes": ["cat", "9"]})


def test_gain_while_rising_compares_rising_with_falling_halves(run: Run) -> None:
    lr = [1, 2, 3, 2, 1, 2, 3, 2, 1]
    loss = np.concatenate([[5], 5 - np.cumsum([0.3, 0.3, 0.1, 0.1, 0.3, 0.3, 0.1, 0.1])])
    assert MEASURES["gain_while_rising"](with_steps(run, loss=loss, lr=lr)) == pytest.approx(0.2, rel=1e-4)


def test_an_update_that_lowers_the_loss_in_proportion_to_its_rate_gains_nothing_by_rising(run: Run) -> None:
    lr = (1 + np.cos(np.pi * np.arange(200) / 10)) / 2
    for fall in (0.01 * lr, 0.01 * lr * np.linspace(1, 0.2, 200)):  # evenly, and faster in the beginning
        loss = 5 - np.concatenate([[0], np.cumsum(fall[:-1])])
        gain = MEASURES["gain_while_rising"](with_steps(run, loss=loss, lr=lr))
        assert abs(gain) < 0.03 * fall.mean()


def test_gain_while_rising_needs_every_step_and_is_read_from_an_archived_run(run: Run) -> None:
    archived = with_steps(run, loss=[5, 4, 3.6], lr=[1, 3, 1], step=[0, 2, 4])
    assert MEASURES["gain_while_rising"](archived) is None

    archived.write_status(measured={"gain_while_rising": 0.3})
    assert MEASURES["gain_while_rising"](archived) == 0.3


def test_a_rate_that_never_rises_has_no_gain_while_rising(run: Run) -> None:
    assert MEASURES["gain_while_rising"](with_steps(run, loss=[3, 2, 1], lr=[1, 1, 1])) is None


def test_band_width_is_the_mean_distance_of_highest_and_lowest_loss_in_the_first_steps(tmp_path: Path) -> None:
    losses = {1e-3: [3.0, 2.0, 1.0, 1.0], 1e-2: [4.0, 4.0, np.nan, 1.0, 9.0], 1e-1: [3.5, 1.0, 1.0, 5.0]}
    tried = [(lr, with_steps(fake_run(tmp_path, seed=at), loss=loss)) for at, (lr, loss) in enumerate(losses.items())]
    assert MEASURES["band_width"](tried, {"steps": 10}) == pytest.approx((1 + 3 + 4) / 3)  # the third is not finite
    assert MEASURES["band_width"](tried, {"steps": 2}) == pytest.approx((1 + 3) / 2)


def test_gradient_change_is_the_median_over_probes_of_the_largest_on_the_line(run: Run) -> None:
    assert MEASURES["gradient_change"](run) is None
    change = np.array([[1, 2], [3, 8], [np.nan, 4]], np.float32)
    probes = {"step": np.arange(3), "loss": np.ones((3, 3)), "gradient_change": change, "beta": np.ones(3)}
    write_arrays(run.path / "arrays.npz", {f"probe_{name}": values for name, values in probes.items()})
    assert MEASURES["gradient_change"](run) == 8


def rates(out: Path, *accuracies: float, n: int = 1000) -> list[tuple[float, Run]]:
    """Runs at 1e-4, 1e-3, ..., of ten classes, with these validation accuracies."""
    found = []
    for power, accuracy in enumerate(accuracies):
        run = fake_run(out, seed=power)
        score = {"accuracy": accuracy, "correct": round(n * accuracy), "n": n}
        write_json(run.path / "scores.json", {"validation": score})
        found.append((10.0 ** (power - 4), run))
    return found


def test_the_highest_value_that_trains_is_close_to_the_best(tmp_path: Path) -> None:
    tried = rates(tmp_path, 0.80, 0.90, 0.85, 0.11)  # the last has diverged
    assert MEASURES["highest_that_trains"](tried, {"within": 0.06}) == pytest.approx(1e-2)
    assert MEASURES["highest_that_trains"](tried, {"within": 0.01}) == pytest.approx(1e-3)


def test_no_value_trains_if_all_are_at_chance(tmp_path: Path) -> None:
    assert MEASURES["highest_that_trains"](rates(tmp_path, 0.11, 0.10, 0.12, 0.10), {"within": 0.1}) is None


def test_a_value_at_chance_does_not_train_even_if_it_is_close_to_the_best(tmp_path: Path) -> None:
    assert MEASURES["highest_that_trains"](rates(tmp_path, 0.25, 0.11), {"within": 0.2}) == pytest.approx(1e-4)


def test_few_images_do_not_distinguish_an_accuracy_from_chance(tmp_path: Path) -> None:
    assert MEASURES["highest_that_trains"](rates(tmp_path, 0.25, 0.25, n=40), {"within": 0.1}) is None


def test_naming_the_most_frequent_class_is_chance(tmp_path: Path) -> None:
    tried = rates(tmp_path, 0.6, 0.6)
    for _, run in tried:
        run.update("data.json", per_class={"validation": [600, 400]})
    assert MEASURES["highest_that_trains"](tried, {"within": 0.1}) is None


def test_a_sweep_is_none_if_a_value_has_no_score(tmp_path: Path) -> None:
    tried = rates(tmp_path, 0.8, 0.9)
    write_json(tried[0][1].path / "scores.json", {})
    assert MEASURES["highest_that_trains"](tried, {"within": 0.1}) is None


def test_only_runs_of_one_machine_are_comparable(tmp_path: Path) -> None:
    one, other = fake_run(tmp_path, seed=1), fake_run(tmp_path, seed=2)
    assert comparable([one, other])
    assert comparable([])
    for key, value in {"cpu": "another", "device": "H200", "threads": 8, "torch": "2.0"}.items():
        write_json(other.path / "environment.json", {**asdict(one.environment), key: value})
        assert not comparable([one, other]), key


def test_seconds_depend_on_the_machine_and_scores_do_not() -> None:
    of_machine = {name for name in MEASURES if MEASURES[name].of_machine}
    assert of_machine == {"train_seconds", "total_seconds", "images_per_second"}


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("test_acuracy", {}, "did you mean 'test_accuracy'"),
        ("epochs_to", {}, "accuracy = None: measure epochs_to expects a number"),
        ("epochs_to", {"accuracy": True}, "accuracy = True"),
        ("epochs_to", {"acuracy": 0.9}, "unknown setting 'acuracy' in measure epochs_to; did you mean 'accuracy'"),
        ("test_accuracy", {"classes": []}, "unknown setting 'classes'"),
        ("recall_lead", {"classes": "cat"}, "expects a list of names"),
    ],
)
def test_wrong_settings_are_an_error(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_settings(name, settings)


def test_words_contain_the_settings() -> None:
    assert words_of("epochs_to", {"accuracy": 0.9}).endswith(" 0.9")
    assert words_of("confusion_lead", {"classes": ["cat", "dog"]}).count("cat and dog") == 1

"""Planted mistakes in recipes, runs and texts are found by their checks."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests.fake_runs import DEFAULT, FakeModel, fake_run, part_score, write_metrics

import convoy
from convoy.counts import count_scores
from convoy.diagnosing.checks.results import best_of
from convoy.diagnosing.finding import Finding, Severity
from convoy.diagnosing.images import Images
from convoy.diagnosing.records import Records
from convoy.diagnosing.report_text import percentages, read_text
from convoy.diagnosing.suspects import find_suspects
from convoy.diagnosing.table import CHECKS, Topic, examine
from convoy.files import write_arrays
from convoy.recipe import Recipe
from convoy.recipe.files import builtin_names
from convoy.runs import Run

ERROR, WARNING, HINT = Severity
MNIST = Recipe.load("defaults/mnist")
RECIPE_CHECKS = [check for check in CHECKS if check.topic is Topic.PROTOCOL]
RESULT_CHECKS = [check for check in CHECKS if check.topic is Topic.RESULTS]
QUICK = replace(DEFAULT, counts={"train": 800, "validation": 300, "test": 1000})


@pytest.mark.parametrize(
    ("check", "severity", "overrides"),
    [
        ("protocol_faults", WARNING, {"protocol.faults": ["selection_on_test"]}),
        ("label_changing_augmentation", WARNING, {"data.augment": [{"name": "flip"}]}),
        ("label_changing_augmentation", WARNING, {"data.augment": [{"name": "rotate", "degrees": 180}]}),
        ("squared_error", HINT, {"train.loss.name": "squared_error"}),
        ("extreme_values", WARNING, {"optim.weight_decay": 50.0}),
        ("extreme_values", WARNING, {"optim": {"name": "adam", "lr": 0.001, "weight_decay": 0.5}}),
        ("extreme_values", WARNING, {"optim": {"name": "sgd", "lr": 0.01, "momentum": 0.9999}}),
        ("extreme_values", WARNING, {"train.loss.label_smoothing": 0.95}),
        ("extreme_values", WARNING, {"train.clip_norm": 1e-7}),
        ("extreme_values", WARNING, {"optim.layer_decay": 0.01}),
        ("averages_of_gradients", WARNING, {"optim": {"name": "adam", "betas": [0.9, 0.0]}}),
        ("averages_of_gradients", HINT, {"optim": {"name": "adamw", "betas": [0.0, 0.999]}}),
        ("averages_of_gradients", WARNING, {"optim": {"name": "adamw", "betas": [0.9, 0.3]}}),
        ("averages_of_gradients", HINT, {"optim": {"name": "rmsprop", "alpha": 0.0}}),
        ("schedule_never_acts", WARNING, {"schedule": {"name": "step", "every_epochs": 1}, "train.epochs": 30}),
        ("schedule_never_acts", HINT, {"schedule": {"name": "plateau", "patience_epochs": 9}, "train.epochs": 5}),
        ("schedule_never_acts", HINT, {"schedule": {"name": "cosine", "min_factor": 1.0}}),
        ("schedule_never_acts", WARNING, {"schedule.warmup_epochs": 5, "train.epochs": 5}),
        ("schedule_never_acts", HINT, {"schedule": {"name": "step", "every_epochs": 10}, "train.epochs": 5}),
        ("schedule_never_acts", HINT, {"schedule": {"name": "cosine", "t_max": 3, "per": "epoch"}, "train.epochs": 5}),
        ("patience_never_acts", HINT, {"stop.patience_epochs": 8, "train.epochs": 5}),
        ("stops_early", WARNING, {"stop.max_seconds": 0.05}),
        ("stops_early", HINT, {"stop.patience_epochs": 1}),
        ("stops_early", HINT, {"schedule": {"name": "plateau", "patience_epochs": 5}, "stop.patience_epochs": 4}),
        ("few_images_trained_on", WARNING, {"data.split.validation": 0.9}),
        ("few_images_trained_on", WARNING, {"data.split.test": 0.8}),
        ("no_validation", HINT, {"data.split.validation": 0}),
    ],
)
def test_planted_mistake_of_a_recipe_is_found(check: str, severity: Severity, overrides: dict[str, Any]) -> None:
    [finding] = [each for each in examine(MNIST.override(overrides), RECIPE_CHECKS) if each.check == check]
    assert finding.severity is severity


def test_flip_of_objects_is_not_a_mistake() -> None:
    assert not list(
        examine(MNIST.override({"data.name": "cifar10", "data.augment": [{"name": "flip"}]}), RECIPE_CHECKS)
    )


def test_the_high_learning_rate_of_a_range_test_is_not_a_mistake() -> None:
    values = {"optim.lr": 1.0, "optim.weight_decay": 0.01}

    assert [each.check for each in examine(MNIST.override(values), RECIPE_CHECKS)] == ["extreme_values"]
    assert not list(examine(MNIST.override({**values, "schedule": {"name": "range"}}), RECIPE_CHECKS))


def found(records: Records, check: str) -> list[Finding]:
    return list(examine(records, [row for row in RESULT_CHECKS if row.name == check]))


def run_of(out: Path, accuracy: float = 0.9, seed: int = 42, **changes: Any) -> Run:
    return fake_run(out, model=FakeModel(accuracy), seed=seed, setting=QUICK, changes=changes)


def predict(run: Run, labels: np.ndarray, predicted: np.ndarray) -> None:
    """Replaces the predictions of the test set, and its score."""
    arrays = {"test_labels": labels, "test_predicted": predicted.astype(np.uint8)}
    write_arrays(run.path / "predictions.npz", run.predictions | arrays)
    run.write_score("test", count_scores(labels, predicted, run.data.classes))


def unfinished(run: Run) -> None:
    run.write_status(state="interrupted")


def diverged(run: Run) -> None:
    run.write_status(stopped="diverged")


def out_of_time(run: Run) -> None:
    first, *_others, last = run.metrics
    write_metrics(run, [replace(first, validation=last.validation)])
    run.write_status(stopped="time", epochs=1, best_epoch=1)


def other_scores(run: Run) -> None:
    score = run.stated_scores["test"].as_table()
    run.update("scores.json", test={**score, "accuracy": 0.99, "correct": 990})


def skipped(run: Run) -> None:
    write_metrics(run, [replace(epoch, skipped=3) for epoch in run.metrics])


def improving(run: Run) -> None:
    *epochs, last = run.metrics
    for number, epoch in enumerate(epochs):
        assert epoch.validation is not None
        epochs[number] = replace(epoch, validation=part_score(0.3 + 0.1 * number, 1.0, epoch.validation.total))
    write_metrics(run, [*epochs, last])


@pytest.mark.parametrize(
    ("check", "severity", "plant"),
    [
        ("unfinished", ERROR, unfinished),
        ("unfinished", ERROR, diverged),
        ("changed_record", ERROR, other_scores),
        ("stopped_in_first_epoch", WARNING, out_of_time),
        ("skipped_steps", WARNING, skipped),
        ("still_improving", HINT, improving),
    ],
)
def test_planted_mistake_of_a_run_is_found(
    tmp_path: Path, check: str, severity: Severity, plant: Callable[[Run], None]
) -> None:
    plant(run := run_of(tmp_path))
    [finding] = found(Records([Run(run.path)]), check)
    assert finding.severity is severity


def test_sound_run_has_only_the_hint_about_its_one_seed(tmp_path: Path) -> None:
    findings = list(examine(Records([run_of(tmp_path)]), RESULT_CHECKS))
    assert [(finding.check, finding.severity) for finding in findings] == [("noise_floor", HINT)]


def test_network_at_chance_is_an_error(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    labels = np.arange(1000) % 10
    guesses = np.random.default_rng(0).permutation(labels)
    predict(run, labels, guesses)
    [finding] = found(Records([run]), "at_chance")
    assert finding.severity is ERROR


def test_optimism_of_selection_is_the_validation_accuracy_minus_the_test_accuracy(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    labels = np.arange(1000) % 10
    predict(run, labels, np.where(np.arange(1000) < 300, labels[::-1], labels))
    [finding] = found(Records([run]), "selection_optimism")
    assert finding.cost is not None
    assert finding.cost.mean == pytest.approx(run.scores["validation"].accuracy - run.scores["test"].accuracy)
    assert finding.cost.span[0] > 0


def test_best_of_many_equal_networks_is_too_high_by_about_the_largest_of_their_errors(tmp_path: Path) -> None:
    """20 independent networks of 90 %: the expected maximum of 20 normal numbers is 1.87 standard deviations."""
    rows = np.random.default_rng(0).random((20, 1000)) < 0.9
    optimism = best_of(rows)
    sd = np.sqrt(0.9 * 0.1 / 1000)
    assert 0.7 * sd < optimism.mean < 1.87 * sd
    assert best_of(rows[:1].repeat(5, 0)).mean == pytest.approx(0, abs=0.1 * sd)


def test_repeated_use_of_the_test_set_is_found(tmp_path: Path) -> None:
    runs = [run_of(tmp_path, seed=seed) for seed in range(6)]
    [finding] = found(Records(runs[:1], runs[1:], openings=9), "test_set_reused")
    assert finding.evidence["openings"] == 9
    assert finding.cost is not None
    assert finding.cost.mean > 0


def test_noise_floor_of_three_seeds_states_how_many_seeds_smaller_differences_need(tmp_path: Path) -> None:
    runs = [run_of(tmp_path, seed=seed) for seed in range(3)]
    [finding] = found(Records(runs), "noise_floor")
    assert finding.evidence["seeds"] == 3
    assert float(finding.evidence["smallest"]) > 0


def test_noise_floor_names_the_limit_of_seeds_if_more_are_needed(tmp_path: Path) -> None:
    runs = [run_of(tmp_path, accuracy, seed=seed) for seed, accuracy in enumerate((0.5, 0.7, 0.9))]
    [finding] = found(Records(runs), "noise_floor")
    assert "need over 10,000" in finding.problem


def test_effect_of_faults_is_the_difference_from_the_same_recipe_without_them(tmp_path: Path) -> None:
    faulty = run_of(tmp_path, 0.8, **{"protocol.faults": ["last_weights"]})
    [alone] = found(Records([faulty]), "effect_of_faults")
    assert alone.cost is None
    clean = run_of(tmp_path, 0.9)
    [finding] = found(Records([faulty], [clean]), "effect_of_faults")
    assert finding.cost is not None
    assert finding.cost.mean == pytest.approx(faulty.scores["test"].accuracy - clean.scores["test"].accuracy)


def test_accuracy_is_also_computed_without_test_images_that_are_training_images(tmp_path: Path) -> None:
    from tests.diagnosing.test_data_checks import CLASSES, part, sound

    run = run_of(tmp_path)
    images = sound()
    test = images.parts["test"]
    pixels = test.images.copy()
    pixels[:30] = images.train.images[:30]
    parts = {**images.parts, "test": replace(test, images=pixels)}
    predicted = test.labels.copy()
    predicted[30:70] = (predicted[30:70] + 1) % len(CLASSES)  # all copies are right, a third of the others is wrong
    predict(run, test.labels, predicted)
    with_copies = Images(images.recipe, parts, images.mean, images.std)
    [finding] = found(Records([run], images=with_copies), "scored_on_training_images")
    assert finding.severity is WARNING
    assert finding.evidence["accuracy"] == pytest.approx(110 / 150)
    assert finding.evidence["accuracy_without"] == pytest.approx(80 / 120)
    assert finding.cost is not None
    assert finding.cost.mean == pytest.approx(110 / 150 - 80 / 120)
    assert part(10, 0).classes == CLASSES


def noisy_outputs(share: float, signal: float = 6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns outputs of a network, labels with a share of wrong ones, and the true labels, of 2,000 images.

    The true labels are drawn from the probabilities of a calibrated network, whose outputs are then divided by 3.
    """
    draw, images = np.random.default_rng(0), 2000
    logits = draw.normal(0, 1, (images, 10))
    logits[np.arange(images), draw.integers(10, size=images)] += signal
    likely = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    true = np.array([draw.choice(10, p=each) for each in likely])
    given = np.where(draw.random(images) < share, (true + draw.integers(1, 10, images)) % 10, true)
    return logits / 3, given, true


@pytest.mark.parametrize("signal", [2.5, 4, 8])  # accuracies of 51, 78 and 99 %
@pytest.mark.parametrize("share", [0.2, 0.4])
def test_probabilities_that_labels_are_wrong_are_calibrated(share: float, signal: float) -> None:
    logits, given, true = noisy_outputs(share, signal)
    suspects, wrong = find_suspects(logits, given), given != true
    assert suspects.share == pytest.approx(wrong.mean(), abs=0.05)
    assert len(suspects.flagged) > 0.1 * len(given)
    assert np.all(np.diff(suspects.probability[suspects.flagged]) <= 0)
    for each in (suspects.flagged, suspects.flagged[:100]):
        assert suspects.probability[each].mean() == pytest.approx(wrong[each].mean(), abs=0.1)


@pytest.mark.parametrize(("share", "signal"), [(0.02, 6), (0.2, 6), (0.2, 2.5), (0.4, 2.5)])
def test_suspect_labels_have_a_higher_f1_than_other_rules(share: float, signal: float) -> None:
    logits, given, true = noisy_outputs(share, signal)
    suspects, wrong = find_suspects(logits, given), np.flatnonzero(given != true)

    def f1(flagged: np.ndarray) -> float:
        return 2 * len(np.intersect1d(flagged, wrong)) / (len(flagged) + len(wrong))

    others = {"prediction": logits.argmax(1) != given, "more probably wrong than right": suspects.probability > 0.5}
    for name, rule in others.items():
        if (share, name) != (0.02, "more probably wrong than right"):
            assert f1(suspects.flagged) > f1(np.flatnonzero(rule)), name


@pytest.mark.parametrize("signal", [2.5, 4, 8])
def test_correct_labels_are_not_suspect_whatever_the_accuracy_of_the_network(signal: float) -> None:
    logits, _given, true = noisy_outputs(0, signal)
    suspects = find_suspects(logits, true)
    assert len(suspects.flagged) <= 0.002 * len(true)
    assert suspects.share < 0.02


def test_suspect_labels_of_a_cross_validation_are_listed_by_their_index(tmp_path: Path) -> None:
    logits, given, _true = noisy_outputs(0.2)
    runs = [run_of(tmp_path, seed=seed) for seed in range(2)]
    for run, part in zip(runs, (slice(0, 1000), slice(1000, 2000)), strict=True):
        arrays = {"index": np.arange(2000)[part], "labels": given[part], "logits": logits[part]}
        write_arrays(run.path / "predictions.npz", {f"fold_{name}": values for name, values in arrays.items()})
    [finding] = found(Records(runs), "suspect_labels")
    assert finding.evidence["suspect"] == len(find_suspects(logits, given).flagged)
    assert str(find_suspects(logits, given).flagged[0]) in finding.problem


def test_a_number_in_a_report_without_a_matching_run_is_found(tmp_path: Path) -> None:
    """As in the fifth report, whose text says 98.82 % while its log says 98.32 %."""
    run = run_of(tmp_path)
    accuracy = 100 * run.scores["test"].accuracy
    report = tmp_path / "report.md"
    report.write_text(
        f"# LeNet 2.0\n\nTest accuracy {accuracy:.2f} %, error {100 - accuracy:.1f}%.\n\nText: {accuracy + 0.5:.2f} %\n"
    )
    [finding] = convoy.doctor(report, out=tmp_path).findings
    assert (finding.check, finding.severity, finding.evidence["line"]) == ("numbers_without_source", WARNING, 5)
    assert finding.evidence["nearest"] == pytest.approx(accuracy + 0.5, abs=0.5)
    assert convoy.doctor(report, study=run.name, out=tmp_path).findings[0].evidence["line"] == 5


@pytest.mark.usefixtures("words_alone")
def test_numbers_that_only_a_report_shows_are_known_unless_they_are_changed(tmp_path: Path) -> None:
    """The report has shares of a confusion matrix, which no file of the run has."""
    report = convoy.report(run_of(tmp_path)).parent / "report.md"
    text = report.read_text()

    assert convoy.doctor(report, out=tmp_path).findings == ()
    share = re.search(r"→ .*?, ([\d.]+) %", text)
    assert share is not None
    forged = f"{float(share[1]) + 0.3:.2f}"
    report.write_text(text[: share.start(1)] + forged + text[share.end(1) :])
    [finding] = convoy.doctor(report, out=tmp_path).findings
    assert finding.evidence["number"] == float(forged)


def test_a_difference_may_be_reported_in_either_direction(tmp_path: Path) -> None:
    """A finding has the difference of the first model from the second."""
    study = SimpleNamespace(has_finding=True, finding_json={"pairs": [{"difference": {"mean": -0.2613}}]})
    report = tmp_path / "report.md"
    report.write_text("The second is better by 26.13 points; the first by -26.13 points, not by 26.23 points.\n")
    text = read_text(report, [], [study], "all", lambda target: "")  # type: ignore[list-item]
    [finding] = examine(text, [row for row in CHECKS if row.topic is Topic.TEXT])
    assert finding.evidence["number"] == 26.23


def test_percentages_of_a_report_are_found_in_all_notations() -> None:
    text = r"""A 98.82 %, 97,50 %, 96.50\%, 94.20 percent. 98.32 ± 0.10 %, $95.1 \pm 0.2\%$.
    Accuracy 0.9882, lr 0.001, momentum 0.9.
    | model | accuracy (%) | seconds |
    |---|---|---|
    | a | **98.33** | 12.5 |
    """
    values = {each.value for each in percentages(text.splitlines())}
    assert values == {98.82, 97.5, 96.5, 94.2, 98.32, 0.1, 95.1, 0.2, 98.33}


def test_run_is_examined_by_its_name(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    diagnosis = convoy.doctor(run.name, out=tmp_path, quick=True)
    assert {"noise_floor", "protocol_faults"} - {*diagnosis.checks} == {"protocol_faults"}
    assert not diagnosis.has_errors


def test_each_check_of_recipes_and_runs_has_a_test_here() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert [check.name for check in (*RECIPE_CHECKS, *RESULT_CHECKS) if f'"{check.name}"' not in text] == []


@pytest.mark.parametrize("name", [name for name in builtin_names() if not name.endswith("published")])
def test_built_in_recipes_with_a_sound_protocol_have_no_finding_above_a_hint(name: str) -> None:
    findings = list(examine(Recipe.load(name), RECIPE_CHECKS))
    assert [finding for finding in findings if finding.severity is not HINT] == []


def test_measure_trains_the_recipe_with_and_without_its_faults(tiny: Callable[..., Recipe], tmp_path: Path) -> None:
    recipe = tiny(("train.epochs", 2), ("protocol.faults", ["last_weights"]))
    diagnosis = convoy.doctor(recipe, measure=True, only="effect_of_faults", out=tmp_path / "out")
    [finding] = diagnosis.findings
    assert finding.cost is not None
    assert finding.cost.n == 150  # test images

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.fake_runs import fake_run

from convoy.api import report
from convoy.chance import Kind, at_chance, sentences
from convoy.evaluation.scores import score
from convoy.files import write_arrays, write_json
from convoy.run_contents import Score
from convoy.runs import Member, Workspace
from convoy.studies import findings, kinds
from convoy.studies.compare.finding import conclude

DIGITS = tuple(str(digit) for digit in range(10))


def scored(labels: np.ndarray, predicted: np.ndarray, classes: tuple[str, ...] = DIGITS) -> Score:
    return score(np.eye(len(classes), dtype=np.float32)[predicted], labels, classes)


def partly_guessed(images: int, classes: int, share: float, seed: int = 0) -> Score:
    """For classes of equal size: a share of the images is predicted correctly, the others are guessed."""
    draw = np.random.default_rng(seed)
    labels = np.arange(images) % classes
    guesses = draw.integers(0, classes, images)
    return scored(labels, np.where(draw.random(images) < share, labels, guesses), DIGITS[:classes])


def test_one_predicted_class_for_all_images_is_reported_with_its_name() -> None:
    labels = np.arange(100) % 10
    result = at_chance(scored(labels, np.full(100, 1)))
    assert result is not None
    assert (result.kind, result.predicted) == (Kind.ONE_CLASS, "1")
    assert (result.accuracy, result.chance) == (0.1, pytest.approx(0.1))


def test_one_predicted_class_is_reported_for_unbalanced_classes() -> None:
    labels = np.repeat([0, 1], [970, 30])
    assert at_chance(scored(labels, np.zeros(1000, int), ("healthy", "ill"))) is not None


@pytest.mark.parametrize(("images", "classes"), [(10_000, 10), (150, 3), (200, 2)])
def test_guesses_are_at_chance_and_trained_networks_are_not(images: int, classes: int) -> None:
    guesses = at_chance(partly_guessed(images, classes, 0.0))
    assert guesses is not None
    assert guesses.kind is Kind.GUESSES
    assert guesses.chance == pytest.approx(1 / classes, abs=1e-9)
    assert at_chance(partly_guessed(images, classes, 0.6)) is None


def test_slightly_above_chance_on_many_images_is_above_chance() -> None:
    assert at_chance(partly_guessed(10_000, 10, 0.05)) is None


@pytest.mark.parametrize("images", [6, 20])
def test_few_images_give_no_result(images: int) -> None:
    assert at_chance(partly_guessed(images, 10, 0.0)) is None
    assert at_chance(scored(np.arange(images) % 2, np.zeros(images, int), ("a", "b"))) is None


def test_network_that_recognises_a_rare_class_has_learned_despite_its_low_accuracy() -> None:
    labels = np.repeat([0, 1], [900, 100])
    predicted = np.concatenate([np.repeat([0, 1], [765, 135]), np.repeat([1, 0], [85, 15])])
    assert (labels == predicted).mean() == 0.85
    assert at_chance(scored(labels, predicted, ("healthy", "ill"))) is None


def test_a_score_without_predicted_classes_gives_no_result() -> None:
    assert at_chance(score(np.full((50, 10), np.nan, np.float32), np.arange(50) % 10, DIGITS)) is None
    assert at_chance(Score(accuracy=0.1, correct=5, n=50)) is None


def test_outputs_that_are_not_finite_are_not_reported_as_chance() -> None:
    score = scored(np.arange(1000) % 10, np.full(1000, 1))
    assert at_chance(score) is not None
    assert at_chance(replace(score, not_finite=3)) is None


def test_sentence_lists_the_seeds_at_chance_unless_all_are() -> None:
    labels = np.arange(200) % 10
    one, good = scored(labels, np.ones(200, int)), scored(labels, labels)
    (some,) = sentences([("a", 1, one), ("a", 2, good), ("b", 1, good)], "test")
    assert some.startswith("a (seed 1) ")
    (both,) = sentences([("a", 1, one), ("a", 2, one)], "test")
    assert both.startswith("a ")
    assert "seed" not in both


@pytest.mark.usefixtures("words_alone")
def test_the_top_of_a_report_names_a_network_at_chance_level(tmp_path: Path) -> None:
    bad, good = fake_run(tmp_path, "lenet"), fake_run(tmp_path, "two_conv_cnn")
    labels = np.arange(1000) % 10
    write_json(bad.path / "scores.json", {"test": scored(labels, np.ones(1000, int)).as_table()})
    write_arrays(bad.path / "predictions.npz", {"test_labels": labels, "test_predicted": np.ones(1000, int)})
    members = [Member("lenet", 42, bad), Member("two_conv_cnn", 42, good)]
    study = Workspace(tmp_path).write_study("compare", "compare", members, "convoy compare")
    findings.write(study, conclude(members))
    (text,) = sentences([("lenet", 42, bad.scores["test"])], "test")
    assert kinds.caveats_of(study)[0] == text
    for target in (study, bad):
        page = report(target).read_text()
        assert page[: page.index("<h2")].count(text) == 1
    assert "has not learned" not in report(good).read_text()

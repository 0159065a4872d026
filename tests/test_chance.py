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


def part_right(images: int, classes: int, share: float, seed: int = 0) -> Score:
    """Images of classes of equal size: a share is predicted correctly, the others are guessed."""
    draw = np.random.default_rng(seed)
    labels = np.arange(images) % classes
    guesses = draw.integers(0, classes, images)
    return scored(labels, np.where(draw.random(images) < share, labels, guesses), DIGITS[:classes])


def test_one_predicted_class_for_all_images_is_named() -> None:
    labels = np.arange(100) % 10
    found = at_chance(scored(labels, np.full(100, 1)))
    assert found is not None
    assert (found.kind, found.predicted, found.accuracy, found.chance) == (Kind.ONE_CLASS, "1", 0.1, pytest.approx(0.1))


def test_one_predicted_class_is_reported_whatever_the_classes_sizes_are() -> None:
    labels = np.repeat([0, 1], [970, 30])
    assert at_chance(scored(labels, np.zeros(1000, int), ("healthy", "ill"))) is not None


@pytest.mark.parametrize(("images", "classes"), [(10_000, 10), (150, 3), (200, 2)])
def test_guesses_are_at_chance_and_trained_networks_are_not(images: int, classes: int) -> None:
    guesses = at_chance(part_right(images, classes, 0.0))
    assert guesses is not None
    assert guesses.kind is Kind.GUESSES
    assert guesses.chance == pytest.approx(1 / classes, abs=1e-9)
    assert at_chance(part_right(images, classes, 0.6)) is None


def test_a_little_above_chance_is_above_chance_where_the_images_are_many() -> None:
    assert at_chance(part_right(10_000, 10, 0.05)) is None


@pytest.mark.parametrize("images", [6, 20])
def test_few_images_say_nothing(images: int) -> None:
    assert at_chance(part_right(images, 10, 0.0)) is None
    assert at_chance(scored(np.arange(images) % 2, np.zeros(images, int), ("a", "b"))) is None


def test_a_network_below_the_majority_share_that_finds_the_rare_class_has_learned() -> None:
    labels = np.repeat([0, 1], [900, 100])
    predicted = np.concatenate([np.repeat([0, 1], [765, 135]), np.repeat([1, 0], [85, 15])])
    assert (labels == predicted).mean() == 0.85
    assert at_chance(scored(labels, predicted, ("healthy", "ill"))) is None


def test_no_image_with_a_class_says_nothing() -> None:
    nothing = score(np.full((50, 10), np.nan, np.float32), np.arange(50) % 10, DIGITS)
    assert at_chance(nothing) is None
    assert at_chance(Score(accuracy=0.1, correct=5, n=50)) is None


def test_outputs_that_are_not_finite_are_not_called_chance() -> None:
    score = scored(np.arange(1000) % 10, np.full(1000, 1))
    assert at_chance(score) is not None
    assert at_chance(replace(score, not_finite=3)) is None


def test_of_several_seeds_those_at_chance_are_named() -> None:
    labels = np.arange(200) % 10
    one, good = scored(labels, np.ones(200, int)), scored(labels, labels)
    (some,) = sentences([("a", 1, one), ("a", 2, good), ("b", 1, good)], "test")
    assert some.startswith("a (seed 1) ")
    (both,) = sentences([("a", 1, one), ("a", 2, one)], "test")
    assert both.startswith("a ")
    assert "seed" not in both


@pytest.mark.usefixtures("page_alone")
def test_the_first_screen_of_a_report_names_a_network_at_chance_level(tmp_path: Path) -> None:
    bad, good = fake_run(tmp_path, "lenet"), fake_run(tmp_path, "two_conv_cnn")
    labels = np.arange(1000) % 10
    write_json(bad.path / "scores.json", {"test": scored(labels, np.ones(1000, int)).as_table()})
    write_arrays(bad.path / "predictions.npz", {"test_labels": labels, "test_predicted": np.ones(1000, int)})
    members = [Member("lenet", 42, bad), Member("two_conv_cnn", 42, good)]
    study = Workspace(tmp_path).write_study("compare", {"kind": "compare", "command": "convoy compare"}, members)
    findings.write(study, conclude(members))
    (text,) = sentences([("lenet", 42, bad.scores["test"])], "test")
    assert kinds.caveats_of(study)[0] == text
    for each in (study, bad):
        page = report(each).read_text()
        assert page[: page.index("<h2")].count(text) == 1
    assert "has not learned" not in report(good).read_text()

"""Calibration errors and temperatures, compared with scikit-learn and with plain loops."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, log_loss

from convoy.evaluation import calibration as cal
from convoy.files import write_arrays
from convoy.reporting import calibration as section
from convoy.reporting.reading import read_run
from convoy.runs import Run
from fake_runs import fake_run

CLASSES = 5


def outputs_and_labels(images: int, sharpness: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits of a network that is calibrated for sharpness 1 and overconfident above."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (images, CLASSES))
    likely = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (likely.cumsum(axis=1) < random.random((images, 1))).sum(axis=1).clip(0, CLASSES - 1)
    return (sharpness * logits).astype(np.float32), labels


def probabilities(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits.astype(np.float64))
    return powers / powers.sum(axis=1, keepdims=True)


def ece_by_loop(likely: np.ndarray, labels: np.ndarray) -> float:
    order = sorted(range(len(labels)), key=lambda image: likely[image].max())
    total, start = 0.0, 0
    for number in range(cal.BINS):
        size = len(labels) // cal.BINS + (number < len(labels) % cal.BINS)
        images = order[start : start + size]
        start += size
        accuracy = np.mean([likely[image].argmax() == labels[image] for image in images])
        total += size * abs(accuracy - np.mean([likely[image].max() for image in images]))
    return total / len(labels)


def test_errors_agree_with_scikit_learn_and_with_a_loop() -> None:
    logits, labels = outputs_and_labels(1003, 1.7)
    result, likely = cal.calibration(logits, labels), probabilities(logits)
    classes = range(CLASSES)

    assert result.ece.mean == pytest.approx(ece_by_loop(likely, labels), rel=1e-12)
    assert result.nll.mean == pytest.approx(log_loss(labels, likely, labels=classes), rel=1e-12)
    by_sklearn = brier_score_loss(labels, likely, labels=classes, scale_by_half=False)
    assert result.brier.mean == pytest.approx(by_sklearn, rel=1e-12)
    assert [each.accuracy.n for each in result.bins] == [67] * 13 + [66] * 2


def test_intervals_contain_the_errors_and_those_of_means_agree_with_the_normal_approximation() -> None:
    logits, labels = outputs_and_labels(2000, 1.7)
    result = cal.calibration(logits, labels)
    nll = -np.log(probabilities(logits)[np.arange(2000), labels])

    for estimate in (result.ece, result.brier, result.nll):
        assert estimate.low is not None
        assert estimate.high is not None
        assert estimate.low <= estimate.mean <= estimate.high
    width = result.nll.span[1] - result.nll.span[0]
    assert width == pytest.approx(2 * 1.96 * nll.std() / math.sqrt(2000), rel=0.1)


def test_a_calibrated_network_is_recognised_and_an_overconfident_one_too() -> None:
    calibrated, overconfident = (cal.calibration(*outputs_and_labels(2000, sharpness)) for sharpness in (1.0, 2.0))

    assert not calibrated.is_distinguishable
    assert calibrated.ece.low == 0
    assert overconfident.is_distinguishable
    assert overconfident.confidence > overconfident.accuracy


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 3.0])
def test_the_temperature_is_the_one_that_makes_the_network_calibrated(sharpness: float) -> None:
    temperature = cal.fit_temperature(*outputs_and_labels(5000, sharpness))

    assert temperature is not None
    assert temperature.value == pytest.approx(sharpness, rel=0.06)


def test_a_network_that_ends_in_a_softmax_has_the_same_calibration_as_its_logits() -> None:
    logits, labels = outputs_and_labels(500, 2.0)
    likely = probabilities(logits).astype(np.float32)
    temperatures = [cal.fit_temperature(outputs, labels) for outputs in (logits, likely)]
    values = [cal.calibration(outputs, labels, temperature=1.5).nll.mean for outputs in (logits, likely)]

    assert temperatures[0] is not None
    assert temperatures[1] is not None
    assert temperatures[1].value == pytest.approx(temperatures[0].value, rel=1e-4)
    assert values[1] == pytest.approx(values[0], rel=1e-5)
    likely[3] = np.nan  # an image without finite outputs does not turn probabilities into logits
    assert cal.are_probabilities(likely)


def test_a_probability_of_0_for_the_true_class_has_a_finite_likelihood() -> None:
    likely = np.tile(np.float32([1, 0]), (30, 1))
    result = cal.calibration(likely, np.arange(30) % 2)

    assert result.nll.mean == pytest.approx(149 * math.log(2) / 2)


def test_images_without_finite_outputs_are_excluded_and_a_masked_class_is_not() -> None:
    logits, labels = outputs_and_labels(100)
    logits[0, 1], logits[1, 2], logits[2, (labels[2] + 1) % CLASSES] = np.nan, np.inf, -np.inf
    result = cal.calibration(logits, labels)

    assert (result.n, result.excluded) == (98, 2)
    assert cal.of_outputs("test", np.full_like(logits, np.nan), labels, {}) is None


def test_one_image_has_no_interval_and_a_network_without_errors_no_temperature() -> None:
    logits, labels = outputs_and_labels(100)

    assert cal.calibration(logits[:1], labels[:1]).nll.low is None
    assert cal.fit_temperature(logits[:10], labels[:10]) is None
    assert cal.fit_temperature(logits, logits.argmax(axis=1)) is None


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run whose network is overconfident: divided by 2, its logits are calibrated."""
    run = fake_run(tmp_path)
    arrays = {}
    for seed, part in enumerate(("validation", "test")):
        logits, arrays[f"{part}_labels"] = outputs_and_labels(800, 2.0, seed)
        arrays[f"{part}_logits"] = np.pad(logits, ((0, 0), (0, 5)), constant_values=-40)
    write_arrays(run.path / "predictions.npz", arrays)
    return run


def test_the_temperature_of_a_run_is_fitted_on_the_validation_part_only(run: Run) -> None:
    validation, test = (cal.of_run(run, part) for part in ("validation", "test"))

    assert test is not None
    assert test.temperature is not None
    assert test.scaled is not None
    assert test.temperature == cal.fit_temperature(*cal.arrays_of(run.predictions, "validation"))
    assert test.raw.is_distinguishable
    assert test.scaled.ece.mean < test.raw.ece.mean
    assert validation is not None
    assert validation.scaled is None
    points = cal.points_of_run(run, "test")
    assert points is not None
    assert (points.ece, points.scaled_ece) == (test.raw.ece.mean, test.scaled.ece.mean)


def test_the_report_has_a_row_with_and_one_without_the_temperature(run: Run) -> None:
    blocks = section.run_section(read_run(run), "test")
    table = section.models_section({"lenet": [read_run(run)]}, "test")

    assert blocks is not None
    assert table is not None
    assert [type(block).__name__ for block in blocks.blocks] == ["Prose", "Chart", "Table"]
    assert len(blocks.blocks[2].rows) == 2  # type: ignore[union-attr]


@pytest.mark.parametrize(("images", "blocks"), [(800, ["Prose"]), (3, ["Table"])])
def test_a_run_with_outputs_that_are_not_finite_is_named_and_has_no_numbers_of_these(
    run: Run, images: int, blocks: list[str]
) -> None:
    arrays = run.predictions
    arrays["test_logits"][:images] = np.nan
    write_arrays(run.path / "predictions.npz", arrays)
    view = read_run(run)
    own = section.run_section(view, "test")

    assert cal.without_probabilities(run, "test") == (images, 800)
    assert own is not None
    assert (len(own.blocks) == 1) == (images == 800)
    for found in (section.models_section, lambda *args: section.spread_section(*args, "Source")):
        shown = found({"lenet": [view]}, "test")
        assert shown is not None
        assert [type(block).__name__ for block in shown.blocks] == blocks
        text = shown.blocks[0].note if blocks == ["Table"] else shown.blocks[0].text  # type: ignore[union-attr]
        assert run.name in text
        assert f"{images:,}" in text


def test_the_spread_over_runs_is_the_standard_deviation_of_their_errors(tmp_path: Path) -> None:
    runs = [fake_run(tmp_path, seed=seed) for seed in (1, 2)]
    errors = []
    for seed, run in enumerate(runs):
        logits, labels = outputs_and_labels(300, 2.0, seed)
        write_arrays(run.path / "predictions.npz", {"test_logits": logits, "test_labels": labels})
        errors.append(cal.points_of_run(run, "test").ece)  # type: ignore[union-attr]
    shown = section.spread_section({"lenet": [read_run(run) for run in runs]}, "test", "Recipe")

    assert shown is not None
    cell = shown.blocks[0].rows[0][1]  # type: ignore[union-attr]
    assert (cell.text, cell.note) == (f"{100 * np.mean(errors):.2f}", f"{100 * np.std(errors, ddof=1):.2f}")


def test_a_run_without_outputs_has_no_calibration(tmp_path: Path) -> None:
    archived = fake_run(tmp_path)

    assert cal.of_run(archived, "test") is None
    assert section.models_section({"lenet": [read_run(archived)]}, "test") is None

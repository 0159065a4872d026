"""Published curves compared with the as-published runs."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

from convoy.experiments import experiment
from convoy.experiments.reproduction.curves import (
    CurveTest,
    PublishedCurve,
    band,
    compare_curve,
    corrected,
    published_curves,
)

EPOCHS = 6


@dataclass
class Runs:
    """Runs whose accuracies are normally distributed around a rising curve, with a random level per run."""

    draw: np.random.Generator

    def accuracies(self, *, shift: float = 0.0) -> list[float]:
        level = self.draw.normal(shift, 0.002)
        return [0.9 + 0.01 * epoch + level + self.draw.normal(0, 0.001) for epoch in range(EPOCHS)]

    def run(self, *, epochs: int = EPOCHS):
        values = self.accuracies()[:epochs]
        scores = [SimpleNamespace(accuracy=value, loss=1 - value, total=10_000) for value in values]
        metrics = [
            SimpleNamespace(epoch=epoch, of=lambda part, score=score: score if part == "validation" else None)
            for epoch, score in enumerate(scores, start=1)
        ]
        return SimpleNamespace(metrics=metrics)


@pytest.fixture
def runs() -> Runs:
    return Runs(np.random.default_rng(0))


def published(values: list[float], quantity: str = "accuracy") -> PublishedCurve:
    return PublishedCurve("net", "validation", quantity, tuple(values))


def test_a_curve_of_the_same_protocol_differs_in_5_of_100_trials(runs: Runs) -> None:
    tests = [compare_curve(published(runs.accuracies()), [runs.run() for _ in range(4)]) for _ in range(1_000)]
    assert np.mean([test.p < 0.05 for test in tests]) == pytest.approx(0.05, abs=0.02)


def test_one_more_run_leaves_the_band_at_5_of_100_epochs(runs: Runs) -> None:
    tests = [compare_curve(published(runs.accuracies()), [runs.run() for _ in range(4)]) for _ in range(500)]
    assert np.mean([len(test.outside) / test.epochs for test in tests]) == pytest.approx(0.05, abs=0.02)


def test_another_level_is_found_and_measured(runs: Runs) -> None:
    test = compare_curve(published(runs.accuracies(shift=-0.05)), [runs.run() for _ in range(5)])
    assert (test.epochs, test.runs, test.outside) == (6, 5, (1, 2, 3, 4, 5, 6))
    assert test.difference == pytest.approx(-0.05, abs=0.01)
    assert corrected([test])[0].differs


def test_losses_are_compared_as_they_are(runs: Runs) -> None:
    test = compare_curve(published([1 - value for value in runs.accuracies()], "loss"), [runs.run() for _ in range(5)])
    assert abs(test.difference) < 0.01
    assert not corrected([test])[0].differs


def test_epochs_that_a_run_did_not_reach_are_left_out(runs: Runs) -> None:
    test = compare_curve(published(runs.accuracies()), [runs.run(), runs.run(epochs=3)])
    assert test.epochs == 3


def test_one_run_has_a_difference_and_no_test(runs: Runs) -> None:
    curve, one = published(runs.accuracies()), [runs.run()]
    test = compare_curve(curve, one)
    assert (test.runs, test.p, test.outside) == (1, None, ())
    assert band(curve, one) == {}
    assert not corrected([test])[0].differs


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_part_without_scores_is_not_compared(part: str, runs: Runs) -> None:
    assert compare_curve(PublishedCurve("net", part, "accuracy", (0.9,)), [runs.run(), runs.run()]) is None
    assert compare_curve(published([0.9]), []) is None


def test_p_values_are_corrected_over_all_curves() -> None:
    tests = [CurveTest("net", "train", "loss", 5, 3, 0.0, (), p) for p in (0.01, None, 0.04)]
    assert [test.p_holm for test in corrected(tests)] == [0.02, None, 0.04]


def test_experiments_publish_the_curves_of_three_reports() -> None:
    lengths = {
        (name, model.label): {len(curve.values) for curve in published_curves(model.label, model.published)}
        for name in experiment.names()
        for model in experiment.load(name).model
    }
    assert {key: value for key, value in lengths.items() if value} == {
        ("classics-mnist", "lenet"): {5},
        ("classics-mnist", "alexnet"): {5},
        ("classics-mnist", "resnet18_shared"): {5},
        ("classics-mnist", "mobilenet_v1"): {5},
        ("classics-mnist", "googlenet"): {5},
        ("resnet-mnist", "mnist_resnet"): {4},
        ("tensor-mnist", "two_conv_cnn"): {25},
    }

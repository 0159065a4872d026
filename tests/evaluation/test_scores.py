from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from convoy.evaluation.scores import hardest, probabilities, score
from convoy.run_contents import ClassScore

NAMES = tuple("abcdefg")
seeds = st.integers(0, 2**32 - 1)


def random_case(seed: int, classes: int = 7, n: int = 40) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, draw.integers(1, classes + 1), n)  # some classes may be absent
    return (draw.normal(size=(n, classes)) + 1.5 * np.eye(classes)[labels]).astype(np.float32), labels


@given(seeds)
@settings(max_examples=30)
def test_scores_agree_with_scikit_learn(seed: int) -> None:
    from sklearn import metrics

    logits, labels = random_case(seed)
    result = score(logits, labels, NAMES)
    predicted, classes = logits.argmax(1), list(range(7))
    rows = metrics.precision_recall_fscore_support(labels, predicted, labels=classes, zero_division=0)
    assert result.confusion == metrics.confusion_matrix(labels, predicted, labels=classes).tolist()
    assert result.accuracy == pytest.approx(metrics.accuracy_score(labels, predicted))
    assert result.mcc == pytest.approx(metrics.matthews_corrcoef(labels, predicted), abs=1e-9)
    assert result.macro_f1 == pytest.approx(rows[2].mean())
    for key, column in zip(("precision", "recall", "f1", "n"), rows, strict=True):
        assert [getattr(row, key) for row in result.per_class] == pytest.approx(column.tolist())
    for k in (3, 5):
        expected = metrics.top_k_accuracy_score(labels, logits, k=k, labels=classes)
        assert result.top_k[str(k)] == pytest.approx(expected)


def test_scores_of_six_images_are_those_computed_by_hand() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2])
    logits = np.eye(3, dtype=np.float32)[[0, 1, 1, 1, 0, 2]]
    result = score(logits, labels, ("cat", "dog", "car"))
    assert (result.correct, result.n, result.accuracy) == (3, 6, 0.5)
    assert result.confusion == [[1, 2, 0], [1, 1, 0], [0, 0, 1]]
    assert result.per_class[0] == ClassScore("cat", precision=0.5, recall=1 / 3, f1=0.4, n=3)
    assert result.top_k == {}  # top-3 of 3 classes is always 1


def test_loss_is_cross_entropy_or_the_given_function() -> None:
    logits, labels = random_case(3)
    log_probabilities = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    by_hand = -log_probabilities[np.arange(40), labels].mean()
    assert score(logits, labels, NAMES).loss == pytest.approx(by_hand, rel=1e-5)
    smoothed = score(logits, labels, NAMES, lambda x, y: F.cross_entropy(x, y, label_smoothing=0.1)).loss
    assert smoothed == pytest.approx(0.9 * by_hand - 0.1 * log_probabilities.mean(), rel=1e-5)


def test_score_of_a_diverged_network_is_valid_json() -> None:
    logits, labels = random_case(5)
    logits[3] = np.nan
    result = score(logits, labels, NAMES)
    assert result.loss is None
    json.dumps(result.as_table(), allow_nan=False)


def test_mcc_of_a_constant_prediction_is_zero() -> None:
    logits, labels = np.eye(7, dtype=np.float32)[np.zeros(7, int)], np.arange(7)
    assert score(logits, labels, NAMES).mcc == 0.0


def test_hardest_images_have_the_highest_cross_entropy() -> None:
    logits = np.array([[9, 0], [5, 0], [0, 5], [np.nan, 0], [0.1, 0]], dtype=np.float32)
    labels = np.array([1, 1, 1, 0, 0])
    assert hardest(logits, labels, 3).tolist() == [3, 0, 1]


def test_outputs_that_are_probabilities_are_unchanged() -> None:
    logits, _ = random_case(3)
    likely = probabilities(logits)
    np.testing.assert_allclose(likely, F.softmax(torch.tensor(logits).double(), dim=1).numpy())
    np.testing.assert_array_equal(probabilities(likely.astype(np.float32)), likely.astype(np.float32))
    assert not np.allclose(probabilities(np.abs(logits)), np.abs(logits))

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor

from convoy.evaluation import losses
from convoy.recipe.sections import CrossEntropy, SquaredError, Train

LOGITS = torch.randn(12, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(12) % 4
WEIGHTS = torch.tensor([0.5, 1.0, 2.0, 4.0], dtype=torch.float64)


def soft(share: float) -> Tensor:
    """Labels with probability `share` for the image's class and the rest for the next class."""
    one_hot = F.one_hot(LABELS, 4).double()
    return share * one_hot + (1 - share) * one_hot.roll(1, 1)


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
@pytest.mark.parametrize("spec", [CrossEntropy(), CrossEntropy(label_smoothing=0.2), SquaredError()], ids=repr)
def test_one_hot_labels_equal_class_indices(spec: CrossEntropy | SquaredError, weights: Tensor | None) -> None:
    loss = losses.build(spec, weights)
    assert loss(LOGITS, soft(1.0)).item() == pytest.approx(loss(LOGITS, LABELS).item(), rel=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
def test_cross_entropy_of_soft_labels_agrees_with_its_formula(smoothing: float, weights: Tensor | None) -> None:
    loss = losses.build(CrossEntropy(label_smoothing=smoothing), weights)
    target = soft(0.7) * (1 - smoothing) + smoothing / 4
    weighted = -LOGITS.log_softmax(1) * (1 if weights is None else weights)
    assert loss(LOGITS, soft(0.7)).item() == pytest.approx((target * weighted).sum(1).mean().item(), rel=1e-12)


def test_squared_error_of_soft_labels_agrees_with_its_formula() -> None:
    expected = (LOGITS - soft(0.7)).square().mean().item()
    assert losses.build(SquaredError())(LOGITS, soft(0.7)).item() == pytest.approx(expected, rel=1e-12)


def test_weighted_loss_of_a_batch_is_the_mean_over_its_micro_batches() -> None:
    """Gradient accumulation needs this; torch's weighted mean does not have it."""
    loss = losses.build(CrossEntropy(), WEIGHTS)
    parts = [loss(LOGITS[start : start + 3], LABELS[start : start + 3]).item() for start in range(0, 12, 3)]
    assert loss(LOGITS, LABELS).item() == pytest.approx(sum(parts) / 4, rel=1e-12)


def test_balanced_weights_agree_with_scikit_learn() -> None:
    counts = [50, 30, 15, 5]
    labels = torch.arange(4).repeat_interleave(torch.tensor(counts)).numpy()
    weights = losses.class_weights(Train(class_weights="balanced"), counts)
    assert weights is not None
    assert weights.tolist() == pytest.approx(compute_class_weight("balanced", classes=np.arange(4), y=labels).tolist())


@pytest.mark.parametrize("setting", ["balanced", (1.0, 2.0, 3.0, 10.0)])
@pytest.mark.parametrize("counts", [[50, 30, 15, 5], [25, 25, 25, 25], [9, 0, 1, 1]])
def test_mean_weight_of_the_training_images_is_one(setting: str | tuple[float, ...], counts: list[int]) -> None:
    weights = losses.class_weights(Train(class_weights=setting), counts)
    assert weights is not None
    assert (weights @ torch.tensor(counts).double() / sum(counts)).item() == pytest.approx(1)


def test_listed_weights_keep_their_ratios() -> None:
    weights = losses.class_weights(Train(class_weights=(1.0, 4.0)), [30, 10])
    assert weights is not None
    assert (weights[1] / weights[0]).item() == pytest.approx(4)


def test_class_without_training_images_has_weight_zero() -> None:
    weights = losses.class_weights(Train(class_weights="balanced"), [10, 0, 30])
    assert weights is not None
    assert weights.tolist() == pytest.approx([2, 0, 2 / 3])


def test_default_has_no_class_weights() -> None:
    assert losses.class_weights(Train(), [1, 2]) is None


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (Train(class_weights=(1.0, 2.0)), "expected 3 weights.*got 2"),
        (Train(class_weights="balanced", loss=SquaredError()), "squared_error"),
    ],
)
def test_invalid_class_weights_raise(train: Train, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        losses.class_weights(train, [1, 2, 3])

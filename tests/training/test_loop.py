from __future__ import annotations

from itertools import count

import pytest
import torch
from torch import nn

from convoy.evaluation import losses
from convoy.evaluation.interruption import Interrupted
from convoy.recipe.sections import Adam, CrossEntropy
from convoy.training.step import loop
from convoy.training.step.learner import Learner
from convoy.training.step.loop import Record, train


class Eight:
    """Five batches of eight images per epoch; the last has four."""

    steps_per_epoch = 5

    def at(self, epoch: int, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        generator = torch.Generator().manual_seed(100 * epoch + step)
        size = 4 if step == 4 else 8
        return torch.randn(size, 1, 6, 6, generator=generator), torch.randint(3, (size,), generator=generator)


def a_learner() -> Learner:
    torch.manual_seed(1)
    module = nn.Sequential(nn.Flatten(), nn.Linear(36, 16), nn.Dropout(0.5), nn.Linear(16, 3))
    return Learner(module, Adam(), losses.build(CrossEntropy()))


def run(learner: Learner, start: int = 0, epochs: int = 2, interrupted: bool = False) -> list[Record]:
    """`interrupted`: a record at each step."""
    steps = range(start, epochs * Eight.steps_per_epoch)
    return list(train(learner, Eight(), lambda step: 1.0, seed=3, steps=steps, interrupted=lambda: interrupted))


def test_every_step_and_image_is_in_one_record() -> None:
    records = run(a_learner(), interrupted=True)
    assert [record.step for record in records] == list(range(1, 11))
    assert [record.images for record in records] == [8, 8, 8, 8, 4] * 2
    assert [record.epoch_ended for record in records] == [False, False, False, False, True] * 2


def test_each_epoch_ends_with_a_record() -> None:
    records = run(a_learner())
    assert [(record.epoch, record.step, record.epoch_ended) for record in records] == [(0, 5, True), (1, 10, True)]
    assert records[0].loss.shape == (5,)


def test_training_from_a_later_step_equals_the_uninterrupted_run() -> None:
    uninterrupted = a_learner()
    run(uninterrupted)
    broken = a_learner()
    for record in train(broken, Eight(), lambda step: 1.0, seed=3, steps=range(10), interrupted=lambda: True):
        if record.step == 7:
            break
    again = a_learner()
    again.load(**broken.state())
    run(again, start=7)
    for ours, theirs in zip(uninterrupted.module.parameters(), again.module.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("checks", range(2, 22, 3))  # a step has 10: forward, backward, at its end
def test_an_interruption_in_a_long_step_leaves_the_state_before_it(
    monkeypatch: pytest.MonkeyPatch, checks: int
) -> None:
    monkeypatch.setattr(loop, "LONG_SECONDS", -1)
    uninterrupted, broken = (with_batch_norm() for _ in range(2))
    run(uninterrupted)
    asked, done = count(1), 0

    def train_until_interrupted() -> None:
        nonlocal done
        steps = range(5)
        for record in train(
            broken, Eight(), lambda step: 1.0, seed=3, steps=steps, interrupted=lambda: next(asked) >= checks
        ):
            done = record.step

    with pytest.raises(Interrupted):
        train_until_interrupted()
    assert done == checks // 10
    run(broken, start=done)
    assert state_bytes(broken) == state_bytes(uninterrupted)


def with_batch_norm() -> Learner:
    torch.manual_seed(1)
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(64, 3))
    return Learner(module, Adam(), losses.build(CrossEntropy()))


def state_bytes(learner: Learner) -> dict[str, bytes]:
    return {name: value.numpy().tobytes() for name, value in learner.module.state_dict().items()}


def test_learning_rate_is_the_factor_times_the_recipes() -> None:
    learner = a_learner()
    seen = []
    list(
        train(
            learner,
            Eight(),
            lambda step: 0.5**step,
            seed=3,
            steps=range(5),
            probe=lambda each, x, y: seen.append(learner.optimizer.lr),
        )
    )
    assert seen == [1e-3 * 0.5**step for step in range(5)]

from __future__ import annotations

import math

import pytest
import torch

from convoy.recipe.sections import Constant, Cosine, OneCycle, Plateau, ScheduleBase, Step
from convoy.training.step.schedules import Horizon, lr_factor, plateau_drops

HORIZON = Horizon(steps_per_epoch=10, epochs=6)


def factors(spec: ScheduleBase) -> list[float]:
    return [lr_factor(spec, step, HORIZON) for step in range(HORIZON.steps_per_epoch * HORIZON.epochs)]


def torch_factors(make: type, **options: object) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = make(optimizer, **options)
    rates = []
    for _ in range(60):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def test_constant_is_one() -> None:
    assert set(factors(Constant())) == {1.0}


def test_cosine_per_step_equals_torch_and_rises_again_after_t_max() -> None:
    ours = factors(Cosine(per="step", t_max=20))
    assert ours == pytest.approx(torch_factors(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=20), abs=1e-12)
    assert ours[20] == pytest.approx(0.0)
    assert ours[40] == pytest.approx(1.0)


def test_cosine_per_epoch_is_constant_within_an_epoch() -> None:
    ours = factors(Cosine(per="epoch"))
    assert len(set(ours[10:20])) == 1
    assert ours[10] == pytest.approx((1 + math.cos(math.pi / 6)) / 2)


def test_step_equals_torch() -> None:
    ours = factors(Step(every_epochs=2, factor=0.5))
    assert ours == pytest.approx(torch_factors(torch.optim.lr_scheduler.StepLR, step_size=20, gamma=0.5))


def test_one_cycle_equals_torch() -> None:
    ours = factors(OneCycle(rise=0.25, start_factor=0.04, end_factor=4e-6))
    theirs = torch_factors(
        torch.optim.lr_scheduler.OneCycleLR,
        max_lr=1.0,
        total_steps=61,
        pct_start=0.25,
        div_factor=25,
        final_div_factor=1e4,
        cycle_momentum=False,
    )
    # torch puts the peak half a step away from ours; the shape is the same
    assert ours == pytest.approx(theirs, abs=0.06)
    assert ours[0] == pytest.approx(0.04)
    assert max(ours) <= 1
    assert ours[-1] == pytest.approx(4e-6)


def test_the_schedule_begins_after_a_linear_warm_up() -> None:
    ours = factors(Cosine(per="step", warmup_epochs=1))
    assert ours[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])
    assert ours[10] == pytest.approx(1.0)
    assert ours[-1] < 0.01


def test_plateau_equals_torch() -> None:
    losses = [1.0, 0.9, 0.9, 0.9, 0.91, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8]
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.1, patience=2)
    for count, loss in enumerate(losses, start=1):
        scheduler.step(loss)
        drops = plateau_drops(losses[:count], patience=2)
        assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1**drops)
    assert lr_factor(Plateau(patience_epochs=2), 55, HORIZON, losses) == pytest.approx(0.001)


def test_a_reduction_after_a_fraction_of_an_epoch_is_at_the_exact_step() -> None:
    spec, horizon = Step(every_epochs=0.1, factor=0.5), Horizon(1000, 2)
    for drops in range(1, 20):
        assert lr_factor(spec, 100 * drops, horizon) == pytest.approx(0.5**drops)
        assert lr_factor(spec, 100 * drops - 1, horizon) == pytest.approx(0.5 ** (drops - 1))

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from convoy import api
from convoy.recipe import Recipe
from convoy.recipe.sections import Range
from convoy.runs import Workspace
from convoy.studies.kinds import finding_of
from convoy.studies.lr_range.finding import MIN_STEPS
from convoy.studies.lr_range.run import run as lr_range
from convoy.studies.session import Session
from convoy.training.step.schedules import Horizon, lr_factor

Make = Callable[..., Recipe]


def test_the_logarithm_of_the_rate_rises_linearly_to_the_recipes() -> None:
    factors = [lr_factor(Range(start_factor=1e-4), step, Horizon(10, 2)) for step in range(20)]
    assert factors[0] == pytest.approx(1e-4)
    assert factors[-1] == 1.0
    assert np.allclose(np.diff(np.log(factors)), math.log(1e4) / 19)


def test_range_test_finds_where_the_loss_falls_and_writes_a_page(tiny: Make, tmp_path: Path) -> None:
    recipe = tiny(("optim.name", "sgd"), ("train.loss.label_smoothing", 0.2))  # else the loss, once 0, stays there
    study = lr_range(recipe, Session(tmp_path), lowest=1e-4, highest=1e3)
    assert study is not None
    finding = finding_of(study)
    assert 1e-4 < finding.steepest_lr <= finding.lowest_loss_lr < finding.diverges_lr < 1e3
    (member,) = study.members
    assert len(member.run.steps["lr"]) >= MIN_STEPS
    assert "test" not in member.run.scores
    assert f"{finding.steepest_lr:.2g}" in api.report(study).read_text()
    assert (study.path / "figures" / "lr_range.png").stat().st_size > 5_000


@pytest.mark.usefixtures("words_alone")
def test_nothing_is_learned_at_rates_that_are_too_low(tiny: Make, tmp_path: Path) -> None:
    recipe = tiny(("model.freeze", ["body.*"]))
    study = lr_range(recipe, Session(tmp_path), lowest=1e-12, highest=1e-11)
    assert study is not None
    finding = finding_of(study)
    assert finding.steepest_lr is finding.lowest_loss_lr is finding.diverges_lr is None
    assert "does not decrease" in api.report(study).read_text()


@pytest.mark.parametrize(("lowest", "highest"), [(0.0, 1.0), (1.0, 0.1), (1e-3, math.inf)])
def test_rates_in_the_wrong_order_are_an_error_and_nothing_is_written(
    tiny: Make, tmp_path: Path, lowest: float, highest: float
) -> None:
    with pytest.raises(ValueError, match="0 < lowest < highest"):
        lr_range(tiny(), Session(tmp_path / "out"), lowest=lowest, highest=highest)
    assert not list(Workspace(tmp_path / "out").runs())


def test_interrupted_range_test_is_resumed(tiny: Make, tmp_path: Path) -> None:
    assert lr_range(tiny(), Session(tmp_path, interrupted=lambda: True), lowest=1e-5, highest=1.0) is None
    (begun,) = Workspace(tmp_path).runs()
    study = lr_range(tiny(), Session(tmp_path), lowest=1e-5, highest=1.0)
    assert study is not None
    assert study.members[0].run.path.resolve() == begun.path.resolve()
    assert "resuming" in (begun.path / "log.txt").read_text()


def test_test_set_stays_closed_under_the_fault_that_selects_on_it(tiny: Make, tmp_path: Path) -> None:
    recipe = tiny(("protocol.faults", ["selection_on_test"]))
    assert lr_range(recipe, Session(tmp_path), lowest=1e-5, highest=1.0) is not None
    assert not (tmp_path / "test_openings.json").exists()


def test_a_single_remaining_image_does_not_reduce_the_steps_below_the_minimum(tiny: Make, tmp_path: Path) -> None:
    recipe = tiny(("data.limit", 100), ("train.batch_size", 79))  # of 80 images: one update an epoch, not two
    study = lr_range(recipe, Session(tmp_path), lowest=1e-5, highest=1.0)
    assert study is not None
    assert len(study.members[0].run.steps["lr"]) == MIN_STEPS

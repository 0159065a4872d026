from __future__ import annotations

import hashlib
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from convoy.checkpoint import load_weights
from convoy.evaluation import losses
from convoy.events import Control
from convoy.recipe import Recipe
from convoy.recipe.sections import SGD, CrossEntropy, Train
from convoy.runs import Run
from convoy.training.run import run_one
from convoy.training.step import loop
from convoy.training.step.learner import Learner
from convoy.training.step.probe import STEP_SIZES, StepProbe, measure

Make = Callable[..., Recipe]


def finish(recipe: Recipe, out: Path, **options: Any) -> Run:
    events = list(run_one.run_one(recipe, out, test=False, **options))
    return Run(events[-1].run)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def a_learner(module: nn.Module, **train: Any) -> Learner:
    return Learner(module, SGD(lr=0.1), losses.build(CrossEntropy()), Train(**train))


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(12, 5, generator=generator), torch.arange(12) % 3


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "rmsprop"])
def test_a_probed_run_ends_with_the_weights_of_an_unprobed_one(tiny: Make, tmp_path: Path, optimizer: str) -> None:
    common = [("optim.name", optimizer), ("model.options.drop_rate", 0.3), ("train.ema_decay", 0.9)]
    plain = finish(tiny(*common), tmp_path)
    probed = finish(tiny(*common, ("probe.every_steps", 1), ("probe.keep_weights", True)), tmp_path)
    assert plain.path != probed.path
    assert digest(plain.path / "best.safetensors") == digest(probed.path / "best.safetensors")
    assert plain.steps["loss"].tobytes() == probed.steps["loss"].tobytes()
    assert plain.scores == probed.scores


def test_probe_results_are_in_the_run_folder_with_the_filters(tiny: Make, tmp_path: Path) -> None:
    run = finish(tiny(("probe.every_steps", 5)), tmp_path)
    arrays = run.arrays
    assert arrays["probe_step"].tolist() == [5, 10, 15]  # of 16 updates
    assert arrays["probe_loss"].shape == (3, 1 + len(STEP_SIZES))
    assert arrays["probe_gradient_change"].shape == (3, len(STEP_SIZES))
    assert arrays["probe_beta"].shape == (3,)
    assert "first_layer_filters" in arrays


def test_an_interrupted_probed_run_ends_with_the_same_probes(
    tiny: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "RECORD_SECONDS", 0.0)
    recipe = tiny(("probe.every_steps", 3), ("probe.keep_weights", True), ("model.options.drop_rate", 0.3))
    uninterrupted = finish(recipe, tmp_path / "uninterrupted")
    asked = count(1)
    finish(recipe, tmp_path / "cut", control=lambda: Control.PAUSE if next(asked) >= 7 else Control.CONTINUE)
    cut = finish(recipe, tmp_path / "cut")
    assert "resuming" in (cut.path / "log.txt").read_text()
    assert {name: values.tobytes() for name, values in cut.arrays.items()} == {
        name: values.tobytes() for name, values in uninterrupted.arrays.items()
    }
    kept = sorted(path.name for path in (uninterrupted.path / "weights").iterdir())
    assert {name: digest(cut.path / "weights" / name) for name in kept} == {
        name: digest(uninterrupted.path / "weights" / name) for name in kept
    }


def test_initial_weights_and_those_of_each_epoch_are_saved(tiny: Make, tmp_path: Path) -> None:
    run = finish(tiny(("probe.keep_weights", True)), tmp_path)
    files = sorted((run.path / "weights").iterdir())
    assert [path.name for path in files] == [f"epoch-0000{epoch}.safetensors" for epoch in range(3)]
    best = load_weights(run.path / "best.safetensors")
    same = load_weights(files[run.status.best_epoch])
    assert all(torch.equal(best[name], same[name]) for name in best)
    assert not all(torch.equal(best[name], values) for name, values in load_weights(files[0]).items())


def test_without_the_section_nothing_is_saved(tiny: Make, tmp_path: Path) -> None:
    run = finish(tiny(), tmp_path)
    assert not (run.path / "weights").exists()
    assert set(run.arrays) == {"first_layer_filters"}


def test_a_probe_does_not_change_weights_norms_gradients_and_generator() -> None:
    learner = a_learner(nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3)))
    x, y = batch()
    learner.step(x, y)
    state = {name: value.clone() for name, value in learner.module.state_dict().items()}
    gradients = [parameter.grad for parameter in learner.parameters]
    generator = torch.get_rng_state()
    measure(learner, x, y, seed=1)
    assert all(torch.equal(value, state[name]) for name, value in learner.module.state_dict().items())
    assert all(parameter.grad is before for parameter, before in zip(learner.parameters, gradients, strict=True))
    assert torch.equal(torch.get_rng_state(), generator)


def test_a_probe_of_a_parabola_measures_its_curvature() -> None:
    """Squared error of one weight w against 0 at x = 3: the loss is (3 w)^2, its gradient 18 w, its curvature 18."""
    module = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    learner = Learner(module, SGD(lr=0.1), lambda logits, _: logits.square().mean())
    with torch.no_grad():
        module.weight.fill_(0.5)
    found = measure(learner, torch.tensor([[3.0]], dtype=torch.float64), torch.zeros(1), seed=0)
    sizes = np.array([0, *STEP_SIZES])
    assert found["probe_beta"] == pytest.approx(18, rel=1e-6)
    assert found["probe_gradient_change"] == pytest.approx(18 * sizes[1:] * 9, rel=1e-6)
    assert found["probe_loss"] == pytest.approx((3 * (0.5 - sizes * 9)) ** 2, rel=1e-6)


def test_the_curvature_over_the_optimizer_step_does_not_depend_on_its_length() -> None:
    """The parabola of the test above; the step goes uphill."""
    module = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    learner = Learner(module, SGD(lr=0.1), lambda logits, _: logits.square().mean())
    with torch.no_grad():
        module.weight.fill_(0.5)
    x, y = torch.tensor([[3.0]], dtype=torch.float64), torch.zeros(1)
    for before in (0.499, -7.0):
        found = measure(learner, x, y, 0, [torch.tensor([[before]], dtype=torch.float64)])
        assert found["probe_own_beta"] == pytest.approx(18, rel=1e-5)
    assert np.isnan(measure(learner, x, y, 0)["probe_own_beta"])
    assert module.weight.item() == 0.5


def test_the_weights_before_a_measured_step_are_known_except_for_the_first() -> None:
    learner, (x, y) = a_learner(nn.Linear(5, 3)), batch()
    every_step, every_second = StepProbe(1, seed=0), StepProbe(2, seed=0)
    for _ in range(4):
        learner.step(x, y)
        every_step(learner, x, y)
        every_second(learner, x, y)
    own, second = every_step.arrays["probe_own_beta"], every_second.arrays["probe_own_beta"]
    assert np.isnan(own).tolist() == [True, False, False, False]
    assert second.tolist() == own[1::2].tolist()


def test_a_probe_in_micro_batches_has_the_gradient_of_the_full_batch() -> None:
    torch.manual_seed(0)
    module = nn.Linear(5, 3, dtype=torch.float64)
    x, y = batch()
    undivided = measure(a_learner(module), x.double(), y, seed=0)
    parts = measure(a_learner(module, accumulate=5), x.double(), y, seed=0)
    assert undivided
    assert all(np.allclose(undivided[name], parts[name], rtol=1e-6, equal_nan=True) for name in undivided)


def test_a_loaded_probe_continues_to_count() -> None:
    learner, (x, y) = a_learner(nn.Linear(5, 3)), batch()
    probe = StepProbe(2, seed=0)
    for _ in range(3):
        probe(learner, x, y)
    again = StepProbe(2, seed=0)
    again.load(**probe.state())
    again(learner, x, y)
    assert again.arrays["probe_step"].tolist() == [2, 4]

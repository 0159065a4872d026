from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import nn

from convoy.checkpoint import load_checkpoint, save_checkpoint
from convoy.evaluation import losses
from convoy.evaluation.predict import evaluating
from convoy.recipe.sections import SGD, Adam, AdamW, Model, Optim, RMSprop, Train
from convoy.training.run.plan import init_and_freeze
from convoy.training.step.average import WeightAverage
from convoy.training.step.learner import Learner
from convoy.training.step.optimizers import KernelOptimizer

OPTIMIZERS = [*(kind() for kind in get_args(get_args(Optim)[0])), SGD(momentum=0.0), RMSprop(momentum=0.9)]


# Section -> an implementation with the interface of torch.optim, for an optimizer that torch does not have
REFERENCES: dict[type, Callable[..., torch.optim.Optimizer]] = {}


def learner_with(optim: Optim, clip_norm: float = 0.0, dtype: torch.dtype = torch.float32) -> Learner:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3))
    return Learner(module.to(dtype), optim, losses.squared_error, Train(clip_norm=clip_norm))


def batch(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(8, 1, 8, 8, generator=generator), torch.randint(3, (8,), generator=generator)


def weights(learner: Learner) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in learner.module.state_dict().items() if value.is_floating_point()}


def test_average_of_any_decay_forgets_the_initial_weights_in_few_steps() -> None:
    module = nn.Linear(1, 1, bias=False)
    nn.init.ones_(module.weight)
    average = WeightAverage(module, 0.999_999)
    nn.init.zeros_(module.weight)
    for _step in range(10):
        average.update()
    assert float(average.module.weight) < 1e-4  # without a ramp of the decay: 0.99999


def test_average_of_tied_weights_is_updated_once_per_step() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 3))
    module[2].weight = module[1].weight
    learner = Learner(module, SGD(lr=0.1), losses.squared_error, Train(ema_decay=0.9))
    first = module[1].weight.detach().clone()
    learner.step(*batch(0))
    assert torch.allclose(learner.network[1].weight, first.lerp(module[1].weight.detach(), 1 - 2 / 11), atol=1e-6)


def test_average_does_not_count_a_skipped_step() -> None:
    clean, hit = (
        Learner(learner_with(SGD()).module, SGD(), losses.squared_error, Train(ema_decay=0.9)) for _ in range(2)
    )
    x, y = batch(0)
    for learner in (clean, hit):
        learner.step(x, y)
    hit.step(x * torch.nan, y)
    for learner in (clean, hit):
        learner.step(*batch(1))
    assert torch.equal(clean.network[0].weight, hit.network[0].weight)


@pytest.mark.parametrize("on_host", [True, False])
@pytest.mark.parametrize("optim", OPTIMIZERS, ids=repr)
def test_a_step_that_is_not_finite_changes_nothing(optim: Optim, on_host: bool) -> None:
    clean, hit = learner_with(optim), learner_with(optim)
    hit._on_host = on_host  # the way of a GPU works on any device
    x, y = batch(9)
    assert not hit.step(x * torch.inf, y).loss.isfinite()
    for seed in range(3):
        assert clean.step(*batch(seed)).loss.isfinite()
        hit.step(*batch(seed))
        if seed == 1:
            assert not hit.step(x * torch.nan, y).loss.isfinite()
    for name, value in weights(clean).items():
        assert torch.equal(value, weights(hit)[name]), name


@pytest.mark.parametrize("optim", OPTIMIZERS, ids=repr)
def test_a_step_agrees_with_the_reference(optim: Optim) -> None:
    """In float64: the bias in front of the batch norm has a gradient of rounding noise, which in float32 is as large as
    Adam's epsilon and becomes a full step whose sign depends on the processor."""
    learner, plain = learner_with(optim, dtype=torch.float64), learner_with(optim, dtype=torch.float64).module
    options = optim.model_dump(exclude={"name", "decay_norms_and_biases", "layer_decay", "weight_decay"})
    groups = [
        {"params": [p for p in plain.parameters() if p.ndim > 1], "weight_decay": optim.weight_decay},
        {"params": [p for p in plain.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    reference = REFERENCES.get(type(optim)) or getattr(torch.optim, type(optim).__name__)
    optimizer = reference(groups, **options)
    for seed in range(4):
        x, y = batch(seed)
        x = x.double()
        learner.step(x, y)
        optimizer.zero_grad()
        losses.squared_error(plain(x), y).backward()
        optimizer.step()
    for name, value in plain.state_dict().items():
        assert torch.allclose(value, learner.module.state_dict()[name], rtol=1e-9, atol=1e-10), name


def test_clipping_limits_the_step_and_reports_the_norm_before_clipping() -> None:
    free, clipped = learner_with(SGD(momentum=0.0, lr=1.0)), learner_with(SGD(momentum=0.0, lr=1.0), clip_norm=0.01)
    before = nn.utils.parameters_to_vector(clipped.module.parameters()).clone()
    norm = clipped.step(*batch(0)).grad_norm
    assert torch.equal(norm, free.step(*batch(0)).grad_norm)
    moved = nn.utils.parameters_to_vector(clipped.module.parameters()) - before
    assert moved.norm().item() == pytest.approx(0.01, rel=1e-3)
    assert norm.item() > 0.01


def test_norms_and_biases_have_no_weight_decay_by_default() -> None:
    for asked, decayed in ((False, 2), (True, 6)):
        learner = learner_with(AdamW(weight_decay=0.1, decay_norms_and_biases=asked))
        assert isinstance(learner.optimizer, KernelOptimizer)
        assert sum(len(group.parameters) for group in learner.optimizer.groups if group.weight_decay) == decayed


def test_cross_entropy_smooths_and_squared_error_is_against_one_hot() -> None:
    from convoy.recipe.sections import CrossEntropy

    logits, labels = torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([0])
    plain = losses.build(CrossEntropy())(logits, labels)
    assert losses.build(CrossEntropy(label_smoothing=0.3))(logits, labels) > plain
    assert losses.squared_error(logits, labels).item() == pytest.approx(1 / 3)


def test_micro_batches_give_the_gradient_of_the_full_batch() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).double()  # no norm: that one sees the parts
    twin = deepcopy(module)
    undivided = Learner(module, SGD(momentum=0.0), losses.squared_error)
    parts = Learner(twin, SGD(momentum=0.0), losses.squared_error, Train(accumulate=3))
    x, y = batch(0)
    one, other = undivided.step(x.double(), y), parts.step(x.double(), y)
    assert torch.allclose(one.loss, other.loss, rtol=1e-12)
    assert torch.allclose(one.logits, other.logits, rtol=1e-12)
    assert torch.allclose(one.grad_norm, other.grad_norm, rtol=1e-12)
    assert torch.allclose(module[1].weight, twin[1].weight, rtol=1e-12)


def test_no_micro_batch_is_a_single_image() -> None:
    learner = Learner(
        nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.BatchNorm1d(4)),
        SGD(),
        losses.squared_error,
        Train(accumulate=4),
    )
    for size in (2, 3, 5, 7):
        x = torch.randn(size, 1, 2, 2)
        assert learner.step(x, torch.zeros(size, dtype=torch.int64)).logits.shape == (size, 4)


def test_average_uses_a_decay_that_increases() -> None:
    learner = learner_with(SGD(lr=0.1))
    averaged = Learner(deepcopy(learner.module), SGD(lr=0.1), losses.squared_error, Train(ema_decay=0.5))
    expected = learner.module[0].weight.detach().clone()
    for seed, decay in enumerate((2 / 11, 3 / 12, 4 / 13, 5 / 14, 6 / 15)):
        learner.step(*batch(seed))
        averaged.step(*batch(seed))
        expected = decay * expected + (1 - decay) * learner.module[0].weight.detach()
    assert torch.allclose(averaged.network[0].weight, expected, atol=1e-6)
    assert torch.equal(averaged.module[0].weight, learner.module[0].weight)


def test_frozen_layers_keep_weights_and_running_statistics_even_after_scoring() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 3))
    init_and_freeze(module, Model(freeze=("0.*", "1.*")))
    learner = Learner(module, AdamW(), losses.squared_error)
    before = weights(learner)
    for seed in range(3):
        learner.step(*batch(seed))
        with evaluating(learner.network), torch.inference_mode():
            learner.network(batch(seed)[0])
    changed = {name for name, value in weights(learner).items() if not torch.equal(value, before[name])}
    assert changed == {"3.weight", "3.bias"}


@pytest.mark.parametrize("freeze", ["all-but-head", ("0", "1"), ("0.*", "1.*")])
def test_all_but_the_head_or_layers_by_name_are_frozen(freeze: str | tuple[str, ...]) -> None:
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 3))
    [note] = init_and_freeze(module, Model.model_validate({"freeze": freeze}))
    assert [name for name, each in module.named_parameters() if each.requires_grad] == ["3.weight", "3.bias"]
    assert "435 of 483 parameters" in note


def test_error_for_an_unknown_layer_lists_close_names() -> None:
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 3))
    with pytest.raises(ValueError, match="did you mean 'all-but-head'"):
        init_and_freeze(module, Model(freeze=("all-but-heads",)))
    with pytest.raises(ValueError, match="nothing is left to train"):
        init_and_freeze(module, Model(freeze=("0", "2")))


@pytest.mark.parametrize("optim", [kind for kind in OPTIMIZERS if kind not in (SGD(momentum=0.0),)], ids=repr)
def test_layer_decay_gives_each_layer_the_step_of_a_smaller_rate(optim: Optim) -> None:
    """Each layer moves as it does if all layers have its rate; norms and biases still have no weight decay."""
    changes = []
    for lr, decay in ((0.01, 0.5), (0.01, 1.0), (0.005, 1.0)):
        spec = optim.model_copy(update={"lr": lr, "layer_decay": decay, "weight_decay": 0.1})
        learner = learner_with(spec)
        learner.module[1].weight.data.mul_(2)
        before = weights(learner)
        learner.set_lr_factor(0.5)
        learner.step(*batch(0))
        changes.append({name: value - before[name] for name, value in weights(learner).items()})
    decayed, full, half = changes
    for name in ("0.weight", "0.bias", "1.weight", "1.bias"):
        assert torch.equal(decayed[name], half[name]), name
    for name in ("4.weight", "4.bias"):
        assert torch.equal(decayed[name], full[name]), name
    assert not torch.equal(full["0.weight"], half["0.weight"])


def test_layer_decay_resumes_from_a_checkpoint_bit_exactly(tmp_path: Path) -> None:
    for optim in (AdamW(layer_decay=0.7), RMSprop(layer_decay=0.7)):
        uninterrupted, resumed = learner_with(optim), learner_with(optim)
        uninterrupted.step(*batch(0))
        save_checkpoint(tmp_path / optim.name, 1, {"learner": uninterrupted.state()})
        state = load_checkpoint(tmp_path / optim.name)
        assert state is not None
        resumed.load(**state["learner"])
        for learner in (uninterrupted, resumed):
            learner.set_lr_factor(0.5)
            learner.step(*batch(1))
        assert all(torch.equal(value, weights(resumed)[name]) for name, value in weights(uninterrupted).items())


@pytest.mark.parametrize("optim", [SGD(), Adam(), RMSprop()], ids=repr)
def test_channels_last_weights_resume_from_a_checkpoint_bit_exactly(optim: Optim, tmp_path: Path) -> None:
    def fresh() -> Learner:
        torch.manual_seed(0)
        module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(4 * 16, 3))
        return Learner(module.to(memory_format=torch.channels_last), optim, losses.squared_error)

    uninterrupted, resumed = fresh(), fresh()
    uninterrupted.step(*batch(0))
    save_checkpoint(tmp_path, 1, {"learner": uninterrupted.state()})
    state = load_checkpoint(tmp_path)
    assert state is not None
    resumed.load(**state["learner"])
    for learner in (uninterrupted, resumed):
        learner.step(*batch(1))
    assert all(torch.equal(value, weights(uninterrupted)[name]) for name, value in weights(resumed).items())

"""Errors of a network that are found in its first step are flags of its run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.training.test_run_one import finish
from torch import nn

from convoy.diagnosing import budget
from convoy.diagnosing.budget import Cost, Workload
from convoy.diagnosing.finding import Severity
from convoy.diagnosing.network import Network
from convoy.diagnosing.table import CHECKS, TOO_SLOW, Topic, examine
from convoy.models import MODELS, create
from convoy.recipe import Recipe
from convoy.training.run.plan import plan_one

Make = Callable[..., Recipe]
RETURNS = "return self.head(self.drop(self.body(x).flatten(1)))"
BY_SIZE = sorted((MODELS[name] for name in MODELS), key=lambda entry: -entry.parameters)
SMALLEST = {entry.factory: entry.name for entry in BY_SIZE}.values()  # the smallest of each class


def changed(net: Path, line: str) -> None:
    net.write_text(net.read_text().replace(RETURNS, line))


def test_softmax_before_cross_entropy_is_a_flag_of_the_run(tiny: Make, net: Path, tmp_path: Path) -> None:
    changed(net, f"{RETURNS}.softmax(1)")
    run = finish(tiny(("train.epochs", 1)), tmp_path)
    [flag] = run.status.flags
    assert "0.551" in flag  # log(1 + 2 / e): the smallest loss with 3 classes


def test_minimum_of_the_loss_is_omitted_with_class_weights(tiny: Make, net: Path) -> None:
    changed(net, f"{RETURNS}.softmax(1)")
    [flag] = plan_one(tiny(("train.class_weights", "balanced"))).flags
    assert "0.551" not in flag


@pytest.mark.parametrize(
    ("output", "loss"),
    [("softmax(1)", "squared_error"), ("log_softmax(1)", "cross_entropy"), ("abs()", "cross_entropy")],
)
def test_other_outputs_have_no_flag(tiny: Make, net: Path, output: str, loss: str) -> None:
    changed(net, f"{RETURNS}.{output}")
    assert plan_one(tiny(("train.loss.name", loss))).flags == []


@pytest.mark.parametrize(
    "output",
    [
        "return self.head(self.body(x).flatten(1).clamp(min=1e9) * 0)",
        "return self.head(self.body(x).flatten(1)).detach() + self.head.bias",
    ],
)
def test_network_whose_weights_have_no_gradient_has_a_flag(tiny: Make, net: Path, output: str) -> None:
    changed(net, output)
    assert len(plan_one(tiny()).flags) == 1


def test_head_of_zeros_learns_and_has_no_flag(tiny: Make, net: Path) -> None:
    zeros = "        nn.init.zeros_(self.head.weight)\n        nn.init.zeros_(self.head.bias)\n"
    net.write_text(net.read_text().replace("\n    def forward", f"{zeros}\n    def forward"))
    assert plan_one(tiny()).flags == []


@pytest.mark.parametrize("name", SMALLEST)
def test_quick_checks_find_only_declared_flaws_in_models(name: str) -> None:
    size = max(16, MODELS[name].smallest_image)
    torch.manual_seed(0)
    module = create(name, in_chans=1, num_classes=10, image_size=size)
    x, y = torch.randn(4, 1, size, size), torch.tensor([0, 3, 5, 9])
    network = Network(module, Recipe(), x, y, classes=10, build=lambda: module)
    softmax = {"softmax_before_loss"} if any("softmax" in flaw for flaw in module.flaws) else set()
    findings = examine(
        network, [check for check in CHECKS if check.topic in (Topic.NETWORK, Topic.FORWARD, Topic.OUTPUTS)]
    )
    assert {finding.check for finding in findings if finding.severity is not Severity.HINT} == softmax


def test_step_restores_generator_statistics_and_gradients() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.BatchNorm1d(16), nn.Linear(16, 3)).eval()
    state = torch.get_rng_state()
    x, y = torch.randn(4, 1, 4, 4, generator=torch.Generator()), torch.tensor([0, 1, 2, 0])
    assert Network(module, Recipe(), x, y, classes=3, build=lambda: module).first_step.loss > 0
    assert torch.equal(torch.get_rng_state(), state)
    assert not module[2].running_mean.any()
    assert not any(part.training for part in module.modules())
    assert all(parameter.grad is None for parameter in module.parameters())


@pytest.mark.parametrize(
    ("cost", "amount"),
    [
        (Cost(0, 0.001), Workload(16, True, True)),
        (Cost(0.01, 0.02), Workload(8, True, True)),
        (Cost(0, 0.08), Workload(2, False, True)),  # without the second evaluation
        (Cost(0, 0.18), Workload(1, False, True)),
        (Cost(0, 0.25), Workload(2, False, False)),
        (Cost(0, 0.38), Workload(1, False, False)),
        (Cost(0, 0.5), Workload(0, False, False)),
    ],
)
def test_slow_networks_get_fewer_images_then_no_backward_pass_then_nothing(cost: Cost, amount: Workload) -> None:
    assert Workload.within(cost, 16, may_skip=True) == amount
    assert Workload.within(cost, 16, may_skip=False).has_backward


@pytest.mark.parametrize(("max_seconds", "also_forward"), [(2e-3, False), (0.0, True)])
def test_checks_that_would_take_too_long_before_training_are_one_hint(
    max_seconds: float, also_forward: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    x, y = torch.randn(4, 1, 4, 4), torch.tensor([0, 1, 2, 0])
    network = Network(module, Recipe(), x, y, classes=3, build=lambda: module, may_skip=True)
    monkeypatch.setattr(budget, "WANTED_SECONDS", 0.0)
    monkeypatch.setattr(budget, "MAX_SECONDS", max_seconds)
    checks = [check for check in CHECKS if check.topic in (Topic.NETWORK, Topic.FORWARD, Topic.OUTPUTS)]
    findings = list(examine(network, checks))
    assert [(finding.check, finding.severity) for finding in findings] == [(TOO_SLOW, Severity.HINT)]
    assert "no_gradient" in findings[0].problem
    assert ("softmax_before_loss" in findings[0].problem) == also_forward

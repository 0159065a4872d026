"""The contract of all models. The tests run over the registry, so that a new model needs no new test."""

from __future__ import annotations

import re
import sys
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from convoy.evaluation.cost import flops_per_image, parameters
from convoy.models import MODELS, create, default_options
from convoy.models.network import without_weights

every_model = pytest.mark.parametrize("name", list(MODELS))
by_size = sorted(MODELS, key=lambda name: MODELS[name].parameters, reverse=True)
SIZES = {"depth", "width", "width_mult", "widen_factor"}  # sizes of one network differ only in the number of blocks


def kind(name: str) -> tuple[object, ...]:
    return (MODELS[name].factory, *sorted(MODELS[name].presets.keys() - SIZES))


# The smallest model of each class and set of options other than sizes; ResNets have bottlenecks from 50 layers on.
KIND_OF = {kind(name): name for name in by_size}
KINDS = [*KIND_OF.values(), "cbam_resnet50"]


def build(name: str, in_chans: int = 1, image_size: int = 28, num_classes: int = 10, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    return create(name, in_chans=in_chans, num_classes=num_classes, image_size=image_size, **options)


@pytest.fixture(scope="module", params=KINDS)
def network(request: pytest.FixtureRequest) -> nn.Module:
    """A network of each kind for images of 1 x 28 x 28, built once, because building is slow."""
    return build(request.param, options=default_options(request.param))


@pytest.mark.parametrize("name", KINDS)
@torch.no_grad()
def test_output_is_logits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Skipped, because it keeps the shape and takes as long as all other layers on the meta device.
    monkeypatch.setattr(nn.BatchNorm2d, "forward", lambda self, x: x)
    with without_weights():
        module = build(name, 3, 64, num_classes=7).eval()
    assert module(torch.empty(2, 3, 64, 64, device="meta")).shape == (2, 7)


@every_model
def test_parameters_and_multiply_adds_agree_with_the_publication(name: str) -> None:
    in_chans, num_classes, image_size = MODELS[name].counted_at
    with without_weights():
        module = create(name, in_chans=in_chans, num_classes=num_classes, image_size=image_size)
    assert parameters(module) == MODELS[name].parameters
    if (macs := MODELS[name].macs) is not None:
        assert flops_per_image(module, (in_chans, image_size, image_size)) == 2 * macs


@pytest.mark.parametrize("name", KINDS)
@torch.no_grad()
def test_smallest_image_works_and_a_smaller_one_is_an_error(name: str) -> None:
    smallest = MODELS[name].smallest_image
    assert build(name, image_size=smallest)(torch.randn(2, 1, smallest, smallest)).isfinite().all()
    with pytest.raises(ValueError, match=f"too small for {name}: .*{smallest}"):
        build(name, image_size=smallest - 1)


def test_all_sizes_of_a_network_have_the_same_smallest_image() -> None:
    smallest = {name: MODELS[KIND_OF[kind(name)]].smallest_image for name in MODELS}
    assert {name: MODELS[name].smallest_image for name in MODELS} == smallest


def test_every_parameter_gets_a_gradient_unless_a_flaw_declares_it_unused(network: nn.Module) -> None:
    torch.manual_seed(0)
    F.cross_entropy(network.train()(torch.randn(2, 1, 28, 28)), torch.arange(2)).backward()
    unused = [
        key for key, weight in network.named_parameters() if weight.grad is None or not weight.grad.abs().sum() > 0
    ]
    assert bool(unused) == any("never used" in flaw for flaw in network.flaws), unused


@torch.no_grad()
def test_logits_are_raw_unless_a_flaw_declares_a_softmax(network: nn.Module) -> None:
    output = network.eval()(torch.randn(2, 1, 28, 28))
    assert output.shape == (2, 10)
    sums_to_one = torch.allclose(output.sum(dim=1), torch.ones(2), atol=1e-5)
    assert sums_to_one == any("softmax" in flaw for flaw in network.flaws)


@pytest.mark.parametrize("network", [*{MODELS[name].factory: name for name in KINDS[:-1]}.values()], indirect=True)
@torch.no_grad()
def test_same_seed_same_weights_and_loaded_weights_give_the_same_output(
    network: nn.Module, request: pytest.FixtureRequest
) -> None:
    name = request.node.callspec.params["network"]
    same = build(name)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), same.parameters(), strict=True))
    with without_weights():
        other = create(name, in_chans=1, num_classes=10, image_size=28)
    other.to_empty(device="cpu").load_state_dict(network.state_dict())
    images = torch.randn(2, 1, 28, 28)
    assert torch.equal(network.eval()(images), other.eval()(images))


def test_an_unknown_option_is_an_error() -> None:
    for name in MODELS:
        with pytest.raises(ValueError, match=rf"unknown option 'colour' in model.options of {name}"):
            create(name, in_chans=1, num_classes=10, image_size=28, options={"colour": 1})


def test_each_entry_has_a_one_line_summary_and_its_file_has_a_url() -> None:
    assert [name for name in MODELS if not re.fullmatch(".{1,90}", MODELS[name].summary)] == []
    texts = {name: sys.modules[MODELS[name].factory.__module__].__doc__ or "" for name in MODELS}
    assert [name for name, text in texts.items() if "http" not in text] == []

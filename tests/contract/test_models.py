"""The contract of all models. The tests run over the registry, so that a new model needs no new test."""

from __future__ import annotations

import sys

import pytest
import torch
import torch.nn.functional as F

from convoy.evaluation.cost import flops_per_image, parameters
from convoy.models import MODELS, create, default_options

every_model = pytest.mark.parametrize("name", list(MODELS))
by_size = sorted(MODELS, key=lambda name: MODELS[name].parameters, reverse=True)
# The smallest model of each class and set of options, because sizes of one network differ only in the number of blocks.
every_kind = pytest.mark.parametrize(
    "name", {(MODELS[name].factory, *sorted(MODELS[name].presets)): name for name in by_size}.values()
)


def build(name: str, in_chans: int = 1, image_size: int = 28, num_classes: int = 10) -> torch.nn.Module:
    torch.manual_seed(0)
    return create(name, in_chans=in_chans, num_classes=num_classes, image_size=image_size)


@every_kind
@pytest.mark.parametrize(("in_chans", "size"), [(1, 28), (3, 32), (3, 64)])  # channels, pixels
def test_output_is_logits(name: str, in_chans: int, size: int) -> None:
    module = build(name, in_chans, size, num_classes=7)
    assert module(torch.randn(2, in_chans, size, size)).shape == (2, 7)


@every_model
def test_parameter_count_is_the_published_one(name: str) -> None:
    in_chans, num_classes, image_size = MODELS[name].counted_at
    with torch.device("meta"):
        module = create(name, in_chans=in_chans, num_classes=num_classes, image_size=image_size)
    assert parameters(module) == MODELS[name].parameters


@pytest.mark.parametrize("name", [name for name in MODELS if MODELS[name].macs is not None])
def test_multiply_adds_are_the_pinned_ones(name: str) -> None:
    in_chans, num_classes, image_size = MODELS[name].counted_at
    with torch.device("meta"):
        module = create(name, in_chans=in_chans, num_classes=num_classes, image_size=image_size)
    assert flops_per_image(module, (in_chans, image_size, image_size)) == 2 * MODELS[name].macs


@every_model
def test_smallest_image_works_and_a_smaller_one_is_an_error(name: str) -> None:
    smallest = MODELS[name].smallest_image
    assert build(name, image_size=smallest)(torch.randn(2, 1, smallest, smallest)).isfinite().all()
    with pytest.raises(ValueError, match=f"too small for {name}: .*{smallest}"):
        build(name, image_size=smallest - 1)


@every_model
def test_every_parameter_gets_a_gradient_unless_a_flaw_says_never_used(name: str) -> None:
    module = build(name)
    F.cross_entropy(module(torch.randn(4, 1, 28, 28)), torch.arange(4)).backward()
    unused = [
        key for key, weight in module.named_parameters() if weight.grad is None or not weight.grad.abs().sum() > 0
    ]
    assert bool(unused) == any("never used" in flaw for flaw in module.flaws), unused


@every_kind
def test_network_with_a_loaded_state_dict_gives_the_same_output(name: str) -> None:
    first, second = build(name), create(name, in_chans=1, num_classes=10, image_size=28)
    images = torch.randn(2, 1, 28, 28)
    second.load_state_dict(first.state_dict())
    assert torch.equal(first.eval()(images), second.eval()(images))


@every_kind
def test_same_seed_same_weights(name: str) -> None:
    pairs = zip(build(name).state_dict().values(), build(name).state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


@every_model
def test_logits_are_raw_unless_a_flaw_says_softmax(name: str) -> None:
    output = build(name).eval()(torch.randn(4, 1, 28, 28))
    sums_to_one = torch.allclose(output.sum(dim=1), torch.ones(4), atol=1e-5)
    assert sums_to_one == any("softmax" in flaw for flaw in build(name).flaws)


@every_model
def test_default_options_are_accepted_and_others_are_an_error(name: str) -> None:
    create(name, in_chans=1, num_classes=10, image_size=28, options=default_options(name))
    with pytest.raises(ValueError, match=rf"unknown option 'colour' in model.options of {name}"):
        create(name, in_chans=1, num_classes=10, image_size=28, options={"colour": 1})


@every_model
def test_entry_has_a_one_line_summary_and_its_file_has_a_url(name: str) -> None:
    entry = MODELS[name]
    assert "\n" not in entry.summary
    assert 0 < len(entry.summary) <= 90
    assert "http" in (sys.modules[entry.factory.__module__].__doc__ or "")

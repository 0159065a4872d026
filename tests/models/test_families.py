"""Behaviour that is specific to one family."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from convoy.evaluation.cost import parameters
from convoy.models import MODELS, create, default_options


def build(name: str, image_size: int = 28, **options: Any) -> torch.nn.Module:
    return create(name, in_chans=1, num_classes=10, image_size=image_size, options=options)


def test_lenet_for_54_pixels_has_the_published_205_706_parameters() -> None:
    assert parameters(build("lenet", image_size=54)) == 205_706


@pytest.mark.parametrize(("activation", "layer"), [("sigmoid", "Sigmoid"), ("relu", "ReLU"), ("tanh", "Tanh")])
def test_lenet_activation_is_an_option(activation: str, layer: str) -> None:
    assert sum(type(part).__name__ == layer for part in build("lenet", activation=activation).modules()) == 4


def test_two_conv_cnn_accepts_a_single_image() -> None:
    module = build("two_conv_cnn").eval()
    images = torch.randn(3, 1, 28, 28)
    assert torch.allclose(module(images[1]), module(images)[1], atol=1e-5)


@pytest.mark.parametrize("name", ["two_conv_cnn", "wide_kernel_cnn"])
def test_softmax_output_states_the_minimum_of_the_loss(name: str) -> None:
    [flaw] = build(name, softmax_output=True).flaws
    floor = F.cross_entropy(torch.eye(10), torch.arange(10))
    assert flaw.endswith(f"cannot fall below {floor:.3f}")
    assert math.isclose(floor, 1.461, abs_tol=1e-3)


def test_keep_prob_is_one_minus_the_dropout_rate() -> None:
    [dropout] = [
        part for part in build("wide_kernel_cnn", keep_prob=0.9).modules() if isinstance(part, torch.nn.Dropout)
    ]
    assert dropout.p == pytest.approx(0.1)


def test_drop_place_is_an_option_of_mnist_resnet() -> None:
    rates = {
        place: [p.p for p in build("mnist_resnet", drop_place=place).modules() if isinstance(p, torch.nn.Dropout)]
        for place in ("shortcut", "head", "both")
    }
    assert rates["shortcut"] == [0.1, 0.1, 0.1, 0.0]
    assert rates["head"] == [0.0, 0.0, 0.0, 0.1]
    assert rates["both"] == [0.1] * 4


def test_mnist_resnet_without_norm_or_shortcuts_has_no_layers_for_them() -> None:
    norms = [p for p in build("mnist_resnet", norm="none").modules() if isinstance(p, torch.nn.BatchNorm2d)]
    projections = [name for name, _ in build("mnist_resnet", residual=False).named_parameters() if "shortcut" in name]
    assert norms == projections == []


def test_pooling_is_an_option_of_lenet() -> None:
    pools = [type(part).__name__ for part in build("lenet", pool="average").modules() if "Pool" in type(part).__name__]
    assert pools == ["AvgPool2d", "AvgPool2d"]


def test_drop_rate_applies_to_the_three_projection_shortcuts() -> None:
    dropouts = [part.p for part in build("mnist_resnet", drop_rate=0.2).modules() if isinstance(part, torch.nn.Dropout)]
    assert dropouts == [0.2, 0.2, 0.2, 0.0]


def test_an_unused_layer_does_not_change_the_output() -> None:
    images = torch.randn(2, 1, 28, 28)
    outputs = []
    for name in ("mnist_resnet", "mnist_resnet_published"):
        torch.manual_seed(0)
        outputs.append(build(name).eval()(images))
    assert torch.equal(*outputs)


def test_a_variant_is_its_family_with_other_defaults() -> None:
    plain, published = default_options("two_conv_cnn"), default_options("two_conv_cnn_published")
    assert plain["softmax_output"] is False
    assert published == plain | {"softmax_output": True}


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("lenet", {"activation": "sigmod"}, "unknown activation 'sigmod' .* did you mean 'sigmoid'"),
        ("lenet", {"activation": 1}, "activation = 1 in model.options of lenet: expected a string"),
        ("wide_kernel_cnn", {"keep_prob": 0.0}, r"keep_prob = 0.0 .* .*\(0, 1\]"),
        ("wide_kernel_cnn", {"keep_prob": True}, "keep_prob = True .* a number"),
        ("mnist_resnet", {"drop_rate": 1}, r"drop_rate = 1 .* .*\[0, 1\)"),
        ("mnist_resnet", {"droprate": 0.1}, "unknown option 'droprate' .* did you mean 'drop_rate'"),
        ("mnist_resnett", {}, "unknown model 'mnist_resnett'; did you mean 'mnist_resnet'"),
    ],
)
def test_an_invalid_option_or_name_is_a_one_line_error(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        build(name, **options)
    assert "\n" not in str(caught.value)


def test_a_name_is_registered_once() -> None:
    with pytest.raises(ValueError, match="model 'lenet' is registered twice"):
        MODELS.add("lenet", MODELS["lenet"])

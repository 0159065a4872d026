"""MobileNets, ShuffleNetV2, SqueezeNet and EfficientNet: behaviour beyond the contract of all models."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from convoy.evaluation.cost import parameters
from convoy.models import create
from convoy.models._blocks import InvertedResidual, StochasticDepth, Style, init_fan_out, scaled_channels, stem_strides
from convoy.models.network import without_weights
from convoy.models.shufflenet_v2 import ShuffleBlock, shuffled
from convoy.models.squeezenet import Fire

FAMILIES = (
    "efficientnet_b0",
    "mobilenet_v1",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "shufflenet_v2_x0_5",
    "squeezenet1_1",
)
every_family = pytest.mark.parametrize("name", FAMILIES)


def build(name: str, image_size: int = 28, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    return create(name, in_chans=1, num_classes=10, image_size=image_size, options=options)


def count(name: str, in_chans: int, num_classes: int, **options: Any) -> int:
    with without_weights():
        return parameters(create(name, in_chans=in_chans, num_classes=num_classes, image_size=224, options=options))


# Widths and depths


@pytest.mark.parametrize(("width_mult", "millions"), [(1.0, 4.2), (0.75, 2.6), (0.5, 1.3), (0.25, 0.5)])
def test_mobilenet_v1_has_the_parameter_counts_of_its_paper(width_mult: float, millions: float) -> None:
    assert round(count("mobilenet_v1", 3, 1000, width_mult=width_mult) / 1e6, 1) == millions


def test_a_narrow_mobilenet_v2_keeps_the_last_1280_channels() -> None:
    assert build("mobilenet_v2", width_mult=0.5).head.in_features == 1280
    assert build("mobilenet_v2", width_mult=1.5).head.in_features == 1920


@pytest.mark.parametrize(
    ("width_mult", "depth_mult", "published"),
    [(1.0, 1.1, 7_794_184), (1.1, 1.2, 9_109_994), (1.2, 1.4, 12_233_232)],
    ids=["b1", "b2", "b3"],
)
def test_multipliers_of_efficientnet_give_its_larger_variants(
    width_mult: float, depth_mult: float, published: int
) -> None:
    assert count("efficientnet_b0", 3, 1000, width_mult=width_mult, depth_mult=depth_mult) == published


def test_scaled_channels_are_multiples_of_8_and_at_least_90_percent() -> None:
    for channels in range(8, 400, 4):
        for factor in (0.25, 0.35, 0.5, 0.75, 1.0, 1.4):
            scaled = scaled_channels(channels, factor)
            assert scaled % 8 == 0
            assert scaled >= 0.9 * channels * factor


# Stems


@every_family
def test_the_stem_changes_strides_but_no_weights(name: str) -> None:
    small, paper = build(name, image_size=64, stem="small"), build(name, image_size=64, stem="paper")
    images = torch.randn(2, 1, 64, 64)
    paper.load_state_dict(small.state_dict())
    assert small.features(images).shape[-1] > 2 * paper.features(images).shape[-1]


def test_the_small_stem_skips_the_first_two_strides_of_2() -> None:
    assert stem_strides("small", [2, 1, 2, 2, 1, 2]) == [1, 1, 1, 2, 1, 2]
    assert stem_strides("paper", [2, 1, 2, 2, 1, 2]) == [2, 1, 2, 2, 1, 2]


@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "squeezenet1_1"])
def test_last_map_for_28_pixels_is_4x4_with_the_small_stem(name: str) -> None:
    options = {"upsample": 1, "stem": "small"} if name == "mobilenet_v1" else {}
    features = build(name, **options).features
    assert features(torch.randn(2, 1, 28, 28)).shape[2:] == (4, 4)


def test_mobilenet_v1_enlarges_28_pixels_and_its_last_map_is_2x2() -> None:
    module = build("mobilenet_v1")
    assert module.upsample(torch.randn(2, 1, 28, 28)).shape == (2, 1, 56, 56)
    assert module.features(torch.randn(2, 1, 56, 56)).shape == (2, 1024, 2, 2)


@pytest.mark.parametrize(("name", "smallest"), [("squeezenet1_0", 21), ("squeezenet1_1", 17)])
def test_images_too_small_for_squeezenets_paper_stem_are_an_error(name: str, smallest: int) -> None:
    images = torch.randn(2, 1, smallest, smallest)
    assert build(name, image_size=smallest, stem="paper")(images).shape == (2, 10)
    with pytest.raises(ValueError, match=f"{smallest - 1} pixels .* stem = 'paper': at least {smallest}"):
        build(name, image_size=smallest - 1, stem="paper")


# Norm, initialisation


@every_family
@pytest.mark.parametrize("norm", ["group", "none"])
def test_an_untrained_network_without_batch_norm_distinguishes_images(name: str, norm: str) -> None:
    module = build(name, norm=norm).eval()
    features = module.features(torch.randn(8, 1, 28, 28)).mean(dim=(2, 3))
    assert features.std(dim=0).mean() > 0.01 * features.abs().mean()


def test_fan_out_of_a_depthwise_convolution_is_counted_per_group() -> None:
    torch.manual_seed(0)
    full, depthwise = nn.Conv2d(64, 256, 3), nn.Conv2d(512, 512, 3, groups=512)
    init_fan_out(nn.Sequential(full, depthwise))
    assert full.weight.std().item() == pytest.approx(math.sqrt(2 / (256 * 9)), rel=0.05)
    assert depthwise.weight.std().item() == pytest.approx(math.sqrt(2 / 9), rel=0.05)
    assert full.bias is not None
    assert not full.bias.any()


def test_mobilenet_v3_norms_have_the_epsilon_of_the_authors_code() -> None:
    norms = [part for part in build("mobilenet_v3_small").modules() if isinstance(part, nn.BatchNorm2d)]
    assert {norm.eps for norm in norms} == {1e-3}


# Inverted residuals


def test_an_inverted_residual_adds_its_input_only_if_shapes_are_equal() -> None:
    blocks = [part for part in build("mobilenet_v2").modules() if isinstance(part, InvertedResidual)]
    assert len(blocks) == 17
    assert sum(block.residual for block in blocks) == 10


def test_mobilenet_v2_without_residuals_has_the_same_weights_and_other_logits() -> None:
    with_them, without = build("mobilenet_v2"), build("mobilenet_v2", residual=False)
    images = torch.randn(4, 1, 28, 28)
    assert all(torch.equal(a, b) for a, b in zip(with_them.parameters(), without.parameters(), strict=True))
    assert not torch.allclose(with_them(images), without(images))


@pytest.mark.parametrize(("name", "gates"), [("mobilenet_v3_small", 9), ("mobilenet_v3_large", 8)])
def test_mobilenet_v3_has_squeeze_and_excitation_in_the_blocks_of_its_paper(name: str, gates: int) -> None:
    assert sum(isinstance(part, nn.Hardsigmoid) for part in build(name).modules()) == gates


def test_activation_of_mobilenet_v3_replaces_hard_swish() -> None:
    kinds = {type(part) for part in build("mobilenet_v3_large", activation="elu").modules()}
    assert nn.Hardswish not in kinds
    assert {nn.ELU, nn.ReLU} <= kinds


# Stochastic depth


@pytest.mark.parametrize("shape", [(4000, 3, 2, 2), (4000, 5, 3)], ids=["maps", "tokens"])
def test_stochastic_depth_drops_images_and_scales_the_others(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    output = StochasticDepth(0.25).train()(torch.ones(shape)).flatten(1)
    assert (output == output[:, :1]).all()
    assert output.unique().tolist() == pytest.approx([0, 1 / 0.75])
    assert (output[:, 0] == 0).float().mean().item() == pytest.approx(0.25, abs=0.03)


def test_stochastic_depth_draws_from_the_default_generator() -> None:
    branch, images = StochasticDepth(0.5).train(), torch.ones(64, 1, 1, 1)
    torch.manual_seed(1)
    first = branch(images)
    torch.manual_seed(1)
    assert torch.equal(branch(images), first)
    assert not torch.equal(branch(images), first)


def test_efficientnet_is_random_only_in_training_mode() -> None:
    images = torch.randn(4, 1, 28, 28)
    module = build("efficientnet_b0", drop_rate=0.0)
    assert not torch.equal(module(images), module(images))
    assert torch.equal(module.eval()(images), module(images))


def test_efficientnet_without_drop_rates_is_deterministic() -> None:
    images = torch.randn(4, 1, 28, 28)
    module = build("efficientnet_b0", drop_rate=0.0, drop_path_rate=0.0)
    assert torch.equal(module(images), module(images))


def test_stochastic_depth_of_efficientnet_grows_from_zero() -> None:
    rates = [part.rate for part in build("efficientnet_b0").modules() if isinstance(part, StochasticDepth)]
    assert rates == pytest.approx([0.2 * block / 16 for block in range(16)])


# ShuffleNet and SqueezeNet


def test_shuffling_interleaves_the_two_halves() -> None:
    channels = torch.arange(6.0).view(1, 6, 1, 1)
    assert shuffled(channels).flatten().tolist() == [0, 3, 1, 4, 2, 5]


def test_half_of_the_channels_bypass_a_shuffle_block() -> None:
    images = torch.randn(2, 8, 5, 5)
    assert torch.equal(ShuffleBlock(8, 8, Style("batch", "relu"))(images)[:, ::2], images[:, :4])


def test_squeezenet_has_a_bypass_around_every_second_fire_module() -> None:
    fires = [part for part in build("squeezenet1_0", residual=True).modules() if isinstance(part, Fire)]
    assert [fire.residual for fire in fires] == [False, True] * 4
    images = torch.randn(2, 1, 28, 28)
    assert not torch.allclose(
        build("squeezenet1_0").eval()(images), build("squeezenet1_0", residual=True).eval()(images)
    )


def test_relu_output_of_squeezenet_sets_negative_logits_to_zero() -> None:
    images = torch.randn(8, 1, 28, 28)
    assert (build("squeezenet1_1").eval()(images) < 0).any()
    assert (build("squeezenet1_1", relu_output=True).eval()(images) >= 0).all()


# Invalid options


@pytest.mark.parametrize(
    ("name", "options", "answer"),
    [
        ("mobilenet_v1", {"width_mult": 0.0}, "width_mult = 0.0 in model.options: expected above 0"),
        ("mobilenet_v2", {"width_mult": math.nan}, "width_mult = nan in model.options: expected above 0"),
        ("mobilenet_v3_large", {"width_mult": math.inf}, "width_mult = inf in model.options: expected above 0"),
        ("mobilenet_v1", {"upsample": 0}, "upsample = 0 in model.options: expected at least 1"),
        ("mobilenet_v2", {"drop_rate": 1.0}, r"drop_rate = 1.0 in model.options: .*\[0, 1\)"),
        ("mobilenet_v3_small", {"variant": "medium"}, "unknown variant 'medium' in model.options; known: large, small"),
        ("shufflenet_v2_x1_0", {"width_mult": 0.7}, "width_mult = 0.7 in model.options: expected one of 0.5, 1.0, 1.5"),
        ("squeezenet1_1", {"version": "2.0"}, "unknown version '2.0' in model.options; did you mean '1.0'?"),
        ("efficientnet_b0", {"depth_mult": -1.0}, "depth_mult = -1.0 in model.options: expected above 0"),
        ("efficientnet_b0", {"drop_path_rate": 1.0}, r"drop_path_rate = 1.0 in model.options: .*\[0, 1\)"),
        *((name, {"stem": "papre"}, "unknown stem 'papre' in model.options; did you mean") for name in FAMILIES),
    ],
)
def test_an_invalid_option_is_an_error(name: str, options: dict[str, Any], answer: str) -> None:
    with pytest.raises(ValueError, match=answer):
        build(name, **options)

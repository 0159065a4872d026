"""Plain families beyond the contract of all models: stages, heads, options, and the flaw of one attention."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from convoy.evaluation.cost import parameters
from convoy.models import create
from convoy.models._blocks import MONOTONIC, activation_and_pool
from convoy.models.network import without_weights

PLAIN = ("basic_cnn", "improved_cnn", "residual_cnn", "vgg_a", "vgg_a_bn")


def build(name: str, in_chans: int = 1, image_size: int = 28, num_classes: int = 10, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    return create(name, in_chans=in_chans, num_classes=num_classes, image_size=image_size, options=options)


def on_meta(name: str, in_chans: int = 1, image_size: int = 28, num_classes: int = 10, **options: Any) -> nn.Module:
    """The network without memory for its weights, for counts and shapes."""
    with without_weights():
        return build(name, in_chans, image_size, num_classes, **options)


def parts(module: nn.Module, *kinds: type[nn.Module]) -> list[nn.Module]:
    return [part for part in module.modules() if isinstance(part, kinds)]


def map_sides(module: nn.Module, images: torch.Tensor, *kinds: type[nn.Module]) -> list[int]:
    """The output side of each layer of these kinds, in order."""
    sides: list[int] = []
    for part in parts(module, *kinds):
        part.register_forward_hook(lambda part, inputs, output: sides.append(output.shape[-1]))
    module(images)
    return sides


# ---- common options ----


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize(
    ("word", "kinds"), [("batch", (nn.BatchNorm1d, nn.BatchNorm2d)), ("group", (nn.GroupNorm,)), ("none", ())]
)
def test_norm_is_the_only_norm(name: str, word: str, kinds: tuple[type[nn.Module], ...]) -> None:
    norms = parts(on_meta(name, norm=word), nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm)
    assert bool(norms) == bool(kinds)
    assert all(isinstance(norm, kinds) for norm in norms)


@pytest.mark.parametrize("name", [*PLAIN, "alexnet"])
def test_activation_replaces_every_relu(name: str) -> None:
    plain, silu = on_meta(name), on_meta(name, activation="silu")
    assert not parts(silu, nn.ReLU)
    assert len(parts(silu, nn.SiLU)) == len(parts(plain, nn.ReLU))


@pytest.mark.parametrize("name", PLAIN)
def test_pool_is_the_only_pooling(name: str) -> None:
    assert not parts(on_meta(name, pool="average"), nn.MaxPool2d)
    assert not parts(on_meta(name, pool="max"), nn.AvgPool2d)


@pytest.mark.parametrize("name", [*PLAIN, "alexnet", "res_attention_cnn"])
def test_drop_rate_applies_to_every_dropout(name: str) -> None:
    assert {part.p for part in parts(on_meta(name, drop_rate=0.25), nn.Dropout)} == {0.25}


@pytest.mark.parametrize("activation", MONOTONIC)
def test_max_pooling_before_a_monotonic_activation_gives_the_same_values(activation: str) -> None:
    pool, act = activation_and_pool(activation, "max", 3, 2, ceil_mode=True)
    images = torch.randn(2, 3, 8, 8)
    assert isinstance(pool, nn.MaxPool2d)
    assert torch.equal(act(pool(images)), pool(act(images)))


@pytest.mark.parametrize(("activation", "pool"), [("silu", "max"), ("relu", "average")])
def test_pooling_is_last_if_the_order_matters(activation: str, pool: str) -> None:
    _, last = activation_and_pool(activation, pool, 2)
    assert isinstance(last, nn.MaxPool2d | nn.AvgPool2d)


# ---- cifar-course ----


def test_residual_cnn_pools_28_and_32_pixels_to_the_published_4x4() -> None:
    for size in (28, 32):
        assert map_sides(build("residual_cnn"), torch.zeros(1, 1, size, size), nn.AvgPool2d) == [4]


def test_residual_false_removes_only_the_two_projections() -> None:
    projections = 64 * 128 + 2 * 128 + 128 * 256 + 2 * 256
    plain = on_meta("residual_cnn", residual=False)
    assert parameters(plain) == parameters(on_meta("residual_cnn")) - projections


def test_residual_block_adds_its_input() -> None:
    block = build("residual_cnn").blocks[1].eval()  # 64 -> 64, no projection
    images = torch.randn(1, 64, 7, 7)
    nn.init.zeros_(block.norm2.weight)  # the output of the branch is 0
    assert torch.equal(block(images), images.relu())


def test_ceil_mode_does_not_change_vgg_a_for_32_pixels() -> None:
    module, images = build("vgg_a", 3, 32).eval(), torch.randn(2, 3, 32, 32)
    expected = module(images)
    for pool in parts(module, nn.MaxPool2d):
        pool.ceil_mode = False
    assert torch.equal(module(images), expected)


def test_vgg_pools_28_pixels_five_times() -> None:
    assert map_sides(build("vgg_a"), torch.zeros(1, 1, 28, 28), nn.MaxPool2d) == [14, 7, 4, 2, 1]


def test_parameters_of_vggs_small_head_do_not_depend_on_the_image_size() -> None:
    assert parameters(on_meta("vgg_a", image_size=64)) == parameters(on_meta("vgg_a", image_size=28))


def test_vgg_a_with_batch_norm_is_vgg_a_bn() -> None:
    images = torch.randn(2, 1, 28, 28)
    assert torch.equal(build("vgg_a", norm="batch")(images), build("vgg_a_bn")(images))


@pytest.mark.parametrize(
    ("name", "published"),  # from torchvision's documentation
    [
        ("vgg11", 132_863_336),
        ("vgg11_bn", 132_868_840),
        ("vgg13", 133_047_848),
        ("vgg13_bn", 133_053_736),
        ("vgg16", 138_357_544),
        ("vgg16_bn", 138_365_992),
        ("vgg19", 143_667_240),
        ("vgg19_bn", 143_678_248),
    ],
)
def test_paper_head_for_224_pixels_has_the_published_parameter_count(name: str, published: int) -> None:
    assert parameters(on_meta(name, 3, 224, 1000, head="paper")) == published


def test_vgg19_distinguishes_images_with_he_initialisation_but_not_with_torchs_default() -> None:
    module, images = build("vgg19").eval(), torch.randn(4, 1, 28, 28)
    with_he = module.features(images)
    for layer in parts(module, nn.Conv2d):
        layer.reset_parameters()
    with_default = module.features(images)
    assert with_he.std(dim=0).mean() > 0.1 * with_he.std()
    assert with_default.std(dim=0).mean() < 1e-4 * with_default.std()


@pytest.mark.parametrize("name", ["vgg_a", "vgg_a_bn"])
def test_vgg_a_has_torchs_default_initial_weights(name: str) -> None:
    layer = parts(build(name), nn.Conv2d)[-1]  # 512 -> 512, 3x3
    bound = (9 * 512) ** -0.5  # uniform, of weights and of biases
    assert layer.weight.abs().max().item() == pytest.approx(bound, rel=0.01)
    assert 0.9 * bound < layer.bias.abs().max() <= bound


def test_glorot_initialisation_has_its_standard_deviation_and_zero_biases() -> None:
    layer = parts(build("vgg_a", init="glorot"), nn.Conv2d)[-1]
    assert layer.weight.std().item() == pytest.approx((2 / (9 * 1024)) ** 0.5, rel=0.01)
    assert not layer.bias.any()


# ---- course-mnist ----


def branches(name: str) -> list[torch.Tensor]:
    """The inputs of the two branches of the attention."""
    module, inputs_of_gate = build(name), []
    [attention] = [part for part in module.modules() if type(part).__name__ == "TwoBranchAttention"]
    attention.gate.register_forward_hook(lambda part, inputs, output: inputs_of_gate.append(inputs[0]))
    module(torch.randn(2, 1, 28, 28))
    return inputs_of_gate


def test_both_branches_of_the_flawed_attention_have_the_same_input() -> None:
    means, maxima = branches("res_attention_cnn_published")
    assert torch.equal(means, maxima)


def test_branches_of_the_correct_attention_have_different_inputs() -> None:
    means, maxima = branches("res_attention_cnn")
    assert (maxima > means).all()


def test_flaws_of_res_attention_cnn_are_declared() -> None:
    assert build("res_attention_cnn").flaws == ()
    attention, softmax = build("res_attention_cnn_published").flaws
    assert "1x1 map" in attention
    assert "softmax" in softmax


def test_network_without_attention_and_softmax_has_no_flaw() -> None:
    module = build("res_attention_cnn_published", attention="none", softmax_output=False)
    assert module.flaws == ()


def test_res_attention_cnn_pools_three_times_before_global_pooling() -> None:
    assert map_sides(build("res_attention_cnn"), torch.zeros(1, 1, 28, 28), nn.MaxPool2d) == [14, 7, 3]


@pytest.mark.parametrize("attention", ["none", "se", "cbam"])
def test_res_attention_cnn_supports_the_attention_of_other_families(attention: str) -> None:
    assert build("res_attention_cnn", attention=attention)(torch.randn(2, 1, 28, 28)).shape == (2, 10)


# ---- alexnet ----


def test_last_map_of_alexnet_is_7x7() -> None:
    module = build("alexnet")
    assert map_sides(module, torch.zeros(1, 1, 28, 28), nn.Conv2d) == [56, 28, 14, 14, 14]
    assert module.features(module.upsample(torch.zeros(1, 1, 28, 28))).shape == (1, 128, 7, 7)


def test_alexnet_pools_2x2_and_alexnet_large_3x3() -> None:
    assert {part.kernel_size for part in parts(on_meta("alexnet"), nn.MaxPool2d)} == {2}
    assert {part.kernel_size for part in parts(on_meta("alexnet_large"), nn.MaxPool2d)} == {3}


@pytest.mark.parametrize("name", ["alexnet", "alexnet_large"])
def test_dropout_comes_before_the_first_and_second_linear_layer(name: str) -> None:
    kinds = [type(part).__name__ for part in on_meta(name).head]
    assert kinds == ["Flatten", "Dropout", "Linear", "ReLU", "Dropout", "Linear", "ReLU", "Linear"]


def test_alexnet_large_has_the_papers_maps_and_no_incomplete_windows() -> None:
    module = build("alexnet_large")
    images = module.upsample(torch.randn(1, 1, 28, 28))
    assert map_sides(module.features, images, nn.Conv2d, nn.MaxPool2d) == [55, 27, 27, 13, 13, 13, 13, 6]
    expected = module.features(images)
    for pool in parts(module, nn.MaxPool2d):
        pool.ceil_mode = False
    assert torch.equal(module.features(images), expected)


@pytest.mark.parametrize("name", ["alexnet", "alexnet_large"])
@pytest.mark.parametrize("image_size", [32, 48, 64])
def test_parameters_of_alexnet_do_not_depend_on_the_image_size(name: str, image_size: int) -> None:
    assert parameters(on_meta(name, image_size=image_size)) == parameters(on_meta(name))


@pytest.mark.parametrize("image_size", [32, 48, 64])  # last maps of 8, 12 and 16
def test_larger_maps_are_average_pooled_to_7x7(image_size: int) -> None:
    module = build("alexnet", image_size=image_size)
    assert module.features(torch.zeros(1, 1, 2 * image_size, 2 * image_size)).shape[2:] == (7, 7)


def test_average_pooling_of_8_to_7_equals_torchs_adaptive_pooling() -> None:
    images = torch.randn(2, 3, 8, 8)
    pool = build("alexnet", image_size=32).features[-1]
    assert torch.allclose(pool(images), nn.functional.adaptive_avg_pool2d(images, 7))


def test_one_tower_for_224_pixels_has_the_published_parameter_count() -> None:
    module = on_meta("alexnet_large", 3, 224, 1000, widths="one_tower", upsample=1)
    assert parameters(module) == 61_100_840


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("vgg16", {"depth": 12}, "depth = 12 in model.options: expected one of 11, 13, 16, 19"),
        ("vgg16", {"head": "large"}, "unknown head 'large' in model.options; known: paper, small"),
        ("vgg16", {"init": "He"}, "unknown init 'He' in model.options; known: default, glorot, he"),
        ("alexnet", {"widths": "full"}, "unknown widths 'full' in model.options"),
        (
            "alexnet_large",
            {"upsample": 1},
            "upsample = 1 in model.options: images of 28 pixels become 28, and stem = 'paper' needs at least 35",
        ),
        ("residual_cnn", {"norm": "layer"}, "unknown norm 'layer' in model.options"),
        ("res_attention_cnn", {"attention": "channel"}, "unknown attention 'channel' in model.options"),
    ],
)
def test_an_invalid_option_is_an_error(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        on_meta(name, **options)


@pytest.mark.parametrize(("stem", "smallest"), [("small", 8), ("paper", 35)])
def test_the_stated_smallest_size_works_and_a_smaller_one_does_not(stem: str, smallest: int) -> None:
    module = build("alexnet", image_size=smallest, stem=stem, upsample=1)
    assert module(torch.zeros(1, 1, smallest, smallest)).shape == (1, 10)
    with pytest.raises(ValueError, match=f"needs at least {smallest}"):
        build("alexnet", image_size=smallest - 1, stem=stem, upsample=1)

"""ConvNeXt and ViT, which split images into patches: sizes, padding, options."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from convoy.evaluation.cost import parameters
from convoy.models import create
from convoy.models.convnext import Patches
from convoy.models.network import without_weights
from convoy.models.vit import Attention


def build(name: str, in_chans: int = 1, image_size: int = 28, num_classes: int = 10, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    return create(name, in_chans=in_chans, num_classes=num_classes, image_size=image_size, options=options).eval()


def test_convnext_femto_with_the_papers_stem_has_timms_5_217_784_parameters() -> None:
    with without_weights():
        module = build("convnext_femto", 3, 224, 1000, stem="paper")
    assert parameters(module) == 5_217_784


def test_vit_tiny_on_patches_of_16_has_the_published_5_717_416_parameters() -> None:
    with without_weights():
        module = build("vit_tiny", 3, 224, 1000, patch=16)
    assert parameters(module) == 5_717_416


def test_convnext_reduces_28_pixels_to_2() -> None:
    module = build("convnext_atto")
    sides: list[int] = []
    for part in module.features:
        if isinstance(part, Patches):
            part.register_forward_hook(lambda part, inputs, output: sides.append(output.shape[-1]))
    module(torch.randn(1, 1, 28, 28))
    assert sides == [14, 7, 4, 2]


@pytest.mark.parametrize(("name", "options"), [("convnext_atto", {"layer_scale": 1.0}), ("vit_tiny", {"depth": 1})])
def test_the_last_pixel_is_used_if_patches_do_not_divide_the_image(name: str, options: dict[str, Any]) -> None:
    module = build(name, image_size=29, **options)
    images = torch.zeros(2, 1, 29, 29)
    images[1, 0, 28, 28] = 10
    black, with_pixel = module(images)
    assert not torch.allclose(black, with_pixel, atol=1e-4)


@pytest.mark.parametrize(("image_size", "readout", "tokens"), [(28, "class", 50), (28, "mean", 49), (30, "class", 65)])
def test_vit_has_a_position_for_each_patch_and_for_the_class(image_size: int, readout: str, tokens: int) -> None:
    assert build("vit_tiny", image_size=image_size, readout=readout).positions.shape == (1, tokens, 192)


def test_attention_equals_torchs() -> None:
    torch.manual_seed(0)
    attention = Attention(12, 3).double()
    x = torch.randn(2, 5, 12, dtype=torch.float64)

    actual = attention(x)

    query, key, value = (part.unflatten(2, (3, 4)).transpose(1, 2) for part in attention.qkv(x).chunk(3, dim=2))
    mixed = F.scaled_dot_product_attention(query, key, value)  # (N, heads, T, D)
    assert torch.allclose(actual, attention.out(mixed.transpose(1, 2).flatten(2)))


@pytest.mark.parametrize("name", ["convnext_atto", "vit_tiny"])
def test_stochastic_depth_grows_from_0_and_is_inactive_in_evaluation(name: str) -> None:
    module = build(name, drop_path_rate=0.4)
    rates = [part.rate for part in module.modules() if type(part).__name__ == "StochasticDepth"]
    images = torch.randn(2, 1, 28, 28)
    assert rates[0] == 0
    assert rates[-1] == pytest.approx(0.4)
    assert rates == sorted(rates)
    assert torch.equal(module(images), module(images))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("vit_tiny", {"width": 100}, "width = 100 in model.options of vit_tiny: expected a multiple of heads = 3"),
        ("vit_tiny", {"depth": 0}, "depth = 0 in model.options: expected at least 1"),
        ("vit_tiny", {"readout": "clas"}, "unknown readout 'clas' in model.options; did you mean 'class'"),
        ("convnext_femto", {"width": 0}, "width = 0 in model.options: expected at least 1"),
        ("convnext_femto", {"drop_path_rate": 1.0}, r"drop_path_rate = 1.0 in model.options: .*\[0, 1\)"),
    ],
)
def test_an_invalid_option_is_an_error(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(name, **options)

"""GoogLeNet and the small Inception: comparison with the papers and with torchvision; options."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from convoy.evaluation.cost import parameters
from convoy.models import create
from convoy.models.network import without_weights


def build(name: str, in_chans: int = 1, image_size: int = 28, num_classes: int = 10, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    return create(name, in_chans=in_chans, num_classes=num_classes, image_size=image_size, options=options).eval()


def last_map(module: nn.Module, image_size: int) -> list[int]:
    """Channels, height and width of the last map."""
    shapes: list[list[int]] = []
    module.features.register_forward_hook(lambda part, inputs, output: shapes.append(list(output.shape[1:])))
    module(torch.randn(1, 1, image_size, image_size))
    return shapes[0]


@pytest.mark.parametrize(
    ("options", "side"),
    [({}, 2), ({"upsample": 1, "stem": "small"}, 4), ({"upsample": 1}, 1)],
    ids=["as in the experiment", "small stem", "the paper's own"],
)
def test_last_map_of_googlenet_for_28_pixels(options: dict[str, Any], side: int) -> None:
    assert last_map(build("googlenet", **options), 28) == [1024, side, side]


def test_googlenet_with_norm_and_small_kernels_has_torchvisions_6_624_904_parameters() -> None:
    with without_weights():
        module = build("googlenet", 3, 224, 1000, norm="batch", upsample=1, largest_kernel=3)
    assert parameters(module) == 6_624_904


def test_googlenet_has_torchs_default_initial_weights() -> None:
    layer = build("googlenet").stem[4][0]  # 64 -> 192, 3x3
    bound = (9 * 64) ** -0.5  # uniform, of weights and of biases
    assert layer.weight.abs().max().item() == pytest.approx(bound, rel=0.01)
    assert 0.9 * bound < layer.bias.abs().max() <= bound


def pools(module: nn.Module) -> list[tuple[int, int, int, bool]]:
    """Kernel, stride, padding and ceil_mode of the poolings that halve a map."""
    layers = [layer for layer in module.modules() if isinstance(layer, nn.MaxPool2d) and layer.stride == 2]
    return [(layer.kernel_size, layer.stride, layer.padding, layer.ceil_mode) for layer in layers]


def test_googlenet_has_padded_pooling_or_torchvisions() -> None:
    assert pools(build("googlenet")) == [(3, 2, 1, False)] * 4
    assert pools(build("googlenet", pools="torchvision")) == [(3, 2, 0, True)] * 3 + [(2, 2, 0, True)]


def test_another_largest_kernel_of_googlenet_is_an_error() -> None:
    with pytest.raises(ValueError, match="largest_kernel = 4 in model.options: expected one of 3, 5"):
        build("googlenet", largest_kernel=4)


def test_last_map_of_small_inception_is_7x7_as_in_the_paper() -> None:
    assert last_map(build("inception_v3_small"), 28) == [336, 7, 7]


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_small_inception_has_the_published_1_649_402_parameters_with_and_without_norm(norm: str) -> None:
    assert parameters(build("inception_v3_small", 3, norm=norm)) == 1_649_402


def test_factorised_modules_have_1x3_and_3x1_instead_of_3x3_convolutions() -> None:
    kernels = [
        part.kernel_size
        for part in build("inception_v3_small", factorised=True).modules()
        if isinstance(part, nn.Conv2d) and part.kernel_size != (1, 1)
    ]
    assert kernels.count((1, 3)) == kernels.count((3, 1)) == 8
    assert kernels.count((3, 3)) == 3  # the first convolution and the two that halve


@pytest.mark.parametrize("name", ["googlenet", "inception_v3_small"])
def test_drop_rate_applies_before_the_last_layer(name: str) -> None:
    dropout, _ = build(name, drop_rate=0.3).head
    assert dropout.p == 0.3


def test_images_too_small_for_torchvisions_pooling_are_an_error() -> None:
    with pytest.raises(ValueError, match="images of 14 pixels become 14, .* pools = 'torchvision' needs at least 15"):
        build("googlenet", image_size=14, upsample=1, pools="torchvision")
    for stem, side in (("paper", 15), ("small", 8)):
        module = build("googlenet", image_size=side, upsample=1, stem=stem, pools="torchvision")
        module.eval()(torch.zeros(1, 1, side, side))


def test_googlenet_with_padded_pooling_accepts_8_pixels() -> None:
    build("googlenet", image_size=8, upsample=1).eval()(torch.zeros(1, 1, 8, 8))

"""Behaviour that is specific to the residual and dense families."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from convoy.evaluation.cost import parameters
from convoy.models import create, default_options
from convoy.models._blocks import ConvolutionalAttention, SqueezeExcitation
from convoy.models.cifar_resnet import PadShortcut
from convoy.models.densenet import DenseLayer
from convoy.models.network import without_weights
from convoy.models.preact_resnet import PreActBlock
from convoy.models.resnet import ResidualBlock

# How the classics experiment adapts a ResNet to MNIST.
CLASSICS = {"stem": "paper", "upsample": 2, "drop_rate": 0.5, "init": "default"}


def build(name: str, in_chans: int = 1, image_size: int = 28, **options: Any) -> torch.nn.Module:
    torch.manual_seed(0)
    return create(name, in_chans=in_chans, num_classes=10, image_size=image_size, options=options)


def count(name: str, in_chans: int = 3, **options: Any) -> int:
    with without_weights():
        return parameters(build(name, in_chans, **options))


def parts(module: torch.nn.Module, kind: type[torch.nn.Module]) -> list[Any]:
    return [part for part in module.modules() if isinstance(part, kind)]


def last_map(module: Any, image_size: int = 28) -> tuple[int, ...]:
    """Height and width of the last map."""
    shapes = []
    module.blocks.register_forward_hook(lambda part, inputs, output: shapes.append(output.shape[2:]))
    module.eval()(torch.zeros(1, 1, image_size, image_size))
    return tuple(shapes[0])


# ---- published parameter counts, in millions ----


@pytest.mark.parametrize(
    ("name", "options", "millions"),
    [
        ("cifar_resnet20", {}, 0.27),
        ("cifar_resnet32", {}, 0.46),
        ("cifar_resnet44", {}, 0.66),
        ("cifar_resnet56", {}, 0.85),
        ("cifar_resnet110", {}, 1.7),
        ("preact_resnet110", {}, 1.7),
        ("preact_resnet164", {}, 1.7),
        ("wide_resnet16_8", {}, 11.0),
        ("wide_resnet28_10", {}, 36.5),
        ("wide_resnet40_4", {}, 8.9),
        ("densenet_bc_100_12", {}, 0.8),
        ("densenet_bc_100_12", {"depth": 250, "growth": 24}, 15.3),
        ("densenet_bc_100_12", {"depth": 190, "growth": 40}, 25.6),
    ],
)
def test_cifar_network_has_the_published_parameter_count(name: str, options: dict[str, int], millions: float) -> None:
    digits = len(str(millions).split(".")[1])
    assert round(count(name, **options) / 1e6, digits) == millions


@pytest.mark.parametrize(("name", "millions"), [("cbam_resnet18", 11.78), ("se_resnet50", 28.09)])
def test_network_with_attention_has_the_published_parameter_count(name: str, millions: float) -> None:
    with without_weights():
        module = create(name, in_chans=3, num_classes=1000, image_size=224)
    assert round(parameters(module) / 1e6, 2) == millions


# ---- stems ----


def test_small_and_paper_stem_have_the_standard_parameter_count() -> None:
    assert {stem: count("resnet18", 1, stem=stem) for stem in ("small", "paper")} == {
        "small": 11_175_370,
        "paper": 11_175_370,
    }


def test_3x3_stem_gives_the_usual_resnet18_for_cifar() -> None:
    assert count("resnet18", stem="3x3") == 11_173_962


@pytest.mark.parametrize("name", ["resnet18", "preact_resnet18", "densenet121"])
def test_weights_of_the_paper_stem_load_into_the_small_one(name: str) -> None:
    build(name, stem="small").load_state_dict(build(name, stem="paper").state_dict())


@pytest.mark.parametrize("name", ["resnet18", "preact_resnet18", "densenet121"])
def test_last_map_for_28_pixels_is_4x4_with_the_small_stem_and_1x1_with_the_papers(name: str) -> None:
    assert last_map(build(name)) == (4, 4)
    assert last_map(build(name, stem="paper")) == (1, 1)


def test_last_map_with_upsampling_and_the_paper_stem_is_2x2() -> None:
    assert last_map(build("resnet18", **CLASSICS)) == (2, 2)


# ---- shortcuts ----


def test_shared_shortcut_is_the_first_convolution_of_its_block() -> None:
    sharing = [block for block in parts(build("resnet18_shared"), ResidualBlock) if block.shares]
    assert [block.branch[0].stride for block in sharing] == [(2, 2)] * 3
    block, x = sharing[0], torch.randn(2, 64, 6, 6)
    torch.nn.init.zeros_(block.branch[-1].weight)  # the last norm of the branch, so that only the shortcut remains
    assert torch.equal(block(x), block.branch[0](x).relu())


def test_shared_shortcuts_have_no_projections_and_are_a_flaw() -> None:
    assert default_options("resnet18_shared") == default_options("resnet18") | CLASSICS | {"shortcut": "shared"}
    projections = 64 * 128 + 128 * 256 + 256 * 512 + 2 * (128 + 256 + 512)
    assert count("resnet18", 1, **CLASSICS) - count("resnet18_shared", 1) == projections
    assert len(build("resnet18_shared").flaws) == 1
    assert build("resnet18_shared", shortcut="projection").flaws == ()


@pytest.mark.parametrize(
    "name", ["resnet18", "resnet18_shared", "cifar_resnet20", "preact_resnet18", "preact_resnet110", "wide_resnet16_8"]
)
def test_without_shortcuts_the_output_depends_only_on_the_branches(name: str) -> None:
    images = torch.randn(2, 1, 28, 28)
    outputs_are_equal = {}
    for residual in (True, False):
        module = build(name, residual=residual).eval()
        for part in module.modules():
            if hasattr(part, "branch"):
                part.branch.register_forward_hook(lambda part, inputs, output: torch.zeros_like(output))
        first, second = module(images)
        outputs_are_equal[residual] = torch.equal(first, second)
    assert outputs_are_equal == {True: False, False: True}


def test_padded_shortcut_takes_every_second_pixel_and_appends_zeros() -> None:
    x = torch.arange(18.0).reshape(1, 2, 3, 3)
    y = PadShortcut(extra_chans=2, stride=2)(x)
    assert y[0, 0].tolist() == [[0, 2], [6, 8]]
    assert y[0, 1].tolist() == [[9, 11], [15, 17]]
    assert y[0, 2:].count_nonzero() == 0


def test_projections_of_a_cifar_resnet_are_two_convolutions_with_norms() -> None:
    assert count("cifar_resnet20", shortcut="projection") - count("cifar_resnet20") == 16 * 32 + 32 * 64 + 2 * (32 + 64)


def test_identity_of_a_preactivated_block_does_not_change_its_input() -> None:
    block, x = parts(build("preact_resnet18"), PreActBlock)[0], torch.randn(2, 64, 6, 6)
    torch.nn.init.zeros_(block.branch[-1].weight)
    assert torch.equal(block(x), x)


def test_only_the_first_identity_of_a_cifar_preact_resnet_is_activated() -> None:
    blocks = parts(build("preact_resnet110"), PreActBlock)
    identities = [block for block in blocks if isinstance(block.shortcut, torch.nn.Identity)]
    assert [block.activated_shortcut for block in identities] == [True] + [False] * 51


# ---- gates, dropout, dense layers ----


@pytest.mark.parametrize(
    ("name", "plain", "word", "gate"),
    [
        ("se_resnet18", "resnet18", "se", SqueezeExcitation),
        ("cbam_resnet18", "resnet18", "cbam", ConvolutionalAttention),
    ],
)
def test_attention_is_in_each_block(name: str, plain: str, word: str, gate: type[torch.nn.Module]) -> None:
    assert default_options(name) == default_options(plain) | {"attention": word}
    assert len(parts(build(name), gate)) == 8
    assert len(parts(build(plain), gate)) == 0


def test_attention_is_an_option_of_a_cifar_resnet() -> None:
    assert len(parts(build("cifar_resnet20", attention="se"), SqueezeExcitation)) == 9


def test_resnet_has_dropout_before_the_head() -> None:
    module = build("resnet18", drop_rate=0.5)
    dropped = []
    module.head.register_forward_hook(lambda part, inputs, output: dropped.append((inputs[0] == 0).float().mean()))
    module(torch.randn(8, 1, 28, 28))
    assert 0.4 < dropped[0] < 0.6


@pytest.mark.parametrize(("name", "n_dropouts"), [("wide_resnet16_8", 6), ("densenet_bc_100_12", 48)])
def test_drop_rate_applies_to_each_block_or_layer(name: str, n_dropouts: int) -> None:
    assert [part.p for part in parts(build(name, drop_rate=0.3), torch.nn.Dropout)] == [0.3] * n_dropouts


def test_dense_layer_appends_its_growth_to_its_input() -> None:
    layer = parts(build("densenet_bc_100_12"), DenseLayer)[0]
    x = torch.randn(2, 24, 5, 5)
    y = layer(x)
    assert y.shape == (2, 36, 5, 5)
    assert torch.equal(y[:, :24], x)


@pytest.mark.parametrize(
    "name", ["resnet18", "cifar_resnet20", "preact_resnet18", "preact_resnet164", "wide_resnet16_8", "densenet121"]
)
def test_without_norm_each_convolution_has_a_bias(name: str) -> None:
    with without_weights():
        plain, normed = build(name, norm="none"), build(name)
    assert not parts(plain, torch.nn.BatchNorm2d)
    assert all(conv.bias is not None for conv in parts(plain, torch.nn.Conv2d))
    assert all(conv.bias is None for conv in parts(normed, torch.nn.Conv2d))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet18", {"depth": 19}, "depth = 19 in model.options: expected one of 18, 34, 50, 101, 152"),
        ("resnet50", {"shortcut": "shared"}, "shortcut = 'shared' .* expected depth 18 or 34, got 50"),
        ("resnet18", {"shortcut": "sharde"}, "unknown shortcut 'sharde' .* did you mean 'shared'"),
        ("resnet18", {"stem": "papers"}, "unknown stem 'papers' in model.options; did you mean 'paper'"),
        ("resnet18", {"attention": "seb"}, "unknown attention 'seb' .* did you mean 'se'"),
        ("resnet18", {"drop_rate": 1.0}, r"drop_rate = 1.0 in model.options: .*\[0, 1\)"),
        ("resnet18", {"upsample": 0}, "upsample = 0 in model.options: expected at least 1"),
        ("cifar_resnet20", {"depth": 21}, r"depth = 21 in model.options: expected 6n \+ 2"),
        ("preact_resnet18", {"depth": 101}, "depth = 101 in model.options: expected one of 18, 34, 50"),
        ("preact_resnet164", {"depth": 111}, r"depth = 111 .* 9n \+ 2"),
        ("wide_resnet16_8", {"depth": 20}, r"depth = 20 in model.options: expected 6n \+ 4"),
        ("wide_resnet16_8", {"widen_factor": 0}, "widen_factor = 0 in model.options: expected at least 1"),
        ("densenet121", {"depth": 161}, "depth = 161 in model.options: expected one of 121, 169, 201"),
        ("densenet_bc_100_12", {"growth": 0}, "growth = 0 in model.options: expected at least 1"),
    ],
)
def test_an_invalid_option_is_a_one_line_error(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        build(name, **options)
    assert "\n" not in str(caught.value)

"""Counts against counts by hand, written out as formulas, and against torch's own counter."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import astuple

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from convoy.evaluation.calls import Call
from convoy.evaluation.cost import flops_per_image, parameters
from convoy.evaluation.trace import Trace, trace
from convoy.models import MODELS, create
from convoy.profiling import measure
from convoy.profiling.measure import activation_bytes, layers_of, profile, subject_of
from convoy.profiling.result import LayerNote
from convoy.recipe import Recipe, resolve
from convoy.recipe.sections import SGD, AdamW, RMSprop
from convoy.training.step.optimizers import state_per_parameter


def traced(module: nn.Module, *shape: int) -> Trace:
    return trace(module, torch.zeros(1, *(shape or (1, 8, 8))))


def calls(found: Trace) -> list[Call]:
    return [call for call in found.root.walk() if not call.calls]


def flops_by_name(found: Trace) -> dict[str, int]:
    return {call.name: call.flops for call in calls(found) if call.flops}


def conv(side: int, kernel: int, in_chans: int, out_chans: int) -> int:
    """FLOPs of a convolution whose output is `side` pixels wide: 2 a multiply-add."""
    return 2 * side * side * out_chans * kernel * kernel * in_chans


def linear(inputs: int, outputs: int) -> int:
    return 2 * inputs * outputs


def residual(side: int, in_chans: int, out_chans: int, *, projected: bool) -> int:
    shortcut = conv(side, 1, in_chans, out_chans) if projected else 0
    return conv(side, 3, in_chans, out_chans) + conv(side, 3, out_chans, out_chans) + shortcut


BY_HAND = {
    "lenet": conv(24, 5, 1, 6) + conv(8, 5, 6, 16) + linear(256, 120) + linear(120, 84) + linear(84, 10),
    "two_conv_cnn": conv(28, 3, 1, 16)
    + conv(14, 3, 16, 32)
    + linear(32 * 7 * 7, 392)
    + linear(392, 196)
    + linear(196, 10),
    "wide_kernel_cnn": conv(28, 7, 1, 32) + conv(14, 5, 32, 64) + linear(64 * 7 * 7, 1024) + linear(1024, 10),
    "mnist_resnet": conv(28, 3, 1, 32)
    + residual(28, 32, 128, projected=True)
    + residual(28, 128, 128, projected=False)
    + residual(14, 128, 256, projected=True)
    + residual(14, 256, 256, projected=False)
    + residual(7, 256, 512, projected=True)
    + residual(7, 512, 512, projected=False)
    + linear(512, 10),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_flops_are_those_counted_by_hand(name: str) -> None:
    found = traced(create(name, in_chans=1, num_classes=10, image_size=28), 1, 28, 28)
    assert sum(call.flops for call in found.root.walk()) == BY_HAND[name]


SMALLEST_OF_EACH_FAMILY = {
    MODELS[name].factory: name for name in sorted(MODELS, key=lambda name: MODELS[name].parameters, reverse=True)
}


@pytest.mark.parametrize("name", SMALLEST_OF_EACH_FAMILY.values())
def test_layers_add_up_to_the_whole(name: str) -> None:
    with torch.device("meta"):
        module = create(name, in_chans=3, num_classes=10, image_size=32)
    found = trace(module, torch.zeros(1, 3, 32, 32, device="meta"))
    assert sum(call.flops for call in found.root.walk()) == flops_per_image(module, (3, 32, 32))
    held = sum(call.parameters for call in found.root.walk()) + sum(found.unreached.values())
    assert held == parameters(module)


def test_grouped_convolution_multiplies_within_its_groups() -> None:
    found = traced(nn.Sequential(nn.Conv2d(1, 8, 1), nn.Conv2d(8, 16, 3, padding=1, groups=4)))
    assert flops_by_name(found)["1"] == conv(8, 3, 8 // 4, 16)


class Attending(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = x.flatten(2)  # (1, 4, 16)
        return self.attention(tokens, tokens, tokens, need_weights=False)[0].mean(1)


def test_attention_carries_the_flops_of_its_products() -> None:
    tokens, width = 4, 16
    projections = linear(tokens * width, 3 * width) + linear(tokens * width, width)
    products = 2 * 2 * tokens * tokens * width
    found = traced(Attending(), 4, 4, 4)
    assert flops_by_name(found) == {"attention": projections + products}
    assert flops_per_image(Attending(), (4, 4, 4)) == projections + products


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(self.conv(self.conv(x)), self.conv.weight, padding=1)


def test_parameters_that_are_used_again_count_where_they_were_used_first() -> None:
    first, again, borrowed = calls(traced(Twice()))
    assert (first.parameters, first.reused) == (10, 0)
    assert (again.parameters, again.reused) == (0, 10)
    assert (borrowed.parameters, borrowed.reused) == (0, 9)
    assert borrowed.operation
    assert first.flops == again.flops == borrowed.flops == conv(8, 3, 1, 1)


class Branching(nn.Module):
    """A shortcut past a convolution; dropout, identity and an added parameter hand on what they are given."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, padding=1)
        self.drop = nn.Dropout(0.5)
        self.shortcut = nn.Identity()
        self.offset = nn.Parameter(torch.zeros(1))
        self.spare = nn.Linear(3, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.offset
        return (self.drop(self.conv(x)) + self.shortcut(x)).mean((2, 3))


def test_a_call_reads_what_it_was_given_and_not_what_its_neighbour_handed_on() -> None:
    found = traced(Branching())
    by_kind = {call.kind: call for call in calls(found)}
    assert by_kind["Dropout"].inputs == (by_kind["Conv2d"].number,)
    assert by_kind["Identity"].inputs == (0,)
    assert by_kind["add"].inputs == (by_kind["Dropout"].number, by_kind["Identity"].number)
    assert by_kind["mean"].output == (1,)


def test_parameters_of_the_network_itself_and_those_that_nothing_reads_are_told_apart() -> None:
    found = traced(Branching())
    assert found.root.parameters == 1
    assert found.unreached == {"spare": 16}


def test_layer_table_marks_shared_own_and_unused_parameters() -> None:
    assert [(layer.kind, layer.parameters, layer.note) for layer in layers_of(traced(Twice()))] == [
        ("Conv2d 3×3", 10, LayerNote.NONE),
        ("Conv2d 3×3", 0, LayerNote.SHARED),
        ("conv2d() 3×3", 0, LayerNote.SHARED),
    ]
    notes = {layer.note: (layer.name, layer.parameters) for layer in layers_of(traced(Branching()))}
    assert notes[LayerNote.OWN] == ("Branching", 1)
    assert notes[LayerNote.UNUSED] == ("spare", 16)


def test_activation_changed_in_place_is_what_the_next_layer_reads() -> None:
    conv_, relu, last = calls(traced(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True), nn.Conv2d(2, 1, 1))))
    assert relu.inputs == (conv_.number,)
    assert last.inputs == (relu.number,)


def test_tracing_leaves_the_network_as_it_was() -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    traced(module)
    assert module.training
    assert module[1].num_batches_tracked == 0
    assert not module[0]._forward_hooks


def test_activations_of_lenet_counted_by_hand() -> None:
    images, first, second = 28 * 28, 6 * 24 * 24, 16 * 8 * 8
    pooled = first // 4 + second // 4  # and as many places of maxima, of 8 bytes
    sigmoids = 120 + 84  # those behind the pools replace what the pools put out
    lenet = create("lenet", in_chans=1, num_classes=10, image_size=28)
    found = activation_bytes(lenet, (1, 28, 28))
    assert found.fixed == 0
    assert found.per_image == 4 * (images + first + second + pooled + sigmoids) + 8 * pooled


@pytest.mark.parametrize("name", ["mnist_resnet", "mobilenet_v3_small", "vit_tiny"])
def test_activations_counted_without_numbers_are_those_of_a_real_pass(name: str) -> None:
    module = create(name, in_chans=1, num_classes=10, image_size=28)
    counted = activation_bytes(module, (1, 28, 28)).of(5)
    assert counted == measure._saved_bytes(deepcopy(module), (1, 28, 28), 5)


class Asking(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x) if x.sum().item() == 0 else x
        return (y * torch.ones(1)).mean((2, 3))


def test_activations_of_a_network_that_asks_for_numbers_are_counted_with_numbers() -> None:
    assert activation_bytes(Asking(), (1, 8, 8)).per_image == 4 * 8 * 8


@pytest.mark.parametrize(
    ("spec", "kept"), [(AdamW(), 2), (SGD(momentum=0.9), 1), (SGD(momentum=0.0), 0), (RMSprop(momentum=0.9), 2)]
)
def test_optimizer_keeps_so_many_numbers_for_each_weight(spec: AdamW, kept: int) -> None:
    assert state_per_parameter(spec) == kept
    assert state_per_parameter(spec, ema_decay=0.99) == kept + 1


def made(*, image: str | None = None, classes: int | None = None, data: bool = False, **flags: object):  # type: ignore[no-untyped-def]
    recipe: Recipe = resolve("lenet", overrides=[(key.replace("__", "."), value) for key, value in flags.items()])
    return subject_of("lenet", recipe, image=image, classes=classes, from_data=data)


def test_training_memory_is_the_sum_of_its_parts() -> None:
    found = profile(made(train__batch_size=16), torch.device("cpu"), state_per_parameter=2).training
    weights = 4 * 44_426
    assert (found.parameters, found.gradients, found.kept) == (weights, weights, 2 * weights)
    assert found.activations == 16 * 35_312
    assert found.total == 4 * weights + found.activations


def test_batch_shrinks_until_a_pass_is_short_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "LONGEST_PASS", 0.0)
    single, many = profile(made(), torch.device("cpu"), state_per_parameter=2).latencies
    assert (single.batch_size, many.batch_size) == (1, 1)
    assert single.passes > 0
    assert many.images_per_second == pytest.approx(1000 / many.ms)


def test_images_are_those_of_input_then_of_the_data_then_of_the_publication() -> None:
    assert made(image="3x32x32", classes=7).shape == (3, 32, 32)
    assert made(data=True, data__size=20)[2:] == (1, 10, 20)
    assert made()[2:] == (1, 10, 28)


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ("28", "input '28': expected channels x height x width"),
        ("0x28x28", "expected channels x height x width"),
        ("1x28x30", "28 x 30"),
        ("1x9999x9999", "at most 512"),
    ],
)
def test_image_that_is_no_square_one_is_refused(image: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        made(image=image)


def test_classes_beside_data_that_have_their_own_are_refused() -> None:
    with pytest.raises(ValueError, match="classes = 7: .*mnist"):
        made(data=True, classes=7)


def test_size_totals_are_those_of_the_layer_table() -> None:
    subject = subject_of("lenet", Recipe.load("defaults/mnist"), image=None, classes=None, from_data=False)
    found = profile(subject, torch.device("cpu"), state_per_parameter=2)
    outputs = 3456 + 2 * 864 + 1024 + 2 * 256 + 256 + 2 * 120 + 2 * 84 + 10
    assert astuple(found.sizes) == (4 * 28 * 28, 4 * outputs, 4 * 44_426)
    assert found.sizes.total == 4 * (28 * 28 + outputs + 44_426)

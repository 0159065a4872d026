"""Counts of a profile agree with formulas written by hand and with torch's counter."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import astuple
from xml.etree import ElementTree

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from convoy.evaluation.calls import Call
from convoy.evaluation.cost import flops_per_image, parameters
from convoy.evaluation.trace import Trace, trace
from convoy.models import MODELS, create
from convoy.models.network import without_weights
from convoy.profiling import measure
from convoy.profiling.architecture import draw
from convoy.profiling.measure import activation_bytes, layers_of, profile, subject_of
from convoy.profiling.result import LayerNote
from convoy.recipe import Recipe, resolve
from convoy.recipe.sections import SGD, AdamW, RMSprop
from convoy.training.step.optimizers import state_per_parameter


def trace_of(module: nn.Module, *shape: int) -> Trace:
    return trace(module, torch.zeros(1, *(shape or (1, 8, 8))))


def layer_calls(network_trace: Trace) -> list[Call]:
    return [call for call in network_trace.root.walk() if not call.calls]


def flops_by_name(network_trace: Trace) -> dict[str, int]:
    return {call.name: call.flops for call in layer_calls(network_trace) if call.flops}


def conv(side: int, kernel: int, in_chans: int, out_chans: int) -> int:
    """FLOPs of a convolution with an output of side x side pixels: 2 per multiply-add."""
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
    network_trace = trace_of(create(name, in_chans=1, num_classes=10, image_size=28), 1, 28, 28)
    assert sum(call.flops for call in network_trace.root.walk()) == BY_HAND[name]


SMALLEST_OF_EACH_FAMILY = {
    MODELS[name].factory: name for name in sorted(MODELS, key=lambda name: MODELS[name].parameters, reverse=True)
}


@pytest.mark.parametrize("name", SMALLEST_OF_EACH_FAMILY.values())
def test_layers_sum_to_the_network_and_its_picture_fits_a_page(name: str) -> None:
    with without_weights():
        module = create(name, in_chans=3, num_classes=10, image_size=32)
    network_trace = trace(module.to_empty(device="cpu"), torch.zeros(1, 3, 32, 32))
    calls = [*network_trace.root.walk()]
    assert sum(call.flops for call in calls) == flops_per_image(module, (3, 32, 32))
    used, unreached = sum(call.parameters for call in calls), sum(network_trace.unreached.values())
    assert used + unreached == parameters(module)
    picture = draw(name, (3, 32, 32), network_trace.root, parameters=parameters(module), unreached=unreached)
    _, _, width, height = map(float, ElementTree.fromstring(picture.svg).attrib["viewBox"].split())
    assert width <= 1250
    assert height <= 1500


def test_flops_of_a_grouped_convolution_are_divided_by_the_groups() -> None:
    network_trace = trace_of(nn.Sequential(nn.Conv2d(1, 8, 1), nn.Conv2d(8, 16, 3, padding=1, groups=4)))
    assert flops_by_name(network_trace)["1"] == conv(8, 3, 8 // 4, 16)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = x.flatten(2)  # (1, 4, 16)
        return self.attention(tokens, tokens, tokens, need_weights=False)[0].mean(1)


def test_flops_of_attention_include_its_matrix_products() -> None:
    tokens, width = 4, 16
    projections = linear(tokens * width, 3 * width) + linear(tokens * width, width)
    products = 2 * 2 * tokens * tokens * width
    assert flops_by_name(trace_of(Attention(), 4, 4, 4)) == {"attention": projections + products}
    assert flops_per_image(Attention(), (4, 4, 4)) == projections + products


class SharedWeights(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(self.conv(self.conv(x)), self.conv.weight, padding=1)


def test_shared_parameters_count_at_their_first_use() -> None:
    first, second, operation = layer_calls(trace_of(SharedWeights()))
    assert (first.parameters, first.reused) == (10, 0)
    assert (second.parameters, second.reused) == (0, 10)
    assert (operation.parameters, operation.reused) == (0, 9)
    assert operation.operation
    assert first.flops == second.flops == operation.flops == conv(8, 3, 1, 1)


class Branches(nn.Module):
    """Has a shortcut, a dropout and an identity that return their input, an added parameter, and an unused layer."""

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


def test_calls_that_return_their_input_are_separate_inputs_of_later_calls() -> None:
    by_kind = {call.kind: call for call in layer_calls(trace_of(Branches()))}
    assert by_kind["Dropout"].inputs == (by_kind["Conv2d"].number,)
    assert by_kind["Identity"].inputs == (0,)
    assert by_kind["add"].inputs == (by_kind["Dropout"].number, by_kind["Identity"].number)
    assert by_kind["mean"].output == (1,)


def test_parameters_of_the_network_itself_and_unused_parameters_are_separate() -> None:
    network_trace = trace_of(Branches())
    assert network_trace.root.parameters == 1
    assert network_trace.unreached == {"spare": 16}


def test_layer_table_marks_shared_own_and_unused_parameters() -> None:
    assert [(layer.kind, layer.parameters, layer.note) for layer in layers_of(trace_of(SharedWeights()))] == [
        ("Conv2d 3×3", 10, LayerNote.NONE),
        ("Conv2d 3×3", 0, LayerNote.SHARED),
        ("conv2d() 3×3", 0, LayerNote.SHARED),
    ]
    notes = {layer.note: (layer.name, layer.parameters) for layer in layers_of(trace_of(Branches()))}
    assert notes[LayerNote.OWN] == ("Branches", 1)
    assert notes[LayerNote.UNUSED] == ("spare", 16)


def test_next_layer_reads_the_in_place_activation() -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True), nn.Conv2d(2, 1, 1))
    first, relu, last = layer_calls(trace_of(module))
    assert relu.inputs == (first.number,)
    assert last.inputs == (relu.number,)


def test_tracing_does_not_change_the_network() -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    trace_of(module)
    assert module.training
    assert module[1].num_batches_tracked == 0
    assert not module[0]._forward_hooks


def test_activations_of_lenet_counted_by_hand() -> None:
    images, first, second = 28 * 28, 6 * 24 * 24, 16 * 8 * 8
    pooled = first // 4 + second // 4  # outputs of the activations after the poolings, and int64 indices of the maxima
    hidden = 120 + 84  # outputs of the activations after the linear layers
    module = create("lenet", in_chans=1, num_classes=10, image_size=28)
    activations = activation_bytes(module, (1, 28, 28))
    assert activations.fixed == 0
    assert activations.per_image == 4 * (images + first + second + pooled + hidden) + 8 * pooled


@pytest.mark.parametrize("name", ["mnist_resnet", "mobilenet_v3_small", "vit_tiny"])
def test_activations_on_the_meta_device_agree_with_a_pass_on_the_cpu(name: str) -> None:
    module = create(name, in_chans=1, num_classes=10, image_size=28)
    saved_bytes = measure._saved_bytes(deepcopy(module), (1, 28, 28), 5)
    assert activation_bytes(module, (1, 28, 28)).of(5) == saved_bytes


class ReadsValues(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x) if x.sum().item() == 0 else x
        return (y * torch.ones(1)).mean((2, 3))


def test_activations_of_a_network_that_reads_values_are_measured_on_the_cpu() -> None:
    assert activation_bytes(ReadsValues(), (1, 8, 8)).per_image == 4 * 8 * 8


@pytest.mark.parametrize(
    ("spec", "values"), [(AdamW(), 2), (SGD(momentum=0.9), 1), (SGD(momentum=0.0), 0), (RMSprop(momentum=0.9), 2)]
)
def test_number_of_values_that_an_optimizer_stores_per_weight(spec: AdamW, values: int) -> None:
    assert state_per_parameter(spec) == values
    assert state_per_parameter(spec, ema_decay=0.99) == values + 1


def lenet(*, image: str | None = None, classes: int | None = None, data: bool = False, **flags: object):  # type: ignore[no-untyped-def]
    recipe: Recipe = resolve("lenet", overrides=[(key.replace("__", "."), value) for key, value in flags.items()])
    return subject_of("lenet", recipe, image=image, classes=classes, from_data=data)


def test_training_memory_is_the_sum_of_its_parts() -> None:
    memory = profile(lenet(train__batch_size=16), torch.device("cpu"), state_per_parameter=2).training
    weights = 4 * 44_426
    assert (memory.parameters, memory.gradients, memory.optimizer_state) == (weights, weights, 2 * weights)
    assert memory.activations == 16 * 35_312
    assert memory.total == 4 * weights + memory.activations


def test_large_batch_is_halved_until_a_pass_is_short_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "MAX_PASS_SECONDS", 0.0)
    single, batch = profile(lenet(), torch.device("cpu"), state_per_parameter=2).latencies
    assert (single.batch_size, batch.batch_size) == (1, 1)
    assert single.passes > 0
    assert batch.images_per_second == pytest.approx(1000 / batch.ms)


def test_input_comes_from_the_option_or_the_data_or_the_publication() -> None:
    assert lenet(image="3x32x32", classes=7).shape == (3, 32, 32)
    assert lenet(data=True, data__size=20)[2:] == (1, 10, 20)
    assert lenet()[2:] == (1, 10, 28)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("28", "input '28': expected channels x height x width"),
        ("0x28x28", "expected channels x height x width"),
        ("1x28x30", "28 x 30"),
        ("1x9999x9999", "at most 512"),
    ],
)
def test_input_that_is_not_a_square_image_raises(image: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        lenet(image=image)


def test_classes_cannot_be_set_if_the_data_define_them() -> None:
    with pytest.raises(ValueError, match="classes = 7: .*mnist"):
        lenet(data=True, classes=7)


def test_sizes_are_sums_over_the_table_of_layers() -> None:
    subject = subject_of("lenet", Recipe.load("defaults/mnist"), image=None, classes=None, from_data=False)
    sizes = profile(subject, torch.device("cpu"), state_per_parameter=2).sizes
    outputs = 3456 + 2 * 864 + 1024 + 2 * 256 + 256 + 2 * 120 + 2 * 84 + 10
    assert astuple(sizes) == (4 * 28 * 28, 4 * outputs, 4 * 44_426)
    assert sizes.total == 4 * (28 * 28 + outputs + 44_426)

"""Outlines and pictures of networks whose calls are written by hand instead of by convoy.evaluation.trace."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any
from xml.etree import ElementTree

import pytest

from convoy.evaluation.calls import Call
from convoy.profiling.architecture import Picture, short_form
from convoy.profiling.architecture import draw as draw_network
from convoy.profiling.architecture_block import _Layout, draw_block
from convoy.profiling.outline import ENTRY, Box, blocks, outline
from convoy.profiling.svg import text_width, truncate

SVG = "{http://www.w3.org/2000/svg}"


class Network:
    """Builds the calls of a pass. Each method adds a call, which reads the previous call by default."""

    def __init__(self) -> None:
        self.last = 0
        self.modules = 0  # negative numbers

    def call(self, kind: str, role: str, output: tuple[int, ...], **fields: Any) -> Call:
        defaults = {"name": f"layer{self.last + 1}", "inputs": (self.last,)}
        self.last += 1
        return Call(self.last, kind=kind, role=role, output=output, **defaults | fields)

    def conv(self, channels: int, side: int = 8, kernel: int = 3, **fields: Any) -> Call:
        defaults = {"settings": f"{kernel}×{kernel}", "parameters": 100 * channels, "flops": 1000 * channels}
        return self.call("Conv2d", "conv", (channels, side, side), **defaults | fields)

    def norm(self, channels: int, side: int = 8) -> Call:
        return self.call("BatchNorm2d", "norm", (channels, side, side), parameters=2 * channels)

    def add(self, channels: int, *inputs: int, side: int = 8) -> Call:
        return self.call("add", "merge", (channels, side, side), inputs=inputs, operation=True)

    def module(self, kind: str, calls: Sequence[Call], name: str = "") -> Call:
        """A module that calls other modules. Readers of its output read its last call."""
        self.modules -= 1
        return Call(self.modules, name, kind, "other", output=calls[-1].output, calls=list(calls))

    def residual(self, channels: int, name: str, *, projected: bool = False) -> Call:
        start = self.last
        calls = [self.conv(channels), self.norm(channels), self.conv(channels), self.norm(channels)]
        main, shortcut = self.last, start
        if projected:
            calls.append(self.conv(channels, kernel=1, inputs=(start,)))
            shortcut = self.last
        calls.append(self.add(channels, shortcut, main))
        return self.module("ResidualBlock", calls, name)


def root(calls: Sequence[Call]) -> Call:
    return Call(10**6, "", "Net", "other", output=calls[-1].output, inputs=(0,), calls=list(calls))


def parameters(calls: Sequence[Call]) -> int:
    return sum(call.parameters for call in root(calls).walk())


def boxes_of(calls: Sequence[Call]) -> tuple[Box, ...]:
    return outline(root(calls))


def draw(calls: Sequence[Call], label: str = "net", *, outside: int = 0, unreached: int = 0) -> Picture:
    count = parameters(calls) + outside + unreached
    return draw_network(label, (1, 8, 8), root(calls), parameters=count, unreached=unreached)


def titles(calls: Sequence[Call]) -> list[str]:
    return [box.text for box in boxes_of(calls)]


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def resnet() -> list[Call]:
    net = Network()
    stem = net.conv(16)
    first_stage = [net.residual(16, f"blocks.{index}") for index in range(3)]
    second_stage = [net.residual(32, f"blocks.{index}", projected=index == 3) for index in range(3, 6)]
    return [stem, net.module("Sequential", [*first_stage, *second_stage], "blocks")]


def test_picture_for_a_phone_needs_no_scaling_and_has_the_same_texts() -> None:
    picture = draw(resnet())
    phone = ElementTree.fromstring(picture.narrow_svg)

    assert float(phone.attrib["width"]) <= 390 - 2 * 16
    assert min(float(text.attrib["font-size"]) for text in phone.iter(f"{SVG}text")) >= 10.5
    assert set(texts(picture.svg)) == set(texts(picture.narrow_svg))


def test_norm_and_activation_are_notes_of_their_layer() -> None:
    net = Network()
    calls = [net.conv(16), net.norm(16), net.call("relu", "activation", (16, 8, 8), operation=True)]
    (box,) = boxes_of(calls)
    assert (box.title, box.notes, box.parameters) == ("3×3 conv, 16", ("BN", "ReLU"), 1632)


def test_norm_is_a_box_if_its_input_has_another_reader() -> None:
    net = Network()
    calls = [net.conv(16), net.norm(16), net.add(16, 1, 2)]
    assert titles(calls) == ["3×3 conv, 16", "BN", "+"]


def test_blocks_of_a_stage_are_one_box_even_if_the_first_has_a_projection() -> None:
    assert titles(resnet()) == ["3×3 conv, 16", "ResidualBlock ×3", "ResidualBlock ×3"]


def test_kind_of_a_block_depends_on_its_shortcut_but_not_on_its_width() -> None:
    kinds = blocks(boxes_of(resnet())).values()
    assert [[box.name for box in kind] for kind in kinds] == [
        ["blocks.0", "blocks.1", "blocks.2", "blocks.4", "blocks.5"],
        ["blocks.3"],
    ]


def test_boxes_have_all_parameters_of_the_calls() -> None:
    assert sum(box.parameters for box in boxes_of(resnet())) == parameters(resnet())


def test_a_repeated_sequence_of_layers_is_a_group() -> None:
    net = Network()
    calls = [net.conv(8)]
    for _ in range(5):
        calls += [net.conv(8, kernel=1), net.conv(8, kernel=5)]
    _, group = boxes_of(calls)
    assert (group.role, group.repeats) == ("group", 5)
    assert [box.title for box in group.inside] == ["1×1 conv, 8", "5×5 conv, 8"]
    assert [box.parameters for box in group.inside] == [4000, 4000]


def test_the_middle_of_150_different_layers_is_omitted() -> None:
    net = Network()
    calls = [net.conv(width) for width in range(1, 151)]
    boxes = boxes_of(calls)
    assert len(boxes) == 29
    assert (boxes[17].role, boxes[17].title.split()[0]) == ("more", "122")
    assert sum(box.parameters for box in boxes) == parameters(calls)
    assert [box.inputs for box in boxes] == [{index - 1} for index in range(29)]


def test_dense_layers_with_growing_channels_are_one_box() -> None:
    net = Network()
    layers = []
    for index in range(4):
        start = net.last
        calls = [net.conv(4), net.call("concatenate", "merge", (8 + 4 * index, 8, 8), inputs=(start, start + 1))]
        layers.append(net.module("DenseLayer", calls, f"dense.{index}"))
    (box,) = boxes_of(layers)
    assert (box.title, box.repeats, box.output) == ("DenseLayer", 4, (20, 8, 8))


def test_weight_norm_is_merged_with_the_layer_that_uses_the_weight() -> None:
    net = Network()
    start = net.conv(8)
    norm = net.call("_WeightNorm", "other", (8, 3, 3), parameters=72, inputs=())
    conv = net.conv(8, kernel=1, inputs=(1, 2), parameters=8)
    boxes = boxes_of([start, norm, conv])
    assert [(box.title, box.parameters, box.inputs) for box in boxes] == [
        ("3×3 conv, 8", 800, {ENTRY}),
        ("1×1 conv, 8", 80, {0}),
    ]


def test_block_with_many_branches_is_drawn_at_its_full_width() -> None:
    net = Network()
    start = net.conv(8)
    branches = [net.conv(4, inputs=(1,)) for _ in range(20)]
    join = net.call("concatenate", "merge", (80, 8, 8), inputs=tuple(branch.number for branch in branches))
    picture = draw([start, net.module("Many", [*branches, join], "many")])
    assert picture.width > 2000


def test_picture_shows_shapes_counts_and_repeats() -> None:
    shapes_and_counts = {"1×8×8", "16×8×8", "3×3 conv, 16", "1,600", "×3"}
    names = {"ResidualBlock", "(b), then (a)", "(a) ResidualBlock", "blocks.0–2, 4–5"}
    assert shapes_and_counts | names <= {*texts(draw(resnet()).svg)}


def test_parameters_outside_layers_are_listed_below() -> None:
    last_texts = texts(draw([Network().conv(8)], outside=7, unreached=5).svg)[-5:]
    assert last_texts[::2] == ["7", "5", "total"]
    assert last_texts[3] == "812"


def test_long_names_with_markup_are_truncated_and_escaped() -> None:
    net = Network()
    name = "A<script>alert('&')</script>" + "VeryLong" * 20
    calls = [net.residual(16, f"{name}.{index}") for index in range(3)]
    for call in calls:
        call.kind = name
    picture = draw(calls, name)
    assert "<script>" not in picture.svg
    texts = [*ElementTree.fromstring(picture.svg).iter(f"{SVG}text")]
    assert texts
    for text in texts:
        assert text_width(text.text or "", float(text.attrib["font-size"])) < 260


def test_texts_of_a_row_do_not_overlap_the_next_column() -> None:
    net = Network()
    calls = [net.conv(1024, 224, settings="3×3, stride 2, dilation 2, depthwise", parameters=123_456_789)]
    calls += [net.norm(1024, 224), net.call("LeakyReLU", "activation", (1024, 224, 224))]
    calls.append(net.call("Dropout", "dropout", (1024, 224, 224), settings="0.25"))
    picture = ElementTree.fromstring(draw(calls).svg)
    box = next(rect for rect in picture.iter(f"{SVG}rect") if rect.attrib.get("width") == "236.0")
    left, right = float(box.attrib["x"]), float(box.attrib["x"]) + 236
    texts = [text for text in picture.iter(f"{SVG}text") if text.attrib.get("text-anchor") is None]
    assert texts
    for text in texts:
        start = float(text.attrib["x"])
        end = start + text_width(text.text or "", float(text.attrib["font-size"]))
        assert end <= (left if start < left else right)


def inception_block() -> list[Box]:
    """Four branches of one, two, two and two layers, then a concatenation."""

    def box(role: str, title: str, *inputs: int) -> Box:
        return Box(role, title, ("ReLU",) if role == "conv" else (), (8, 8, 8), 0, 0, frozenset(inputs), "")

    return [
        box("conv", "1×1 conv, 64", ENTRY), box("conv", "1×1 conv, 96", ENTRY), box("conv", "3×3 conv, 128", 1),
        box("conv", "1×1 conv, 16", ENTRY), box("conv", "5×5 conv, 32", 3), box("pool", "max pool 3×3", ENTRY),
        box("conv", "1×1 conv, 32", 5), box("merge", "concat", 0, 2, 4, 6),
    ]  # fmt: skip


def test_branches_do_not_overlap_and_end_in_one_bar() -> None:
    cells = _Layout(inception_block()).cells
    assert len({cell.x for cell in cells[:-1]}) == 4
    for a, b in combinations(cells, 2):
        assert abs(a.x - b.x) >= (a.width + b.width) / 2 or abs(a.y - b.y) >= 40, (a.title, b.title)
    bar = cells[-1]
    assert bar.x - bar.width / 2 <= min(cell.x for cell in cells)
    assert bar.x + bar.width / 2 >= max(cell.x for cell in cells)


def test_shortcut_is_drawn_to_the_right_of_the_layers_that_it_skips() -> None:
    conv = Box("conv", "3×3 conv, 8", (), (8, 8, 8), 0, 0, frozenset({ENTRY}), "")
    add = Box("merge", "+", (), (8, 8, 8), 0, 0, frozenset({ENTRY, 0}), "")
    layout = _Layout([conv, add])
    lane = max(x for x, _ in layout.wire(ENTRY, 1))
    assert lane > layout.cells[0].x + layout.cells[0].width / 2
    assert draw_block([conv, add], lambda box: "#000000").right >= lane


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["blocks.0"], "blocks.0"),
        (["blocks.0", "blocks.1", "blocks.2", "blocks.5"], "blocks.0–2, 5"),
        (["a.0.gate", "a.1.gate", "a.2.gate"], "a.0.gate and 2 more"),
        (["a.0", "b.1"], "a.0 and 1 more"),
    ],
)
def test_short_form_of_names(names: list[str], expected: str) -> None:
    assert short_form(names) == expected


def test_text_that_does_not_fit_is_truncated() -> None:
    assert truncate("short", 12, 100) == "short"
    truncated = truncate("a name that is too long for its box", 12, 100)
    assert truncated.endswith("…")
    assert text_width(truncated, 12) <= 100

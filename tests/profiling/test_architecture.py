"""Outlines and pictures of networks written down by hand, as convoy.evaluation.trace would."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any
from xml.etree import ElementTree

import pytest

from convoy.profiling.architecture import Picture, places_of
from convoy.profiling.architecture import draw as draw_network
from convoy.profiling.architecture_block import _Layout, draw_block
from convoy.profiling.outline import ENTRY, Box, blocks
from convoy.profiling.outline import outline as outline_of
from convoy.profiling.result import Call as Typed
from convoy.profiling.svg import fitted, width_of

Call = dict[str, Any]
SVG = "{http://www.w3.org/2000/svg}"


class Network:
    """Builds the calls of a pass: each method adds one, which reads the previous one by default."""

    def __init__(self) -> None:
        self.last = 0
        self.modules = 0  # counted downwards

    def call(self, kind: str, role: str, output: Sequence[int], *, reads: Sequence[int] = (), **facts: Any) -> Call:
        inputs = list(reads) or [self.last]
        self.last += 1
        return {
            "number": self.last, "name": facts.pop("name", f"layer{self.last}"), "kind": kind, "role": role,
            "settings": "", "operation": False, "output": list(output), "inputs": inputs, "parameters": 0, "reused": 0,
            "flops": 0, "calls": [],
        } | facts  # fmt: skip

    def conv(self, channels: int, side: int = 8, kernel: int = 3, **facts: Any) -> Call:
        counts = {"settings": f"{kernel}×{kernel}", "parameters": 100 * channels, "flops": 1000 * channels}
        return self.call("Conv2d", "conv", (channels, side, side), **{**counts, **facts})

    def norm(self, channels: int, side: int = 8) -> Call:
        return self.call("BatchNorm2d", "norm", (channels, side, side), parameters=2 * channels)

    def add(self, channels: int, *reads: int, side: int = 8) -> Call:
        return self.call("add", "merge", (channels, side, side), reads=reads, operation=True)

    def module(self, kind: str, calls: Sequence[Call], name: str = "") -> Call:
        """One that calls others; nothing reads its own number."""
        self.modules -= 1
        facts = {"calls": list(calls), "name": name, "number": self.modules, "inputs": []}
        module = self.call(kind, "other", calls[-1]["output"], **facts)
        self.last -= 1
        return module

    def residual(self, channels: int, name: str, *, projected: bool = False) -> Call:
        start = self.last
        calls = [self.conv(channels), self.norm(channels), self.conv(channels), self.norm(channels)]
        main, shortcut = self.last, start
        if projected:
            calls.append(self.conv(channels, kernel=1, reads=[start]))
            shortcut = self.last
        calls.append(self.add(channels, shortcut, main))
        return self.module("ResidualBlock", calls, name)


def profile(calls: Sequence[Call], **facts: Any) -> dict[str, Any]:
    root = {
        "number": 10**6, "name": "", "kind": "Net", "role": "other", "settings": "", "operation": False,
        "output": calls[-1]["output"], "inputs": [0], "parameters": 0, "reused": 0, "flops": 0, "calls": list(calls),
    }  # fmt: skip

    def parameters(call: Call) -> int:
        return call["parameters"] + sum(map(parameters, call["calls"]))

    return {"label": "net", "input": [1, 8, 8], "parameters": parameters(root), "unreached": {}, "calls": root} | facts


def outline(root: Call) -> tuple[Box, ...]:
    return outline_of(Typed.from_json(root))


def draw(table: dict[str, Any]) -> Picture:
    unreached = sum(table["unreached"].values())
    root = Typed.from_json(table["calls"])
    return draw_network(
        table["label"], tuple(table["input"]), root, parameters=table["parameters"], unreached=unreached
    )


def titles(calls: Sequence[Call]) -> list[str]:
    return [f"{box.title} ×{box.repeats}" if box.repeats > 1 else box.title for box in outline(profile(calls)["calls"])]


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def resnet() -> list[Call]:
    net = Network()
    stem = net.conv(16)
    stage = [net.residual(16, f"blocks.{place}") for place in range(3)]
    wider = [net.residual(32, f"blocks.{3 + place}", projected=place == 0) for place in range(3)]
    return [stem, net.module("Sequential", [*stage, *wider], "blocks")]


def test_norm_and_activation_are_notes_of_their_layer() -> None:
    net = Network()
    relu = {"operation": True}
    calls = [net.conv(16), net.norm(16), net.call("relu", "activation", (16, 8, 8), **relu)]
    (box,) = outline(profile(calls)["calls"])
    assert (box.title, box.notes, box.parameters) == ("3×3 conv, 16", ("BN", "ReLU"), 1632)


def test_norm_whose_input_is_also_read_elsewhere_is_a_box() -> None:
    net = Network()
    calls = [net.conv(16), net.norm(16), net.add(16, 1, 2)]
    assert titles(calls) == ["3×3 conv, 16", "BN", "+"]


def test_blocks_of_a_stage_are_one_box_although_the_first_has_another_shortcut() -> None:
    assert titles(resnet()) == ["3×3 conv, 16", "ResidualBlock ×3", "ResidualBlock ×3"]


def test_kinds_of_blocks_differ_by_shortcuts_not_by_widths() -> None:
    kinds = blocks(outline(profile(resnet())["calls"])).values()
    assert [[box.name for box in kind] for kind in kinds] == [
        ["blocks.0", "blocks.1", "blocks.2", "blocks.4", "blocks.5"],
        ["blocks.3"],
    ]


def test_boxes_hold_all_parameters_of_the_calls() -> None:
    complete = profile(resnet())
    assert sum(box.parameters for box in outline(complete["calls"])) == complete["parameters"]


def test_layers_that_repeat_in_the_same_order_are_a_group() -> None:
    net = Network()
    calls = [net.conv(8)]
    for _ in range(5):
        calls += [net.conv(8, kernel=1), net.conv(8, kernel=5)]
    _, group = outline(profile(calls)["calls"])
    assert (group.role, group.repeats, [box.title for box in group.inside]) == (
        "group",
        5,
        ["1×1 conv, 8", "5×5 conv, 8"],
    )
    assert [box.parameters for box in group.inside] == [4000, 4000]


def test_a_hundred_and_fifty_different_layers_are_cut_in_the_middle() -> None:
    net = Network()
    complete = profile([net.conv(width) for width in range(1, 151)])
    boxes = outline(complete["calls"])
    assert len(boxes) == 29
    assert boxes[17].title == "122 more layers"
    assert sum(box.parameters for box in boxes) == complete["parameters"]
    assert [box.inputs for box in boxes] == [{place - 1} for place in range(29)]


def test_dense_blocks_whose_channels_grow_are_one_box() -> None:
    net = Network()
    layers = []
    for place in range(4):
        start = net.last
        calls = [net.conv(4), net.call("concatenate", "merge", (8 + 4 * place, 8, 8), reads=[start, start + 1])]
        layers.append(net.module("DenseLayer", calls, f"dense.{place}"))
    (box,) = outline(profile(layers)["calls"])
    assert (box.title, box.repeats, box.output) == ("DenseLayer", 4, (20, 8, 8))


def test_a_weight_norm_belongs_to_the_layer_that_uses_the_weight() -> None:
    net = Network()
    start = net.conv(8)
    norm = net.call("_WeightNorm", "other", (8, 3, 3), parameters=72, inputs=[])
    conv = net.conv(8, kernel=1, reads=[1, 2], parameters=8)
    boxes = outline(profile([start, norm, conv])["calls"])
    assert [(box.title, box.parameters, box.inputs) for box in boxes] == [
        ("3×3 conv, 8", 800, {ENTRY}),
        ("1×1 conv, 8", 80, {0}),
    ]


def test_block_with_very_many_branches_is_drawn_as_wide_as_it_is() -> None:
    net = Network()
    start = net.conv(8)
    ways = [net.conv(4, reads=[1]) for _ in range(20)]
    join = net.call("concatenate", "merge", (80, 8, 8), reads=[way["number"] for way in ways])
    picture = draw(profile([start, net.module("Many", [*ways, join], "many")]))
    assert picture.width > 2000


def test_network_without_drawable_layers_says_so() -> None:
    net = Network()
    picture = draw(profile([net.call("Flatten", "reshape", (64,))]) | {"parameters": 10})
    assert picture.finding.startswith("No drawn layer")
    assert "outside layers" in texts(picture.svg)


def test_picture_shows_shapes_counts_and_repeats() -> None:
    shown = texts(draw(profile(resnet())).svg)
    for text in (
        "1×8×8",
        "16×8×8",
        "3×3 conv, 16",
        "1,600",
        "ResidualBlock",
        "×3",
        "(b), then (a)",
        "(a) ResidualBlock",
    ):
        assert text in shown
    assert "blocks.0–2, 4–5" in shown


def test_caption_says_where_most_of_the_cost_is() -> None:
    finding = draw(profile(resnet())).finding
    assert "67 % of the parameters of net are in “ResidualBlock ×3” (32×8×8), 67 %" in finding


def test_parameters_outside_layers_are_listed_below() -> None:
    net = Network()
    complete = profile([net.conv(8)])
    shown = texts(draw(complete | {"parameters": complete["parameters"] + 12, "unreached": {"spare": 5}}).svg)
    assert shown[-6:] == ["outside layers", "7", "not used in a pass", "5", "812", "total"]


def test_long_and_hostile_names_stay_inside_and_are_escaped() -> None:
    net = Network()
    name = "A<script>alert('&')</script>" + "VeryLong" * 20
    calls = [net.residual(16, f"{name}.{place}") for place in range(3)]
    for call in calls:
        call["kind"] = name
    picture = draw(profile(calls, label=name))
    assert "<script>" not in picture.svg
    for text in ElementTree.fromstring(picture.svg).iter(f"{SVG}text"):
        assert width_of(text.text or "", float(text.attrib["font-size"])) < 260


def test_every_text_of_a_row_ends_before_the_next_column() -> None:
    net = Network()
    calls = [net.conv(1024, 224, settings="3×3, stride 2, dilation 2, depthwise", parameters=123_456_789)]
    calls += [net.norm(1024, 224), net.call("LeakyReLU", "activation", (1024, 224, 224))]
    calls.append(net.call("Dropout", "dropout", (1024, 224, 224), settings="0.25"))
    root = ElementTree.fromstring(draw(profile(calls)).svg)
    box = next(rect for rect in root.iter(f"{SVG}rect") if rect.attrib.get("width") == "236.0")
    left, right = float(box.attrib["x"]), float(box.attrib["x"]) + 236
    for text in root.iter(f"{SVG}text"):
        start = float(text.attrib["x"])
        if text.attrib.get("text-anchor") is None:
            end = start + width_of(text.text or "", float(text.attrib["font-size"]))
            assert end <= (left if start < left else right)


def branches() -> list[Box]:
    """An Inception block: four branches from the input, of one, two, two and two layers, then a concatenation."""

    def box(role: str, title: str, *inputs: int) -> Box:
        return Box(role, title, ("ReLU",) if role == "conv" else (), (8, 8, 8), 0, 0, frozenset(inputs), "")

    return [
        box("conv", "1×1 conv, 64", ENTRY), box("conv", "1×1 conv, 96", ENTRY), box("conv", "3×3 conv, 128", 1),
        box("conv", "1×1 conv, 16", ENTRY), box("conv", "5×5 conv, 32", 3), box("pool", "max pool 3×3", ENTRY),
        box("conv", "1×1 conv, 32", 5), box("merge", "concat", 0, 2, 4, 6),
    ]  # fmt: skip


def test_branches_are_next_to_each_other_and_end_in_one_bar() -> None:
    cells = _Layout(branches()).cells
    assert len({cell.x for cell in cells[:-1]}) == 4
    for one, other in combinations(cells, 2):
        apart = abs(one.x - other.x) >= (one.width + other.width) / 2 or abs(one.y - other.y) >= 40
        assert apart, (one.title, other.title)
    bar = cells[-1]
    assert bar.x - bar.width / 2 <= min(cell.x for cell in cells)
    assert bar.x + bar.width / 2 >= max(cell.x for cell in cells)


def test_shortcut_runs_past_the_layers_that_it_skips() -> None:
    conv = Box("conv", "3×3 conv, 8", (), (8, 8, 8), 0, 0, frozenset({ENTRY}), "")
    add = Box("merge", "+", (), (8, 8, 8), 0, 0, frozenset({ENTRY, 0}), "")
    layout = _Layout([conv, add])
    lane = max(x for x, _ in layout.wire(ENTRY, 1))
    assert lane > layout.cells[0].x + layout.cells[0].width / 2
    assert draw_block([conv, add], lambda box: "#000000").right >= lane


@pytest.mark.parametrize(
    ("names", "short_form"),
    [
        (["blocks.0"], "blocks.0"),
        (["blocks.0", "blocks.1", "blocks.2", "blocks.5"], "blocks.0–2, 5"),
        (["a.0.gate", "a.1.gate", "a.2.gate"], "a.0.gate and 2 more"),
        (["a.0", "b.1"], "a.0 and 1 more"),
    ],
)
def test_names_have_a_short_form(names: list[str], short_form: str) -> None:
    assert places_of(names) == short_form


def test_text_that_does_not_fit_is_truncated() -> None:
    assert fitted("short", 12, 100) == "short"
    cut = fitted("a name that is too long for its box", 12, 100)
    assert cut.endswith("…")
    assert width_of(cut, 12) <= 100

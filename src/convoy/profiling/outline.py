"""Summarises the calls of a forward pass as boxes for a picture or a short table.

Norms, activations and dropout become notes of the preceding layer. Containers and chains are replaced by their layers.
A module with branches, or whose class occurs several times, is a block. Repetitions become one box with a count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from convoy.evaluation.calls import Call
from convoy.profiling.words import settings_text
from convoy.text import gettext as _
from convoy.text import ngettext
from convoy.text.lists import joined

ENTRY = -1  # in the inputs of a box: the input of the network or of the surrounding block
CONTAINERS = ("Sequential", "ModuleList", "ModuleDict")
NOTE_ROLES = ("norm", "activation", "dropout")
MAX_PERIOD = 8  # maximum number of boxes in a repeated group
MAX_BOXES, FIRST_SHOWN, LAST_SHOWN = 32, 17, 11
NAMES = {
    "BatchNorm2d": "BN", "batch_norm": "BN", "GroupNorm": "GN", "group_norm": "GN", "LayerNorm": "LN",
    "layer_norm": "LN", "InstanceNorm2d": "IN", "LocalResponseNorm": "LRN", "relu": "ReLU", "Sigmoid": "sigmoid",
    "Tanh": "tanh", "gelu": "GELU", "silu": "SiLU", "elu": "ELU", "hardtanh": "ReLU6", "Softmax": "softmax",
    "LogSoftmax": "log-softmax", "log_softmax": "log-softmax", "Hardswish": "hard swish", "hardswish": "hard swish",
    "Hardsigmoid": "hard sigmoid", "hardsigmoid": "hard sigmoid", "LeakyReLU": "leaky ReLU",
    "leaky_relu": "leaky ReLU", "Dropout": "dropout", "Dropout2d": "dropout", "Linear": "linear",
    "add": "+", "multiply": "×", "subtract": "−",
}  # fmt: skip


@dataclass(frozen=True)
class Box:
    """A row of an outline. If it represents several boxes, parameters and FLOPs (for one image) are sums."""

    role: str  # role of the call, or "block", "group" (boxes that repeat together), "more" (omitted boxes)
    title: str
    notes: tuple[str, ...]
    output: tuple[int, ...]  # shape without the batch dimension
    parameters: int
    flops: int
    inputs: frozenset[int]  # indices of boxes on the same level, or ENTRY
    name: str  # dotted name of the first call
    inside: tuple[Box, ...] = ()  # the boxes of a block or group
    repeats: int = 1
    members: tuple[Box, ...] = ()  # the represented boxes, if several

    @property
    def text(self) -> str:
        return f"{self.title} ×{self.repeats}" if self.repeats > 1 else self.title

    @property
    def topology(self) -> tuple[object, ...]:
        """Equal for blocks that differ only in widths, kernels and strides."""
        kind = self.title if self.role in ("block", "merge", "other") else self.role
        return (kind, self.repeats > 1, *((box.topology, box.inputs) for box in self.inside))

    @property
    def appearance(self) -> tuple[object, ...]:
        """Equal for boxes that look the same."""
        return (self.role, self.title, self.notes, self.output, self.repeats, *(box.appearance for box in self.inside))


def outline(root: Call) -> tuple[Box, ...]:
    """Returns the boxes of the network from input to output, at most MAX_BOXES."""
    return _Outliner(root).boxes(root)


def blocks(boxes: Iterable[Box]) -> dict[tuple[object, ...], list[Box]]:
    """Groups the blocks by topology, outer blocks first."""
    by_kind: dict[tuple[object, ...], list[Box]] = {}
    level = [member for box in boxes for member in box.members or (box,)]
    while level:
        for box in level:
            if box.role == "block":
                by_kind.setdefault(box.topology, []).append(box)
        level = [member for box in level for inner in box.inside for member in inner.members or (inner,)]
    return by_kind


def rows_of(boxes: Iterable[Box]) -> Iterator[Box]:
    """Yields the boxes in order, with groups expanded."""
    for box in boxes:
        yield from box.inside if box.role == "group" else (box,)


class _Outliner:
    def __init__(self, root: Call) -> None:
        self._classes = Counter(call.kind for call in root.walk() if call.calls)
        self._weight_layers = _weight_layers(root)
        self._block_calls: dict[int, bool] = {}  # number of a call -> whether it is a block

    def boxes(self, call: Call) -> tuple[Box, ...]:
        return _shorten(_fold(self._level(call)))

    def _level(self, call: Call) -> list[Box]:
        """Returns the boxes inside a module, before repetitions are merged."""
        items = list(self._items(call))
        indices = {number: index for index, item in enumerate(items) for number in _numbers(item)}
        boxes = [self._box(item, indices) for item in items]
        return _join_notes(_remove(_connect(boxes), ("identity", "reshape")))

    def _items(self, call: Call) -> Iterator[Call]:
        """Yields layers, operations and blocks in order. Chains are replaced by their layers."""
        for inner in call.calls:
            if inner.calls and not self._is_block(inner):
                yield from self._items(inner)
            else:
                yield inner

    def _is_block(self, call: Call) -> bool:
        if call.number not in self._block_calls:
            self._block_calls[call.number] = self._has_block_structure(call)
        return self._block_calls[call.number]

    def _has_block_structure(self, call: Call) -> bool:
        is_chain = all(box.inputs == {index - 1} for index, box in enumerate(self._level(call)))
        if is_chain:
            recurs = call.kind not in CONTAINERS and self._classes[call.kind] > 1
            return recurs and _weight_layers(call) > 1
        # A module that contains most of the network is not a block, even with branches: show its own blocks instead.
        inner_blocks = sum(self._is_block(inner) for inner in call.walk() if inner.calls and inner is not call)
        return not (inner_blocks > 1 and _weight_layers(call) > 0.6 * self._weight_layers)

    def _box(self, call: Call, indices: Mapping[int, int]) -> Box:
        read = {number for inner in call.walk() for number in inner.inputs} - set(_numbers(call))
        box = Box(
            role=call.role,
            title=_title(call),
            notes=tuple(_notes(call)),
            output=call.output,
            parameters=sum(inner.parameters for inner in call.walk()),
            flops=sum(inner.flops for inner in call.walk()),
            inputs=frozenset(indices.get(number, ENTRY) for number in read),
            name=call.name,
        )
        if call.calls:
            return replace(box, role="block", title=call.kind, notes=(), inside=self.boxes(call))
        return box


def _numbers(call: Call) -> Iterator[int]:
    return (inner.number for inner in call.walk())


def _weight_layers(call: Call) -> int:
    """Returns the number of layers with weights, except norms."""
    return sum(inner.role in ("conv", "linear", "attention") for inner in call.walk() if not inner.calls)


def _title(call: Call) -> str:
    kind, output = call.kind, call.output
    size = settings_text(call.settings)[0]
    match call.role:
        case "conv" if output:
            return _("{size} conv, {n}", size=size, n=output[0])
        case "linear" if output:
            return _("linear, {n:,}", n=output[-1])
        case "pool":
            how = next((word for word in ("max", "sum") if word in kind.lower()), "average")
            if call.settings == "to 1×1":
                pools = {"max": _("global max pool"), "sum": _("global sum pool"), "average": _("global average pool")}
                return pools[how]
            pools = {"max": _("max pool"), "sum": _("sum pool"), "average": _("average pool")}
            return f"{pools[how]} {size}".strip()
        case "resize":
            resized = _("pad") if "pad" in kind.lower() else _("upsample")
            return f"{resized} {size}".strip()
        case "dropout":
            return f"{NAMES.get(kind, kind)} {size}".strip()
        case "attention":
            return joined([_("attention") if kind == "MultiheadAttention" else kind, size])
    operations = {"matmul": _("matrix product"), "concatenate": _("concat"), "maximum": _("maximum")}
    return operations.get(kind) or NAMES.get(kind, kind)


def _notes(call: Call) -> Iterator[str]:
    if call.role in ("conv", "pool"):
        yield from settings_text(call.settings)[1:]
    if "Transpose" in call.kind:
        yield _("transposed")
    if call.reused:
        yield _("reused weights")


def _connect(boxes: Sequence[Box]) -> list[Box]:
    """Connects boxes without inputs.

    A box that computes a weight (weight norm) is merged with the layer that uses the weight. A box whose input was not
    recorded reads the previous box.
    """
    connected = list(boxes)
    for index, box in enumerate(boxes):
        if box.inputs:
            continue
        readers = [reader for reader, other in enumerate(connected) if index in other.inputs]
        if not readers or any(connected[reader].inputs == {index} for reader in readers):
            connected[index] = replace(box, inputs=frozenset({index - 1}))
            continue
        connected[index] = replace(box, role="identity", parameters=0, flops=0)
        for reader in readers:
            connected[reader] = replace(connected[reader], inputs=connected[reader].inputs - {index})
        first = connected[readers[0]]
        merged = replace(first, parameters=first.parameters + box.parameters, flops=first.flops + box.flops)
        connected[readers[0]] = merged
    return connected


def _remove(boxes: Sequence[Box], roles: Sequence[str]) -> list[Box]:
    """Removes boxes of these roles without parameters, and connects their outputs to their inputs."""
    sources: list[frozenset[int]] = []
    remaining: list[Box] = []
    for box in boxes:
        inputs = frozenset[int]().union(*({ENTRY} if index == ENTRY else sources[index] for index in box.inputs))
        if box.role in roles and not box.parameters:
            sources.append(inputs)
            continue
        sources.append(frozenset({len(remaining)}))
        remaining.append(replace(box, inputs=inputs))
    return remaining


def _join_notes(boxes: Sequence[Box]) -> list[Box]:
    """Converts a norm, activation or dropout to a note of its input box, if it is that box's only output."""
    readers = Counter(index for box in boxes for index in box.inputs)
    new_index: list[int] = []
    remaining: list[Box] = []
    for box in boxes:
        indices = list(box.inputs)
        inputs = frozenset(ENTRY if index == ENTRY else new_index[index] for index in indices)
        is_only_reader = len(indices) == 1 and indices[0] != ENTRY and readers[indices[0]] == 1
        if box.role not in NOTE_ROLES or not is_only_reader or remaining[new_index[indices[0]]].role == "block":
            new_index.append(len(remaining))
            remaining.append(replace(box, inputs=inputs))
            continue
        index = new_index[indices[0]]
        new_index.append(index)
        before = remaining[index]
        remaining[index] = replace(
            before,
            notes=(*before.notes, box.title, *box.notes),
            parameters=before.parameters + box.parameters,
            flops=before.flops + box.flops,
            output=box.output,
        )
    return remaining


# ---- repetitions ----

Repetition = tuple[int, int, int]  # start, number of boxes, period


def _fold(boxes: Sequence[Box]) -> tuple[Box, ...]:
    """Merges equal neighbours into one box, then repetitions of up to MAX_PERIOD boxes into one group."""
    single = _merge_all(boxes, list(_repetitions(boxes, _equal_neighbours)))
    return _merge_all(single, list(_repetitions(single, _period)))


def _repetitions(boxes: Sequence[Box], find: Callable[[Sequence[Box], int], Repetition]) -> Iterator[Repetition]:
    index = 0
    while index < len(boxes):
        repetition = find(boxes, index)
        yield repetition
        index += repetition[1]


def _equal_neighbours(boxes: Sequence[Box], start: int) -> Repetition:
    """Finds similar neighbours from `start`: equal boxes; blocks of one class and output size, the first of which may
    differ; or at least three blocks whose number of channels grows by a constant, as in DenseNet."""
    ends = []
    for match in (_equal, _growing):
        end = start + 1
        while end < len(boxes) and end - 1 in boxes[end].inputs and match(boxes[start : end + 1]):
            end += 1
        ends.append(end)
    equal, growing = ends
    return start, (growing if growing - start > 2 else equal) - start, 1


def _equal(neighbours: Sequence[Box]) -> bool:
    first, second = neighbours[:2]
    if first.role != "block":
        return first.role != "merge" and all(box.appearance == first.appearance for box in neighbours)
    return all(
        box.role == "block" and box.title == first.title and box.output == first.output for box in neighbours
    ) and all(box.topology == second.topology and box.notes == second.notes for box in neighbours[1:])


def _growing(neighbours: Sequence[Box]) -> bool:
    first = neighbours[0]
    steps = {after.output[:1] and after.output[0] - before.output[0] for before, after in pairwise(neighbours)}
    return len(steps) == 1 and all(
        box.role == "block" and box.topology == first.topology and box.output[1:] == first.output[1:]
        for box in neighbours
    )


def _period(boxes: Sequence[Box], start: int) -> Repetition:
    best: Repetition = (start, 1, 1)
    for period in range(2, MAX_PERIOD + 1):
        end = start + period
        while (
            end < len(boxes)
            and boxes[end].appearance == boxes[end - period].appearance
            and boxes[end].parameters == boxes[end - period].parameters
            and all(boxes[index].inputs == {index - 1} for index in (end, max(end - period, start + 1)))
        ):
            end += 1
        count = (end - start) // period * period
        if count >= 2 * period and count - period > best[1] - best[2]:
            best = (start, count, period)
    return best


def _merge_all(boxes: Sequence[Box], repetitions: Sequence[Repetition]) -> tuple[Box, ...]:
    new_index = {
        index: new for new, (start, count, _period) in enumerate(repetitions) for index in range(start, start + count)
    }
    merged = []
    for new, (start, count, period) in enumerate(repetitions):
        span = boxes[start : start + count]
        inputs = frozenset(new_index.get(index, ENTRY) for box in span for index in box.inputs)
        merged.append(_merge(span, period, inputs - {new}))
    return tuple(merged)


def _merge(boxes: Sequence[Box], period: int, inputs: frozenset[int]) -> Box:
    first = boxes[0]
    if len(boxes) == 1:
        return replace(first, inputs=inputs)
    merged = replace(
        first,
        inputs=inputs,
        output=boxes[-1].output,
        parameters=sum(box.parameters for box in boxes),
        flops=sum(box.flops for box in boxes),
        repeats=len(boxes) // period,
        members=tuple(boxes),
    )
    if period == 1:
        return merged
    inside = (_merge(boxes[index::period], 1, boxes[index].inputs) for index in range(period))
    return replace(
        merged, role="group", title="", notes=(), inside=tuple(replace(box, repeats=1, members=()) for box in inside)
    )


def _shorten(boxes: tuple[Box, ...]) -> tuple[Box, ...]:
    """Replaces the middle of more than MAX_BOXES boxes by one box."""
    if len(boxes) <= MAX_BOXES:
        return boxes
    spans = [(index, 1, 1) for index in range(FIRST_SHOWN)]
    hidden = len(boxes) - FIRST_SHOWN - LAST_SHOWN
    spans += [(FIRST_SHOWN, hidden, 1), *((len(boxes) - index, 1, 1) for index in range(LAST_SHOWN, 0, -1))]
    merged = list(_merge_all(boxes, spans))
    title = ngettext("{n} more layer", "{n} more layers", hidden)
    merged[FIRST_SHOWN] = replace(
        merged[FIRST_SHOWN], role="more", title=title, notes=(), repeats=1, inside=(), members=()
    )
    return tuple(merged)

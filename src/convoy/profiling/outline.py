"""Condenses the calls of a forward pass into the few boxes of a picture or a short table.

Norms, activations and dropout join the preceding layer. Containers and chains are expanded. A module with branches, or
of a class that occurs several times, is a block. Repetitions are one box with a count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from convoy.evaluation.calls import Call
from convoy.text import gettext as _
from convoy.text import ngettext

ENTRY = -1  # in the inputs of a box: the input of the level
CONTAINERS = ("Sequential", "ModuleList", "ModuleDict")
JOINING = ("norm", "activation", "dropout")
MAX_PERIOD = 8  # boxes that repeat as a group
MAX_BOXES, FIRST_SHOWN, LAST_SHOWN = 32, 17, 11
NAMES = {
    "BatchNorm2d": "BN", "batch_norm": "BN", "GroupNorm": "GN", "group_norm": "GN", "LayerNorm": "LN",
    "layer_norm": "LN", "InstanceNorm2d": "IN", "LocalResponseNorm": "LRN", "relu": "ReLU", "Sigmoid": "sigmoid",
    "Tanh": "tanh", "gelu": "GELU", "silu": "SiLU", "elu": "ELU", "hardtanh": "ReLU6", "Softmax": "softmax",
    "LogSoftmax": "log-softmax", "log_softmax": "log-softmax", "Hardswish": "hard swish", "hardswish": "hard swish",
    "Hardsigmoid": "hard sigmoid", "hardsigmoid": "hard sigmoid", "LeakyReLU": "leaky ReLU",
    "leaky_relu": "leaky ReLU", "Dropout": "dropout", "Dropout2d": "dropout", "Linear": "linear",
    "MultiheadAttention": "attention", "matmul": "matrix product", "add": "+", "multiply": "×", "subtract": "−",
    "concatenate": "concat", "maximum": "max",
}  # fmt: skip


@dataclass(frozen=True)
class Box:
    """A row of an outline. Sizes are for one image; if a box represents several, parameters and FLOPs are sums."""

    role: str  # as in the trace, or "block", "group" (boxes that repeat together), "more" (omitted boxes)
    title: str
    notes: tuple[str, ...]
    output: tuple[int, ...]
    parameters: int
    flops: int
    inputs: frozenset[int]  # indices of boxes on the same level
    name: str  # dotted name of the first call
    inside: tuple[Box, ...] = ()
    repeats: int = 1
    members: tuple[Box, ...] = ()  # the boxes that it represents, if several

    @property
    def text(self) -> str:
        return f"{self.title} ×{self.repeats}" if self.repeats > 1 else self.title

    @property
    def topology(self) -> tuple[object, ...]:
        """Equal for blocks that differ only in widths, kernels and strides."""
        kind = self.title if self.role in ("block", "merge", "other") else self.role
        return (kind, self.repeats > 1, *((box.topology, box.inputs) for box in self.inside))

    @property
    def build(self) -> tuple[object, ...]:
        """Equal for boxes that look the same."""
        return (self.role, self.title, self.notes, self.output, self.repeats, *(box.build for box in self.inside))


def outline(root: Call) -> tuple[Box, ...]:
    """The boxes of the network from input to output, at most MAX_BOXES."""
    return _Reader(root).boxes(root)


def blocks(boxes: Iterable[Box]) -> dict[tuple[object, ...], list[Box]]:
    """Kind of block -> its boxes; outer kinds before inner ones."""
    by_kind: dict[tuple[object, ...], list[Box]] = {}
    level = [member for box in boxes for member in box.members or (box,)]
    while level:
        for box in level:
            if box.role == "block":
                by_kind.setdefault(box.topology, []).append(box)
        level = [member for box in level for inner in box.inside for member in inner.members or (inner,)]
    return by_kind


def rows_of(boxes: Iterable[Box]) -> Iterator[Box]:
    """The boxes in order, with groups expanded."""
    for box in boxes:
        yield from box.inside if box.role == "group" else (box,)


class _Reader:
    def __init__(self, root: Call) -> None:
        self._classes = Counter(call.kind for call in root.walk() if call.calls)
        self._weighted = _weighted(root)
        self._block_calls: dict[int, bool] = {}  # number of a call -> whether it is a block

    def boxes(self, call: Call) -> tuple[Box, ...]:
        return _shortened(_folded(self._level(call)))

    def _level(self, call: Call) -> list[Box]:
        """The boxes inside a module, before repetitions are folded."""
        items = list(self._items(call))
        places = {number: place for place, item in enumerate(items) for number in _numbers(item)}
        boxes = [self._box(item, places) for item in items]
        return _joined(_without(_anchored(boxes), ("identity", "reshape")))

    def _items(self, call: Call) -> Iterator[Call]:
        """Layers, operations and blocks, in order; chains are expanded."""
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
        is_chain = all(box.inputs == {place - 1} for place, box in enumerate(self._level(call)))
        if is_chain:
            recurs = call.kind not in CONTAINERS and self._classes[call.kind] > 1
            return recurs and _weighted(call) > 1
        # A wrapper of the entire network is expanded although it branches: its blocks are more informative.
        inner = sum(self._is_block(part) for part in call.walk() if part.calls and part is not call)
        return not (inner > 1 and _weighted(call) > 0.6 * self._weighted)

    def _box(self, call: Call, places: Mapping[int, int]) -> Box:
        own = set(_numbers(call))
        read = {number for part in call.walk() for number in part.inputs} - own
        box = Box(
            role=call.role,
            title=_title(call),
            notes=tuple(_notes(call)),
            output=call.output,
            parameters=sum(part.parameters for part in call.walk()),
            flops=sum(part.flops for part in call.walk()),
            inputs=frozenset(places.get(number, ENTRY) for number in read),
            name=call.name,
        )
        if call.calls:
            return replace(box, role="block", title=call.kind, notes=(), inside=self.boxes(call))
        return box


def _numbers(call: Call) -> Iterator[int]:
    return (part.number for part in call.walk())


def _weighted(call: Call) -> int:
    return sum(part.role in ("conv", "linear", "attention") for part in call.walk() if not part.calls)


def _title(call: Call) -> str:
    name, settings, output = NAMES.get(call.kind, call.kind), call.settings.split(", "), call.output
    match call.role:
        case "conv" if output:
            return f"{settings[0]} conv, {output[0]}"
        case "linear" if output:
            return f"linear, {output[-1]:,}"
        case "pool":
            how = next((word for word in ("max", "sum") if word in call.kind.lower()), "average")
            if settings[0] == "to 1×1":
                return f"global {how} pool"
            return f"{how} pool {settings[0]}".strip()
        case "resize":
            return f"{'pad' if 'pad' in name.lower() else 'upsample'} {settings[0]}".strip()
        case "dropout":
            return f"{name} {settings[0]}".strip()
        case "attention":
            return f"{name}, {call.settings}"
    return name


def _notes(call: Call) -> Iterator[str]:
    if call.role in ("conv", "pool"):
        yield from call.settings.split(", ")[1:]
    if "Transpose" in call.kind:
        yield _("transposed")
    if call.reused:
        yield _("reused weights")


def _anchored(boxes: Sequence[Box]) -> list[Box]:
    """Connects boxes without inputs. One that computes a weight (a weight norm) joins the layer that uses the weight;
    one whose input was not traced follows the previous box."""
    anchored = list(boxes)
    for place, box in enumerate(boxes):
        if box.inputs:
            continue
        readers = [reader for reader, other in enumerate(anchored) if place in other.inputs]
        if not readers or any(anchored[reader].inputs == {place} for reader in readers):
            anchored[place] = replace(box, inputs=frozenset({place - 1}))
            continue
        anchored[place] = replace(box, role="identity", parameters=0, flops=0)
        for reader in readers:
            anchored[reader] = replace(anchored[reader], inputs=anchored[reader].inputs - {place})
        first = anchored[readers[0]]
        merged = replace(first, parameters=first.parameters + box.parameters, flops=first.flops + box.flops)
        anchored[readers[0]] = merged
    return anchored


def _without(boxes: Sequence[Box], roles: Sequence[str]) -> list[Box]:
    """Removes boxes of these roles; their readers read the inputs of the removed box."""
    sources: list[frozenset[int]] = []
    remaining: list[Box] = []
    for box in boxes:
        inputs = frozenset[int]().union(*({ENTRY} if place == ENTRY else sources[place] for place in box.inputs))
        if box.role in roles and not box.parameters:
            sources.append(inputs)
            continue
        sources.append(frozenset({len(remaining)}))
        remaining.append(replace(box, inputs=inputs))
    return remaining


def _joined(boxes: Sequence[Box]) -> list[Box]:
    """A norm, an activation or a dropout becomes a note of the box before it, if nothing else reads that box."""
    readers = Counter(place for box in boxes for place in box.inputs)
    moved: list[int] = []
    joined: list[Box] = []
    for box in boxes:
        places = list(box.inputs)
        inputs = frozenset(ENTRY if place == ENTRY else moved[place] for place in places)
        alone = len(places) == 1 and places[0] != ENTRY and readers[places[0]] == 1
        if box.role not in JOINING or not alone or joined[moved[places[0]]].role == "block":
            moved.append(len(joined))
            joined.append(replace(box, inputs=inputs))
            continue
        place = moved[places[0]]
        moved.append(place)
        before = joined[place]
        joined[place] = replace(
            before,
            notes=(*before.notes, box.title, *box.notes),
            parameters=before.parameters + box.parameters,
            flops=before.flops + box.flops,
            output=box.output,
        )
    return joined


# ---- repetitions ----

Repetition = tuple[int, int, int]  # start, number of boxes, period


def _folded(boxes: Sequence[Box]) -> tuple[Box, ...]:
    """Merges equal neighbours into one box; then sequences of up to MAX_PERIOD boxes that repeat into one group."""
    single = _merged(boxes, list(_repetitions(boxes, _equal_neighbours)))
    return _merged(single, list(_repetitions(single, _period)))


def _repetitions(boxes: Sequence[Box], find: Callable[[Sequence[Box], int], Repetition]) -> Iterator[Repetition]:
    place = 0
    while place < len(boxes):
        repetition = find(boxes, place)
        yield repetition
        place += repetition[1]


def _equal_neighbours(boxes: Sequence[Box], start: int) -> Repetition:
    """Equal boxes; or blocks of one class and output size whose first may differ; or at least three blocks whose
    channels grow by a constant, as in DenseNet."""
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
        return first.role != "merge" and all(box.build == first.build for box in neighbours)
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
            and (boxes[end].build, boxes[end].parameters) == (boxes[end - period].build, boxes[end - period].parameters)
            and all(boxes[place].inputs == {place - 1} for place in (end, max(end - period, start + 1)))
        ):
            end += 1
        count = (end - start) // period * period
        if count >= 2 * period and count - period > best[1] - best[2]:
            best = (start, count, period)
    return best


def _merged(boxes: Sequence[Box], repetitions: Sequence[Repetition]) -> tuple[Box, ...]:
    moved = {
        place: new for new, (start, count, period) in enumerate(repetitions) for place in range(start, start + count)
    }
    return tuple(
        _one(boxes[start : start + count], period, _moved(boxes[start : start + count], moved) - {new})
        for new, (start, count, period) in enumerate(repetitions)
    )


def _moved(boxes: Iterable[Box], moved: Mapping[int, int]) -> frozenset[int]:
    return frozenset(moved.get(place, ENTRY) for box in boxes for place in box.inputs)


def _one(boxes: Sequence[Box], period: int, inputs: frozenset[int]) -> Box:
    first = boxes[0]
    if len(boxes) == 1:
        return replace(first, inputs=inputs)
    together = replace(
        first,
        inputs=inputs,
        output=boxes[-1].output,
        parameters=sum(box.parameters for box in boxes),
        flops=sum(box.flops for box in boxes),
        repeats=len(boxes) // period,
        members=tuple(boxes),
    )
    if period == 1:
        return together
    inside = (_one(boxes[place::period], 1, boxes[place].inputs) for place in range(period))
    return replace(
        together, role="group", title="", notes=(), inside=tuple(replace(box, repeats=1, members=()) for box in inside)
    )


def _shortened(boxes: tuple[Box, ...]) -> tuple[Box, ...]:
    """With too many boxes: the first, the last, and one for those omitted."""
    if len(boxes) <= MAX_BOXES:
        return boxes
    spans = [(place, 1, 1) for place in range(FIRST_SHOWN)]
    hidden = len(boxes) - FIRST_SHOWN - LAST_SHOWN
    spans += [(FIRST_SHOWN, hidden, 1), *((len(boxes) - place, 1, 1) for place in range(LAST_SHOWN, 0, -1))]
    merged = list(_merged(boxes, spans))
    title = ngettext("{n} more layer", "{n} more layers", hidden)
    merged[FIRST_SHOWN] = replace(
        merged[FIRST_SHOWN], role="more", title=title, notes=(), repeats=1, inside=(), members=()
    )
    return tuple(merged)

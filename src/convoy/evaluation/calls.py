"""A call in a forward pass, as `convoy.evaluation.trace` records it. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class Call:
    """A call of a module, or an operation that a module runs itself. Sizes are for one image."""

    number: int  # in order of start; 0 is the network's input
    name: str  # as in the state dict; for an operation, that of its module
    kind: str  # these four: see convoy.evaluation.naming.Described
    role: str
    settings: str = ""
    operation: bool = False
    output: tuple[int, ...] = ()  # without the batch; empty if not a tensor
    inputs: tuple[int, ...] = ()  # numbers of the calls whose results it reads
    parameters: int = 0  # those not used by an earlier call; with `calls`, without theirs
    reused: int = 0  # parameters used by an earlier call
    flops: int = 0  # 0 with `calls`, which have the FLOPs
    calls: list[Call] = field(default_factory=list)

    def walk(self) -> Iterator[Call]:
        yield self
        for call in self.calls:
            yield from call.walk()

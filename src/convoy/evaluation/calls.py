"""The calls of a forward pass, as recorded by `convoy.evaluation.trace`. Does not import torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class Call:
    """A call of a module, or an operation that a module runs itself. Shapes and FLOPs are for one image."""

    number: int  # in order of start; 0 is the input of the network
    name: str  # of the module, as in the state dict; for an operation, the name of the module that runs it
    kind: str  # kind, role, settings and operation: see convoy.evaluation.naming.CallDescription
    role: str
    settings: str = ""
    operation: bool = False
    output: tuple[int, ...] = ()  # shape without the batch dimension; empty if the output is not a tensor
    inputs: tuple[int, ...] = ()  # numbers of the calls whose results it reads
    parameters: int = 0  # parameters that are used neither by an earlier call nor by one of `calls`
    reused: int = 0  # parameters that an earlier call already used
    flops: int = 0  # 0 if it has `calls`, because the FLOPs are counted there
    calls: list[Call] = field(default_factory=list)

    def walk(self) -> Iterator[Call]:
        """Yields this call and all calls within it."""
        yield self
        for call in self.calls:
            yield from call.walk()

"""Records one forward pass: which module calls which, the data flow, and the cost of each call.

Hooks record the calls of modules; a dispatch mode records the operations between them. The network need not be
exportable as a graph: control flow in Python, `x.mean((2, 3))`, `+` and `F.conv2d` are recorded when they run. A module
that calls no other module is recorded as one call, which includes its operations. For `nn.MultiheadAttention`, the
FLOPs of its matrix products are counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from convoy.evaluation.calls import Call
from convoy.evaluation.cost import DispatchMode, countable_attention, flops_of_call
from convoy.evaluation.naming import CallDescription, describe, describe_operation
from convoy.evaluation.predict import evaluating

Origin = frozenset[int | str]  # of a tensor: numbers of the calls and names of the parameters it was computed from
NOTHING: Origin = frozenset()


@dataclass
class _OpenCall:
    """A call in progress."""

    call: Call
    versions: dict[int, int]  # versions of its input tensors
    used: set[str] = field(default_factory=set)  # parameters that its operations use
    counted_here: set[str] = field(default_factory=set)  # parameters already counted for its operations


@dataclass(frozen=True)
class Trace:
    root: Call
    unreached: dict[str, int]  # number of unused parameters, by module


def trace(module: nn.Module, image: torch.Tensor) -> Trace:
    """Records the forward pass of `image` (1, C, H, W) in evaluation mode.

    The FLOPs of the calls sum to those of the network.
    """
    recorder = _Recorder(module, image)
    with evaluating(module), torch.no_grad(), countable_attention(), recorder.hooked(module), recorder:
        module(image)
    unreached: dict[str, int] = {}
    for name, parameter in module.named_parameters():
        if name not in recorder.counted:
            owner = name.rpartition(".")[0] or type(module).__name__
            unreached[owner] = unreached.get(owner, 0) + parameter.numel()
    return Trace(recorder.root, unreached)


class _Recorder(DispatchMode):
    def __init__(self, module: nn.Module, image: torch.Tensor) -> None:
        super().__init__()
        self.root = Call(0, "", *describe(module))
        self.counted: set[str] = set()
        self._sizes = {name: parameter.numel() for name, parameter in module.named_parameters()}
        self._origins = WeakTensorKeyDictionary()  # tensor -> Origin; strong references would take gigabytes
        self._open: list[_OpenCall] = []
        self._last = 0
        for name, parameter in module.named_parameters():
            self._origins[parameter] = frozenset({name})
        self._origins[image] = frozenset({0})

    @contextmanager
    def hooked(self, module: nn.Module) -> Iterator[None]:
        handles = []
        for name, submodule in module.named_modules():
            handles.append(submodule.register_forward_pre_hook(partial(self._enter, name), with_kwargs=True))
            handles.append(submodule.register_forward_hook(self._leave, with_kwargs=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, name: str, module: nn.Module, args: Any, kwargs: Any) -> None:
        inputs = _tensors((args, kwargs))
        call = Call(self._next_number(), name, *describe(module), inputs=self._sources(inputs))
        if self._open:
            self._open[-1].call.calls.append(call)
        else:
            self.root = call
        self._open.append(_OpenCall(call, {id(tensor): tensor._version for tensor in inputs}))

    def _leave(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> Any:
        ended = self._open.pop()
        call, tensors = ended.call, _tensors(output)
        call.output = _shape(tensors)
        own = {f"{call.name}.{name}".lstrip(".") for name, _ in module.named_parameters(recurse=False)}
        own &= self._sizes.keys()  # a shared tensor is counted under its first name
        if not self._open or any(not child.operation for child in call.calls):
            self._count_parameters(call, (own & ended.used) - self.counted)
            return None
        # The module called no other module: its operations become one call.
        if call.role == "other" and len(call.calls) == 1:
            call.role, call.settings = call.calls[0].role, call.calls[0].settings
        call.flops = sum(child.flops for child in call.calls)
        call.calls.clear()
        self.counted -= ended.counted_here
        self._count_parameters(call, own | ended.used)
        if isinstance(output, torch.Tensor) and ended.versions.get(id(output)) == output._version:
            # Identity and dropout in evaluation mode return their input; an alias has its own origin.
            if call.role == "other":
                call.role = "identity"
            output = torch.ops.aten.alias(output)
            tensors = [output]
        for tensor in tensors:
            self._origins[tensor] = frozenset({call.number})
        return output

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if not self._open:
            return result
        inputs, outputs = _tensors((args, kwargs)), _tensors(result)
        origin = NOTHING.union(*(self._origins.get(tensor, NOTHING) for tensor in inputs))
        weights = {name for name in origin if isinstance(name, str)}
        self._open[-1].used.update(weights)
        call = self._operation(func._overloadpacket, args, kwargs, result)
        if call is not None:
            self._open[-1].counted_here.update(weights - self.counted)
            self._count_parameters(call, weights)
            self._open[-1].call.calls.append(call)
            origin = frozenset({call.number})
        elif any(isinstance(source, int) for source in origin):
            origin -= weights  # x + position: the result is not a weight
        for tensor in outputs:
            self._origins[tensor] = origin
        return result

    def _operation(self, packet: Any, args: Any, kwargs: Any, result: Any) -> Call | None:
        inputs, outputs = _tensors((args, kwargs)), _tensors(result)
        sources = {calls for tensor in inputs if (calls := self._sources([tensor]))}
        flops = flops_of_call(packet, args, kwargs, result)
        described = describe_operation(packet, args, inputs, outputs, streams=len(sources)) if sources else None
        if flops and described is None:
            described = CallDescription(packet.__name__, "product", operation=True)
        if described is None:
            return None
        name = self._open[-1].call.name
        return Call(self._next_number(), name, *described, _shape(outputs), self._sources(inputs), flops=flops)

    def _count_parameters(self, call: Call, names: set[str]) -> None:
        call.parameters = sum(self._sizes[name] for name in names - self.counted)
        call.reused = sum(self._sizes[name] for name in names & self.counted)
        self.counted |= names

    def _sources(self, tensors: Iterable[torch.Tensor]) -> tuple[int, ...]:
        """Returns the numbers of the calls that computed these tensors."""
        sources = {source for tensor in tensors for source in self._origins.get(tensor, NOTHING)}
        return tuple(sorted(source for source in sources if isinstance(source, int)))

    def _next_number(self) -> int:
        self._last += 1
        return self._last


def _tensors(value: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, torch.Tensor)]


def _shape(tensors: list[torch.Tensor]) -> tuple[int, ...]:
    return tuple(tensors[0].shape[1:]) if tensors else ()

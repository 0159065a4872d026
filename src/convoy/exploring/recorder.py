"""The operations of one forward pass: their values, weights and layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from convoy.exploring.graph import Operation, Setting, UnsupportedError
from convoy.text import gettext as _


class Recorder:
    def __init__(self, image: torch.Tensor) -> None:
        self.operations: list[Operation] = []
        self.weights: list[np.ndarray] = []
        self._numbers = {id(image): 0}  # numbers of the tensors that depend on the image
        self._alive: list[torch.Tensor] = [image]  # so that no id is used twice
        self._unknown: set[int] = set()  # ids of tensors that depend on the image in a way that was not recorded
        self._indices: dict[tuple[object, ...], int] = {}  # indices of weights
        self._modules: list[tuple[str, nn.Module]] = []

    @contextmanager
    def hooked(self, module: nn.Module) -> Iterator[None]:
        handles = []
        for name, submodule in module.named_modules():
            handles.append(submodule.register_forward_pre_hook(partial(self._enter, name)))
            handles.append(submodule.register_forward_hook(self._leave))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, name: str, module: nn.Module, args: Any) -> None:
        self._modules.append((name, module))

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        self._modules.pop()

    def number_of(self, tensor: torch.Tensor) -> int | None:
        """Returns the number of a tensor's value; None if it does not depend on the image. Raises UnsupportedError."""
        if id(tensor) in self._unknown:
            layer, kind = self._current_layer()
            raise UnsupportedError(
                _(
                    "layer {layer} ({kind}) uses indices or a tensor that was changed in place through a view, which "
                    "the page cannot repeat",
                    layer=layer,
                    kind=kind,
                )
            )
        return self._numbers.get(id(tensor))

    def add(
        self,
        name: str,
        inputs: Sequence[torch.Tensor],
        result: torch.Tensor,
        settings: dict[str, Setting] | None = None,
        weights: dict[str, torch.Tensor | None] | None = None,
    ) -> None:
        numbers = [self.value_of(tensor) for tensor in inputs]
        layer, module = self._modules[-1] if self._modules else ("", None)
        is_layer = module is not None and next(module.children(), None) is None
        kind = type(module).__name__ if is_layer else ""
        indices = {role: self._weight(tensor) for role, tensor in (weights or {}).items() if tensor is not None}
        shape = tuple(result.shape)
        self.operations.append(Operation(name, tuple(numbers), shape, layer, kind, settings or {}, indices))
        self._numbers[id(result)] = len(self.operations)
        self._alive.append(result)

    def rename(self, tensor: torch.Tensor, number: int) -> None:
        """Assigns the same number to another tensor."""
        self._numbers[id(tensor)] = number
        self._alive.append(tensor)

    def value_of(self, tensor: torch.Tensor) -> int:
        """Returns the number of a tensor's value. If it does not depend on the image, adds an operation "weight"."""
        if (number := self.number_of(tensor)) is None:
            self.add("weight", [], tensor, weights={"weight": tensor})
            number = len(self.operations)
        return number

    def _weight(self, tensor: torch.Tensor) -> int:
        if self.number_of(tensor) is not None:
            layer, kind = self._current_layer()
            raise UnsupportedError(
                _(
                    "layer {layer} ({kind}) has weights that depend on the image, which the page cannot repeat",
                    layer=layer,
                    kind=kind,
                )
            )
        self._alive.append(tensor)
        key = (tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor._version)
        if key not in self._indices:
            self._indices[key] = len(self.weights)
            self.weights.append(tensor.detach().to("cpu", torch.float32).contiguous().numpy().copy())
        return self._indices[key]

    def mark_unknown(self, results: Sequence[torch.Tensor]) -> None:
        """Marks the results of an operation that its handler did not number."""
        self._forget([tensor for tensor in results if id(tensor) not in self._numbers])

    def mark_changed(self, tensor: torch.Tensor) -> None:
        """Marks the other views of a tensor that was changed in place."""
        begin, end = _memory_of(tensor)
        number = self._numbers[id(tensor)]
        others = [each for each in self._alive if self._numbers.get(id(each)) != number]
        self._forget([each for each in others if _memory_of(each)[0] < end and begin < _memory_of(each)[1]])

    def _forget(self, tensors: list[torch.Tensor]) -> None:
        self._unknown |= {id(tensor) for tensor in tensors}
        self._alive += tensors

    def unsupported(self, operation: str) -> UnsupportedError:
        layer, kind = self._current_layer()
        return UnsupportedError(
            _(
                "layer {layer} ({kind}) uses the operation {operation}, which the page cannot run",
                layer=layer,
                kind=kind,
                operation=operation,
            )
        )

    def _current_layer(self) -> tuple[str, str]:
        """Returns the name and the class of the layer that runs."""
        layer, module = self._modules[-1]
        return layer or _("of the network itself"), type(module).__name__


def _memory_of(tensor: torch.Tensor) -> tuple[int, int]:
    """Returns the addresses of the first byte of a tensor and of the one after its last."""
    begin = tensor.data_ptr()
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return begin, begin + (last + 1) * tensor.element_size() if tensor.numel() else begin

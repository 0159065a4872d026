"""Evaluates a network without in-place operations, to find those that change a tensor that is used later."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from convoy.diagnosing.watch import Place, Watch

NOT_READING = {"__get__", "__set__", "size", "dim", "stride", "numel", "data_ptr", "is_contiguous"}
LEAST_DIFFERENCE = 1e-4  # difference of outputs, relative to the largest


class Reused(NamedTuple):
    """An in-place operation whose argument is read later."""

    place: Place
    difference: float  # change of the outputs if it were not in place, relative to the largest output


class OutOfPlace(TorchFunctionMode):
    """Makes in-place operations, such as `nn.ReLU(inplace=True)` and `x += y`, return a new tensor.

    This changes the outputs only if the network later reads the changed tensor under another name.
    """

    def __init__(self, watch: Watch, module: nn.Module) -> None:
        super().__init__()
        self.reused: Place | None = None  # the first in-place operation whose argument is read later
        self.uses_effect = False  # the network uses the effect of an in-place operation, and not its result
        self._watch = watch
        self._weights = {_storage(each) for each in (*module.parameters(), *module.buffers())}
        self._replaced: dict[
            int, tuple[torch.Tensor, Place]
        ] = {}  # keeps the tensor alive, so that its address is not reused
        # result of the last in-place operation
        self._result: Callable[[], torch.Tensor | None] = lambda: torch.empty(0)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        self.uses_effect = self.uses_effect or self._result() is None
        self._result = lambda: torch.empty(0)
        name = getattr(func, "__name__", "")
        if self.reused is None and name not in NOT_READING:
            replaced = (self._replaced.get(_storage(each)) for each in args if isinstance(each, torch.Tensor))
            self.reused = next((place for _tensor, place in filter(None, replaced)), None)
        other = getattr(torch.Tensor, name[:-1], None) if name.endswith("_") and not name.endswith("__") else None
        if kwargs.get("inplace") is True:
            other, kwargs = func, {**kwargs, "inplace": False}
        if not callable(other) or not args or not self._is_feature(args[0]):
            return func(*args, **kwargs)
        result = other(*args, **kwargs)
        if result is not args[0]:  # not a dropout in evaluation
            self._replaced[_storage(args[0])] = args[0], self._watch.place(name.rstrip("_"))
            self._result = weakref.ref(result)
        return result

    def _is_feature(self, tensor: object) -> bool:
        if not isinstance(tensor, torch.Tensor) or _storage(tensor) in self._weights:
            return False
        return tensor.is_floating_point() and tensor.ndim >= 2


def evaluated_out_of_place(module: nn.Module, image: torch.Tensor) -> tuple[torch.Tensor | None, Place | None]:
    """Returns the outputs (None if this fails), and an in-place operation whose argument is read later."""
    watch = Watch(image)
    mode = OutOfPlace(watch, module)
    try:
        with watch.hooked(module), mode:
            outputs: torch.Tensor = module(image.clone())
            outputs.numel()  # detects that the result of the last operation was not used
    except Exception:
        return None, None
    return outputs, None if mode.uses_effect else mode.reused


def _storage(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()

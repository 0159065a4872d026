"""Records one forward pass as a list of operations for the page's interpreter.

A dispatch mode records the operations that torch executes, so that Python control flow, `x.mean((2, 3))` and `F.conv2d`
need no special support. Results that do not depend on the image are weights, even if the network computes them from
parameters. An in-place operation creates a new value; older views of the tensor are not updated, which would be wrong
for a network that uses them later (none of the catalogue does).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from convoy.evaluation.cost import DispatchMode
from convoy.evaluation.predict import evaluating
from convoy.exploring.graph import MAX_PARAMETERS, Graph, Operation, Setting, UnsupportedError
from convoy.text import gettext as _


def trace(module: nn.Module, shape: tuple[int, int, int]) -> Graph:
    """Records the operations of a network for one image (C, H, W). Raises UnsupportedError."""
    parameters = sum(parameter.numel() for parameter in module.parameters())
    if parameters > MAX_PARAMETERS:
        raise UnsupportedError(
            _(
                "{parameters:,} parameters: the page runs networks of up to {limit:,} parameters; larger ones need "
                "--engine onnx",
                parameters=parameters,
                limit=MAX_PARAMETERS,
            )
        )
    # Noise, because `forward` may test the values of the image, which should not be special ones.
    image = torch.randn(1, *shape, generator=torch.Generator().manual_seed(0))
    recorder = _Recorder(image)
    with evaluating(module), torch.no_grad(), recorder.hooked(module), recorder:
        output = module(image)
    if recorder.number_of(output) != len(recorder.operations):
        recorder.add("identity", [output], output)
    return Graph(tuple(recorder.operations), tuple(recorder.weights), parameters)


class _Recorder(DispatchMode):
    def __init__(self, image: torch.Tensor) -> None:
        super().__init__()
        self.operations: list[Operation] = []
        self.weights: list[np.ndarray] = []
        self._numbers = {id(image): 0}  # of the tensors that depend on the image
        self._alive: list[torch.Tensor] = [image]  # so that no id is used twice
        self._indices: dict[tuple[object, ...], int] = {}  # of weights
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
        """Returns the number of a tensor's value; None if it does not depend on the image."""
        return self._numbers.get(id(tensor))

    def add(
        self,
        name: str,
        inputs: Sequence[torch.Tensor],
        result: torch.Tensor,
        settings: dict[str, Setting] | None = None,
        weights: dict[str, torch.Tensor | None] | None = None,
    ) -> None:
        numbers = [self._value_of(tensor) for tensor in inputs]
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

    def _value_of(self, tensor: torch.Tensor) -> int:
        """Returns the number of a tensor's value. If it does not depend on the image, adds an operation "weight"."""
        if (number := self.number_of(tensor)) is None:
            self.add("weight", [], tensor, weights={"weight": tensor})
            number = len(self.operations)
        return number

    def _weight(self, tensor: torch.Tensor) -> int:
        self._alive.append(tensor)
        key = (tensor.data_ptr(), tuple(tensor.shape), tensor.stride())
        if key not in self._indices:
            self._indices[key] = len(self.weights)
            self.weights.append(tensor.detach().to("cpu", torch.float32).contiguous().numpy().copy())
        return self._indices[key]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        if not any(self.number_of(tensor) is not None for tensor in tensors):
            return result
        name = func._overloadpacket.__name__
        handler = _HANDLERS.get(name.removesuffix("_")) or _HANDLERS.get(name)
        if handler is None:
            layer, module = self._modules[-1]
            raise UnsupportedError(
                _(
                    "layer {layer} ({kind}) uses the operation {operation}, which the page cannot run",
                    layer=layer or _("of the network itself"),
                    kind=type(module).__name__,
                    operation=name,
                )
            )
        bound = {**{argument.name: argument.default_value for argument in func._schema.arguments}}
        bound |= dict(zip(bound, args, strict=False)) | kwargs
        handler(self, Arguments(**bound), result)
        return result


Arguments = SimpleNamespace  # of a torch operation, by their names in its schema
Handler = Callable[[_Recorder, Arguments, Any], None]
_HANDLERS: dict[str, Handler] = {}


def _handles(*names: str) -> Callable[[Handler], Handler]:
    def register(handler: Handler) -> Handler:
        _HANDLERS.update(dict.fromkeys(names, handler))
        return handler

    return register


def _pair(values: Sequence[int]) -> tuple[int, ...]:
    values = tuple(values)
    return values * 2 if len(values) == 1 else values


def _input_of(a: Arguments) -> torch.Tensor:
    tensor: torch.Tensor = a.input if hasattr(a, "input") else a.self
    return tensor


@_handles("convolution")
def _convolution(recorder: _Recorder, a: Arguments, result: torch.Tensor) -> None:
    if a.transposed or a.weight.dim() != 4:
        raise UnsupportedError(_("the page supports only two-dimensional convolutions that are not transposed"))
    settings: dict[str, Setting] = {name: _pair(getattr(a, name)) for name in ("stride", "padding", "dilation")}
    weights = {"weight": a.weight, "bias": a.bias}
    recorder.add("conv", [a.input], result, {**settings, "groups": a.groups}, weights)


@_handles("addmm")
def _linear(recorder: _Recorder, a: Arguments, result: torch.Tensor) -> None:
    if a.beta != 1 or a.alpha != 1 or recorder.number_of(a.mat2) is not None:
        raise UnsupportedError(_("the page supports only linear layers with constant weights"))
    recorder.add("linear", [a.mat1], result, {}, {"weight": a.mat2.t(), "bias": a.self})


@_handles("mm", "bmm")
def _product(recorder: _Recorder, a: Arguments, result: torch.Tensor) -> None:
    first, second = a.self, a.mat2
    if recorder.number_of(second) is None and second.dim() == 2:
        recorder.add("linear", [first], result, {}, {"weight": second.t()})
    else:
        recorder.add("matmul", [first, second], result)


@_handles("native_batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm", "_batch_norm_no_update")
def _batch_norm(recorder: _Recorder, a: Arguments, result: Any) -> None:
    if getattr(a, "training", False) or a.running_mean is None:
        raise UnsupportedError(_("the page supports only batch norm with running statistics"))
    weights = {"weight": a.weight, "bias": a.bias}
    weights |= {"mean": a.running_mean, "variance": a.running_var}
    eps = float(a.eps if hasattr(a, "eps") else a.epsilon)
    recorder.add("batch_norm", [a.input], result[0], {"eps": eps}, weights)


@_handles("native_layer_norm")
def _layer_norm(recorder: _Recorder, a: Arguments, result: Any) -> None:
    settings: dict[str, Setting] = {"eps": a.eps, "axes": len(a.normalized_shape)}
    recorder.add("layer_norm", [a.input], result[0], settings, {"weight": a.weight, "bias": a.bias})


@_handles("native_group_norm")
def _group_norm(recorder: _Recorder, a: Arguments, result: Any) -> None:
    settings: dict[str, Setting] = {"eps": a.eps, "groups": a.group}
    recorder.add("group_norm", [a.input], result[0], settings, {"weight": a.weight, "bias": a.bias})


def _activation(name: str, **settings: str) -> Handler:
    """`settings`: name on the page -> name of torch's argument."""

    def handler(recorder: _Recorder, a: Arguments, result: torch.Tensor) -> None:
        values: dict[str, Setting] = {setting: getattr(a, argument) for setting, argument in settings.items()}
        recorder.add(name, [a.self], result, values)

    return handler


for _name in ("relu", "silu", "hardswish", "hardsigmoid", "sigmoid", "tanh", "exp", "sqrt", "rsqrt", "neg", "abs"):
    _HANDLERS[_name] = _activation(_name)
_HANDLERS |= {
    "hardtanh": _activation("clamp", low="min_val", high="max_val"),
    "leaky_relu": _activation("leaky_relu", slope="negative_slope"),
    "elu": _activation("elu", alpha="alpha"),
    "gelu": _activation("gelu", approximate="approximate"),
    "softplus": _activation("softplus", beta="beta", threshold="threshold"),
}


def _normalised(name: str) -> Handler:
    return lambda recorder, a, result: recorder.add(name, [a.self], result, {"axis": a.dim % result.dim()})


_HANDLERS |= {"_softmax": _normalised("softmax"), "_log_softmax": _normalised("log_softmax")}


@_handles("max_pool2d_with_indices")
def _max_pool(recorder: _Recorder, a: Arguments, result: Any) -> None:
    settings: dict[str, Setting] = {name: _pair(getattr(a, name)) for name in ("padding", "dilation")}
    kernel = _pair(a.kernel_size)
    settings |= {"kernel": kernel, "stride": _pair(a.stride) if a.stride else kernel}
    recorder.add("max_pool", [a.self], result[0], settings)


@_handles("avg_pool2d")
def _avg_pool(recorder: _Recorder, a: Arguments, result: torch.Tensor) -> None:
    if a.divisor_override:
        raise UnsupportedError(_("the page supports only average pooling without divisor_override"))
    kernel = _pair(a.kernel_size)
    stride = _pair(a.stride) if a.stride else kernel
    settings: dict[str, Setting] = {"kernel": kernel, "stride": stride, "padding": _pair(a.padding)}
    recorder.add("avg_pool", [a.self], result, {**settings, "count_padding": a.count_include_pad})


@_handles("_adaptive_avg_pool2d")
def _adaptive_avg_pool(recorder: _Recorder, a: Arguments, result: torch.Tensor) -> None:
    recorder.add("adaptive_avg_pool", [a.self], result)


@_handles("adaptive_max_pool2d")
def _adaptive_max_pool(recorder: _Recorder, a: Arguments, result: Any) -> None:
    recorder.add("adaptive_max_pool", [a.self], result[0])


def _reduction(name: str) -> Handler:
    def handler(recorder: _Recorder, a: Arguments, result: Any) -> None:
        tensor = result if isinstance(result, torch.Tensor) else result[0]  # max.dim also returns indices
        axes = getattr(a, "dim", None)
        axes = range(a.self.dim()) if axes is None or axes == [] else axes if isinstance(axes, list) else [axes]
        settings: dict[str, Setting] = {"axes": tuple(sorted(axis % a.self.dim() for axis in axes))}
        recorder.add(name, [a.self], tensor, settings)

    return handler


_HANDLERS |= {"mean": _reduction("mean"), "sum": _reduction("sum"), "amax": _reduction("max"), "max": _reduction("max")}


def _binary(name: str) -> Handler:
    def handler(recorder: _Recorder, a: Arguments, result: torch.Tensor) -> None:
        first, second = a.self, a.other
        if getattr(a, "alpha", 1) != 1:
            raise UnsupportedError(_("the page supports only sums without a factor (alpha)"))
        if isinstance(second, torch.Tensor):
            recorder.add(name, [first, second], result)
        else:
            recorder.add(name, [first], result, {"other": float(second)})

    return handler


_HANDLERS |= {
    "add": _binary("add"),
    "sub": _binary("subtract"),
    "mul": _binary("multiply"),
    "div": _binary("divide"),
    "maximum": _binary("maximum"),
}


@_handles("cat")
def _concatenate(recorder: _Recorder, a: Arguments, result: torch.Tensor) -> None:
    recorder.add("concatenate", a.tensors, result, {"axis": a.dim % result.dim()})


def _slice_axis(recorder: _Recorder, source: torch.Tensor, result: torch.Tensor, axis: int, start: int) -> None:
    recorder.add("slice", [source], result, {"axis": axis % source.dim(), "start": start, "step": 1})


@_handles("split", "split_with_sizes", "unbind")
def _split(recorder: _Recorder, a: Arguments, result: Sequence[torch.Tensor]) -> None:
    source, start = a.self, 0
    for part in result:
        _slice_axis(recorder, source, part, a.dim, start)
        start += 1 if part.dim() < source.dim() else part.shape[a.dim]


@_handles("select")
def _select(recorder: _Recorder, a: Arguments, result: torch.Tensor) -> None:
    _slice_axis(recorder, a.self, result, a.dim, a.index % a.self.shape[a.dim])


@_handles("slice")
def _slice(recorder: _Recorder, a: Arguments, result: torch.Tensor) -> None:
    source, axis = a.self, a.dim % a.self.dim()
    start = (a.start or 0) + (source.shape[axis] if (a.start or 0) < 0 else 0)
    recorder.add("slice", [source], result, {"axis": axis, "start": start, "step": a.step})


@_handles("view", "_unsafe_view", "reshape", "unsqueeze", "squeeze", "flatten", "_reshape_alias")
def _reshape(recorder: _Recorder, a: Arguments, result: torch.Tensor) -> None:
    recorder.add("reshape", [a.self], result)


@_handles("expand")
def _expand(recorder: _Recorder, a: Arguments, result: torch.Tensor) -> None:
    recorder.add("expand", [a.self], result)


@_handles("clone", "alias", "detach", "_to_copy", "contiguous", "dropout", "lift_fresh")
def _identity(recorder: _Recorder, a: Arguments, result: torch.Tensor) -> None:
    number = recorder.number_of(a.self)
    assert number is not None
    recorder.rename(result, number)


@_handles("t", "transpose", "permute")
def _permute(recorder: _Recorder, a: Arguments, result: torch.Tensor) -> None:
    count = result.dim()
    axes = list(range(count))
    if hasattr(a, "dims"):
        axes = [axis % count for axis in a.dims]
    else:
        first, second = (a.dim0 % count, a.dim1 % count) if hasattr(a, "dim0") else (0, count - 1)
        axes[first], axes[second] = axes[second], axes[first]
    recorder.add("permute", [a.self], result, {"axes": tuple(axes)})


@_handles("upsample_nearest2d")
def _upsample_nearest(recorder: _Recorder, a: Arguments, result: torch.Tensor) -> None:
    recorder.add("upsample", [_input_of(a)], result, {"mode": "nearest"})


@_handles("upsample_bilinear2d")
def _upsample_bilinear(recorder: _Recorder, a: Arguments, result: torch.Tensor) -> None:
    settings: dict[str, Setting] = {"mode": "bilinear", "align_corners": a.align_corners}
    recorder.add("upsample", [_input_of(a)], result, settings)


@_handles("constant_pad_nd")
def _pad(recorder: _Recorder, a: Arguments, result: torch.Tensor) -> None:
    recorder.add("pad", [a.self], result, {"pad": tuple(a.pad), "value": float(a.value)})

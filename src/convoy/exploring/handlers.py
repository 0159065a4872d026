"""What each operation of torch is on the page."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils._pytree import tree_leaves

from convoy.exploring.graph import Setting, UnsupportedError
from convoy.exploring.recorder import Recorder
from convoy.text import gettext as _


def tensors_in(values: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor)]


class Arguments:
    """The arguments of a torch operation, by their names in its schema."""

    # They change no value, or the shape of the result has them.
    HARMLESS = frozenset(
        ("memory_format", "layout", "device", "pin_memory", "non_blocking", "keepdim", "ceil_mode", "end")
    )

    def __init__(self, values: dict[str, Any]) -> None:
        self._values, self._read = values, set[str]()

    def __getattr__(self, name: str) -> Any:
        if name not in self._values:
            raise AttributeError(name)
        self._read.add(name)
        return self._values[name]

    def ignored(self, schema: torch.FunctionSchema) -> str | None:
        """Returns the first argument that changes the result and that no handler has read, as `name=value`."""
        for argument in schema.arguments:
            name, value = argument.name, self._values[argument.name]
            if name in self._read | self.HARMLESS:
                continue
            if tensors_in(value):
                return name
            expected: tuple[Any, ...] = (argument.default_value,)
            if name == "dtype":
                expected = (None, torch.float32, torch.float64)
            elif not argument.has_default_value() and not isinstance(value, str):
                continue  # sizes, which the shape of the result has, and settings of training
            if value not in expected:
                return f"{name}={value}"
        return None


Handler = Callable[[Recorder, Arguments, Any], None]
HANDLERS: dict[str, Handler] = {}


def _handles(*names: str) -> Callable[[Handler], Handler]:
    def register(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(names, handler))
        return handler

    return register


def _pair(values: Sequence[int]) -> tuple[int, ...]:
    values = tuple(values)
    return values * 2 if len(values) == 1 else values


def _input_of(a: Arguments) -> torch.Tensor:
    tensor: torch.Tensor = a.input if hasattr(a, "input") else a.self
    return tensor


def _of_one_image(tensor: torch.Tensor, dimensions: int | None = None) -> torch.Tensor:
    """Checks the shape of the input of an operation on the maps of one image."""
    if tensor.shape[0] != 1 or tensor.dim() != (dimensions or tensor.dim()):
        raise UnsupportedError(
            _(
                "the page supports convolutions, norms and pooling only on the maps of one image, with the shape "
                "(1, C, H, W); got {shape}",
                shape=tuple(tensor.shape),
            )
        )
    return tensor


@_handles("convolution")
def _convolution(recorder: Recorder, a: Arguments, result: torch.Tensor) -> None:
    if a.transposed or a.weight.dim() != 4:
        raise UnsupportedError(_("the page supports only two-dimensional convolutions that are not transposed"))
    settings: dict[str, Setting] = {name: _pair(getattr(a, name)) for name in ("stride", "padding", "dilation")}
    weights = {"weight": a.weight, "bias": a.bias}
    recorder.add("conv", [_of_one_image(a.input)], result, {**settings, "groups": a.groups}, weights)


@_handles("addmm")
def _linear(recorder: Recorder, a: Arguments, result: torch.Tensor) -> None:
    if a.beta != 1 or a.alpha != 1 or recorder.number_of(a.mat2) is not None:
        raise UnsupportedError(_("the page supports only linear layers with constant weights"))
    recorder.add("linear", [a.mat1], result, {}, {"weight": a.mat2.t(), "bias": a.self})


@_handles("mm", "bmm")
def _product(recorder: Recorder, a: Arguments, result: torch.Tensor) -> None:
    first, second = a.self, a.mat2
    if recorder.number_of(second) is None and second.dim() == 2:
        recorder.add("linear", [first], result, {}, {"weight": second.t()})
    else:
        recorder.add("matmul", [first, second], result)


@_handles("native_batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm", "_batch_norm_no_update")
def _batch_norm(recorder: Recorder, a: Arguments, result: Any) -> None:
    if getattr(a, "training", False) or a.running_mean is None:
        raise UnsupportedError(_("the page supports only batch norm with running statistics"))
    weights = {"weight": a.weight, "bias": a.bias}
    weights |= {"mean": a.running_mean, "variance": a.running_var}
    eps = float(a.eps if hasattr(a, "eps") else a.epsilon)
    recorder.add("batch_norm", [_of_one_image(a.input)], result[0], {"eps": eps}, weights)


@_handles("native_layer_norm")
def _layer_norm(recorder: Recorder, a: Arguments, result: Any) -> None:
    settings: dict[str, Setting] = {"eps": a.eps, "axes": len(a.normalized_shape)}
    recorder.add("layer_norm", [a.input], result[0], settings, {"weight": a.weight, "bias": a.bias})


@_handles("native_group_norm")
def _group_norm(recorder: Recorder, a: Arguments, result: Any) -> None:
    settings: dict[str, Setting] = {"eps": a.eps, "groups": a.group}
    recorder.add("group_norm", [_of_one_image(a.input)], result[0], settings, {"weight": a.weight, "bias": a.bias})


def _activation(name: str, **settings: str) -> Handler:
    """`settings`: name on the page -> name of torch's argument."""

    def handler(recorder: Recorder, a: Arguments, result: torch.Tensor) -> None:
        values: dict[str, Setting] = {setting: getattr(a, argument) for setting, argument in settings.items()}
        recorder.add(name, [a.self], result, values)

    return handler


for _name in ("relu", "silu", "hardswish", "hardsigmoid", "sigmoid", "tanh", "exp", "sqrt", "rsqrt", "neg", "abs"):
    HANDLERS[_name] = _activation(_name)
HANDLERS |= {
    "hardtanh": _activation("clamp", low="min_val", high="max_val"),
    "leaky_relu": _activation("leaky_relu", slope="negative_slope"),
    "elu": _activation("elu", alpha="alpha"),
    "gelu": _activation("gelu", approximate="approximate"),
    "softplus": _activation("softplus", beta="beta", threshold="threshold"),
}


def _normalised(name: str) -> Handler:
    return lambda recorder, a, result: recorder.add(name, [a.self], result, {"axis": a.dim % result.dim()})


HANDLERS |= {"_softmax": _normalised("softmax"), "_log_softmax": _normalised("log_softmax")}


@_handles("max_pool2d_with_indices")
def _max_pool(recorder: Recorder, a: Arguments, result: Any) -> None:
    settings: dict[str, Setting] = {name: _pair(getattr(a, name)) for name in ("padding", "dilation")}
    kernel = _pair(a.kernel_size)
    settings |= {"kernel": kernel, "stride": _pair(a.stride) if a.stride else kernel}
    recorder.add("max_pool", [_of_one_image(a.self, 4)], result[0], settings)


@_handles("avg_pool2d")
def _avg_pool(recorder: Recorder, a: Arguments, result: torch.Tensor) -> None:
    if a.divisor_override:
        raise UnsupportedError(_("the page supports only average pooling without divisor_override"))
    kernel = _pair(a.kernel_size)
    stride = _pair(a.stride) if a.stride else kernel
    settings: dict[str, Setting] = {"kernel": kernel, "stride": stride, "padding": _pair(a.padding)}
    recorder.add("avg_pool", [_of_one_image(a.self, 4)], result, {**settings, "count_padding": a.count_include_pad})


@_handles("_adaptive_avg_pool2d")
def _adaptive_avg_pool(recorder: Recorder, a: Arguments, result: torch.Tensor) -> None:
    recorder.add("adaptive_avg_pool", [a.self], result)


@_handles("adaptive_max_pool2d")
def _adaptive_max_pool(recorder: Recorder, a: Arguments, result: Any) -> None:
    recorder.add("adaptive_max_pool", [a.self], result[0])


def _reduction(name: str) -> Handler:
    def handler(recorder: Recorder, a: Arguments, result: Any) -> None:
        tensor = result if isinstance(result, torch.Tensor) else result[0]  # max.dim also returns indices
        axes = getattr(a, "dim", None)
        axes = range(a.self.dim()) if axes is None or axes == [] else axes if isinstance(axes, list) else [axes]
        settings: dict[str, Setting] = {"axes": tuple(sorted(axis % a.self.dim() for axis in axes))}
        recorder.add(name, [a.self], tensor, settings)

    return handler


HANDLERS |= {"mean": _reduction("mean"), "sum": _reduction("sum"), "amax": _reduction("max")}


def _binary(name: str) -> Handler:
    def handler(recorder: Recorder, a: Arguments, result: torch.Tensor) -> None:
        first, second = a.self, a.other
        if getattr(a, "alpha", 1) != 1:
            raise UnsupportedError(_("the page supports only sums without a factor (alpha)"))
        if isinstance(second, torch.Tensor):
            recorder.add(name, [first, second], result)
        else:
            recorder.add(name, [first], result, {"other": float(second)})

    return handler


HANDLERS |= {
    "add": _binary("add"),
    "sub": _binary("subtract"),
    "mul": _binary("multiply"),
    "div": _binary("divide"),
    "maximum": _binary("maximum"),
}


@_handles("max")
def _max(recorder: Recorder, a: Arguments, result: Any) -> None:
    (_binary("maximum") if hasattr(a, "other") else _reduction("max"))(recorder, a, result)


@_handles("cat")
def _concatenate(recorder: Recorder, a: Arguments, result: torch.Tensor) -> None:
    recorder.add("concatenate", a.tensors, result, {"axis": a.dim % result.dim()})


def _slice_axis(recorder: Recorder, source: torch.Tensor, result: torch.Tensor, axis: int, start: int) -> None:
    recorder.add("slice", [source], result, {"axis": axis % source.dim(), "start": start, "step": 1})


@_handles("split", "split_with_sizes", "unbind")
def _split(recorder: Recorder, a: Arguments, result: Sequence[torch.Tensor]) -> None:
    source, start = a.self, 0
    for part in result:
        _slice_axis(recorder, source, part, a.dim, start)
        start += 1 if part.dim() < source.dim() else part.shape[a.dim]


@_handles("select")
def _select(recorder: Recorder, a: Arguments, result: torch.Tensor) -> None:
    _slice_axis(recorder, a.self, result, a.dim, a.index % a.self.shape[a.dim])


@_handles("slice")
def _slice(recorder: Recorder, a: Arguments, result: torch.Tensor) -> None:
    source, axis = a.self, a.dim % a.self.dim()
    start = max(0, (a.start or 0) + (source.shape[axis] if (a.start or 0) < 0 else 0))
    recorder.add("slice", [source], result, {"axis": axis, "start": start, "step": a.step})


@_handles("view", "_unsafe_view", "reshape", "unsqueeze", "squeeze", "flatten", "_reshape_alias")
def _reshape(recorder: Recorder, a: Arguments, result: torch.Tensor) -> None:
    recorder.add("reshape", [a.self], result)


@_handles("expand")
def _expand(recorder: Recorder, a: Arguments, result: torch.Tensor) -> None:
    recorder.add("expand", [a.self], result)


@_handles("clone", "alias", "detach", "_to_copy", "contiguous", "dropout", "lift_fresh")
def _identity(recorder: Recorder, a: Arguments, result: torch.Tensor) -> None:
    number = recorder.number_of(a.self)
    assert number is not None
    recorder.rename(result, number)


@_handles("t", "transpose", "permute")
def _permute(recorder: Recorder, a: Arguments, result: torch.Tensor) -> None:
    count = result.dim()
    axes = list(range(count))
    if hasattr(a, "dims"):
        axes = [axis % count for axis in a.dims]
    else:
        first, second = (a.dim0 % count, a.dim1 % count) if hasattr(a, "dim0") else (0, count - 1)
        axes[first], axes[second] = axes[second], axes[first]
    recorder.add("permute", [a.self], result, {"axes": tuple(axes)})


def _check_scale(a: Arguments, result: torch.Tensor) -> None:
    """The page computes positions from the sizes; torch does so from the scale, if it has one."""
    scales = a.scale_factors if hasattr(a, "scale_factors") else [a.scales_h, a.scales_w]
    sizes = zip(result.shape[2:], _input_of(a).shape[2:], strict=True)
    for scale, (after, before) in zip(scales or (), sizes, strict=False):
        if scale is not None and not math.isclose(scale, after / before):
            raise UnsupportedError(
                _(
                    "the page cannot resize a map from {before} to {after} pixels with a scale of {scale:g}; use "
                    "interpolate with the size or with a scale that gives exactly {after} pixels",
                    before=before,
                    scale=scale,
                    after=after,
                )
            )


@_handles("upsample_nearest2d")
def _upsample_nearest(recorder: Recorder, a: Arguments, result: torch.Tensor) -> None:
    _check_scale(a, result)
    recorder.add("upsample", [_input_of(a)], result, {"mode": "nearest"})


@_handles("upsample_bilinear2d")
def _upsample_bilinear(recorder: Recorder, a: Arguments, result: torch.Tensor) -> None:
    _check_scale(a, result)
    settings: dict[str, Setting] = {"mode": "bilinear", "align_corners": a.align_corners}
    recorder.add("upsample", [_input_of(a)], result, settings)


@_handles("constant_pad_nd")
def _pad(recorder: Recorder, a: Arguments, result: torch.Tensor) -> None:
    recorder.add("pad", [a.self], result, {"pad": tuple(a.pad), "value": float(a.value)})

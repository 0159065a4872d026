"""Names, roles and settings of layers and operations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.dropout import _DropoutNd

Role = Literal[
    "conv", "linear", "product", "attention", "norm", "activation", "dropout", "pool", "resize", "merge", "reshape",
    "identity", "other",
]  # fmt: skip


class Described(NamedTuple):
    kind: str  # the class of a module, the name of an operation
    role: Role
    settings: str = ""  # "5×5, stride 2"
    operation: bool = False  # run by a module itself, not by a layer in it


# By the file of torch that defines a class or its torch base class.
ROLES_BY_FILE: dict[str, Role] = {
    "conv": "conv", "linear": "linear", "batchnorm": "norm", "instancenorm": "norm", "normalization": "norm",
    "activation": "activation", "dropout": "dropout", "pooling": "pool", "upsampling": "resize", "padding": "resize",
    "flatten": "reshape", "pixelshuffle": "reshape", "channelshuffle": "reshape", "fold": "reshape",
    "container": "identity",  # only an empty container is a call of its own
}  # fmt: skip
# torch's names of operations, without the trailing underscore of in-place versions. Others are not recorded.
OPERATIONS: dict[str, tuple[str, Role]] = {
    "convolution": ("conv2d", "conv"), "addmm": ("linear", "linear"), "mm": ("matmul", "product"),
    "bmm": ("matmul", "product"), "baddbmm": ("matmul", "product"), "relu": ("relu", "activation"),
    "gelu": ("gelu", "activation"), "silu": ("silu", "activation"), "elu": ("elu", "activation"),
    "leaky_relu": ("leaky_relu", "activation"), "hardtanh": ("hardtanh", "activation"),
    "hardswish": ("hardswish", "activation"), "hardsigmoid": ("hardsigmoid", "activation"),
    "sigmoid": ("sigmoid", "activation"), "tanh": ("tanh", "activation"), "softplus": ("softplus", "activation"),
    "_softmax": ("softmax", "activation"), "_log_softmax": ("log_softmax", "activation"),
    "native_batch_norm": ("batch_norm", "norm"), "_native_batch_norm_legit_no_training": ("batch_norm", "norm"),
    "cudnn_batch_norm": ("batch_norm", "norm"), "native_layer_norm": ("layer_norm", "norm"),
    "native_group_norm": ("group_norm", "norm"), "max_pool2d_with_indices": ("max_pool2d", "pool"),
    "avg_pool2d": ("avg_pool2d", "pool"), "_adaptive_avg_pool2d": ("adaptive_avg_pool2d", "pool"),
    "adaptive_max_pool2d": ("adaptive_max_pool2d", "pool"), "upsample_nearest2d": ("upsample", "resize"),
    "upsample_bilinear2d": ("upsample", "resize"), "upsample_bicubic2d": ("upsample", "resize"),
    "constant_pad_nd": ("pad", "resize"), "cat": ("concatenate", "merge"), "add": ("add", "merge"),
    "sub": ("subtract", "merge"), "mul": ("multiply", "merge"), "maximum": ("maximum", "merge"),
}  # fmt: skip
REDUCTIONS = ("mean", "amax", "sum")  # pooling, if they reduce both spatial dimensions


def describe(part: nn.Module) -> Described:
    """A user's class without a torch base class has the role "other" until its calls are traced."""
    kind = type(part).__name__
    homes = (base.__module__.rpartition("torch.nn.modules.")[2] for base in type(part).__mro__)
    role: Role = next((ROLES_BY_FILE[home] for home in homes if home in ROLES_BY_FILE), "other")
    if isinstance(part, nn.MultiheadAttention):
        return Described(kind, "attention", f"{part.num_heads} heads")
    if isinstance(part, nn.Identity) or (isinstance(part, _DropoutNd) and part.p == 0):
        return Described(kind, "identity")
    return Described(kind, role, _settings(part))


def _settings(part: nn.Module) -> str:
    match part:
        case _ConvNd():
            return _conv_settings(part.kernel_size, part.stride, part.dilation, part.groups, part.in_channels)
        case nn.GroupNorm():
            return f"{part.num_groups} groups"
        case nn.MaxPool2d() | nn.AvgPool2d():
            return _pool_settings(part.kernel_size, part.stride)
        case nn.AdaptiveAvgPool2d() | nn.AdaptiveMaxPool2d():
            return f"to {_sides(_pair(part.output_size))}"
        case _DropoutNd():
            return f"{part.p:g}"
        case nn.Upsample() if part.scale_factor is not None:
            return f"×{_step(_pair(part.scale_factor))}"
    return ""


def describe_operation(
    packet: Any, args: Sequence[Any], inputs: Sequence[torch.Tensor], outputs: Sequence[torch.Tensor], *, streams: int
) -> Described | None:
    """None for operations that only move or rescale numbers. `streams`: number of calls whose results it reads."""
    name = packet.__name__.removesuffix("_")
    if name in REDUCTIONS:
        before, after = inputs[0].shape, outputs[0].shape
        if len(before) == 4 and after[:2] == before[:2] and (len(after) == 2 or after[2:] == (1, 1)):
            return Described(name, "pool", "to 1×1", operation=True)
        return None
    if name not in OPERATIONS:
        return None
    kind, role = OPERATIONS[name]
    if (role == "merge" and streams < 2) or (kind == "pad" and inputs[0].shape == outputs[0].shape):
        return None
    settings = ""
    if name == "convolution":
        weight, stride, dilation, groups = inputs[1], args[3], args[5], args[8]
        settings = _conv_settings(tuple(weight.shape[2:]), tuple(stride), tuple(dilation), groups, inputs[0].shape[1])
    elif name in ("max_pool2d_with_indices", "avg_pool2d"):
        settings = _pool_settings(args[1], args[2] if len(args) > 2 else None)
    elif role == "pool":
        settings = f"to {_sides(outputs[0].shape[2:])}"
    elif kind == "upsample":
        settings = f"×{outputs[0].shape[-1] / inputs[0].shape[-1]:g}"
    return Described(kind, role, settings, operation=True)


def _conv_settings(
    kernel: Sequence[Any], stride: Sequence[Any], dilation: Sequence[Any], groups: int, in_chans: int
) -> str:
    parts = [_sides(kernel)]
    if set(stride) != {1}:
        parts.append(f"stride {_step(stride)}")
    if set(dilation) != {1}:
        parts.append(f"dilation {_step(dilation)}")
    if groups > 1:
        parts.append("depthwise" if groups == in_chans else f"{groups} groups")
    return ", ".join(parts)


def _pool_settings(kernel: Any, stride: Any) -> str:
    """Shows the stride if it is not the kernel size."""
    kernel, stride = _pair(kernel), _pair(stride or kernel)
    return _sides(kernel) + (f", stride {_step(stride)}" if stride != kernel else "")


def _pair(value: Any) -> tuple[Any, ...]:
    values = tuple(value) if isinstance(value, Sequence) else (value,)
    return values if len(values) > 1 else values * 2


def _sides(values: Sequence[Any]) -> str:
    return "×".join(map(str, values))


def _step(values: Sequence[Any]) -> str:
    return f"{values[0]:g}" if len(set(values)) == 1 else _sides(values)

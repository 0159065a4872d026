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


class CallDescription(NamedTuple):
    kind: str  # the class of a module, the name of an operation
    role: Role
    settings: str = ""  # for example "5×5, stride 2"
    operation: bool = False  # whether it is an operation in a module's own `forward`, such as F.relu or +


# The role of a class, by the torch file that defines it or its torch base class.
ROLES_BY_FILE: dict[str, Role] = {
    "conv": "conv", "linear": "linear", "batchnorm": "norm", "instancenorm": "norm", "normalization": "norm",
    "activation": "activation", "dropout": "dropout", "pooling": "pool", "upsampling": "resize", "padding": "resize",
    "flatten": "reshape", "pixelshuffle": "reshape", "channelshuffle": "reshape", "fold": "reshape",
    "container": "identity",  # an empty container; for others, the layers inside are described
}  # fmt: skip
# By torch's name, without the trailing underscore of in-place operations. Other operations are not recorded.
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


def describe(module: nn.Module) -> CallDescription:
    """Describes a module. A user's class that is not a subclass of a torch layer has the role "other"."""
    kind = type(module).__name__
    files = (base.__module__.rpartition("torch.nn.modules.")[2] for base in type(module).__mro__)
    role: Role = next((ROLES_BY_FILE[file] for file in files if file in ROLES_BY_FILE), "other")
    if isinstance(module, nn.MultiheadAttention):
        return CallDescription(kind, "attention", f"{module.num_heads} heads")
    if isinstance(module, nn.Identity) or (isinstance(module, _DropoutNd) and module.p == 0):
        return CallDescription(kind, "identity")
    return CallDescription(kind, role, _settings(module))


def _settings(module: nn.Module) -> str:
    match module:
        case _ConvNd():
            return _conv_settings(module.kernel_size, module.stride, module.dilation, module.groups, module.in_channels)
        case nn.GroupNorm():
            return f"{module.num_groups} groups"
        case nn.MaxPool2d() | nn.AvgPool2d():
            return _pool_settings(module.kernel_size, module.stride)
        case nn.AdaptiveAvgPool2d() | nn.AdaptiveMaxPool2d():
            return f"to {_sides(_pair(module.output_size))}"
        case _DropoutNd():
            return f"{module.p:g}"
        case nn.Upsample() if module.scale_factor is not None:
            return f"×{_step(_pair(module.scale_factor))}"
    return ""


def describe_operation(
    packet: Any, args: Sequence[Any], inputs: Sequence[torch.Tensor], outputs: Sequence[torch.Tensor], *, streams: int
) -> CallDescription | None:
    """Describes an operation; None if it only moves or rescales numbers. `streams`: number of calls that it reads."""
    name = packet.__name__.removesuffix("_")
    if name in REDUCTIONS:
        before, after = inputs[0].shape, outputs[0].shape
        if len(before) == 4 and after[:2] == before[:2] and (len(after) == 2 or after[2:] == (1, 1)):
            return CallDescription(name, "pool", "to 1×1", operation=True)
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
    return CallDescription(kind, role, settings, operation=True)


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
    """Includes the stride only if it differs from the kernel size."""
    kernel, stride = _pair(kernel), _pair(stride or kernel)
    return _sides(kernel) + (f", stride {_step(stride)}" if stride != kernel else "")


def _pair(value: Any) -> tuple[Any, ...]:
    values = tuple(value) if isinstance(value, Sequence) else (value,)
    return values if len(values) > 1 else values * 2


def _sides(values: Sequence[Any]) -> str:
    return "×".join(map(str, values))


def _step(values: Sequence[Any]) -> str:
    return f"{values[0]:g}" if len(set(values)) == 1 else _sides(values)

"""The operations of an ONNX model that the page shows, and the model with their values as outputs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING

import numpy as np

from convoy.exploring.graph import Graph, Operation, Setting

if TYPE_CHECKING:
    from onnx import NodeProto

NAMES = {  # in ONNX -> in js/operations.js
    "Add": "add",
    "AveragePool": "avg_pool",
    "BatchNormalization": "batch_norm",
    "Concat": "concatenate",
    "Conv": "conv",
    "Div": "divide",
    "Gemm": "linear",
    "GlobalAveragePool": "adaptive_avg_pool",
    "GlobalMaxPool": "adaptive_max_pool",
    "LayerNormalization": "layer_norm",
    "LogSoftmax": "log_softmax",
    "MatMul": "matmul",
    "MaxPool": "max_pool",
    "Mul": "multiply",
    "ReduceMax": "max",
    "ReduceMean": "mean",
    "Relu": "relu",
    "Sigmoid": "sigmoid",
    "Softmax": "softmax",
    "Sub": "subtract",
}
NORM_ROLES = ("weight", "bias", "mean", "variance")  # the inputs of a batch norm, after the maps
MOVES = {"Cast", "Expand", "Flatten", "Identity", "Reshape", "Shape", "Squeeze", "Transpose", "Unsqueeze"}
FLOAT = 1  # TensorProto.FLOAT


@dataclass(frozen=True)
class OnnxModel:
    content: bytes
    values: tuple[str, ...]  # name of the output that has the value of each operation


def read_model(content: bytes, parameters: int) -> tuple[OnnxModel, Graph]:
    """Reads a model that was exported with `preprocessing="outside"` and `keep_norms`."""
    import onnx

    model = onnx.load_from_string(content)
    (logits,) = model.graph.output
    information = {each.name: each for each in (*model.graph.value_info, logits)}
    constants = {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer}
    numbers = {model.graph.input[0].name: 0}  # numbers of the values, by name
    operations: list[Operation] = []
    arrays: list[np.ndarray] = []  # weights of batch norms, the only ones that the page needs
    values: list[str] = []
    for node in model.graph.node:
        name = node.output[0]
        sources = [numbers[each] for each in node.input if each in numbers]
        if not sources:
            continue
        is_float = name in information and information[name].type.tensor_type.elem_type == FLOAT
        if name != logits.name and (node.op_type in MOVES or not is_float):
            numbers[name] = sources[0]
            continue
        shape = tuple(each.dim_value or 1 for each in information[name].type.tensor_type.shape.dim)
        before = operations[max(sources) - 1] if max(sources) else None
        operation = _operation(node, tuple(sources), shape, constants, _around(before))
        if operation.name == "batch_norm":
            trained = {role: each for role, each in zip(NORM_ROLES, node.input[1:], strict=True) if _is_named(each)}
            operation = replace(operation, weights=dict(zip(trained, count(len(arrays)), strict=False)))
            arrays += [constants[each] for each in trained.values()]
        operations.append(operation)
        values.append(name)
        numbers[name] = len(operations)
    assert values[-1] == logits.name
    model.graph.output.extend(information[name] for name in dict.fromkeys(values) if name != logits.name)
    return OnnxModel(model.SerializeToString(), tuple(values)), Graph(tuple(operations), tuple(arrays), parameters)


def _around(before: Operation | None) -> str:
    """Returns the parent module of a layer, for the operation after it: "features" for "features.0"."""
    if before is None:
        return ""
    return before.layer.rpartition(".")[0] if before.kind else before.layer


def _operation(
    node: NodeProto, inputs: tuple[int, ...], shape: tuple[int, ...], constants: dict[str, np.ndarray], parent: str
) -> Operation:
    """`parent`: the layer of an operation without weights."""
    from onnx.helper import get_attribute_value

    attributes = {each.name: get_attribute_value(each) for each in node.attribute}
    weights = [(name, constants[name]) for name in node.input if name in constants and constants[name].ndim > 0]
    settings: dict[str, Setting] = dict(_settings(node, attributes, constants))
    trained = [(name, array) for name, array in weights if array.dtype == np.float32]
    layer = next((name.rpartition(".")[0] for name, _ in trained if _is_named(name)), parent)
    name = NAMES.get(node.op_type, "reshape" if node.op_type in MOVES else node.op_type)
    if trained and name != "batch_norm":
        settings["weight"] = trained[0][1].shape
        settings["bias"] = len(trained) > 1 and _is_named(trained[1][0])
    kind = ("Linear" if name == "linear" else node.op_type) if trained else ""
    return Operation(name, inputs, shape, layer, kind, settings)


def _is_named(constant: str) -> bool:
    """Whether a constant is one of the network, in contrast to zeros and ones that the exporter adds."""
    return not constant.startswith("val_")


def _settings(
    node: NodeProto, attributes: dict[str, object], constants: dict[str, np.ndarray]
) -> Iterator[tuple[str, Setting]]:
    for name, ours in (("strides", "stride"), ("dilations", "dilation"), ("kernel_shape", "kernel")):
        if name in attributes and not (ours == "kernel" and node.op_type == "Conv"):
            yield ours, tuple(attributes[name])  # type: ignore[arg-type]
    if "pads" in attributes:
        yield "padding", tuple(attributes["pads"])[:2]  # type: ignore[arg-type]
    if "group" in attributes:
        yield "groups", int(attributes["group"])  # type: ignore[call-overload]
    if "epsilon" in attributes:
        yield "eps", float(attributes["epsilon"])  # type: ignore[arg-type]
    if "axis" in attributes:
        yield "axis", int(attributes["axis"])  # type: ignore[call-overload]
    if node.op_type.startswith("Reduce") and len(node.input) > 1 and node.input[1] in constants:
        yield "axes", tuple(int(axis) for axis in constants[node.input[1]].ravel())

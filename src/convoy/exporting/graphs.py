"""The network as a graph without Python code: a program of torch.export, or ONNX."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import redirect_stderr
from io import BytesIO, StringIO
from traceback import walk_tb
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from convoy.data.batches import Normaliser
from convoy.evaluation import calibration
from convoy.evaluation.load import network_of
from convoy.evaluation.loaded import normaliser_of
from convoy.exporting import parity
from convoy.exporting.content import Contents, Settings
from convoy.exporting.weights import metadata
from convoy.models.entry import one_line
from convoy.runs import Run
from convoy.text import gettext as _

INPUT, OUTPUT = "images", "logits"


class WithPreprocessing(nn.Module):
    """The network with its preprocessing. The input is uint8 [N, C, H, H]."""

    def __init__(self, network: nn.Module, normalise: Normaliser) -> None:
        super().__init__()
        self.network, self.normalise = network, normalise

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.network(self.normalise(images))


class WithTemperature(nn.Module):
    """The network with temperature scaling: its logits divided by a number."""

    def __init__(self, network: nn.Module, temperature: float) -> None:
        super().__init__()
        self.network, self.temperature = network, temperature

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.network(x)
        return logits / self.temperature


def temperature_of(run: Run) -> float:
    """The temperature fitted on the validation set. Raises ValueError if there is none."""
    stored = run.predictions
    if "validation_logits" not in stored:
        raise ValueError(_("--temperature: {path} has no outputs of a validation set", path=run.path))
    outputs, labels = calibration.arrays_of(stored, "validation")
    if calibration.are_probabilities(outputs):
        raise ValueError(_("--temperature: the network of {path} ends in a softmax, and has no logits", path=run.path))
    if (fitted := calibration.fit_temperature(outputs, labels)) is None:
        raise ValueError(
            _("--temperature: no temperature can be fitted on the validation set of {path}", path=run.path)
        )
    return fitted.value


def pt2(run: Run, settings: Settings) -> Contents:
    """Exports for torch.export.load. Its extra_files contain facts.json."""
    network, details = _network(run, settings)
    buffer = BytesIO()
    torch.export.save(_trace(run, network, settings), buffer, extra_files={"facts.json": json.dumps(details)})
    buffer.seek(0)
    module = torch.export.load(buffer).module()

    def exported(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return module(_input(run, images, settings)).numpy()

    return Contents([buffer.getvalue()], parity.check(run, network, exported))


def onnx(run: Run, settings: Settings) -> Contents:
    import onnxruntime

    network, details = _network(run, settings)
    content = onnx_bytes(_trace(run, network, settings), details, keep_norms=settings.keep_norms)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def exported(images: np.ndarray) -> np.ndarray:
        logits: np.ndarray = session.run(None, {INPUT: _input(run, images, settings).numpy()})[0]
        return logits

    return Contents([content], parity.check(run, network, exported))


def _network(run: Run, settings: Settings) -> tuple[nn.Module, dict[str, str]]:
    """The network to export, and the metadata to store with it."""
    network = network_of(run, trust_code=settings.trust_code)
    details = metadata(run) | {"preprocessing": settings.preprocessing}
    if not settings.temperature:
        return network, details
    value = temperature_of(run)
    return WithTemperature(network, value), details | {"temperature": f"{value:.9g}"}


def _trace(run: Run, network: nn.Module, settings: Settings) -> ExportedProgram:
    data, inside = run.data, settings.preprocessing == "inside"
    module = WithPreprocessing(network, normaliser_of(data)) if inside else network
    shape = (2, data.in_chans, data.image_size, data.image_size)  # not 1, which torch would treat as a constant
    example = torch.zeros(shape, dtype=torch.uint8 if inside else torch.float32)
    try:
        with redirect_stderr(StringIO()):  # to which torch prints the graph before some errors
            program = torch.export.export(module.eval(), (example,), dynamic_shapes=({0: Dim("batch")},))
    except Exception as error:  # any error of torch's tracer or of the user's code
        names = {layer: name for name, layer in network.named_modules()}
        calls = [value for value in _locals_of(error, "self") if isinstance(value, nn.Module) and value in names]
        raise ValueError(
            _(
                "{path}: torch.export cannot trace {label} for batches of any size, in {layer}: {reason}",
                path=run.path,
                label=run.label,
                layer=_layer(names[calls[-1]] if calls else ""),
                reason=one_line(error),
            )
        ) from None
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # contains paths of this machine
    return program


def _locals_of(error: BaseException, name: str) -> Iterator[Any]:
    """Yields the local variable `name` of each function in the traceback of an error and its causes, innermost last."""
    cause: BaseException | None = error
    while cause is not None:
        for frame, _line in walk_tb(cause.__traceback__):
            if name in frame.f_locals:
                yield frame.f_locals[name]
        cause = cause.__cause__


def _layer(name: str) -> str:
    return _("layer {name}", name=name) if name else _("its forward method")


def onnx_bytes(program: ExportedProgram, details: dict[str, str], *, keep_norms: bool = False) -> bytes:
    """Returns the ONNX model of a traced network. `keep_norms`: as in `Settings`.

    Raises ValueError for an operation that ONNX does not have.
    """
    import onnx as onnx_package
    from onnxscript import optimizer

    # The exporter logs the torchvision operations that it skips.
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)
    with warnings.catch_warnings(action="ignore"):
        try:
            converted: Any = torch.onnx.export(
                program,
                dynamo=True,
                input_names=[INPUT],
                output_names=[OUTPUT],
                verbose=False,
                optimize=not keep_norms,  # also fuses batch norms
            )
        except torch.onnx.OnnxExporterError as error:
            nodes = [node for node in _locals_of(error, "node") if isinstance(node, torch.fx.Node)]
            if not nodes:
                raise ValueError(_("torch.onnx cannot convert the network: {reason}", reason=one_line(error))) from None
            stack = [*nodes[-1].meta.get("nn_module_stack", {"": ("", "")}).values()]  # (name, class), outermost first
            wrappers = sum(str(class_).startswith(f"{__name__}.") for _name, class_ in stack)
            layer = f"{stack[-1][0]}.".removeprefix("network." * wrappers).removesuffix(".")
            raise ValueError(
                _(
                    "torch.onnx cannot convert the operation {operation} in {layer}; .pt2 files can contain it",
                    operation=nodes[-1].target,
                    layer=_layer(layer),
                )
            ) from None
        if keep_norms:
            optimizer.fold_constants(converted.model)
            optimizer.remove_unused_nodes(converted.model)
    model = converted.model_proto
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param:
                dimension.dim_param = "batch"
        del value.metadata_props[:]
    for node in model.graph.node:
        del node.metadata_props[:]
    onnx_package.helper.set_model_props(model, details)
    content: bytes = model.SerializeToString()
    return content


def _input(run: Run, images: np.ndarray, settings: Settings) -> torch.Tensor:
    pixels = torch.from_numpy(images.copy())  # torch.from_numpy warns about a read-only memory map
    return pixels if settings.preprocessing == "inside" else normaliser_of(run.data)(pixels)

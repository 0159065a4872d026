"""The network as a graph without Python code: a program of torch.export, or ONNX."""

from __future__ import annotations

import json
import logging
import warnings
from io import BytesIO
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from convoy.data.batches import Normaliser
from convoy.evaluation.load import network_of
from convoy.evaluation.loaded import normaliser_of
from convoy.exporting import parity
from convoy.exporting.content import Contents, Settings
from convoy.exporting.weights import facts
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


def pt2(run: Run, settings: Settings) -> Contents:
    """Exports for torch.export.load. Its extra_files contain facts.json."""
    network = network_of(run, trust_code=settings.trust_code)
    buffer = BytesIO()
    details = facts(run) | {"preprocessing": settings.preprocessing}
    torch.export.save(_trace(run, network, settings), buffer, extra_files={"facts.json": json.dumps(details)})
    buffer.seek(0)
    module = torch.export.load(buffer).module()

    def exported(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return module(_input(run, images, settings)).numpy()

    return Contents([buffer.getvalue()], parity.check(run, network, exported))


def onnx(run: Run, settings: Settings) -> Contents:
    import onnxruntime

    network = network_of(run, trust_code=settings.trust_code)
    content = _onnx_bytes(run, _trace(run, network, settings), settings)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def exported(images: np.ndarray) -> np.ndarray:
        logits: np.ndarray = session.run(None, {INPUT: _input(run, images, settings).numpy()})[0]
        return logits

    return Contents([content], parity.check(run, network, exported))


def _trace(run: Run, network: nn.Module, settings: Settings) -> ExportedProgram:
    data, inside = run.data, settings.preprocessing == "inside"
    module = WithPreprocessing(network, normaliser_of(data)) if inside else network
    shape = (2, data.in_chans, data.image_size, data.image_size)  # not 1, which torch would treat as a constant
    example = torch.zeros(shape, dtype=torch.uint8 if inside else torch.float32)
    try:
        program = torch.export.export(module.eval(), (example,), dynamic_shapes=({0: Dim("batch")},))
    except Exception as error:  # any error of torch's tracer or of the user's code
        raise ValueError(
            _(
                "{path}: torch.export cannot trace {label} for batches of any size: {reason}",
                path=run.path,
                label=run.label,
                reason=one_line(error),
            )
        ) from None
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # contains paths of this machine
    return program


def _onnx_bytes(run: Run, program: ExportedProgram, settings: Settings) -> bytes:
    import onnx as onnx_package

    # The exporter logs operations of torchvision that it skips.
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)
    with warnings.catch_warnings(action="ignore"):
        converted: Any = torch.onnx.export(
            program, dynamo=True, input_names=[INPUT], output_names=[OUTPUT], verbose=False
        )
    model = converted.model_proto
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param:
                dimension.dim_param = "batch"
        del value.metadata_props[:]
    for node in model.graph.node:
        del node.metadata_props[:]
    onnx_package.helper.set_model_props(model, facts(run) | {"preprocessing": settings.preprocessing})
    content: bytes = model.SerializeToString()
    return content


def _input(run: Run, images: np.ndarray, settings: Settings) -> torch.Tensor:
    pixels = torch.from_numpy(images.copy())  # torch.from_numpy warns about a read-only memory map
    return pixels if settings.preprocessing == "inside" else normaliser_of(run.data)(pixels)

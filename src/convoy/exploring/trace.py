"""Records one forward pass as a list of operations for the page's interpreter.

A dispatch mode records the operations that torch executes, so that Python control flow, `x.mean((2, 3))` and `F.conv2d`
need no special support. Results that do not depend on the image are weights, even if the network computes them from
parameters. What the interpreter cannot repeat is an error: an argument that no handler reads and that differs from its
default, a weight that depends on the image, and a tensor whose memory an in-place operation changed through a view.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from convoy.evaluation.cost import DispatchMode
from convoy.evaluation.predict import evaluating
from convoy.exploring.graph import MAX_PARAMETERS, Graph, UnsupportedError
from convoy.exploring.handlers import HANDLERS, Arguments, tensors_in
from convoy.exploring.recorder import Recorder
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
    recorder = Recorder(image)
    with evaluating(module), torch.no_grad(), recorder.hooked(module), _Mode(recorder):
        output = module(image)
    if recorder.number_of(output) != len(recorder.operations):
        recorder.add("identity", [output], output)
    return Graph(tuple(recorder.operations), tuple(recorder.weights), parameters)


class _Mode(DispatchMode):
    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self.recorder = recorder

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, recorder = kwargs or {}, self.recorder
        if all(recorder.number_of(tensor) is None for tensor in tensors_in((args, kwargs))):
            return func(*args, **kwargs)
        name, schema = func._overloadpacket.__name__, func._schema
        bound = {argument.name: argument.default_value for argument in schema.arguments}
        bound |= dict(zip(bound, args, strict=False)) | kwargs
        changed = [bound[each.name] for each in schema.arguments if each.alias_info and each.alias_info.is_write]
        for tensor in changed:
            recorder.value_of(tensor)  # before it changes
        result = func(*args, **kwargs)
        handler = HANDLERS.get(name.removesuffix("_")) or HANDLERS.get(name)
        if handler is None:
            raise recorder.unsupported(name)
        arguments = Arguments(bound)
        handler(recorder, arguments, result)
        if (ignored := arguments.ignored(schema)) is not None:
            raise recorder.unsupported(f"{name} ({ignored})")
        recorder.mark_unknown(tensors_in(result))
        for tensor in changed:
            recorder.mark_changed(tensor)
        return result

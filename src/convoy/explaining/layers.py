"""The layers of a network: which ones output maps, statistics of their outputs, and the gradients of a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from convoy.evaluation.losses import Loss
from convoy.evaluation.naming import describe
from convoy.evaluation.predict import evaluating, images_per_batch
from convoy.explaining.result import LayerStatistics
from convoy.text import gettext as _

BATCH = 250  # images of up to 32 x 32 pixels
ROLES = ("conv", "linear", "attention", "norm", "activation")  # roles of the layers with statistics
PASSING_ON = (
    "identity",
    "dropout",
)  # roles that return their input in evaluation mode; identity includes nn.Sequential
# Functions that a user's `forward` calls between its layers, without the underscore of in-place ones.
ACTIVATIONS = {
    "relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "mish", "hardtanh", "hardswish", "softplus",
    "sigmoid", "tanh",
}  # fmt: skip


class Place(NamedTuple):
    """A call in a forward pass: of a module, or of an activation function by a module."""

    name: str  # name of the module in the state dict; for a function, followed by its name: "features.relu()"
    occurrence: int = 0  # number of this call in the pass, from 0


@dataclass(frozen=True)
class Layer:
    place: Place
    kind: str  # class and settings, such as "Conv2d 5×5"
    role: str
    shape: tuple[int, ...]  # shape of the output for one image
    passes_on: bool  # whether the output is that of another layer: of a Sequential, Identity or dropout
    channels_last: bool  # whether the units are the last dimension of the output

    @property
    def label(self) -> str:
        name = self.place.name or self.kind
        return f"{name} ({self.place.occurrence + 1})" if self.place.occurrence else name

    @property
    def has_maps(self) -> bool:
        """Whether the output has several pixels for each channel."""
        return len(self.shape) == 3 and self.shape[1] * self.shape[2] > 1 and not self.channels_last


# Called after each call of a layer, with its first input and its output. A returned tensor replaces the output.
Visitor = Callable[[Layer, torch.Tensor | None, torch.Tensor], torch.Tensor | None]


class _Pass(TorchFunctionMode):
    """Calls a visitor for each layer of a forward pass, in the order in which they return."""

    def __init__(self, visit: Visitor) -> None:
        super().__init__()
        self.visit = visit
        self._open: list[tuple[str, str]] = []  # name and role of the modules that are running
        self._counts: dict[str, int] = {}

    def enter(self, name: str, module: nn.Module, args: Any) -> None:
        if not self._open:
            self._counts.clear()
        self._open.append((name, describe(module).role))

    def leave(self, name: str, module: nn.Module, args: Any, output: Any) -> Any:
        role = self._open.pop()[1]
        described = describe(module)
        kind = f"{described.kind} {described.settings}".strip()
        replaced = self._end(name, kind, role, (args, output))
        return output if replaced is None or not isinstance(output, torch.Tensor) else replaced

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "").rstrip("_")
        if name in ACTIVATIONS and self._open and self._open[-1][1] in ("other", "identity"):
            module = self._open[-1][0]
            place = f"{module}.{name}()".lstrip(".")
            replaced = self._end(place, f"{name}()", "activation", (args, output))
            return output if replaced is None else replaced
        return output

    def _end(self, name: str, kind: str, role: str, tensors: Any) -> torch.Tensor | None:
        inputs, outputs = ([leaf for leaf in tree_leaves(each) if isinstance(leaf, torch.Tensor)] for each in tensors)
        occurrence = self._counts.get(name, 0)
        self._counts[name] = occurrence + 1
        if not outputs:
            return None
        shape = tuple(outputs[0].shape[1:])
        layer = Layer(Place(name, occurrence), kind, role, shape, role in PASSING_ON, _channels_last(shape, role))
        with torch._C.DisableTorchFunctionSubclass():
            return self.visit(layer, inputs[0] if inputs else None, outputs[0])


def _channels_last(shape: tuple[int, ...], role: str) -> bool:
    """Whether the units are the last dimension, as for tokens, or for square maps with the channels last."""
    if len(shape) == 3:
        return shape[0] == shape[1] != shape[2]
    return len(shape) == 2 and role != "conv"


@contextmanager
def visiting(module: nn.Module, visit: Visitor) -> Iterator[None]:
    """Calls `visit` for each layer of the forward passes in this context, which are in evaluation mode."""
    one_pass = _Pass(visit)
    handles = []
    for name, submodule in module.named_modules():
        handles.append(submodule.register_forward_pre_hook(partial(one_pass.enter, name)))
        handles.append(submodule.register_forward_hook(partial(one_pass.leave, name)))
    try:
        with evaluating(module), one_pass:
            yield
    finally:
        for handle in handles:
            handle.remove()


def layers_of(module: nn.Module, shape: tuple[int, int, int]) -> list[Layer]:
    """Returns the layers of a forward pass of an image of this shape, in the order in which they return."""
    layers: list[Layer] = []
    with torch.no_grad(), visiting(module, lambda layer, given, output: layers.append(layer)):
        module(torch.zeros(1, *shape))
    return layers


def cam_layer(layers: Sequence[Layer]) -> Layer | None:
    """Returns the layer for Grad-CAM: the last of the layers whose maps have the size of the last convolution's.

    This is the end of the last residual block, or the activation between the last convolution and pooling. Returns None
    without a convolution that outputs maps.
    """
    convolutions = [layer for layer in layers if layer.role == "conv" and layer.has_maps]
    if not convolutions:
        return None
    size = convolutions[-1].shape[1:]
    fitting = [layer for layer in layers if layer.has_maps and layer.shape[1:] == size and not layer.passes_on]
    return fitting[-1]


def outputs_of(module: nn.Module, x: torch.Tensor, places: Sequence[Place]) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Returns the output for x (B, C, H, W), and the outputs of some layers, with respect to which it has gradients.

    Raises ValueError if a layer does not run for x.
    """
    outputs: dict[Place, torch.Tensor] = {}

    def visit(layer: Layer, given: torch.Tensor | None, output: torch.Tensor) -> torch.Tensor | None:
        if layer.place not in places:
            return None
        outputs[layer.place] = output
        return output.clone()  # the next layer may be an in-place operation

    with visiting(module, visit):
        result = module(x)
    for place in places:
        if place not in outputs:
            raise ValueError(
                _(
                    "{layer}: this layer does not run for every image, because forward depends on the pixels; "
                    "the network cannot be explained",
                    layer=place.name,
                )
            )
    return result, [outputs[place] for place in places]


class _Sums:
    """Running statistics of a layer's outputs."""

    def __init__(self, layer: Layer) -> None:
        self.layer = layer
        self.numbers = 0
        self.total = self.squares = self.zeros = 0.0
        self.lowest = self.highest = torch.empty(0)  # extremes of each number of the output

    def add(self, output: torch.Tensor) -> None:
        self.numbers += output.numel()
        values = output.double()
        self.total += float(values.sum())
        self.squares += float(values.square().sum())
        self.zeros += float((output == 0).sum())
        low, high = output.amin(0), output.amax(0)
        is_first = self.lowest.shape != low.shape
        self.lowest = low if is_first else torch.minimum(self.lowest, low)
        self.highest = high if is_first else torch.maximum(self.highest, high)

    def statistics(self, gradient_norm: float | None, weight_norm: float | None) -> LayerStatistics:
        varies = self.lowest != self.highest
        if varies.dim() > 1:  # a unit varies if any of its positions varies
            varies = varies.movedim(-1 if self.layer.channels_last else 0, 0).flatten(1).any(1)
        mean = self.total / self.numbers
        return LayerStatistics(
            name=self.layer.label,
            kind=self.layer.kind,
            output=self.layer.shape,
            units=varies.numel(),
            dead_units=int((~varies).sum()),
            mean=mean,
            sd=max(0.0, self.squares / self.numbers - mean**2) ** 0.5,
            zeros=self.zeros / self.numbers,
            gradient_norm=gradient_norm,
            weight_norm=weight_norm,
        )


class Passes(NamedTuple):
    """Passes of N images."""

    statistics: list[LayerStatistics]  # in the order in which the layers return
    logits: np.ndarray  # float32 [N, classes]
    features: np.ndarray  # float32 [N, F]: the input of the last layer with weights
    last_layer: str


def passes(
    module: nn.Module,
    images: np.ndarray,
    normaliser: Callable[[torch.Tensor], torch.Tensor],
    gradients: dict[str, tuple[float, float]],
) -> Passes:
    """Runs all images, uint8 [N, C, H, H], through the network. `gradients`: the result of `gradient_norms`.

    A unit is a channel of maps or an output of a linear layer. It is dead if its output at each position is the same
    for all images, for example a ReLU whose input is never positive.
    """
    channels, height, width = images.shape[1:]
    owners = {name for name, submodule in module.named_modules() if _own_parameters(submodule)}
    with_weights = [layer for layer in layers_of(module, (channels, height, width)) if layer.role in ("conv", "linear")]
    last = with_weights[-1] if with_weights else None
    sums: dict[Place, _Sums] = {}
    logits: list[torch.Tensor] = []
    features: list[torch.Tensor] = []

    def visit(layer: Layer, given: torch.Tensor | None, output: torch.Tensor) -> None:
        if layer.role in ROLES or layer.place.name in owners:
            sums.setdefault(layer.place, _Sums(layer)).add(output)
        if last is not None and layer.place == last.place and given is not None:
            features.append(_features(given, layer))

    with torch.inference_mode(), visiting(module, visit):
        size = images_per_batch(images, BATCH)
        for start in range(0, len(images), size):
            logits.append(module(normaliser(torch.from_numpy(images[start : start + size].copy()))).float())
    rows = [
        each.statistics(*(gradients.get(place.name, (None, None)) if place.occurrence == 0 else (None, None)))
        for place, each in sums.items()
    ]
    outputs = torch.cat(logits).numpy()
    return Passes(
        rows, outputs, torch.cat(features).float().numpy() if features else outputs, last.label if last else ""
    )


def _features(given: torch.Tensor, layer: Layer) -> torch.Tensor:
    """Returns one row per image. Maps before a convolution and tokens before a linear layer are averaged."""
    if given.dim() == 2:
        return given
    return given.mean(dim=tuple(range(2, given.dim()))) if layer.role == "conv" else given.flatten(1, -2).mean(1)


def gradient_norms(
    module: nn.Module, x: torch.Tensor, labels: torch.Tensor, loss: Loss
) -> dict[str, tuple[float, float]]:
    """Returns two norms per module with parameters: of the loss gradient on x (B, C, H, W), and of the weights.

    Uses evaluation mode, so that they do not depend on dropout and batch statistics.
    """
    own = {name: parameters for name, each in module.named_modules() if (parameters := _own_parameters(each))}
    every = list(dict.fromkeys(parameter for parameters in own.values() for parameter in parameters))
    with evaluating(module), torch.enable_grad():
        gradients_of_all = torch.autograd.grad(loss(module(x), labels), every, allow_unused=True)
    by_parameter = dict(zip(every, gradients_of_all, strict=True))
    norms = {}
    for name, parameters in own.items():
        gradients = [gradient for each in parameters if (gradient := by_parameter[each]) is not None]
        if gradients:
            norms[name] = (_norm(gradients), _norm(parameters))
    return norms


def _own_parameters(module: nn.Module) -> list[nn.Parameter]:
    """Returns the module's direct parameters; for attention, also those of child layers that it does not call."""
    parameters = module.parameters(recurse=isinstance(module, nn.MultiheadAttention))
    return [parameter for parameter in parameters if parameter.requires_grad]


def _norm(tensors: Sequence[torch.Tensor]) -> float:
    return float(torch.stack([tensor.detach().double().square().sum() for tensor in tensors]).sum().sqrt())

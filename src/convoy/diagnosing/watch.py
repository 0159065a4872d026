"""Records the operations of a forward pass: where they are, what they compute, and their order."""

from __future__ import annotations

import math
import sys
import sysconfig
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from convoy.diagnosing.activations import Activation, activation_of
from convoy.diagnosing.constant_factors import ConstantFactors, constant_of
from convoy.diagnosing.feature_axes import VIEWS, FeatureAxes, Features, tensors_of
from convoy.diagnosing.origins import REDUCTIONS, Origins
from convoy.evaluation.cost import DispatchMode
from convoy.text import gettext as _

LINEAR = {"convolution": (0, 1), "linear": (0, 1), "addmm": (1, 2), "mm": (0, 1)}  # positions of input and weights
CHANNEL_DROPOUT = (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
MANY_DROPPED = 0.05  # fraction of the images that lose all channels
LARGE_EPSILON = 0.1  # usual values: 1e-5 to 1e-3
WITH_WEIGHTS = {*LINEAR, "bmm", "native_batch_norm", "native_layer_norm", "cudnn_batch_norm"}
_CONVOY = str(Path(__file__).parents[1])
_NOT_THE_USERS = (*(sysconfig.get_path(name) for name in ("stdlib", "purelib")), _CONVOY, *torch.__path__)


@dataclass(frozen=True)
class Place:
    """An operation of a forward pass."""

    operation: str
    layer: str  # name of the module that runs it; empty for the network itself
    line: str = ""  # file and line of the user's code; empty in built-in networks

    def __str__(self) -> str:
        return f"{self.operation}{self.where}"

    @property
    def where(self) -> str:
        """Layer and line in brackets, with a leading space; empty if neither is known."""
        where = self.layer or self.line
        if self.layer and self.line:
            where = _("{label}, {detail}", label=self.layer, detail=self.line)
        return _(" ({where})", where=where) if where else ""

    @property
    def in_layer(self) -> str:
        layer = self.layer or _("the network itself")
        return _("{text} ({note})", text=layer, note=self.line) if self.line else layer


@dataclass(frozen=True)
class Norm:
    """A batch norm. It computes statistics along dimension 1 of its input, [B, N, ...]."""

    place: Place
    shape: tuple[int, ...]
    features: Features  # features of the layer before it


@dataclass(frozen=True)
class Epsilon:
    """The number that a norm adds to the variance of its inputs."""

    place: Place
    value: float
    variance: float  # variance of the inputs of the first norm with this number


@dataclass(frozen=True)
class Patches:
    """Pieces of the images with as many values as square patches, cut in memory order."""

    place: Place
    side: int
    values: int  # values in each piece: C * side * side
    are_rows: bool  # each piece is one or more rows, or an equal part of a row, of a grey image


@dataclass(eq=False)
class Watch(DispatchMode):
    """Records the operations of a forward pass."""

    images: torch.Tensor
    looks_for_not_finite: bool = False
    fewest_images: int = 1  # a unit is only called dead if it was seen on at least this many images
    activations: list[Activation] = field(default_factory=list)
    operations: set[str] = field(default_factory=set)
    calls: Counter[str] = field(default_factory=Counter)
    opening: list[str] = field(default_factory=list)
    opening_factor: float = 1.0  # product of the numbers by which the images are multiplied there
    writers: dict[int, Place] = field(default_factory=dict)  # address of a tensor's values -> operation
    # Linear layer -> spread of its outputs over the images.
    signals: list[tuple[Place, float]] = field(default_factory=list)
    # Pairs of dense linear layers without an activation between them.
    adjacent: list[tuple[Place, Place]] = field(default_factory=list)
    norms: list[Norm] = field(default_factory=list)  # only norms whose feature dimension is known
    epsilons: list[Epsilon] = field(default_factory=list)  # only those of at least LARGE_EPSILON
    # Calls of detach() whose result forward uses, on outputs that depend on trained weights.
    detached: list[Place] = field(default_factory=list)
    factors: ConstantFactors = field(default_factory=ConstantFactors)
    origins: Origins = field(default_factory=Origins)
    before_layers: set[Place] = field(default_factory=set)  # activations that feed a layer with weights
    softmaxed: list[Place] = field(default_factory=list)  # layers with weights that a softmax feeds
    # Matrix products with a softmax that was taken over another dimension than the one they sum over.
    misnormalised: list[Place] = field(default_factory=list)
    dropped: dict[str, float] = field(
        default_factory=dict
    )  # channel dropout -> fraction of images that lose all channels
    patches: list[Patches] = field(default_factory=list)  # pieces that a reshape alone cuts from the images
    multiplied: Place | None = None  # the last constant factor after the first layer
    not_finite: Place | None = None
    _cut: dict[int, tuple[torch.Tensor, Place]] = field(default_factory=dict)  # results of detach, by id
    _axes: FeatureAxes = field(default_factory=FeatureAxes)
    _layers: list[str] = field(default_factory=list)
    _dense: dict[int, tuple[Place, tuple[int, ...]]] = field(default_factory=dict)  # of an output -> shape of weights
    _opened: bool = False  # a layer with parameters was reached

    def __post_init__(self) -> None:
        super().__init__()

    @contextmanager
    def hooked(self, module: nn.Module) -> Iterator[None]:
        """Uses global hooks, because creating a hook for each of a thousand modules is slow."""
        names = {id(part): name for name, part in module.named_modules()}
        counted = {id(part) for part in module.modules() if any(each is not None for each in part._parameters.values())}

        def enter(part: nn.Module, args: tuple[object, ...]) -> None:
            if id(part) in names:
                self._layers.append(names[id(part)])
                self._drop(names[id(part)], part, args)
                if id(part) in counted:
                    self.calls[names[id(part)]] += 1

        def leave(part: nn.Module, args: object, output: object) -> None:
            if id(part) in names:
                self._layers.pop()

        handles = register_module_forward_pre_hook(enter), register_module_forward_hook(leave, always_call=True)
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _drop(self, name: str, part: nn.Module, args: tuple[object, ...]) -> None:
        if isinstance(part, CHANNEL_DROPOUT) and part.training and args and isinstance(args[0], torch.Tensor):
            share = part.p ** args[0].shape[1] if args[0].ndim > 2 else 0.0
            if share >= MANY_DROPPED:
                self.dropped[name] = share

    def place(self, operation: str) -> Place:
        return Place(operation, self._layers[-1] if self._layers else "", _line_of_user())

    def starts_with(self, images: torch.Tensor) -> None:
        """`images`: [B, C, H, W], the argument of the network."""
        self._axes.start(images)
        self.factors.start(images)
        self.origins.start(images)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func._overloadpacket.__name__
        output = result[0] if isinstance(result, tuple) and result else result
        if not isinstance(output, torch.Tensor) or not output.is_floating_point():
            if isinstance(result, list):  # split, unbind
                self.origins.record(name, self.place(name), args, result)
            return result
        self.operations.add(name)
        if name == "bmm" and "_softmax" in self.operations and _sums_along_the_other(*args):
            self.misnormalised.append(self.place("softmax"))
        if name in WITH_WEIGHTS:
            self._opened = True
        if not self._opened:
            self._open(name, args)
        place = self.place(name.strip("_"))
        if "batch_norm" in name and (features := self._axes.of(args[0])) is not None:
            self.norms.append(Norm(place, tuple(args[0].shape), features))
        if name == "view" and not self._opened and self._axes.of(args[0]) is not None and args[0].ndim == 4:
            self.patches += patches_of(place, tuple(args[0].shape), tuple(output.shape))
        averages = self._opened and name in REDUCTIONS and _over_features(args, self._axes.of(args[0]))
        self._axes.record(name, args, output)
        outputs = result if isinstance(result, tuple) else (result,)
        self.origins.record(name, place, args, outputs, 1 if averages else _units(name, args))
        self._scale(name, place, args, output)
        self._detach(name, place, args, output)
        if name not in VIEWS:
            self._write(name, place, args, output)
        if self.looks_for_not_finite and self.not_finite is None and not torch.isfinite(output).all():
            self.not_finite = place
        if output.ndim >= 2 and len(output) == len(self.images):
            activation = activation_of(name, place, args, output.detach(), fewest_images=self.fewest_images)
            self.activations += [] if activation is None else [activation]
        return result

    def _scale(self, name: str, place: Place, args: Any, output: torch.Tensor) -> None:
        if self._opened:  # a factor before the first layer is in `opening_factor`
            self.factors.record(name, args, output)
            if name.strip("_") in ("mul", "div") and constant_of(args) != 1:
                self.multiplied = place
        else:
            self.factors.start(output)
        if name.startswith("native_") and "norm" in name and args[-1] >= LARGE_EPSILON:
            self.epsilons.append(Epsilon(place, args[-1], float(args[0].detach().var())))

    def _detach(self, name: str, place: Place, args: Any, output: torch.Tensor) -> None:
        """Also called for tensors that autograd detaches to save them, but forward does not use these."""
        for each in tensors_of(args) if self._cut else ():
            if id(each) in self._cut:
                self.detached.append(self._cut.pop(id(each))[1])
        if name == "detach" and place.line and args[0].requires_grad and _depends_on_weights(args[0]):
            self._cut[id(output)] = output, place

    def _open(self, name: str, args: Any) -> None:
        self.opening.append(name)
        if name.rstrip("_") in ("div", "mul") and isinstance(args[1], int | float) and args[1]:
            self.opening_factor *= float(args[1]) if name.startswith("mul") else 1 / args[1]
        elif name.rstrip("_") in ("div", "mul") and args[1].numel() == 1 and bool(args[1] != 0):
            self.opening_factor *= float(args[1]) if name.startswith("mul") else 1 / float(args[1])

    def _write(self, name: str, place: Place, args: Any, output: torch.Tensor) -> None:
        address = output.data_ptr()
        self.writers[address] = place
        before = self._dense.pop(address, None)
        if name not in LINEAR:
            if name == "mul" and self.origins.is_dropout(*args) and args[0].data_ptr() in self._dense:
                self._dense[address] = self._dense[args[0].data_ptr()]
            return
        self.signals.append((place, float((output.detach() - output.detach()[:1]).abs().mean())))
        source, weights = (args[position] for position in LINEAR[name])
        before = self._dense.get(source.data_ptr(), before if source.data_ptr() == address else None)
        origin = self.origins.of(source)
        if origin is not None and not self.origins.depends_on_images(weights):
            self.before_layers.add(origin.place)
            if origin.place.operation == "softmax":
                self.softmaxed.append(place)
        shape = tuple(weights.shape if name in ("convolution", "linear") else weights.shape[::-1])
        if name == "convolution" and (args[8] > 1 or min(shape[2:]) == 1):
            return  # depthwise or pointwise convolutions often follow each other without an activation
        if before is not None:
            place_before, shape_before = before
            is_bottleneck = len(shape) == 2 and shape[1] < min(_fan_in(shape_before), shape[0])
            if not is_bottleneck:
                self.adjacent.append((place_before, place))
        self._dense[address] = place, shape


def patches_of(place: Place, images: tuple[int, ...], output: tuple[int, ...]) -> list[Patches]:
    """Finds a reshape of [B, C, H, W] to [B, patches, C * p * p] or [B, patches, C, p, p], which cuts no patches."""
    _batch, channels, height, width = images
    if len(output) < 3 or output[0] != images[0] or min(output[1], *images[2:]) < 2:
        return []
    values = math.prod(output[2:])
    side = math.isqrt(values // channels)
    is_grid = height % (side or 1) == width % (side or 1) == 0 and output[1] == height * width // max(side, 1) ** 2
    if side < 2 or channels * side**2 != values or not is_grid:
        return []
    are_patches = len(output) == 3 or output[2:] in ((channels, side, side), (side, side), (side, side, channels))
    are_rows = channels == 1 and (values % width == 0 or width % values == 0)
    return [Patches(place, side, values, are_rows)] if are_patches else []


def _over_features(args: Any, features: Features | None) -> bool:
    """Whether an average or maximum reduces the features (and possibly other dimensions, but not the batch)."""
    if features is None or features.per_position or len(args) < 2:
        return False
    given = args[1] if isinstance(args[1], list | tuple) else [args[1]]
    dimensions = {each % args[0].ndim for each in given}
    return features.axis in dimensions and 0 not in dimensions


def _sums_along_the_other(left: torch.Tensor, right: torch.Tensor) -> bool:
    """Whether one factor of a batched product, [B, n, k] @ [B, k, m], sums to one along n or m, but not along k."""
    for factor, kept, summed in ((left, 1, 2), (right, 2, 1)):
        is_softmax = min(factor.shape[1:]) > 1 and bool((factor >= 0).all()) and _is_one(factor.sum(kept))
        if is_softmax and not _is_one(factor.sum(summed)):
            return True
    return False


def _is_one(sums: torch.Tensor) -> bool:
    return bool((sums - 1).abs().max() < 1e-4)


def _units(name: str, args: Any) -> int:
    """Returns the number of output channels of a layer with weights, or 0 for another operation."""
    if name not in LINEAR:
        return 0
    weights = args[LINEAR[name][1]]
    return int(weights.shape[1 if name in ("addmm", "mm") else 0])


def _depends_on_weights(tensor: torch.Tensor) -> bool:
    steps, seen = [tensor.grad_fn], set()
    while steps:
        step = steps.pop()
        if step is None or step in seen:
            continue
        if isinstance(getattr(step, "variable", None), nn.Parameter):
            return True
        seen.add(step)
        steps += [before for before, _index in step.next_functions]
    return False


def _fan_in(shape: tuple[int, ...]) -> int:
    count = 1
    for length in shape[1:]:
        count *= length
    return count


def _line_of_user() -> str:
    """Returns the innermost line that is neither Convoy's nor a library's, as file:line."""
    frame = sys._getframe(2)
    while frame.f_back is not None:
        if name := _file_of_user(frame.f_code.co_filename):
            return "" if name == _CALLER else f"{name}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


@cache
def _file_of_user(file: str) -> str:
    """Returns the name of a user's file, _CALLER if the pass was started there; otherwise ""."""
    if file.startswith(str(Path(__file__).with_name("first_step.py"))):
        return _CALLER
    return "" if file.startswith((*_NOT_THE_USERS, "<")) else Path(file).name


_CALLER = "<caller>"  # not the name of a file

"""Profiles a network: its layers, the memory of training, and the duration of a forward pass."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import NamedTuple

import torch
from torch import nn

from convoy import models
from convoy.data import load
from convoy.evaluation.cost import Milliseconds, parameters, timed_passes
from convoy.evaluation.trace import Trace, trace
from convoy.models import user
from convoy.models.network import without_weights
from convoy.profiling.result import Activations, Latency, Layer, LayerNote, Profile, TrainingMemory
from convoy.recipe import Recipe
from convoy.recipe.sections import MAX_IMAGE_SIZE
from convoy.registry import is_user_class
from convoy.text import gettext as _

LARGE_BATCH = 128
QUICK_SECONDS = 0.2
MAX_PASS_SECONDS = 10.0  # seconds; the large batch is halved until its estimated time is shorter
FEW_FLOPS = 4_000_000_000  # of one image: training passes of 6 images take up to a second, as measured on one core
SMALL_BATCHES = (2, 4)  # batch sizes at which activations are measured; they are linear in the batch size
DIGITS = (1, 10, 28)  # default channels, classes and pixels for a user's class
# Roles of operations that the table of layers lists; others, such as `+` and relu(), are omitted.
LISTED_OPERATIONS = ("conv", "linear", "product", "pool", "resize")


class Subject(NamedTuple):
    """A network to profile, and its input."""

    label: str
    recipe: Recipe
    in_chans: int
    classes: int
    image_size: int

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.in_chans, self.image_size, self.image_size


def subject_of(label: str, recipe: Recipe, *, image: str | None, classes: int | None, from_data: bool) -> Subject:
    """The input is `image` ("1x28x28"), otherwise that of the recipe's data (`from_data`) or the model's `counted_at`.

    Raises ValueError for an image that is not square, for `classes` if the data define them, and for the same errors as
    `models.create`, because the network is built here to find errors before any measurement.
    """
    name = recipe.model.name
    if from_data and image is None:
        if classes is not None:
            raise ValueError(
                _(
                    "classes = {classes}: cannot be set, because the data {name} define the classes",
                    classes=classes,
                    name=recipe.data.name,
                )
            )
        train = load(recipe.data.name, size=recipe.data.size).train
        in_chans, default_classes, size = train.channels, len(train.classes), train.size
    else:
        in_chans, default_classes, size = models.MODELS[name].counted_at if name in models.MODELS else DIGITS
        if image is not None:
            in_chans, size = _channels_and_size(image)
        if classes is not None and classes < 1:
            raise ValueError(_("classes = {classes}: expected at least 1", classes=classes))
    subject = Subject(label, recipe, in_chans, classes or default_classes, size)
    shape_of(subject)
    return subject


def shape_of(subject: Subject) -> nn.Module:
    """Returns the network on the meta device, which is fast; networks of users and libraries are on the CPU."""
    if subject.recipe.model.name not in models.MODELS:
        return network_of(subject)
    with without_weights():
        return network_of(subject)


def network_of(subject: Subject) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return models.create(
            subject.recipe.model.name,
            in_chans=subject.in_chans,
            num_classes=subject.classes,
            image_size=subject.image_size,
            options=subject.recipe.model.options,
        )


def _channels_and_size(image: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d*)[x×]([1-9]\d*)[x×]([1-9]\d*)", image.strip())
    if match is None:
        raise ValueError(_("input {image!r}: expected channels x height x width, such as 1x28x28", image=image))
    channels, height, width = map(int, match.groups())
    if height != width:
        raise ValueError(
            _(
                "input {image!r}: expected a square image, got {height} x {width} pixels",
                image=image,
                height=height,
                width=width,
            )
        )
    if max(channels, height) > MAX_IMAGE_SIZE:
        raise ValueError(
            _(
                "input {image!r}: expected at most {largest_image} channels and pixels per side",
                image=image,
                largest_image=MAX_IMAGE_SIZE,
            )
        )
    return channels, height


def profile(
    subject: Subject,
    device: torch.device,
    *,
    state_per_parameter: int,
    quick: bool = False,
    module: nn.Module | None = None,
) -> Profile:
    """`state_per_parameter`: values of optimizer state per trained parameter. `quick`: fewer passes. `module`: the
    network; by default, it is built from the recipe.

    Raises ValueError if a user's network fails in a forward or backward pass.
    """
    module = module or network_of(subject)
    with torch.random.fork_rng(devices=[]), _user_errors(subject.recipe.model.name):
        module = module.to(device)
        network_trace = trace(module, torch.zeros(1, *subject.shape, device=device))
        flops = sum(call.flops for call in network_trace.root.walk())
        activations = activation_bytes(module, subject.shape, "cpu" if flops < FEW_FLOPS else "meta")
        latencies = _latencies(module, subject.shape, device, QUICK_SECONDS if quick else None)
    weights = list(module.parameters())
    trained = sum(weight.nbytes for weight in weights if weight.requires_grad)
    recipe, batch_size = subject.recipe, subject.recipe.train.batch_size
    return Profile(
        label=subject.label,
        model=recipe.model.name,
        options=recipe.model.options,
        input=subject.shape,
        classes=subject.classes,
        parameters=parameters(module),
        flops_per_image=flops,
        activations=activations,
        training=TrainingMemory(
            batch_size,
            sum(weight.nbytes for weight in weights),
            trained,
            state_per_parameter * trained,
            activations.of(math.ceil(batch_size / recipe.train.accumulate)),
        ),
        optimizer=recipe.optim.name,
        latencies=latencies,
        device=str(device),
        threads=torch.get_num_threads(),
        flaws=tuple(getattr(module, "flaws", ())),
        layers=tuple(layers_of(network_trace)),
        unreached=network_trace.unreached,
        calls=network_trace.root,
    )


def activation_bytes(module: nn.Module, shape: tuple[int, int, int], device: str = "meta") -> Activations:
    """Counts the bytes of the storages that autograd saves for the backward pass on a CPU, including the images.

    Each storage is counted once; parameters, buffers and the loss are not counted. The passes run in training mode. The
    meta device has only shapes, so that even a network too large for this machine can be measured, but its first pass
    imports torch's compiler, which takes seconds.
    """
    try:
        few, more = (_saved_bytes(deepcopy(module).to(device), shape, count) for count in SMALL_BATCHES)
    except Exception:  # a user's network may read values, or create tensors on the CPU
        few, more = (_saved_bytes(deepcopy(module).to("cpu"), shape, count) for count in SMALL_BATCHES)
    per_image = (more - few) // (SMALL_BATCHES[1] - SMALL_BATCHES[0])
    return Activations(few - SMALL_BATCHES[0] * per_image, per_image)


def _saved_bytes(module: nn.Module, shape: tuple[int, int, int], count: int) -> int:
    # A storage on the meta device has no address, so the handle identifies it.
    excluded = {tensor.untyped_storage()._cdata for tensor in (*module.parameters(), *module.buffers())}
    saved: dict[int, torch.UntypedStorage] = {}

    def save(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        saved[storage._cdata] = storage
        return tensor.detach()  # returning the tensor itself would create a reference cycle with the graph

    with torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
        module.train()(torch.zeros(count, *shape, device=next(module.parameters()).device))
    return sum(storage.nbytes() for handle, storage in saved.items() if handle not in excluded)


def _latencies(
    module: nn.Module, shape: tuple[int, int, int], device: torch.device, longest: float | None
) -> tuple[Latency, Latency]:
    """`longest`: maximum seconds of all passes, and of a pass of the large batch; None: the defaults."""
    single = _latency(module, torch.rand(1, *shape, device=device), longest)
    count = LARGE_BATCH
    while count > 1 and count * single.ms / 1000 > (longest or MAX_PASS_SECONDS):
        count //= 2
    return single, _latency(module, torch.rand(count, *shape, device=device), longest)


def _latency(module: nn.Module, images: torch.Tensor, longest: float | None) -> Latency:
    seconds = timed_passes(module, images, longest)
    return Latency(len(images), *Milliseconds.of(seconds), len(seconds))


@contextmanager
def _user_errors(name: str) -> Iterator[None]:
    """Converts an error in a user's code to a ValueError with file and line."""
    try:
        yield
    except Exception as error:
        if is_user_class(name) and user.failed_in(name, error):
            raise user.failure(name, error, in_profile=True) from None
        raise


def layers_of(network_trace: Trace) -> Iterator[Layer]:
    for call in network_trace.root.walk():
        name = call.name or network_trace.root.kind
        if call.calls:
            if call.parameters:
                yield Layer(name, "", (), call.parameters, 0, LayerNote.OWN)
        elif not call.operation or call.role in LISTED_OPERATIONS or call.kind == "concatenate":
            note = LayerNote.SHARED if call.reused else LayerNote.NONE
            kind = f"{call.kind}()" if call.operation else call.kind
            yield Layer(name, f"{kind} {call.settings}".strip(), call.output, call.parameters, call.flops, note)
    for name, count in network_trace.unreached.items():
        yield Layer(name, "", (), count, 0, LayerNote.UNUSED)

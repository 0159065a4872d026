"""A network layer by layer, what its training would hold in memory, and how long a pass takes."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn

from convoy import models
from convoy.data import load
from convoy.evaluation.cost import Milliseconds, parameters, timed_passes
from convoy.evaluation.trace import Trace, trace
from convoy.models import user
from convoy.recipe import LARGEST_IMAGE, Recipe
from convoy.registry import is_user_class

LARGE_BATCH = 128
QUICK_SECONDS = 0.2
LONGEST_PASS = 10.0  # seconds; a larger batch is halved until one image's time says that a pass stays below
SMALL_BATCHES = (2, 4)  # from which the activations of any batch follow
DIGITS = (1, 10, 28)  # channels, classes, pixels for a class of the user's, where nothing else is said
SHOWN_OPERATIONS = ("conv", "linear", "product", "pool", "resize")  # in the layer table; `+` and relu() pass unnamed


class Subject(NamedTuple):
    """A network to be profiled, and the images that it is to take."""

    label: str
    recipe: Recipe
    in_chans: int
    classes: int
    image_size: int

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.in_chans, self.image_size, self.image_size


class Layer(NamedTuple):
    """A row of the layer table: a call, of one image."""

    name: str
    kind: str
    output: tuple[int, ...]
    parameters: int  # used here first
    flops: int
    note: str = ""


class Sizes(NamedTuple):
    """Bytes of one image's pass, 4 a number: of the image, of all outputs in the layer table, of the parameters."""

    input: int
    outputs: int
    parameters: int

    @property
    def total(self) -> int:
        return self.input + self.outputs + self.parameters


class TrainingMemory(NamedTuple):
    """Bytes while a batch is trained on, computed: gradients as large as what is trained, `kept` by the optimizer."""

    batch_size: int
    parameters: int
    gradients: int
    kept: int
    activations: int

    @property
    def total(self) -> int:
        return self.parameters + self.gradients + self.kept + self.activations


class Latency(NamedTuple):
    batch_size: int
    ms: float  # median of a pass
    lower_ms: float  # quartiles
    upper_ms: float
    passes: int

    @property
    def images_per_second(self) -> float:
        return 1000 * self.batch_size / self.ms


class Activations(NamedTuple):
    """Bytes that a batch keeps for the backward pass: a fixed part, and one for each image."""

    fixed: int
    per_image: int

    def of(self, batch_size: int) -> int:
        return self.fixed + batch_size * self.per_image


@dataclass(frozen=True)
class Profile:
    subject: Subject
    trace: Trace
    parameters: int
    activations: Activations
    training: TrainingMemory
    latencies: tuple[Latency, ...]
    device: str
    threads: int
    flaws: tuple[str, ...]

    @property
    def flops_per_image(self) -> int:
        return sum(call.flops for call in self.trace.root.walk())

    @property
    def layers(self) -> list[Layer]:
        return list(_layers(self.trace))

    @property
    def sizes(self) -> Sizes:
        outputs = sum(math.prod(layer.output) for layer in self.layers if layer.output)
        return Sizes(*(4 * count for count in (math.prod(self.subject.shape), outputs, self.parameters)))

    def as_json(self) -> dict[str, Any]:
        return {
            "label": self.subject.label,
            "model": self.subject.recipe.model.name,
            "options": self.subject.recipe.model.options,
            "input": list(self.subject.shape),
            "classes": self.subject.classes,
            "parameters": self.parameters,
            "flops_per_image": self.flops_per_image,
            "macs_per_image": self.flops_per_image // 2,
            "size_bytes": {**self.sizes._asdict(), "total": self.sizes.total},
            "activation_bytes": self.activations._asdict(),
            "training_bytes": {**self.training._asdict(), "total": self.training.total},
            "optimizer": self.subject.recipe.optim.name,
            "latency": [{**each._asdict(), "images_per_second": each.images_per_second} for each in self.latencies],
            "device": self.device,
            "threads": self.threads,
            "flaws": list(self.flaws),
            "layers": [layer._asdict() for layer in self.layers],
            "unreached": self.trace.unreached,
            "calls": self.trace.root.as_json(),
        }


def subject_of(label: str, recipe: Recipe, *, image: str | None, classes: int | None, from_data: bool) -> Subject:
    """`image` ("1x28x28") decides, then the recipe's data, loaded if `from_data`, then what the model is counted at.

    Raises ValueError: an image that is not square, a number of classes beside data that have their own, and whatever
    `models.create` refuses: the network is built once here, so that of several none is measured in vain.
    """
    name = recipe.model.name
    if from_data and image is None:
        if classes is not None:
            raise ValueError(f"classes = {classes}: how many there are follows from the data, {recipe.data.name}")
        train = load(recipe.data.name, size=recipe.data.size).train
        in_chans, usual_classes, size = train.channels, len(train.classes), train.size
    else:
        in_chans, usual_classes, size = models.MODELS[name].counted_at if name in models.MODELS else DIGITS
        if image is not None:
            in_chans, size = _channels_and_size(image)
        if classes is not None and classes < 1:
            raise ValueError(f"classes = {classes}: must be at least 1")
    subject = Subject(label, recipe, in_chans, classes or usual_classes, size)
    _network(subject)
    return subject


def parameters_of(subject: Subject) -> int:
    return parameters(_network(subject))


def _network(subject: Subject) -> nn.Module:
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
    found = re.fullmatch(r"([1-9]\d*)[x×]([1-9]\d*)[x×]([1-9]\d*)", image.strip())
    if found is None:
        raise ValueError(f"input {image!r}: must be channels x height x width, such as 1x28x28")
    channels, height, width = map(int, found.groups())
    if height != width:
        raise ValueError(f"input {image!r}: images must be square, and {height} is not {width}")
    if max(channels, height) > LARGEST_IMAGE:
        raise ValueError(f"input {image!r}: at most {LARGEST_IMAGE} channels and pixels a side")
    return channels, height


def profile(subject: Subject, device: torch.device, *, kept_per_parameter: int, quick: bool = False) -> Profile:
    """`kept_per_parameter`: numbers that training keeps for each trained one besides its gradient. `quick` times few
    passes.

    Raises ValueError: a user's network that fails in a pass.
    """
    module = _network(subject)
    with torch.random.fork_rng(devices=[]), _blaming(subject.recipe.model.name):
        activations = activation_bytes(module, subject.shape)
        module = module.to(device)
        found = trace(module, torch.zeros(1, *subject.shape, device=device))
        latencies = _latencies(module, subject.shape, device, QUICK_SECONDS if quick else None)
    weights = list(module.parameters())
    trained = sum(weight.nbytes for weight in weights if weight.requires_grad)
    batch_size = subject.recipe.train.batch_size
    return Profile(
        subject,
        found,
        parameters(module),
        activations,
        TrainingMemory(
            batch_size,
            sum(weight.nbytes for weight in weights),
            trained,
            kept_per_parameter * trained,
            activations.of(math.ceil(batch_size / subject.recipe.train.accumulate)),
        ),
        latencies,
        str(device),
        torch.get_num_threads(),
        tuple(getattr(module, "flaws", ())),
    )


def activation_bytes(module: nn.Module, shape: tuple[int, int, int]) -> Activations:
    """Storages that autograd keeps for the backward pass on a CPU, each once, the images among them.

    Parameters and buffers are left out, and so is the loss. They come from passes in training mode on the meta device,
    which has shapes and no numbers, so that a network too large to train here is counted too. The bytes are a line over
    the batch size, taken at two points of it.
    """
    try:
        few, more = (_saved_bytes(deepcopy(module).to("meta"), shape, count) for count in SMALL_BATCHES)
    except Exception:  # a user's network may ask what the numbers are, or make tensors on the CPU
        few, more = (_saved_bytes(deepcopy(module), shape, count) for count in SMALL_BATCHES)
    per_image = (more - few) // (SMALL_BATCHES[1] - SMALL_BATCHES[0])
    return Activations(few - SMALL_BATCHES[0] * per_image, per_image)


def _saved_bytes(module: nn.Module, shape: tuple[int, int, int], count: int) -> int:
    # A storage is known by the address of its handle: on the meta device its data have none.
    own = {tensor.untyped_storage()._cdata for tensor in (*module.parameters(), *module.buffers())}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage
        return tensor.detach()  # the tensor itself would hold the graph that holds it

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        module.train()(torch.zeros(count, *shape, device=next(module.parameters()).device))
    return sum(storage.nbytes() for handle, storage in kept.items() if handle not in own)


def _latencies(
    module: nn.Module, shape: tuple[int, int, int], device: torch.device, longest: float | None
) -> tuple[Latency, Latency]:
    """`longest` seconds of passes, and a larger batch that takes no more than them; None: as long as usual."""
    single = _latency(module, torch.rand(1, *shape, device=device), longest)
    count = LARGE_BATCH
    while count > 1 and count * single.ms / 1000 > (longest or LONGEST_PASS):
        count //= 2
    return single, _latency(module, torch.rand(count, *shape, device=device), longest)


def _latency(module: nn.Module, images: torch.Tensor, longest: float | None) -> Latency:
    seconds = timed_passes(module, images, longest)
    return Latency(len(images), *Milliseconds.of(seconds), len(seconds))


@contextmanager
def _blaming(name: str) -> Iterator[None]:
    """What a user's own code raises is told in one line, with its place."""
    try:
        yield
    except Exception as error:
        if is_user_class(name) and user.failed_in(name, error):
            raise user.failure(name, error, "in a profile") from None
        raise


def _layers(found: Trace) -> Iterator[Layer]:
    for call in found.root.walk():
        kind, role, settings, operation = call.described
        name = call.name or found.root.described.kind
        if call.calls:
            if call.parameters:
                yield Layer(name, "own parameters", (), call.parameters, 0)
            continue
        if operation and role not in SHOWN_OPERATIONS and kind != "concatenate":
            continue
        note = "weights used before" if call.reused else ""
        title = f"{kind}()" if operation else kind
        yield Layer(name, f"{title} {settings}".strip(), call.output, call.parameters, call.flops, note)
    for name, count in found.unreached.items():
        yield Layer(name, "not reached", (), count, 0, "no forward pass in evaluation mode reads it")

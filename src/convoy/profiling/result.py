"""The profile of a network, as stored in profile.json."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, computed_field

from convoy.evaluation.calls import Call
from convoy.notebook import html_of

Shape = tuple[int, ...]  # shape of an image or an output, without the batch dimension


class LayerNote(StrEnum):
    NONE = ""
    SHARED = "shared"  # an earlier layer uses its parameters
    OWN = "own"  # the row has parameters of a module that also has submodules
    UNUSED = "unused"  # the row has parameters that no pass uses


@dataclass(frozen=True)
class Layer:
    """A row of the table of layers: one call of a layer for one image."""

    name: str
    kind: str  # class and settings; empty for a row of parameters only
    output: Shape
    parameters: int  # parameters that no earlier layer uses
    flops: int
    note: LayerNote = LayerNote.NONE


@dataclass(frozen=True)
class Sizes:
    """Bytes in float32 of one image, of all outputs in the table of layers, and of the parameters."""

    input: int
    outputs: int
    parameters: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def total(self) -> int:
        return self.input + self.outputs + self.parameters


@dataclass(frozen=True)
class Activations:
    """Bytes that autograd saves for the backward pass: a fixed number, and a number per image."""

    fixed: int
    per_image: int

    def of(self, batch_size: int) -> int:
        return self.fixed + batch_size * self.per_image


@dataclass(frozen=True)
class TrainingMemory:
    """Computed (not measured) bytes of a training step."""

    batch_size: int
    parameters: int
    gradients: int  # gradients of the trained parameters
    optimizer_state: Annotated[int, Field(alias="kept")]
    activations: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def total(self) -> int:
        return self.parameters + self.gradients + self.optimizer_state + self.activations


@dataclass(frozen=True)
class Latency:
    batch_size: int
    ms: float  # median of the passes
    lower_ms: float  # lower quartile
    upper_ms: float  # upper quartile
    passes: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def images_per_second(self) -> float:
        return 1000 * self.batch_size / self.ms


@dataclass(frozen=True)
class Profile:
    label: str
    model: str
    options: Mapping[str, Any]  # options of the model
    input: Shape
    classes: int
    parameters: int
    flops_per_image: int
    activations: Annotated[Activations, Field(alias="activation_bytes")]
    training: Annotated[TrainingMemory, Field(alias="training_bytes")]
    optimizer: str
    latencies: Annotated[tuple[Latency, Latency], Field(alias="latency")]  # latency of one image, and of a large batch
    device: str
    threads: int
    flaws: tuple[str, ...]  # published flaws that the model reproduces
    layers: tuple[Layer, ...]
    unreached: Mapping[str, int]  # number of parameters that no pass uses, by module
    calls: Call
    _repr_html_ = html_of

    def __repr__(self) -> str:
        return f"Profile({self.label!r}, {self.parameters:,} parameters, {self.flops_per_image:,} FLOPs per image)"

    @property
    def single(self) -> Latency:
        return self.latencies[0]

    @property
    def batch(self) -> Latency:
        return self.latencies[1]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def macs_per_image(self) -> int:
        return self.flops_per_image // 2

    @computed_field(alias="size_bytes")  # type: ignore[prop-decorator]
    @property
    def sizes(self) -> Sizes:
        outputs = sum(math.prod(layer.output) for layer in self.layers if layer.output)
        return Sizes(*(4 * count for count in (math.prod(self.input), outputs, self.parameters)))


PROFILES = TypeAdapter(list[Profile])

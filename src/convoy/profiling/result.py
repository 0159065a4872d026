"""The profile of a network, as profile.json holds it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from convoy.reporting.quantities import MIB, plain

Shape = tuple[int, ...]  # of one image, or of an output for one image


@dataclass(frozen=True)
class Call:
    """A call of a module in a forward pass, or an operation that a module runs itself; see convoy.evaluation.trace."""

    number: int
    name: str
    kind: str
    role: str
    settings: str
    operation: bool
    output: Shape
    inputs: tuple[int, ...]
    parameters: int
    reused: int
    flops: int
    calls: tuple[Call, ...] = ()

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> Call:
        calls = tuple(map(cls.from_json, table["calls"]))
        return cls(**{**table, "output": tuple(table["output"]), "inputs": tuple(table["inputs"]), "calls": calls})

    def walk(self) -> Iterator[Call]:
        yield self
        for call in self.calls:
            yield from call.walk()


@dataclass(frozen=True)
class Layer:
    """A row of the layer table: one call, for one image."""

    name: str
    kind: str
    output: Shape
    parameters: int  # those not used by an earlier layer
    flops: int
    note: str = ""


@dataclass(frozen=True)
class Sizes:
    """Bytes (4 per number) of one image, of all outputs in the layer table, and of the parameters."""

    input: int
    outputs: int
    parameters: int

    @property
    def total(self) -> int:
        return self.input + self.outputs + self.parameters

    @property
    def text(self) -> str:
        values = (self.input, self.outputs, self.parameters, self.total)
        image, outputs, parameters, total = (plain(value / MIB) for value in values)
        return (
            f"Sizes for one image in float32: input {image} MiB, activations (outputs of these layers) {outputs} MiB, "
            f"parameters {parameters} MiB; total {total} MiB"
        )


@dataclass(frozen=True)
class Activations:
    """Bytes that autograd keeps for the backward pass: a fixed part, and a part per image."""

    fixed: int
    per_image: int

    def of(self, batch_size: int) -> int:
        return self.fixed + batch_size * self.per_image


@dataclass(frozen=True)
class TrainingMemory:
    """Computed bytes of training with one batch."""

    batch_size: int
    parameters: int
    gradients: int  # of trained parameters
    kept: int  # optimizer state
    activations: int

    @property
    def total(self) -> int:
        return self.parameters + self.gradients + self.kept + self.activations


@dataclass(frozen=True)
class Latency:
    batch_size: int
    ms: float  # median of a pass
    lower_ms: float  # quartiles
    upper_ms: float
    passes: int

    @property
    def images_per_second(self) -> float:
        return 1000 * self.batch_size / self.ms


@dataclass(frozen=True)
class Profile:
    label: str
    model: str
    options: Mapping[str, Any]  # of the model
    input: Shape
    classes: int
    parameters: int
    flops_per_image: int
    activations: Activations
    training: TrainingMemory
    optimizer: str
    latencies: tuple[Latency, Latency]  # of one image, of a large batch
    device: str
    threads: int
    flaws: tuple[str, ...]  # published ones, that the model reproduces
    layers: tuple[Layer, ...]
    unreached: Mapping[str, int]  # number of parameters that no pass uses, by module
    calls: Call

    @property
    def macs_per_image(self) -> int:
        return self.flops_per_image // 2

    @property
    def sizes(self) -> Sizes:
        outputs = sum(math.prod(layer.output) for layer in self.layers if layer.output)
        return Sizes(*(4 * count for count in (math.prod(self.input), outputs, self.parameters)))

    def as_json(self) -> dict[str, Any]:
        nested = ("activations", "training", "latencies")
        return {
            **{name: value for name, value in asdict(self).items() if name not in nested},
            "macs_per_image": self.macs_per_image,
            "size_bytes": asdict(self.sizes) | {"total": self.sizes.total},
            "activation_bytes": asdict(self.activations),
            "training_bytes": asdict(self.training) | {"total": self.training.total},
            "latency": [asdict(each) | {"images_per_second": each.images_per_second} for each in self.latencies],
        }

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> Profile:
        def typed(kind: Any, values: Mapping[str, Any]) -> Any:
            return kind(**{name: values[name] for name in kind.__dataclass_fields__})

        return typed(
            cls,
            {
                **table,
                "input": tuple(table["input"]),
                "activations": typed(Activations, table["activation_bytes"]),
                "training": typed(TrainingMemory, table["training_bytes"]),
                "latencies": tuple(typed(Latency, each) for each in table["latency"]),
                "flaws": tuple(table["flaws"]),
                "layers": tuple(typed(Layer, {**each, "output": tuple(each["output"])}) for each in table["layers"]),
                "calls": Call.from_json(table["calls"]),
            },
        )

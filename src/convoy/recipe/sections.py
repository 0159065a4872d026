"""The recipe's sections, as frozen pydantic models: every key with its type, bounds and default."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from convoy.recipe.faults import FAULTS
from convoy.registry import unknown


def _refuse_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")
    return value


LARGEST_IMAGE = 512  # pixels a side
NUMBER = BeforeValidator(_refuse_boolean)  # pydantic takes true for 1
Fraction = Annotated[float, NUMBER, Field(ge=0, lt=1)]
Positive = Annotated[float, NUMBER, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, NUMBER, Field(ge=0, allow_inf_nan=False)]
Level = Annotated[float, NUMBER]
Count = Annotated[int, NUMBER, Field(ge=0)]
Seed = Annotated[int, NUMBER, Field(ge=0, lt=2**63)]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def non_default_values(section: Section) -> dict[str, Any]:
    """What a section says beyond its defaults, in JSON types; a `name` that chooses between sections always counts."""
    table = section.model_dump(mode="json", exclude_none=True)
    kept = {}
    for key, field in type(section).model_fields.items():
        value = getattr(section, key)
        if isinstance(value, Section):
            if inner := non_default_values(value):
                kept[key] = inner
        elif key in table and (key == "name" or value != field.get_default(call_default_factory=True)):
            kept[key] = table[key]
    return kept


class Model(Section):
    name: str = "lenet"  # a registered name, "path/to/net.py:Class", "timm:NAME" or "torchvision:NAME"
    options: dict[str, bool | int | float | str] = {}
    init: Annotated[str, Field(min_length=1)] | None = None  # a file of weights to start from; its hash counts
    seed: Seed | None = None  # of the initial weights alone; None: the recipe's seed
    freeze: tuple[str, ...] = ()  # patterns of parameters' names that are not trained, such as "features.*"

    @field_validator("freeze", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value


class SplitSpec(Section):
    validation: Fraction = 0.2  # of the training images; ignored where the data come with a validation part
    test: Annotated[float, NUMBER, Field(gt=0, lt=1)] = 0.2  # used only where the data have no test part of their own
    seed: Seed = 42
    stratified: bool = True
    folds: Count = 0  # 0: off. The training images in so many parts, one of which is scored and never trained on
    fold: Count = 0  # the one that is scored, from 0
    repeat: Count = 0  # each draws other folds
    group_by: Annotated[str, Field(min_length=1)] | None = None  # images that stay together; see convoy.data.groups

    @model_validator(mode="after")
    def _fold_of_folds(self) -> Self:
        if self.folds == 1:
            raise ValueError("folds = 1: it takes 2 folds or more to score one and train on others; 0 is none")
        if not self.folds and (self.fold or self.repeat):
            raise ValueError("fold and repeat choose among folds, and folds = 0")
        if self.folds and self.fold >= self.folds:
            raise ValueError(f"fold = {self.fold}: they count from 0, and the last of {self.folds} is {self.folds - 1}")
        return self


class Data(Section):
    name: Annotated[str, Field(min_length=1)] = "mnist"  # a named data set or a path
    size: Annotated[int, NUMBER, Field(ge=8, le=LARGEST_IMAGE)] | None = None  # pixels; None: the data's own
    limit: Annotated[int, NUMBER, Field(ge=1)] | None = None  # images for a quick try; every output says so
    split: SplitSpec = SplitSpec()
    normalise: Literal["train"] | tuple[Level | tuple[Level, ...], Level | tuple[Level, ...]] = "train"
    augment: tuple[dict[str, Any], ...] = ()  # names and keys are checked by convoy.data.augment
    sampling: Literal["shuffle", "balanced"] = "shuffle"  # balanced: with replacement, every class equally likely

    @field_validator("augment", mode="before")
    @classmethod
    def _is_list(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise ValueError('must be a list of tables, such as [{name = "flip"}]')
        return value

    @field_validator("augment")
    @classmethod
    def _named(cls, value: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
        if any("name" not in entry for entry in value):
            raise ValueError("each augmentation is a table with a name")
        return value

    @field_validator("normalise")
    @classmethod
    def _spread_positive(cls, value: Any) -> Any:
        if value != "train":
            deviations = value[1] if isinstance(value[1], tuple) else (value[1],)
            if not all(math.isfinite(deviation) and deviation > 0 for deviation in deviations):
                raise ValueError("the standard deviation must be greater than 0")
        return value


class CrossEntropy(Section):
    name: Literal["cross_entropy"] = "cross_entropy"
    label_smoothing: Fraction = 0.0


class SquaredError(Section):
    """Mean squared error against one-hot labels: the wrong loss for classes, kept as the lesson it is."""

    name: Literal["squared_error"] = "squared_error"


def with_default_name(section: type[BaseModel], value: Any, info: ValidationInfo) -> Any:
    """A table that leaves its `name` out speaks of the default one: `--train.loss.label_smoothing 0.1` is enough."""
    if isinstance(value, Mapping) and "name" not in value:
        return {"name": section.model_fields[str(info.field_name)].default.name, **value}
    return value


class Train(Section):
    epochs: Annotated[int, NUMBER, Field(ge=1, le=100_000)] = 5
    batch_size: Annotated[int, NUMBER, Field(ge=1, le=65_536)] = 128
    loss: Annotated[CrossEntropy | SquaredError, Field(discriminator="name")] = CrossEntropy()
    class_weights: Literal["none", "balanced"] | tuple[Positive, ...] = "none"  # in the training loss alone
    clip_norm: NonNegative = 0.0  # of the gradient; 0: none
    accumulate: Annotated[int, NUMBER, Field(ge=1, le=65_536)] = 1  # parts in which a batch passes, to save memory
    ema_decay: Fraction = 0.0  # of the moving average of the weights, which is then what is scored; 0: off

    @model_validator(mode="after")
    def _parts_of_a_batch(self) -> Self:
        if self.accumulate > self.batch_size:
            raise ValueError(f"accumulate = {self.accumulate}: a batch of {self.batch_size} has not so many parts")
        return self

    @field_validator("class_weights", mode="before")
    @classmethod
    def _above_zero(cls, value: Any) -> Any:
        is_list = isinstance(value, list | tuple) and all(
            isinstance(weight, int | float) and 0 < weight < math.inf for weight in value
        )
        if not is_list and not isinstance(value, str):
            raise ValueError("must be 'none', 'balanced' or a list with a number above 0 for each class")
        return value

    @field_validator("loss", mode="before")
    @classmethod
    def _default_name(cls, value: Any, info: ValidationInfo) -> Any:
        return with_default_name(cls, value, info)


class OptimBase(Section):
    lr: Positive = 1e-3
    weight_decay: NonNegative = 0.0
    decay_norms_and_biases: bool = False


class SGD(OptimBase):
    name: Literal["sgd"] = "sgd"
    lr: Positive = 1e-2
    momentum: Fraction = 0.9
    nesterov: bool = False


class Adam(OptimBase):
    name: Literal["adam"] = "adam"
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    eps: Positive = 1e-8


class AdamW(OptimBase):
    name: Literal["adamw"] = "adamw"
    weight_decay: NonNegative = 0.01
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    eps: Positive = 1e-8


class RMSprop(OptimBase):
    name: Literal["rmsprop"] = "rmsprop"
    alpha: Fraction = 0.99
    momentum: Fraction = 0.0
    eps: Positive = 1e-8


class ScheduleBase(Section):
    warmup_epochs: NonNegative = 0.0  # linear from 0, in steps of a batch, before the schedule proper


class Constant(ScheduleBase):
    name: Literal["constant"] = "constant"


class Step(ScheduleBase):
    name: Literal["step"] = "step"
    every_epochs: Positive = 1.0
    factor: Annotated[float, NUMBER, Field(gt=0, le=1)] = 0.1


class Cosine(ScheduleBase):
    name: Literal["cosine"] = "cosine"
    per: Literal["epoch", "step"] = "epoch"
    t_max: Annotated[int, NUMBER, Field(ge=1)] | None = (
        None  # in units of `per`; None: the whole run. After t_max it rises again
    )
    min_factor: Annotated[float, NUMBER, Field(ge=0, le=1)] = 0.0


class OneCycle(ScheduleBase):
    name: Literal["one_cycle"] = "one_cycle"
    rise: Annotated[float, NUMBER, Field(gt=0, lt=1)] = (
        0.3  # the fraction of the run in which the rate rises to optim.lr
    )
    start_factor: Annotated[float, NUMBER, Field(gt=0, le=1)] = 0.04
    end_factor: Annotated[float, NUMBER, Field(ge=0, le=1)] = 4e-6


class Plateau(ScheduleBase):
    name: Literal["plateau"] = "plateau"
    patience_epochs: Count = 3
    factor: Annotated[float, NUMBER, Field(gt=0, lt=1)] = 0.1


class Range(ScheduleBase):
    """A rate that rises evenly in its logarithm to optim.lr, through the whole run: the range test (Smith 2017)."""

    name: Literal["range"] = "range"
    start_factor: Annotated[float, NUMBER, Field(gt=0, lt=1)] = 1e-6


class Stop(Section):
    patience_epochs: Count = 0  # 0: off. Stops after this many epochs without a better validation accuracy
    target_accuracy: Annotated[float, NUMBER, Field(ge=0, le=1)] = 0.0  # on validation; 0: off
    max_seconds: NonNegative = 0.0  # of training; 0: off


class Compute(Section):
    device: str = "auto"
    precision: Literal["float32", "float64", "bfloat16", "auto"] = "float32"  # auto: bfloat16 where it is fast
    deterministic: bool = True
    threads: Annotated[int, NUMBER, Field(ge=1)] | Literal["auto"] = "auto"


class Protocol(Section):
    faults: tuple[str, ...] = ()  # names of convoy.recipe.faults; their order does not count

    @field_validator("faults", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("faults")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for fault in value:
            if value.count(fault) > 1:
                raise ValueError(f"{fault!r} is given twice")
            if "," in fault:
                listed = json.dumps([each.strip() for each in fault.split(",")])
                raise ValueError(f"several faults stand in a list: '{listed}'")
            if fault not in FAULTS:
                raise unknown("fault", fault, FAULTS)
        return tuple(sorted(set(value)))


class Probe(Section):
    """What a run records of the loss about its weights; it changes nothing of what is trained."""

    every_steps: Count = 0  # updates between two looks along the step; 0: off
    keep_weights: bool = False  # the weights of each epoch stay in weights/: the training path


class Expected(Section):
    """A measured score: never inherited, never part of the fingerprint."""

    mean: Annotated[float, NUMBER]
    sd: NonNegative
    n: Annotated[int, NUMBER, Field(ge=1)]
    hardware: str
    date: str

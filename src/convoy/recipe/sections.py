"""The sections of a recipe, as frozen pydantic models: each key with its type, bounds and default."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from convoy.recipe.faults import Fault
from convoy.registry import is_external, unknown
from convoy.text import gettext as _


def _refuse_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(_("expected a number, not true or false"))
    return value


MAX_IMAGE_SIZE = 512  # pixels per side
NUMBER = BeforeValidator(_refuse_boolean)  # pydantic would read true as 1
Fraction = Annotated[float, NUMBER, Field(ge=0, lt=1)]
Positive = Annotated[float, NUMBER, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, NUMBER, Field(ge=0, allow_inf_nan=False)]
Level = Annotated[float, NUMBER]
Count = Annotated[int, NUMBER, Field(ge=0)]
Seed = Annotated[int, NUMBER, Field(ge=0, lt=2**63)]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def non_default_values(section: Section) -> dict[str, Any]:
    """Returns the values that differ from the defaults, in JSON types, and always `name`, which selects the section."""
    table = section.model_dump(mode="json", exclude_none=True)
    values = {}
    for key, field in type(section).model_fields.items():
        value = getattr(section, key)
        if isinstance(value, Section):
            if inner := non_default_values(value):
                values[key] = inner
        elif key in table and (key == "name" or value != field.get_default(call_default_factory=True)):
            values[key] = table[key]
    return values


class Model(Section):
    name: str = "lenet"  # a registered name, "path/to/net.py:Class", "timm:NAME" or "torchvision:NAME"
    options: dict[str, bool | int | float | str] = {}  # keyword arguments of the model, such as norm or activation
    init: Annotated[str, Field(min_length=1)] | None = None  # weights file to start from; its hash is fingerprinted
    seed: Seed | None = None  # seed of the initial weights only; None: the recipe's seed
    # Parameters that are not trained: the names of layers such as "features", patterns such as "*.bias", or
    # "all-but-head" for all but the last layer
    freeze: tuple[str, ...] = ()

    @field_validator("freeze", mode="before")
    @classmethod
    def _as_tuple(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @property
    def is_pretrained(self) -> bool:
        """Whether the network starts from weights that timm or torchvision provides."""
        return is_external(self.name) and self.options.get("pretrained") is True


class SplitSpec(Section):
    validation: Fraction = 0.2  # fraction of the training images; unused if the data have a validation set
    # fraction of the images that becomes the test set; used only if the data have none
    test: Annotated[float, NUMBER, Field(gt=0, lt=1)] = 0.2
    seed: Seed = 42  # seed of the split, independent of the run's seed
    stratified: bool = True  # all parts have the same class proportions
    folds: Count = 0  # number of folds of the training images; one of them is held out and scored; 0: off
    fold: Count = 0  # index of the held-out fold
    repeat: Count = 0  # index of the repetition; each repetition draws different folds
    # keeps the images of a group in one part: a file, a regular expression, or "duplicates"
    group_by: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _check_fold(self) -> Self:
        if self.folds == 1:
            raise ValueError(_("data.split.folds = 1: expected 0 (no folds) or at least 2"))
        if not self.folds and (self.fold or self.repeat):
            raise ValueError(_("data.split.fold and data.split.repeat need data.split.folds of at least 2"))
        if self.folds and self.fold >= self.folds:
            raise ValueError(
                _(
                    "data.split.fold = {fold}: expected 0 to {value}, for {folds} folds",
                    fold=self.fold,
                    value=self.folds - 1,
                    folds=self.folds,
                )
            )
        return self


class Data(Section):
    name: Annotated[str, Field(min_length=1)] = "mnist"  # a named data set or a path
    size: Annotated[int, NUMBER, Field(ge=8, le=MAX_IMAGE_SIZE)] | None = (
        None  # pixels per side; default: the most frequent size
    )
    # maximum number of images, for a quick try; all output states it
    limit: Annotated[int, NUMBER, Field(ge=1)] | None = None
    split: SplitSpec = SplitSpec()
    # "train": mean and standard deviation of the training images; "weights": the values of the pretrained weights (the
    # default with pretrained weights); or [mean, std], each a number or a list by channel
    normalise: Literal["train", "weights"] | tuple[Level | tuple[Level, ...], Level | tuple[Level, ...]] = "train"
    augment: tuple[dict[str, Any], ...] = ()  # augmentations: tables, each with a name
    # "shuffle" uses each image once per epoch; "balanced" draws with replacement, each class equally likely
    sampling: Literal["shuffle", "balanced"] = "shuffle"

    @field_validator("augment", mode="before")
    @classmethod
    def _check_augmentations(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple) or not all(isinstance(entry, dict) for entry in value):
            raise ValueError(_('expected a list of tables, such as [{{name = "flip"}}]'))
        if any("name" not in entry for entry in value):
            raise ValueError(_("each augmentation needs a name"))
        return value

    @field_validator("normalise")
    @classmethod
    def _check_deviations(cls, value: Any) -> Any:
        if not isinstance(value, str):
            deviations = value[1] if isinstance(value[1], tuple) else (value[1],)
            if not all(math.isfinite(deviation) and deviation > 0 for deviation in deviations):
                raise ValueError(_("the standard deviation must be greater than 0"))
        return value


class CrossEntropy(Section):
    name: Literal["cross_entropy"] = "cross_entropy"
    label_smoothing: Fraction = 0.0  # probability that is spread evenly over all classes


class SquaredError(Section):
    """Mean squared error against one-hot labels: unsuitable for classification, included for teaching."""

    name: Literal["squared_error"] = "squared_error"


def with_default_name(section: type[BaseModel], value: Any, info: ValidationInfo) -> Any:
    """Adds the default `name` to a table without one, so that `--train.loss.label_smoothing 0.1` is enough."""
    if isinstance(value, Mapping) and "name" not in value:
        return {"name": section.model_fields[str(info.field_name)].default.name, **value}
    return value


class Train(Section):
    epochs: Annotated[int, NUMBER, Field(ge=1, le=100_000)] = 5  # passes over the training images
    batch_size: Annotated[int, NUMBER, Field(ge=1, le=65_536)] = 128  # images per optimizer step
    loss: Annotated[CrossEntropy | SquaredError, Field(discriminator="name")] = CrossEntropy()
    # weights of the classes in the training loss; "balanced": inverse class frequencies
    class_weights: Literal["none", "balanced"] | tuple[Positive, ...] = "none"
    clip_norm: NonNegative = 0.0  # maximum gradient norm; 0: no clipping
    # Micro-batches per optimizer step, to save memory. The step uses batch_size images, each micro-batch
    # batch_size / accumulate.
    accumulate: Annotated[int, NUMBER, Field(ge=1, le=65_536)] = 1
    ema_decay: Fraction = 0.0  # decay of a moving average of the weights, which is scored and saved; 0: off

    @model_validator(mode="after")
    def _check_accumulate(self) -> Self:
        if self.accumulate > self.batch_size:
            raise ValueError(
                _(
                    "train.accumulate = {accumulate} exceeds train.batch_size = {batch_size}",
                    accumulate=self.accumulate,
                    batch_size=self.batch_size,
                )
            )
        return self

    @field_validator("class_weights", mode="before")
    @classmethod
    def _check_class_weights(cls, value: Any) -> Any:
        is_list = isinstance(value, list | tuple) and all(
            isinstance(weight, int | float) and 0 < weight < math.inf for weight in value
        )
        if not is_list and not isinstance(value, str):
            raise ValueError(_("expected 'none', 'balanced' or a list with a number above 0 for each class"))
        return value

    @field_validator("loss", mode="before")
    @classmethod
    def _default_name(cls, value: Any, info: ValidationInfo) -> Any:
        return with_default_name(cls, value, info)


class OptimBase(Section):
    lr: Positive = 1e-3  # the learning rate; a schedule multiplies it by a factor
    weight_decay: NonNegative = 0.0  # weight decay as an L2 penalty
    decay_norms_and_biases: bool = False  # apply weight decay to normalisation layers and biases too
    # Factor of the learning rate from each layer or block to the previous one; the head has `lr`. "Discriminative
    # fine-tuning" (ULMFiT, Howard & Ruder 2018: 1/2.6), "layer-wise decay" (BEiT, Bao et al. 2021); 1: off
    layer_decay: Annotated[float, NUMBER, Field(gt=0, le=1)] = 1.0

    @property
    def title(self) -> str:
        """The optimizer's name as used in a sentence."""
        return type(self).__name__

    @property
    def settings(self) -> dict[str, object]:
        """The keys that only this optimizer has, without those that are off."""
        return {key: value for key, value in self if value and key != "name" and key not in OptimBase.model_fields}


class SGD(OptimBase):
    name: Literal["sgd"] = "sgd"
    lr: Positive = 1e-2  # the learning rate; a schedule multiplies it by a factor
    momentum: Fraction = 0.9  # momentum; 0: off
    nesterov: bool = False  # Nesterov momentum

    @property
    def title(self) -> str:
        return _("stochastic gradient descent")


class Adam(OptimBase):
    name: Literal["adam"] = "adam"
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)  # decay of the averages of the gradient and of its square
    eps: Positive = 1e-8  # added to the denominator


class AdamW(OptimBase):
    name: Literal["adamw"] = "adamw"
    weight_decay: NonNegative = 0.01  # decoupled weight decay
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)  # decay of the averages of the gradient and of its square
    eps: Positive = 1e-8  # added to the denominator


class RMSprop(OptimBase):
    name: Literal["rmsprop"] = "rmsprop"
    alpha: Fraction = 0.99  # decay of the average of the squared gradient
    momentum: Fraction = 0.0  # momentum; 0: off
    eps: Positive = 1e-8  # added to the denominator


Optim = Annotated[
    SGD  # one section per line
    | Adam
    | AdamW
    | RMSprop,
    Field(discriminator="name"),
]


class ScheduleBase(Section):
    warmup_epochs: NonNegative = 0.0  # linear increase from 0, updated in each step, before the schedule starts


class Constant(ScheduleBase):
    name: Literal["constant"] = "constant"


class Step(ScheduleBase):
    name: Literal["step"] = "step"
    every_epochs: Positive = 1.0  # epochs between two reductions (torch: step_size)
    factor: Annotated[float, NUMBER, Field(gt=0, le=1)] = 0.1  # multiplies the rate at each reduction (torch: gamma)


class Cosine(ScheduleBase):
    name: Literal["cosine"] = "cosine"
    per: Literal["epoch", "step"] = "epoch"  # whether the rate changes in each epoch or in each step
    t_max: Annotated[int, NUMBER, Field(ge=1)] | None = (
        None  # half a period, in units of `per`: the rate falls for this long, then rises again; default: full run
    )
    min_factor: Annotated[float, NUMBER, Field(ge=0, le=1)] = (
        0.0  # lowest rate as a fraction of optim.lr (torch: eta_min / lr)
    )


class OneCycle(ScheduleBase):
    name: Literal["one_cycle"] = "one_cycle"
    rise: Annotated[float, NUMBER, Field(gt=0, lt=1)] = (
        0.3  # fraction of the run in which the rate rises to optim.lr; torch: pct_start
    )
    # first rate as a fraction of optim.lr (torch: 1 / div_factor)
    start_factor: Annotated[float, NUMBER, Field(gt=0, le=1)] = 0.04
    # last rate as a fraction of optim.lr (torch: 1 / (div_factor * final_div_factor))
    end_factor: Annotated[float, NUMBER, Field(ge=0, le=1)] = 4e-6


class Plateau(ScheduleBase):
    name: Literal["plateau"] = "plateau"
    patience_epochs: Count = 3  # epochs without a lower validation loss before a reduction (torch: patience)
    factor: Annotated[float, NUMBER, Field(gt=0, lt=1)] = 0.1  # multiplies the rate at each reduction


class Range(ScheduleBase):
    """Learning-rate range test (Smith 2017): the rate rises log-linearly to optim.lr over the full run."""

    name: Literal["range"] = "range"
    start_factor: Annotated[float, NUMBER, Field(gt=0, lt=1)] = 1e-6  # first rate as a fraction of optim.lr


Schedule = Annotated[Constant | Step | Cosine | OneCycle | Plateau | Range, Field(discriminator="name")]


class Stop(Section):
    patience_epochs: Count = 0  # stop after this many epochs without a better validation accuracy; 0: off
    target_accuracy: Annotated[float, NUMBER, Field(ge=0, le=1)] = 0.0  # validation accuracy at which to stop; 0: off
    max_seconds: NonNegative = 0.0  # training time after which to stop; 0: off


class Compute(Section):
    device: str = "auto"  # "auto", "cpu", "cuda", "cuda:N" or "mps"
    # "auto": bfloat16 if the device computes fast with it, otherwise float32
    precision: Literal["float32", "float64", "bfloat16", "auto"] = "float32"
    deterministic: bool = True  # use only algorithms with bit-identical results
    # CPU threads; "auto": all cores, but one in a worker process
    threads: Annotated[int, NUMBER, Field(ge=1, le=1024)] | Literal["auto"] = "auto"


class Protocol(Section):
    faults: tuple[Fault, ...] = ()  # names of protocol faults, in any order

    @field_validator("faults", mode="before")
    @classmethod
    def _check_names(cls, value: Any) -> Any:
        names = (value,) if isinstance(value, str) else value
        for fault in names if isinstance(names, list | tuple) else ():
            if not isinstance(fault, str):
                raise ValueError(_("expected names of faults, got {fault!r}", fault=fault))
            if names.count(fault) > 1:
                raise ValueError(_("{fault!r} is given twice", fault=fault))
            if "," in fault:
                listed = json.dumps([name.strip() for name in fault.split(",")])
                raise ValueError(_("expected several faults in a list: '{listed}'", listed=listed))
            if fault not in list(Fault):
                raise unknown(_("fault"), fault, [known.value for known in Fault])
        return names

    def keeps_last(self, best_epoch: int) -> bool:
        """Returns whether the last weights are kept: with a fault, or if training stopped in the first epoch."""
        return best_epoch == 0 or Fault.LAST_WEIGHTS in self.faults

    @field_validator("faults")
    @classmethod
    def _sorted(cls, value: tuple[Fault, ...]) -> tuple[Fault, ...]:
        return tuple(sorted(value))


class Probe(Section):
    """Measurements of the loss landscape during a run; they do not affect the training."""

    every_steps: Count = 0  # steps between two measurements along the gradient; 0: off
    keep_weights: bool = False  # save the weights of each epoch in weights/, to plot the training path

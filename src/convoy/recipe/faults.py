"""Protocol faults: mistakes in how published numbers were obtained. `Fault` is the only list of them.

A recipe enables a fault by its name in `protocol.faults`, to reproduce a published number and to measure the effect of
the mistake. Nothing else in the recipe changes. Code tests `Fault.NAME in recipe.protocol.faults`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from typing import Self

from convoy.text import gettext as _


class Need(Enum):
    """A condition without which a fault has no effect. Checked by convoy.training.run.faults."""

    NO_FOLDS = auto()
    TEST_SET = auto()
    VALIDATION = auto()
    SELECTION = auto()  # a part that selects the best epoch
    SELECTION_BY_VALIDATION = auto()
    PATIENCE = auto()
    LOGITS = auto()
    CROSS_ENTROPY = auto()
    AUGMENTATION = auto()
    SCHEDULE_PER_EPOCH = auto()
    FULL_BATCH = auto()  # at least one in each scored part


@dataclass(frozen=True)
class FaultInfo:
    name: str
    sentence: Callable[[], str]  # shown in all output of a run
    needs: tuple[Need, ...] = ()
    opens_test: bool = False  # scores the test set during training
    only_scores: bool = False  # the weights are those of a run without the fault, whose training is reused
    revision: int = 1  # increase it when the behaviour changes, so that runs with this fault are retrained


class Fault(StrEnum):
    info: FaultInfo

    def __new__(cls, info: FaultInfo) -> Self:
        fault = str.__new__(cls, info.name)
        fault._value_ = info.name
        fault.info = info
        return fault

    SELECTION_ON_TEST = FaultInfo(
        "selection_on_test",
        lambda: _("the test set selects the best epoch and when to stop; the test score is not independent"),
        needs=(Need.NO_FOLDS, Need.TEST_SET),
        opens_test=True,
    )
    RESPLIT_EVERY_EPOCH = FaultInfo(
        "resplit_every_epoch",
        lambda: _("the validation part is redrawn in each epoch, so that validation images were trained on"),
        needs=(Need.VALIDATION,),
    )
    SAMPLED_LABELS = FaultInfo(
        "sampled_labels",
        lambda: _("the predicted class of a test image is sampled from the softmax, not the most probable one"),
        needs=(Need.TEST_SET,),
        only_scores=True,
    )
    SOFTMAX_BEFORE_LOSS = FaultInfo(
        "softmax_before_loss",
        lambda: _("the loss treats the softmax outputs as logits, in training and in each reported loss"),
        needs=(Need.LOGITS,),
    )
    LOG_SOFTMAX = FaultInfo(
        "log_softmax",
        lambda: _("a log-softmax precedes cross-entropy, which applies its own: only rounding changes"),
        needs=(Need.CROSS_ENTROPY,),
    )
    AUGMENTED_TEST = FaultInfo(
        "augmented_test",
        lambda: _("the training augmentation is also applied to the validation and test images that are scored"),
        needs=(Need.AUGMENTATION,),
        revision=2,
    )
    SCHEDULE_PER_BATCH = FaultInfo(
        "schedule_per_batch",
        lambda: _("the schedule is defined in epochs but stepped per batch: each batch counts as an epoch"),
        needs=(Need.SCHEDULE_PER_EPOCH,),
    )
    LOSS_DIVIDED_TWICE = FaultInfo(
        "loss_divided_twice",
        lambda: _("reported losses are batch means, summed and divided by the number of images: far too small"),
        revision=2,
    )
    PATIENCE_OFF_BY_ONE = FaultInfo(
        "patience_off_by_one",
        lambda: _("training stops one epoch without improvement later than the reported patience"),
        needs=(Need.PATIENCE,),
    )
    TEST_OPENED_AT_EACH_BEST = FaultInfo(
        "test_opened_at_each_best",
        lambda: _("the test set is opened and scored at each new best epoch, but decides nothing"),
        needs=(Need.NO_FOLDS, Need.TEST_SET, Need.VALIDATION, Need.SELECTION_BY_VALIDATION),
        opens_test=True,
    )
    LAST_WEIGHTS = FaultInfo(
        "last_weights",
        lambda: _("the weights of the last epoch are kept and scored, not those of the best"),
        needs=(Need.SELECTION,),
    )
    DROP_LAST_IN_EVALUATION = FaultInfo(
        "drop_last_in_evaluation",
        lambda: _("evaluation drops the last batch if it is not full"),
        needs=(Need.FULL_BATCH,),
    )
    MACS_AS_FLOPS = FaultInfo(
        "macs_as_flops",
        lambda: _("multiply-adds are reported as FLOPs: half the number that is reported without this fault"),
        only_scores=True,
    )

    @property
    def flag(self) -> str:
        return _("fault {name}: {sentence}", name=self.value, sentence=self.info.sentence())


def limited(images: int) -> str:
    return _("limited to {images:,} images: not evidence", images=images)

"""The protocol faults: mistakes in the protocol behind a published number. One row each, and the only list of them.

A recipe enables a fault by its name in `protocol.faults`, to reproduce the published number and to measure the effect
of the mistake. Nothing else in the recipe changes. Code asks `Fault.NAME in recipe.protocol.faults`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from typing import Self

from convoy.text import gettext as _


class Need(Enum):
    """What a fault needs to have an effect; convoy.training.run.faults checks it and says what is missing."""

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
    FULL_BATCH = auto()  # in each part that is scored


@dataclass(frozen=True)
class Row:
    name: str
    sentence: Callable[[], str]  # shown by every output of a run
    needs: tuple[Need, ...] = ()
    opens_test: bool = False  # during training
    only_scores: bool = False  # training is bit-identical without the fault, so that a run reuses it
    revision: int = 1  # raise it when the fault's behaviour changes: only the runs that have it are retrained


class Fault(StrEnum):
    row: Row

    def __new__(cls, row: Row) -> Self:
        fault = str.__new__(cls, row.name)
        fault._value_ = row.name
        fault.row = row
        return fault

    SELECTION_ON_TEST = Row(
        "selection_on_test",
        lambda: _("the test set selects the best epoch and any stop; the test score is not independent"),
        needs=(Need.NO_FOLDS, Need.TEST_SET),
        opens_test=True,
    )
    RESPLIT_EVERY_EPOCH = Row(
        "resplit_every_epoch",
        lambda: _("the validation part is redrawn in each epoch, so that validation images were trained on"),
        needs=(Need.VALIDATION,),
    )
    SAMPLED_LABELS = Row(
        "sampled_labels",
        lambda: _("the predicted class of a test image is sampled from the softmax, not the most probable one"),
        needs=(Need.TEST_SET,),
        only_scores=True,
    )
    SOFTMAX_BEFORE_LOSS = Row(
        "softmax_before_loss",
        lambda: _("the loss treats the softmax outputs as logits, in training and in each reported loss"),
        needs=(Need.LOGITS,),
    )
    LOG_SOFTMAX = Row(
        "log_softmax",
        lambda: _("a log-softmax precedes cross-entropy, which applies its own: only rounding changes"),
        needs=(Need.CROSS_ENTROPY,),
    )
    AUGMENTED_TEST = Row(
        "augmented_test",
        lambda: _("the training augmentation is also applied to the validation and test images that are scored"),
        needs=(Need.AUGMENTATION,),
        revision=2,
    )
    SCHEDULE_PER_BATCH = Row(
        "schedule_per_batch",
        lambda: _("the schedule is defined per epoch but stepped per batch: one batch counts as its epoch"),
        needs=(Need.SCHEDULE_PER_EPOCH,),
    )
    LOSS_DIVIDED_TWICE = Row(
        "loss_divided_twice",
        lambda: _("reported losses are batch means, summed and divided by the number of images: far too small"),
        revision=2,
    )
    PATIENCE_OFF_BY_ONE = Row(
        "patience_off_by_one",
        lambda: _("training stops one epoch without improvement later than the reported patience"),
        needs=(Need.PATIENCE,),
    )
    TEST_OPENED_AT_EACH_BEST = Row(
        "test_opened_at_each_best",
        lambda: _("the test set is opened and scored at each new best epoch, but decides nothing"),
        needs=(Need.NO_FOLDS, Need.TEST_SET, Need.VALIDATION, Need.SELECTION_BY_VALIDATION),
        opens_test=True,
    )
    LAST_WEIGHTS = Row(
        "last_weights",
        lambda: _("the weights of the last epoch are kept and scored, not those of the best"),
        needs=(Need.SELECTION,),
    )
    DROP_LAST_IN_EVALUATION = Row(
        "drop_last_in_evaluation",
        lambda: _("evaluation drops the last batch if it is not full"),
        needs=(Need.FULL_BATCH,),
    )
    MACS_AS_FLOPS = Row(
        "macs_as_flops",
        lambda: _("multiply-adds are reported as FLOPs: half of what is reported without this fault"),
        only_scores=True,
    )

    @property
    def flag(self) -> str:
        return _("fault {name}: {sentence}", name=self.value, sentence=self.row.sentence())


def limited(images: int) -> str:
    return _("limited to {images:,} images: not evidence", images=images)

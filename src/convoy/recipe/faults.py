"""Protocol faults: mistakes in how published numbers were obtained. `Fault` is the complete list.

A recipe enables a fault by its name in `protocol.faults`, to reproduce a published number and to measure the effect of
the mistake. Nothing else in the recipe changes. A fault is one row with all its properties; the comment above the row
is its description in docs/guides/faults.md. Code that depends on a fault tests `Fault.NAME in recipe.protocol.faults`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from typing import TYPE_CHECKING, Self

from convoy.text import gettext as _
from convoy.text import translated
from convoy.text.lists import joined

if TYPE_CHECKING:
    from convoy.recipe import Recipe


@dataclass(frozen=True)
class FaultContext:
    """A recipe, with properties of its data and network that faults need. Created by training.run.fault_checks."""

    recipe: Recipe
    scored: Mapping[str, int]  # part (validation, fold or test) -> number of its images
    has_softmax: bool  # the network returns probabilities
    augments: bool  # the recipe has an augmentation other than mixing
    loss_floor: str  # sentence: the minimum of cross-entropy applied to softmax outputs

    @property
    def dropped(self) -> dict[str, int]:
        """Images in the incomplete last batch of each scored part."""
        return {part: count % self.recipe.train.batch_size for part, count in self.scored.items()}

    @property
    def selection(self) -> str | None:
        return selection(self.recipe.protocol.faults, has_validation="validation" in self.scored)


def selection(faults: Collection[Fault], *, has_validation: bool) -> str | None:
    """Returns the part that selects the best epoch."""
    if any(fault.info.selects_on_test for fault in faults):
        return "test"
    return "validation" if has_validation else None


def fault_title(name: str) -> str:
    """Returns the name of a fault in the language of the reader: "log softmax"."""
    return translated(name.replace("_", " "))


Need = Callable[[FaultContext], str | None]  # the problem, printed after the fault's name; None if there is none


def _need(is_met: Callable[[FaultContext], object], problem: Callable[[FaultContext], str]) -> Need:
    return lambda context: None if is_met(context) else problem(context)


def _schedule_per_epoch(context: FaultContext) -> str | None:
    schedule = context.recipe.schedule
    name = _("cosine with per = 'step'") if schedule.name == "cosine" and schedule.per == "step" else schedule.name
    if name in ("step", "cosine"):
        return None
    return _("needs a schedule per epoch: step, or cosine with per = 'epoch'; not {name}", name=name)


def _full_batch(context: FaultContext) -> str | None:
    for part, dropped in context.dropped.items():
        if dropped == context.scored[part]:
            return _(
                "drops all {dropped:,} {part} images, because train.batch_size is {batch_size}",
                dropped=dropped,
                part=translated(part),
                batch_size=context.recipe.train.batch_size,
            )
    return None


_NO_FOLDS = _need(
    lambda context: "fold" not in context.scored,
    lambda context: _("opens the test set, which stays closed with data.split.folds"),
)
_TEST_SET = _need(
    lambda context: "test" in context.scored, lambda context: _("needs a test set, which the data do not have")
)
_VALIDATION = _need(
    lambda context: "validation" in context.scored,
    lambda context: _("needs a validation set, but data.split.validation is 0"),
)
_SELECTION = _need(
    lambda context: context.selection,
    lambda context: _(
        "needs a part that selects the best epoch; with data.split.validation = 0, the last epoch is kept in any case"
    ),
)
_SELECTION_BY_VALIDATION = _need(
    lambda context: context.selection == "validation",
    lambda context: _("has no effect with selection_on_test, which scores the test set in every epoch"),
)
_PATIENCE = _need(
    lambda context: context.recipe.stop.patience_epochs,
    lambda context: _("needs stop.patience_epochs, which is 0 (off)"),
)
_LOGITS = _need(
    lambda context: not context.has_softmax,
    lambda context: _(
        "needs logits from {model}; set model.options.softmax_output = false", model=context.recipe.model.name
    ),
)
_CROSS_ENTROPY = _need(
    lambda context: context.recipe.train.loss.name == "cross_entropy",
    lambda context: _("needs cross-entropy, but train.loss is {loss}", loss=context.recipe.train.loss.name),
)
_AUGMENTATION = _need(
    lambda context: context.augments,
    lambda context: _("needs an augmentation other than mixing in data.augment"),
)


def _loss_floor(context: FaultContext) -> str:
    train = context.recipe.train
    has_floor = train.loss.name == "cross_entropy" and train.class_weights == "none"
    return context.loss_floor if has_floor else ""


def _period_in_batches(context: FaultContext) -> str:
    schedule = context.recipe.schedule
    if schedule.name != "cosine":
        return ""
    period = 2 * (schedule.t_max or context.recipe.train.epochs)
    return _("the learning rate has a period of {batches} batches", batches=period)


def _patience_reported(context: FaultContext) -> str:
    patience = context.recipe.stop.patience_epochs
    return _("training stops after {epochs} and reports {patience}", epochs=patience + 1, patience=patience)


def _dropped(context: FaultContext) -> str:
    counts = [
        _("{dropped} of {images:,} {part} images", dropped=dropped, images=context.scored[part], part=translated(part))
        for part, dropped in context.dropped.items()
    ]
    return _("here {counts}", counts=joined(counts)) if counts else ""


class Aspect(Enum):
    """An aspect that a fault makes wrong or unusual. A checklist names the fault in its answers about this aspect."""

    TRAINING = auto()  # loss, schedule, stop rules
    TRANSFORMATION = auto()  # transformation of images
    LEFT_OUT = auto()  # images that are not scored
    SELECTION = auto()  # selection of the epoch
    SEPARATION = auto()  # scored images are treated as training images, or select the weights
    SCORING = auto()
    COST = auto()


@dataclass(frozen=True)
class FaultInfo:
    name: str
    sentence: Callable[[], str]  # shown in all output of a run
    affects: tuple[Aspect, ...]
    detail: Callable[[FaultContext], str] = lambda context: ""  # the effect on these data
    needs: tuple[Need, ...] = ()  # requirements without which the fault would have no effect
    opens_test: float = 0  # how often it scores the test set per epoch
    selects_on_test: bool = False
    only_scores: bool = False  # does not affect weights: a run without the fault is reused for training
    has_no_effect: Callable[[FaultContext], bool] = lambda context: False  # if True, training is also reused
    redraws_validation: bool = False  # the validation images of two runs differ
    keeps_last: bool = False  # keeps the weights of the last epoch
    counts_macs: bool = False  # reports multiply-adds as FLOPs
    revision: int = 1  # increase it when the behaviour changes, so that runs with this fault are retrained


class Fault(StrEnum):
    info: FaultInfo

    def __new__(cls, info: FaultInfo) -> Self:
        fault = str.__new__(cls, info.name)
        fault._value_ = info.name
        fault.info = info
        return fault

    # The test accuracy is too high, because it is the best of many. Requires a test set, no folds and no `--no-test`
    SELECTION_ON_TEST = FaultInfo(
        "selection_on_test",
        lambda: _("the test set selects the best epoch and when to stop; the test score is not independent"),
        affects=(Aspect.SELECTION, Aspect.SEPARATION),
        needs=(_NO_FOLDS, _TEST_SET),
        opens_test=1,
        selects_on_test=True,
    )
    # Sizes and stratification stay the same. The first epoch uses the run's own split; its mean and standard deviation
    # normalise all epochs. The best epoch is selected on images that were also trained on. Requires a validation set
    RESPLIT_EVERY_EPOCH = FaultInfo(
        "resplit_every_epoch",
        lambda: _("the validation set is redrawn in each epoch, so that validation images were trained on"),
        affects=(Aspect.SELECTION, Aspect.SEPARATION),
        needs=(_VALIDATION,),
        redraws_validation=True,
    )
    # Test accuracy and everything computed from predicted classes are too low. Sampling is seeded. Requires a test set
    SAMPLED_LABELS = FaultInfo(
        "sampled_labels",
        lambda: _("the predicted class of a test image is sampled from the softmax, not the most probable one"),
        affects=(Aspect.SCORING,),
        needs=(_TEST_SET,),
        only_scores=True,
    )
    # The loss has a minimum (1.461 with 10 classes), and gradients are small where the network is confidently wrong.
    # Requires a network that returns logits (`softmax_output = false`): the published networks of course-mnist and
    # tensor-mnist already end in a softmax
    SOFTMAX_BEFORE_LOSS = FaultInfo(
        "softmax_before_loss",
        lambda: _("the loss treats the softmax outputs as logits, in training and in each reported loss"),
        affects=(Aspect.TRAINING, Aspect.SCORING),
        detail=_loss_floor,
        needs=(_LOGITS,),
    )
    # Requires the loss `cross_entropy`
    LOG_SOFTMAX = FaultInfo(
        "log_softmax",
        lambda: _("a log-softmax precedes cross-entropy, which applies its own: only rounding changes"),
        affects=(Aspect.TRAINING,),
        needs=(_CROSS_ENTROPY,),
    )
    # Applies to validation and test accuracy and to all augmentations except mixing. Random parameters depend on seed,
    # part and epoch; the final score uses those of the epoch whose weights are kept. Requires such an augmentation
    AUGMENTED_TEST = FaultInfo(
        "augmented_test",
        lambda: _("the training augmentation is also applied to the validation and test images that are scored"),
        affects=(Aspect.TRANSFORMATION, Aspect.SEPARATION),
        needs=(_AUGMENTATION,),
        revision=2,
    )
    # This includes the warm-up. With `t_max = 10`, the cosine has a period of 20 batches. Requires `step`, or `cosine`
    # with `per = "epoch"`
    SCHEDULE_PER_BATCH = FaultInfo(
        "schedule_per_batch",
        lambda: _("the schedule is defined in epochs but stepped per batch: each batch counts as an epoch"),
        affects=(Aspect.TRAINING,),
        detail=_period_in_batches,
        needs=(_schedule_per_epoch,),
    )
    # Reported losses are too small by a factor of about the batch size: `train.batch_size` in training, 1,000 in an
    # evaluation. Training and the selected epoch do not change
    LOSS_DIVIDED_TWICE = FaultInfo(
        "loss_divided_twice",
        lambda: _("reported losses are batch means, summed and divided by the number of images: far too small"),
        affects=(Aspect.SCORING,),
        revision=2,
    )
    # Changes the number of epochs, and sometimes the best epoch. Requires `stop.patience_epochs` above 0
    PATIENCE_OFF_BY_ONE = FaultInfo(
        "patience_off_by_one",
        lambda: _("training stops one epoch without improvement later than the reported patience"),
        affects=(Aspect.TRAINING,),
        detail=_patience_reported,
        needs=(_PATIENCE,),
    )
    # Changes no score by itself, but people who see the test scores may base choices on them; every opening is counted.
    # Requires a test set, a validation set, no folds, no `--no-test`, no search, no landscape, and no
    # `selection_on_test`, which scores the test set in every epoch
    TEST_OPENED_AT_EACH_BEST = FaultInfo(
        "test_opened_at_each_best",
        lambda: _("the test set is opened and scored at each new best epoch, but not used for any decision"),
        affects=(Aspect.SCORING,),
        needs=(_NO_FOLDS, _TEST_SET, _VALIDATION, _SELECTION_BY_VALIDATION),
        opens_test=0.35,  # share of epochs that are a new best: 51 of 144 in six archived runs
    )
    # Changes all scores and the confusion matrix. Requires a part that selects the epoch; without one, the last weights
    # are kept in any case
    LAST_WEIGHTS = FaultInfo(
        "last_weights",
        lambda: _("the weights of the last epoch are kept and scored, not those of the best"),
        affects=(Aspect.SELECTION,),
        needs=(_SELECTION,),
        keeps_last=True,
    )
    # Evaluates in batches of `train.batch_size`. Has no effect if the number of scored images is a multiple of it.
    # Requires at least one full batch in each part
    DROP_LAST_IN_EVALUATION = FaultInfo(
        "drop_last_in_evaluation",
        lambda: _("evaluation drops the last batch if it is not full"),
        affects=(Aspect.LEFT_OUT,),
        detail=_dropped,
        needs=(_full_batch,),
        has_no_effect=lambda context: not any(context.dropped.values()),  # all batches are full
    )
    # Affects `cost.json` and tables
    MACS_AS_FLOPS = FaultInfo(
        "macs_as_flops",
        lambda: _("multiply-adds are reported as FLOPs: half the number that is reported without this fault"),
        affects=(Aspect.COST,),
        only_scores=True,
        counts_macs=True,
    )

    @property
    def flag(self) -> str:
        return _("fault {name}: {sentence}", name=self.value, sentence=self.info.sentence())


def limited(images: int) -> str:
    return _("Limited to at most {images:,} training and {images:,} test images: preliminary results", images=images)

"""The protocol faults: mistakes in the protocol behind a published number, each with the sentence that outputs show.

A recipe enables a fault by its name in `protocol.faults`, to reproduce the published number and to measure the effect
of the mistake. Nothing else in the recipe changes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

FAULTS = {
    "selection_on_test": "the test set selects the best epoch and any stop; the test score is not independent",
    "resplit_every_epoch": "the validation part is redrawn in each epoch, so that validation images were trained on",
    "sampled_labels": "the predicted class of a test image is sampled from the softmax, not the most probable one",
    "softmax_before_loss": "the loss treats the softmax outputs as logits, in training and in each reported loss",
    "log_softmax": "a log-softmax precedes cross-entropy, which applies its own: only rounding changes",
    "augmented_test": "the training augmentation is also applied to the validation and test images that are scored",
    "schedule_per_batch": "the schedule is defined per epoch but stepped per batch: one batch counts as its epoch",
    "loss_divided_twice": "reported losses are batch means, summed and divided by the number of images: far too small",
    "patience_off_by_one": "training stops one epoch without improvement later than the reported patience",
    "test_opened_at_each_best": "the test set is opened and scored at each new best epoch, but decides nothing",
    "last_weights": "the weights of the last epoch are kept and scored, not those of the best",
    "drop_last_in_evaluation": "evaluation drops the last batch if it is not full",
    "macs_as_flops": "multiply-adds are reported as FLOPs: half of what is reported without this fault",
}
# Raise a fault's revision when its behaviour changes: only the runs that have the fault are retrained.
REVISIONS = {"augmented_test": 2, "loss_divided_twice": 2}


def flag(fault: str) -> str:
    return f"fault {fault}: {FAULTS[fault]}"


def missing_flags(faults: Iterable[str], sentences: Collection[str]) -> list[str]:
    """The flags of the faults that the sentences do not mention yet."""
    return [flag(fault) for fault in faults if not any(f"fault {fault}:" in sentence for sentence in sentences)]

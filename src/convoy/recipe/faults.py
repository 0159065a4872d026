"""The faults of protocol that a recipe can switch on, and what each of them does: the one sentence all outputs say.

A fault is a mistake that a published number was made with. Switched on by name in `protocol.faults`, it reproduces that
number and shows what the mistake is worth; nothing else of the recipe changes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

FAULTS = {
    "selection_on_test": "the test set picks the best epoch and decides any stop; its score is not an independent one",
    "resplit_every_epoch": "the validation part is drawn anew in each epoch, so that validation images were trained on",
    "sampled_labels": "the class named for a test image is drawn from the softmax and not its most probable one",
    "softmax_before_loss": "the loss takes the softmax of the logits for logits, in training and in each loss reported",
    "log_softmax": "a log-softmax stands before cross-entropy, which has its own: but for rounding nothing changes",
    "augmented_test": "the training's augmentation also distorts the validation and test images that are scored",
    "schedule_per_batch": "the schedule is meant per epoch and stepped per batch: its epoch lasts one batch",
    "loss_divided_twice": "reported losses are batch means, summed and divided by the number of images: far too small",
    "patience_off_by_one": "training stops one epoch without improvement later than the patience that it reports",
    "test_opened_at_each_best": "the test set is opened and scored at each new best epoch, without deciding anything",
    "last_weights": "the weights of the last epoch are kept and scored, not those of the best",
    "drop_last_in_evaluation": "an evaluation leaves out its last batch where that is not full",
    "macs_as_flops": "multiply-adds are reported as FLOPs: half of what is reported without this fault",
}
# Raised when what a fault does changes: the runs that have it are trained again, and no others.
REVISIONS = {"augmented_test": 2, "loss_divided_twice": 2}


def flag(fault: str) -> str:
    return f"fault {fault}: {FAULTS[fault]}"


def unsaid(faults: Iterable[str], sentences: Collection[str]) -> list[str]:
    """The flags of those faults that the sentences do not name yet."""
    return [flag(fault) for fault in faults if not any(f"fault {fault}:" in sentence for sentence in sentences)]

"""The finding in words: its sentence and its caveats."""

from __future__ import annotations

from collections.abc import Sequence

from convoy.stats import digits_for, fixed
from convoy.studies.crossval.finding import CrossvalFinding, fold_label

FEW_VALUES = 5
MOST_NAMED = 4  # folds or classes that a note names
MOST_NOTES = 6


def sentence(finding: CrossvalFinding) -> str:
    half = 100 * (finding.accuracy.half_width or 0)
    number, interval = finding.accuracy.parts(scale=100, digits=max(1, digits_for(half)), share=True)
    repeated = f" x {finding.repeats} repeats" if finding.repeats > 1 else ""
    grouped = ", groups kept together" if finding.grouped else ""
    images = finding.out_of_fold[0]
    low, high = 100 * (images.low or 0), 100 * (images.high or 0)
    if finding.repeats == 1 and len({row.accuracy.n for row in finding.rows}) == 1:
        # The mean of the folds and the share of all images are the same number, printed once.
        pooled = f"over all {images.n:,} images its 95 % interval is {low:.2f} to {high:.2f} %"
    else:
        which = ", first repeat" if finding.repeats > 1 else ""
        share = fixed(100 * images.mean, 2)
        pooled = f"of all {images.n:,} images{which}, {share} % are correct ({low:.2f} to {high:.2f} %)"
    return (
        f"{finding.label} reaches {number} {interval} % accuracy on images of {finding.data} that it was not "
        f"trained on (mean of {finding.folds} folds{repeated}{grouped}); {pooled}"
    )


def caveats(finding: CrossvalFinding) -> list[str]:
    """Most important first."""
    texts = _notes(finding)
    if finding.from_weights:
        texts.append(
            "Every fold started from saved weights: the accuracy is too high if these were trained on the scored images"
        )
    if not finding.stratified:
        texts.append("The folds are not stratified: their class frequencies differ by chance")
    naive, n = finding.naive, finding.accuracy.n
    few = "Only " if n < FEW_VALUES else ""
    if naive.sd == 0:
        texts.append(
            f"{few}{n} folds with equal scores, which have no spread: the interval is only that of rounding "
            "to single images"
        )
    else:
        digits = max(1, digits_for(100 * (naive.half_width or 0)))
        texts.append(
            f"{few}{n} folds, which share training images: ± is the corrected interval of Nadeau and Bengio "
            f"(2003); the plain t interval, {naive.parts(scale=100, digits=digits)[1]}, is too narrow"
        )
    if finding.repeats == 1:
        texts.append("One seed and one split into folds: --repeats measures how much others differ")
    if finding.rows[0].validation_images == 0:
        texts.append("No inner validation part: the last epoch of each fold was kept")
    return texts


def _notes(finding: CrossvalFinding) -> list[str]:
    """Flags of the runs, and classes without an image in a fold; a note on some folds names them."""
    folds: dict[str, list[str]] = {}
    for row in finding.rows:
        missing = row.missing_classes
        count = f"{len(missing)} class{'es' * (len(missing) > 1)}"
        notes = [f"the scored fold has no image of {count}: {shortened(missing)}"] if missing else []
        for note in (*row.flags, *notes):
            label = fold_label(row.fold, finding.folds, row.repeat, finding.repeats)
            folds.setdefault(note, []).append(label)
    texts = [
        note if len(labels) == len(finding.rows) else f"{shortened(labels)}: {note}" for note, labels in folds.items()
    ]
    if len(texts) > MOST_NOTES:
        texts = [*texts[:MOST_NOTES], f"{len(texts) - MOST_NOTES} more notes on single folds, in their runs"]
    return texts


def shortened(labels: Sequence[str]) -> str:
    more = f" and {len(labels) - MOST_NAMED} more" if len(labels) > MOST_NAMED else ""
    return ", ".join(labels[:MOST_NAMED]) + more

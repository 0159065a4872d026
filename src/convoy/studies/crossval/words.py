"""Text of the finding: its sentence and its caveats."""

from __future__ import annotations

from convoy.reporting.quantities import listed
from convoy.stats import digits_for, fixed
from convoy.studies.crossval.finding import CrossvalFinding, fold_label
from convoy.text import gettext as _
from convoy.text import ngettext

FEW_VALUES = 5
MAX_NAMED = 4  # number of folds or classes that a note names
MOST_NOTES = 6


def sentence(finding: CrossvalFinding) -> str:
    half, images = 100 * (finding.accuracy.half_width or 0), finding.out_of_fold[0]
    number = " ".join(finding.accuracy.parts(scale=100, digits=max(1, digits_for(half)), share=True))
    basis = [_("mean of {n} folds", n=finding.folds)]
    basis += [ngettext("{n} repeat", "{n} repeats", finding.repeats)] if finding.repeats > 1 else []
    basis += [_("groups kept together")] if finding.grouped else []
    reached = _(
        "{label} reaches {accuracy} % accuracy on images of {data} that it was not trained on ({basis})",
        label=finding.label,
        accuracy=number,
        data=finding.data,
        basis=", ".join(basis),
    )
    ends = images.ends(scale=100)
    if finding.repeats == 1 and len({row.accuracy.n for row in finding.rows}) == 1:
        # The mean of the folds and the share of all images are the same number, printed once.
        pooled = _("over all {n:,} images its 95 % interval is {ends} %", n=images.n, ends=ends)
    else:
        share = fixed(100 * images.mean, 2)
        pooled = _("of all {n:,} images, {share} % are correct ({ends} %)", n=images.n, share=share, ends=ends)
        if finding.repeats > 1:
            pooled = _("{pooled} in the first repeat", pooled=pooled)
    return f"{reached}; {pooled}"


def caveats(finding: CrossvalFinding) -> list[str]:
    """Returns the caveats, most important first."""
    texts = _notes(finding)
    if finding.from_weights:
        texts.append(
            _(
                "Every fold started from saved weights: the accuracy is too high if these were trained on the scored "
                "images"
            )
        )
    if not finding.stratified:
        texts.append(_("The folds are not stratified: their class frequencies differ by chance"))
    texts.append(_about_interval(finding))
    if finding.repeats == 1:
        texts.append(_("One seed and one split into folds; use --repeats to measure how much others differ"))
    if finding.rows[0].validation_images == 0:
        texts.append(_("No inner validation set: the last epoch of each fold was used"))
    return texts


def _about_interval(finding: CrossvalFinding) -> str:
    naive, n = finding.naive, finding.accuracy.n
    folds = _("Only {n} folds", n=n) if n < FEW_VALUES else _("{n} folds", n=n)
    if naive.sd == 0:
        return _(
            "{folds} with equal scores: the interval only reflects that accuracy changes in steps of one image",
            folds=folds,
        )
    digits = max(1, digits_for(100 * (naive.half_width or 0)))
    return _(
        "{folds}, which share training images: ± is the corrected interval of Nadeau and Bengio (2003); the plain t "
        "interval, {interval}, is too narrow",
        folds=folds,
        interval=naive.parts(scale=100, digits=digits)[1],
    )


def _notes(finding: CrossvalFinding) -> list[str]:
    """Returns flags of the runs and classes without an image in a fold, with the folds that they apply to."""
    folds: dict[str, list[str]] = {}
    for row in finding.rows:
        missing = listed(row.missing_classes, most=MAX_NAMED) if row.missing_classes else ""
        notes = [_("the scored fold has no images of some classes ({classes})", classes=missing)] if missing else []
        for note in (*row.flags, *notes):
            label = fold_label(row.fold, finding.folds, row.repeat, finding.repeats)
            folds.setdefault(note, []).append(label)
    texts = [
        note if len(labels) == len(finding.rows) else f"{listed(labels, most=MAX_NAMED)}: {note}"
        for note, labels in folds.items()
    ]
    more = (
        [_("{n} more notes on single folds; see their run folders", n=len(texts) - MOST_NOTES)]
        if len(texts) > MOST_NOTES
        else []
    )
    return texts[:MOST_NOTES] + more

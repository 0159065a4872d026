"""Text of the finding: its sentence and its caveats."""

from __future__ import annotations

from convoy.reporting.about import About, Cite
from convoy.studies.crossval.finding import CrossvalFinding, fold_label
from convoy.text import gettext as _
from convoy.text.labels import label_text
from convoy.text.lists import listed
from convoy.text.numbers import decimals_for

MAX_NAMED = 4  # folds or classes listed in a note
MAX_NOTES = 6


def sentence(finding: CrossvalFinding) -> str:
    clauses = [
        _(
            "{label} reaches an accuracy of {accuracy} on images of {data} that it was not trained on",
            label=label_text(finding.label),
            accuracy=finding.accuracy.text(),
            data=finding.data,
        )
    ]
    clauses += [_("groups were kept together")] if finding.grouped else []
    pooled = finding.out_of_fold[0].text()
    if finding.repeats == 1:
        clauses.append(_("all images together: {accuracy}", accuracy=pooled))
    else:
        clauses.append(_("all images of the first of {n} repeats: {accuracy}", n=finding.repeats, accuracy=pooled))
    return "; ".join(clauses)


def about() -> About:
    return About(_method, uncertainty=_("95 % interval over folds, corrected for their common images"))


def _method(cite: Cite) -> str:
    return _("The interval over folds is corrected for their common training images{citation}.", citation=cite("folds"))


def caveats(finding: CrossvalFinding) -> list[str]:
    """Returns the caveats, most important first."""
    texts = _notes(finding)
    if finding.from_weights:
        texts.append(
            _(
                "All folds start from saved weights: the accuracy is too high if these weights were trained "
                "on the scored images"
            )
        )
    if not finding.stratified:
        texts.append(_("The folds are not stratified: their class frequencies differ by chance"))
    texts.append(_about_interval(finding))
    if finding.repeats == 1:
        texts.append(_("One seed and one split into folds; use --repeats to measure the variation between them"))
    if finding.rows[0].validation_images == 0:
        texts.append(_("No inner validation set: the last epoch of each fold was used"))
    return texts


def _about_interval(finding: CrossvalFinding) -> str:
    naive, n = finding.naive, finding.accuracy.n
    if naive.sd == 0:
        return _("{n} folds with equal scores: the interval assumes accuracies in steps of one image", n=n)
    digits = max(1, decimals_for(100 * (naive.half_width or 0)))
    return _(
        "{n} folds, which share training images: the interval is corrected as in Nadeau and Bengio (2003); the plain "
        "t interval, {interval}, is too narrow",
        n=n,
        interval=naive.parts(scale=100, digits=digits)[1],
    )


def _notes(finding: CrossvalFinding) -> list[str]:
    """Returns flags of the runs and classes without an image in a fold, with the folds that they apply to."""
    folds: dict[str, list[str]] = {}
    for row in finding.rows:
        notes = list(row.flags)
        if row.missing_classes:
            missing = listed(row.missing_classes, max_items=MAX_NAMED)
            notes.append(_("the scored fold has no images of some classes ({classes})", classes=missing))
        for note in notes:
            folds.setdefault(note, []).append(fold_label(row.fold, finding.folds, row.repeat, finding.repeats))
    texts = [
        note
        if len(labels) == len(finding.rows)
        else _("{labels}: {text}", labels=listed(labels, max_items=MAX_NAMED), text=note)
        for note, labels in folds.items()
    ]
    if (more := len(texts) - MAX_NOTES) > 0:
        texts[MAX_NOTES:] = [_("{n} more notes on individual folds; see their run folders", n=more)]
    return texts

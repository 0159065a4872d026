"""The finding of a cross-validation: accuracy on unseen images, with an interval corrected for shared training images.

Networks of different folds share most of their training images, so their scores are not independent, and Student's t
interval is too narrow. The reported interval has the correction of C. Nadeau and Y. Bengio, "Inference for the
Generalization Error", Machine Learning 52, 2003. https://doi.org/10.1023/A:1024068626366
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from convoy.notebook import html_of
from convoy.run_contents import Score
from convoy.runs import Member, Run, Study
from convoy.stats import Estimate, nadeau_bengio, t_interval, wilson

FOLD = "fold"  # the part that a network is scored on


@dataclass(frozen=True)
class Fold:
    """A network's score on the fold that it was not trained on."""

    fold: int  # index of the fold, from 0
    repeat: int  # index of the repetition, from 0
    seed: int
    accuracy: Estimate  # over the images of the fold
    loss: float | None
    validation_images: int  # number of images from the other folds that select the epoch
    missing_classes: tuple[str, ...]  # classes without an image in this fold
    flags: tuple[str, ...]  # flags of the run
    diverged: bool = False


@dataclass(frozen=True)
class CrossvalFinding:
    label: str  # label of the recipe
    data: str  # name of the data set
    folds: int
    repeats: int
    stratified: bool
    grouped: bool  # images of one group are in the same fold
    from_weights: bool  # every fold started from saved weights
    accuracy: Estimate  # mean over all folds, with the corrected interval
    naive: Estimate  # the same mean with Student's t interval
    out_of_fold: tuple[Estimate, ...]  # accuracy over all images, by repeat
    rows: tuple[Fold, ...]  # one per fold and repeat
    kind: Literal["crossval"] = "crossval"
    schema: int = 1
    _repr_html_ = html_of


def conclude(label: str, members: Sequence[Member]) -> CrossvalFinding:
    """Computes the finding from finished runs, one per fold and repeat."""
    runs = [member.run for member in members]
    recipe = runs[0].recipe
    rows = tuple(map(_fold, members))
    accuracies = [row.accuracy.mean for row in rows]
    seen, scored = sizes(runs)
    by_repeat: dict[int, list[Score]] = {}
    for run in runs:
        by_repeat.setdefault(run.recipe.data.split.repeat, []).append(run.scores[FOLD])
    return CrossvalFinding(
        label=label,
        data=runs[0].data.name,
        folds=recipe.data.split.folds,
        repeats=len(by_repeat),
        stratified=recipe.data.split.stratified,
        grouped=recipe.data.split.group_by is not None,
        from_weights=recipe.model.init is not None,
        accuracy=nadeau_bengio(accuracies, seen, scored, step=1 / scored),
        naive=t_interval(accuracies, step=1 / scored),
        out_of_fold=tuple(
            wilson(sum(score.correct for score in scores), sum(score.n for score in scores))
            for _repeat, scores in sorted(by_repeat.items())
        ),
        rows=rows,
    )


def recompute(stated: CrossvalFinding, study: Study) -> CrossvalFinding:
    return conclude(stated.label, study.members)


def sizes(runs: Sequence[Run]) -> tuple[float, float]:
    """Returns the mean numbers of images per fold for training and for scoring, for Nadeau and Bengio's interval."""
    # Validation images are counted as training images, because they selected the epoch.
    seen = fmean(sum(run.data.counts.get(part, 0) for part in ("train", "validation")) for run in runs)
    return seen, fmean(run.scores[FOLD].n for run in runs)


def _fold(member: Member) -> Fold:
    run, split = member.run, member.run.recipe.data.split
    score, data = run.scores[FOLD], run.data
    return Fold(
        fold=split.fold,
        repeat=split.repeat,
        seed=member.seed,
        accuracy=wilson(score.correct, score.n),
        loss=score.loss,
        validation_images=data.counts.get("validation", 0),
        missing_classes=tuple(
            name
            for index, name in enumerate(data.classes)
            if data.per_class[FOLD][index] == 0 and any(counts[index] for counts in data.per_class.values())
        ),
        flags=tuple(run.status.flags),
        diverged=run.status.diverged,
    )


def fold_label(fold: int, folds: int, repeat: int, repeats: int) -> str:
    """`fold` and `repeat` count from 0."""
    return f"fold {fold + 1} of {folds}" + (f", repeat {repeat + 1}" if repeats > 1 else "")

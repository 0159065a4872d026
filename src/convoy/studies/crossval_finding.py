"""The finding of a cross-validation: the accuracy on unseen images, with an interval corrected for the overlap.

Networks of different folds share most of their training images, so their scores are not independent, and Student's t
interval is too narrow. The reported interval has the correction of C. Nadeau and Y. Bengio, "Inference for the
Generalization Error", Machine Learning 52, 2003. https://doi.org/10.1023/A:1024068626366
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from convoy.runs import Member, Run
from convoy.stats import Estimate, digits_for, fixed, nadeau_bengio, t_interval, wilson

FEW_VALUES = 5
MOST_NAMED = 4  # folds that a note names
MOST_NOTES = 6
Row = dict[str, Any]


def conclude(label: str, members: Sequence[Member]) -> dict[str, Any]:
    """The finding as JSON, with a row per fold, in the order of the members."""
    rows = [_row(member) for member in members]
    scores = [member.run.scores["fold"] for member in members]
    accuracies = [score["accuracy"] for score in scores]
    seen, scored = sizes([member.run for member in members])
    corrected = nadeau_bengio(accuracies, seen, scored, step=1 / scored)
    naive = t_interval(accuracies, step=1 / scored)
    split = members[0].run.recipe.data.split
    repeats = sorted({row["repeat"] for row in rows})
    of_images = [
        wilson(
            sum(row["correct"] for row in rows if row["repeat"] == repeat),
            sum(row["n_fold"] for row in rows if row["repeat"] == repeat),
        )
        for repeat in repeats
    ]
    finding = {
        "kind": "crossval",
        "metric": "accuracy on the scored fold",
        "label": label,
        "data": members[0].run.data["name"],
        "folds": split.folds,
        "repeats": len(repeats),
        "stratified": split.stratified,
        "group_by": split.group_by,
        "accuracy": corrected.as_json(),
        "naive": naive.as_json(),
        "out_of_fold": [estimate.as_json() for estimate in of_images],
        "rows": rows,
    }
    return {**finding, "sentence": _sentence(finding), "caveats": _caveats(members, finding)}


def sizes(runs: Sequence[Run]) -> tuple[float, float]:
    """Mean number of images that a fold's network has seen and was scored on, for Nadeau and Bengio."""
    counts = [run.data["counts"] for run in runs]
    # Validation images selected the epoch, so they count as seen.
    seen = fmean(each["train"] + each.get("validation", 0) for each in counts)
    return seen, fmean(run.scores["fold"]["n"] for run in runs)


def _row(member: Member) -> Row:
    run, split = member.run, member.run.recipe.data.split
    score, counts = run.scores["fold"], run.data["counts"]
    return {
        "label": member.label,
        "fold": split.fold,
        "repeat": split.repeat,
        "seed": member.seed,
        "run": run.name,
        "n_train": counts["train"],
        "n_validation": counts.get("validation", 0),
        "n_fold": score["n"],
        "correct": score["correct"],
        "accuracy": wilson(score["correct"], score["n"]).as_json(),
        "loss": score["loss"],
        "epochs": run.status.get("epochs"),
        "best_epoch": run.status.get("best_epoch"),
        "train_seconds": run.cost.get("train_seconds"),
    }


def _sentence(finding: dict[str, Any]) -> str:
    estimate = Estimate.from_json(finding["accuracy"])
    half = 100 * (estimate.half_width or 0)
    number, interval = estimate.parts(scale=100, digits=max(1, digits_for(half)), share=True)
    repeated = f" x {finding['repeats']} repeats" if finding["repeats"] > 1 else ""
    grouped = ", groups kept together" if finding["group_by"] is not None else ""
    images = Estimate.from_json(finding["out_of_fold"][0])
    low, high = 100 * (images.low or 0), 100 * (images.high or 0)
    folds = f"mean of {finding['folds']} folds{repeated}{grouped}"
    sizes_of_folds = {row["n_fold"] for row in finding["rows"]}
    if finding["repeats"] == 1 and len(sizes_of_folds) == 1:  # both are then the same number, printed once
        pooled = f"over all {images.n:,} images its 95 % interval is {low:.2f} to {high:.2f} %"
    else:
        which = ", first repeat" if finding["repeats"] > 1 else ""
        share = fixed(100 * images.mean, 2)
        pooled = f"of all {images.n:,} images{which}, {share} % are correct ({low:.2f} to {high:.2f} %)"
    return (
        f"{finding['label']} reaches {number} {interval} % accuracy on images of {finding['data']} that it was not "
        f"trained on ({folds}); {pooled}"
    )


def _caveats(members: Sequence[Member], finding: dict[str, Any]) -> list[str]:
    """Caveats of the sentence, most important first."""
    recipe = members[0].run.recipe
    caveats = _flags(members)
    if recipe.model.init is not None:
        caveats.append(
            "Every fold started from saved weights: the accuracy is too high if these were trained on the scored images"
        )
    if not finding["stratified"]:
        caveats.append("The folds are not stratified: their class frequencies differ by chance")
    naive, corrected = (Estimate.from_json(finding[key]) for key in ("naive", "accuracy"))
    digits = max(1, digits_for(100 * (naive.half_width or 0)))
    few = "Only " if corrected.n < FEW_VALUES else ""
    if naive.sd == 0:
        caveats.append(
            f"{few}{corrected.n} folds with equal scores, which have no spread: the interval is only that of rounding "
            "to single images"
        )
    else:
        caveats.append(
            f"{few}{corrected.n} folds, which share training images: ± is the corrected interval of Nadeau and Bengio "
            f"(2003); the plain t interval, {naive.parts(scale=100, digits=digits)[1]}, is too narrow"
        )
    if finding["repeats"] == 1:
        caveats.append("One seed and one split into folds: --repeats measures how much others differ")
    if finding["rows"][0]["n_validation"] == 0:
        caveats.append("No inner validation part: the last epoch of each fold was kept")
    return caveats


def _flags(members: Sequence[Member]) -> list[str]:
    """Flags of the runs and notes on their scored folds; a flag of some folds names them."""
    labels: dict[str, list[str]] = {}
    for member in members:
        notes = [note for note in member.run.data.get("notes", []) if note.startswith("the scored fold")]
        for flag in (*member.run.status.get("flags", []), *notes):
            labels.setdefault(flag, []).append(member.label)
    flags = [flag if len(found) == len(members) else f"{shortened(found)}: {flag}" for flag, found in labels.items()]
    if len(flags) > MOST_NOTES:
        flags = [*flags[:MOST_NOTES], f"{len(flags) - MOST_NOTES} more notes on single folds, in their runs"]
    return flags


def shortened(labels: Sequence[str]) -> str:
    more = f" and {len(labels) - MOST_NAMED} more" if len(labels) > MOST_NAMED else ""
    return ", ".join(labels[:MOST_NAMED]) + more

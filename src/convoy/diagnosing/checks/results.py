"""Checks of finished runs: mistakes that affected their scores, and what the scores can show. Subject: `Records`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from convoy import chance
from convoy.agreement import difference_of_shares
from convoy.diagnosing.copies import copies_in_training
from convoy.diagnosing.finding import Finding, Severity
from convoy.diagnosing.records import Records, is_correct, without_faults, without_seed
from convoy.diagnosing.suspects import find_suspects
from convoy.power import seeds_needed, seeds_text, smallest_detectable
from convoy.record import contradictions
from convoy.run_contents import RunState, state_name
from convoy.stats import TAILS, Estimate, mcnemar, spread_interval, t_interval, wilson
from convoy.text import gettext as _
from convoy.text.lists import joined

RESAMPLES = 400
TARGET_DIFFERENCES = (0.003, 0.001)  # differences of accuracies for which the required number of seeds is computed
SMALL = 0.001
MAX_LISTED = 8  # listed suspect labels


def unfinished(records: Records) -> Iterator[Finding]:
    for run in records.runs:
        if not run.finished or run.status.diverged:
            state = run.state if not run.finished else RunState.FINISHED
            yield Finding(
                Severity.ERROR,
                _("{run} diverged: its loss or gradient stayed infinite or NaN", run=run.name)
                if run.status.diverged
                else _("{run} is {state}", run=run.name, state=state_name(state)),
                _("Use a lower learning rate; convoy lr-range shows the usable range")
                if run.status.diverged
                else _("Train it to the end"),
                {"epochs": len(run.metrics)},
            )


def stopped_in_first_epoch(records: Records) -> Iterator[Finding]:
    for run in records.finished:
        if run.status.stopped == "time" and len(run.metrics) <= 1 < run.recipe.train.epochs:
            yield Finding(
                Severity.WARNING,
                _(
                    "{run} was ended by stop.max_seconds = {seconds:g} in the first of {epochs} epochs",
                    run=run.name,
                    seconds=run.recipe.stop.max_seconds,
                    epochs=run.recipe.train.epochs,
                ),
                _("Train longer; 0 switches the rule off"),
                {"steps": run.status.steps, "seconds": run.recipe.stop.max_seconds},
            )


def at_chance(records: Records) -> Iterator[Finding]:
    for run in records.finished:
        if (part := records.part) is not None and (result := chance.at_chance(run.scores[part])) is not None:
            yield Finding(
                Severity.ERROR,
                chance.sentence(run.label, part, result),
                _("Run convoy doctor on its recipe to check network and data"),
                {"accuracy": result.accuracy, "chance": result.chance, "images": result.images},
            )


def changed_record(records: Records) -> Iterator[Finding]:
    """Reports files that have changed or contradict each other. The other checks skip these runs."""
    for run in records.runs:
        for each in contradictions(run):
            evidence = {"file": each.file, "quantity": each.quantity, "contradicted_by": each.against}
            yield Finding(Severity.ERROR, str(each), _("Train the run again with --fresh"), evidence)


def skipped_steps(records: Records) -> Iterator[Finding]:
    for run in records.finished:
        skipped, steps = sum(epoch.skipped for epoch in run.metrics), run.status.steps
        if skipped:
            yield Finding(
                Severity.WARNING if skipped > 0.01 * steps else Severity.HINT,
                _(
                    "{skipped:,} of {steps:,} steps of {run} were skipped: their loss or gradient was not finite",
                    skipped=skipped,
                    steps=steps,
                    run=run.name,
                ),
                _("Use a lower learning rate, gradient clipping or float32"),
                {"skipped": skipped, "steps": steps},
            )


def still_improving(records: Records) -> Iterator[Finding]:
    for run in records.finished:
        scores = [epoch.validation for epoch in run.metrics if epoch.validation is not None]
        if len(scores) < 4 or run.status.best_epoch != len(run.metrics):
            continue
        last, before = scores[-1], max(scores[-4:-1], key=lambda score: score.accuracy)
        gain = difference_of_shares(last.accuracy, last.total, before.accuracy, before.total)
        if gain.span[0] > 0:
            yield Finding(
                Severity.HINT,
                _("{run} was still improving in its last epoch", run=run.name),
                _("Train more epochs"),
                {"epochs": len(scores), "last_accuracy": last.accuracy, "best_before": before.accuracy},
            )


def selection_optimism(records: Records) -> Iterator[Finding]:
    """Compares the validation accuracy of the selected epoch with the accuracy of the test set."""
    for run in records.finished:
        if run.data.selection != "validation" or not {"validation", "test"} <= run.scores.keys():
            continue
        chosen, free = run.scores["validation"], run.scores["test"]
        optimism = difference_of_shares(chosen.accuracy, chosen.n, free.accuracy, free.n)
        if optimism.span[0] > 0:
            yield Finding(
                Severity.HINT,
                _(
                    "The validation set selected the epoch of {run}, and its accuracy is above the test accuracy",
                    run=run.name,
                ),
                _("Report the accuracy of a part that was not used for selection"),
                {"validation": chosen.accuracy, "test": free.accuracy, "epochs": len(run.metrics)},
                cost=optimism,
            )


def test_set_reused(records: Records) -> Iterator[Finding]:
    """Estimates by bootstrap over images how much selection raises the best of several test scores."""
    runs = list({run.name: run for run in (*records.finished, *records.others) if "test" in run.scores}.values())
    if not records.finished or "test" not in records.finished[0].scores:
        return
    labels = records.finished[0].predicted("test")[0]
    rows = [is_correct(run, "test") for run in runs if np.array_equal(run.predicted("test")[0], labels)]
    openings = max(records.openings, len(rows))
    if openings < 2 or len(rows) < 2:
        return
    optimism = best_of(np.array(rows))
    yield Finding(
        Severity.WARNING if optimism.mean > 0.005 else Severity.HINT,
        _(
            "The test set was opened {openings} times; the best of {runs} scores is too high by {points} on average",
            openings=openings,
            runs=len(rows),
            points=optimism.points(),
        ),
        _("Select on validation images, and open the test set once for the final model"),
        {"openings": openings, "runs": len(rows), "images": len(labels)},
        cost=optimism,
    )


def best_of(rows: np.ndarray) -> Estimate:
    """Estimates how much the best of the runs, bool [runs, images], exceeds its accuracy on other images (Efron 1983).

    In each resample of the images, the best run is selected. The gain is its accuracy on the resample minus that on all
    images.
    """
    accuracies, rng, gains = rows.mean(1), np.random.RandomState(0), []
    for _resample in range(RESAMPLES):
        resampled = rows[:, rng.randint(rows.shape[1], size=rows.shape[1])].mean(1)
        best = int(resampled.argmax())
        gains.append(resampled[best] - accuracies[best])
    low, high = np.quantile(gains, TAILS)
    return Estimate(float(np.mean(gains)), None, rows.shape[1], float(low), float(high), "newcombe")


def noise_floor(records: Records) -> Iterator[Finding]:
    """Computes which differences of accuracy these runs can detect."""
    part = records.part
    if part is None:
        return
    run = records.finished[0]
    same = [
        other
        for other in (*records.finished, *records.others)
        if without_seed(other.recipe) == without_seed(run.recipe)
    ]
    accuracies = [
        other.scores[part].accuracy for other in {other.name: other for other in same}.values() if part in other.scores
    ]
    score = run.scores[part]
    if len(accuracies) < 2:
        interval = wilson(score.correct, score.n)
        half = (interval.span[1] - interval.span[0]) / 2
        yield Finding(
            Severity.HINT,
            _(
                "One seed: the spread over seeds is unknown; the sampling of {images:,} images alone gives "
                "± {half:.2f} points",
                images=score.n,
                half=100 * half,
            ),
            _("Train at least 3 seeds: --seeds 3"),
            {"seeds": 1, "images": score.n, "half_width": half},
        )
        return
    step = 1 / score.n
    smallest = smallest_detectable(t_interval(accuracies, step=step))
    sd = max(spread_interval(accuracies, step=step).mean, step / 12**0.5)
    needed = [(difference, seeds_needed(difference, sd)) for difference in TARGET_DIFFERENCES]
    yield Finding(
        Severity.HINT,
        _(
            "{seeds} seeds can detect a difference of {smallest:.2f} points; {first:g} points need {first_seeds} "
            "seeds per model, {second:g} points need {second_seeds}",
            seeds=len(accuracies),
            smallest=100 * (smallest or 0.0),
            first=100 * needed[0][0],
            first_seeds=seeds_text(needed[0][1]),
            second=100 * needed[1][0],
            second_seeds=seeds_text(needed[1][1]),
        ),
        _("Call smaller differences inconclusive, or train more seeds"),
        {"seeds": len(accuracies), "sd": sd, "smallest": smallest or 0.0},
    )


def effect_of_faults(records: Records) -> Iterator[Finding]:
    """Compares the same recipe with and without its faults, on the same images."""
    part = records.part
    if part is None:
        return
    for run in records.finished:
        if not run.recipe.protocol.faults:
            continue
        clean = without_faults(run.recipe)
        twins = [each for each in records.others if each.recipe == clean and part in each.scores]
        names = joined(run.recipe.protocol.faults)
        if not twins:
            yield Finding(
                Severity.WARNING,
                _("{run} has faults: {faults}", run=run.name, faults=names),
                _("Remove them; --measure trains the same recipe without them and computes their effect"),
                {"faults": len(run.recipe.protocol.faults)},
            )
            continue
        labels, others = run.predicted(part)[0], twins[0].predicted(part)[0]
        if np.array_equal(labels, others):
            cost = mcnemar(is_correct(run, part), is_correct(twins[0], part)).difference
        else:
            a, b = run.scores[part], twins[0].scores[part]
            cost = difference_of_shares(a.accuracy, a.n, b.accuracy, b.n)
        yield Finding(
            Severity.WARNING,
            _(
                "{run} has faults ({faults}); the run {twin} has the same recipe without them",
                run=run.name,
                faults=names,
                twin=twins[0].name,
            ),
            _("Remove them from protocol.faults"),
            {"accuracy": run.scores[part].accuracy, "accuracy_without": twins[0].scores[part].accuracy},
            cost=cost,
        )


def suspect_labels(records: Records) -> Iterator[Finding]:
    """Finds labels that are improbable for networks of other folds, over all folds of a cross-validation."""
    parts = [run.predictions for run in records.finished if "fold_logits" in run.predictions]
    if not parts:
        return
    index, labels, logits = (
        np.concatenate([part[f"fold_{name}"] for part in parts]) for name in ("index", "labels", "logits")
    )
    images, first, place = np.unique(index, return_index=True, return_inverse=True)
    means = np.zeros((len(images), logits.shape[1]))
    np.add.at(means, place, logits)  # over repeats
    suspects = find_suspects(means / np.bincount(place)[:, None], labels[first].astype(np.int64))
    if len(flagged := suspects.flagged):
        wrong = float(suspects.probability[flagged].mean())
        classes = records.finished[0].data.classes
        described = [
            f"{images[each]} ({classes[labels[first][each]]}, {classes[suspects.suggested[each]]}?)"
            for each in flagged[:MAX_LISTED]
        ]
        yield Finding(
            Severity.HINT,
            _(
                "{count:,} of {n:,} labels are suspect, and about {wrong:.0%} of these are wrong, according to "
                "networks that were not trained on these images; indices of the most suspect: {images}",
                count=len(flagged),
                n=len(images),
                wrong=wrong,
                images=joined(described),
            ),
            _("Look at these images; a network of low accuracy also suspects correct labels"),
            {"suspect": len(flagged), "share": len(flagged) / len(images), "wrong": wrong},
        )


def scored_on_training_images(records: Records) -> Iterator[Finding]:
    """Computes the accuracy without the test images that are also training images."""
    if records.images is None or "test" not in records.images.parts:
        return
    _same, alike, searched = copies_in_training(records.images, "test")
    for run in records.finished if len(alike) else ():
        if "test" not in run.scores or len(hits := is_correct(run, "test")) != len(records.images.parts["test"]):
            continue
        copies, rest = hits[alike], np.delete(hits, alike)
        share = len(copies) / len(hits)
        gain = difference_of_shares(float(copies.mean()), len(copies), float(rest.mean()), len(rest))
        cost = Estimate(share * gain.mean, None, len(hits), share * gain.span[0], share * gain.span[1], "newcombe")
        yield Finding(
            Severity.WARNING if cost.span[0] > SMALL else Severity.HINT,
            _(
                "{count:,} of {n:,} test images are also training images of {run}",
                count=len(copies),
                n=len(hits),
                run=run.name,
            ),
            _("Report the accuracy without them: {accuracy:.2%}", accuracy=rest.mean()),
            {
                "accuracy": float(hits.mean()),
                "accuracy_without": float(rest.mean()),
                "accuracy_on_copies": float(copies.mean()),
            }
            | {"same_picture_searched": searched},
            cost=cost,
        )

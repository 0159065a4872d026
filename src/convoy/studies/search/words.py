"""The finding in words: its sentence and its caveats."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convoy.studies.search.finding import Importance, Pruner, Sampler, SearchFinding, State

STATES = {State.FINISHED: "trained to the end", State.PRUNED: "stopped early", State.DIVERGED: "diverged"}


def sentence(finding: SearchFinding) -> str:
    trials, seeds = len(finding.trials), len(finding.seeds)
    return (
        f"Of {trials} {'points' if finding.method.grid else 'trials'}, {text_of(finding.best.params)} had the "
        f"highest accuracy on {_images(finding)} for {finding.label} on {finding.data}; retrained with "
        f"{'a fresh seed' if seeds == 1 else f'{seeds} fresh seeds'} it reaches "
        f"{finding.accuracy.text()} {finding.part} accuracy"
    )


def text_of(params: Mapping[str, Any]) -> str:
    """ "train.batch_size = 64 and optim.lr = 0.005" """
    *rest, last = [
        f"{path} = {f'{value:.4g}' if isinstance(value, float) else value}" for path, value in params.items()
    ]
    return f"{', '.join(rest)} and {last}" if rest else last


def caveats(finding: SearchFinding) -> list[str]:
    method, trials = finding.method, len(finding.trials)
    texts = [*finding.flags]
    if method.scored_on == "test":
        texts.append(
            f"The trials are scored on the test set, which they opened {finding.test_openings:,} times: it "
            "selected the winner and each run's epoch, so that no accuracy here is on images without selection"
        )
    texts += [
        f"In the search the winner had {finding.best.accuracy:.2%} on {_images(finding)}: as the best of "
        f"{trials} trials on the same images and with one seed, this tends to be too high",
        *_near(finding),
        *_at_the_edge(finding),
    ]
    if trials < method.requested:
        texts.append(f"{method.requested} trials were requested: after {trials} the sampler found no new point")
    if trials > method.requested:
        texts.append(f"{method.requested} trials were requested, but the search already had {trials}: all are included")
    if len(finding.seeds) == 1:
        texts.append("One fresh seed: the interval is over images and does not cover other seeds")
    if finding.part == "validation":
        texts.append("The test set stayed closed: validation accuracy also selected the winner and each run's epoch")
    if early := finding.count(State.PRUNED):
        texts.append(
            f"{early} of {trials} trials were stopped early by {method.pruner}: a slow starter may be among them"
        )
    if diverged := finding.count(State.DIVERGED):
        texts.append(f"{diverged} {'trial' if diverged == 1 else 'trials'} diverged and could not win")
    order_matters = method.pruner in (Pruner.HYPERBAND, Pruner.MEDIAN) or method.sampler in (Sampler.TPE, Sampler.GP)
    if method.parallel and order_matters:
        texts.append(
            "Several trials were trained in parallel, and their order of completion affected which points were tried "
            "or stopped: the same search may give another result"
        )
    return texts


def _images(finding: SearchFinding) -> str:
    """The images that scored the trials."""
    return "the test set" if finding.method.scored_on == "test" else "validation"


def _near(finding: SearchFinding) -> list[str]:
    if finding.margin is None:
        return ["One fresh seed has no spread: how many other trials are as good as the winner is unknown"]
    if not (near := len(finding.near)):
        return []
    n = finding.scored_accuracy.n
    return [
        f"{near} other {'trial is' if near == 1 else 'trials are'} within {100 * finding.margin:.2f} points of "
        f"the winner on {_images(finding)} and may be as good: 95 % of the differences of two single runs are smaller "
        f"(t with {n - 1} degrees of freedom, from the spread of the {n} fresh seeds)"
    ]


def _at_the_edge(finding: SearchFinding) -> list[str]:
    """Keys whose winning value is the lowest or the highest in the search."""
    texts = []
    for axis in finding.space:
        value = finding.best.params[axis.path]
        numbers = [end for end in axis.extremes if isinstance(end, int | float) and not isinstance(end, bool)]
        if len(numbers) < len(axis.extremes) or len(numbers) < 2:
            continue
        low, high = min(numbers), max(numbers)
        if value in (low, high):
            end = "lowest" if value == low else "highest"
            texts.append(f"{axis.path} = {value:g} is the {end} value in the search: the best may be outside")
    return texts


def method_text(finding: SearchFinding) -> str:
    method, count = finding.method, len(finding.trials)
    points = f"full grid of {count}" if method.grid else f"{count} trials by {method.sampler}"
    return f"{points}, {'no pruner' if method.pruner is Pruner.NONE else method.pruner}, seed {method.seed}"


def basis_of(importance: Importance) -> str:
    """The trials that the importance is computed from."""
    return f"{importance.trials} trials, {'trained to the end' if importance.only_finished else 'at their last epoch'}"

"""Text of the finding: sentence, caveats, names and captions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from convoy.reporting.about import About, Cite
from convoy.reporting.words import accuracy_name
from convoy.studies.search.finding import Importance, Pruner, Sampler, SearchFinding, State, Trial
from convoy.text import gettext as _
from convoy.text import ngettext
from convoy.text.labels import label_text
from convoy.text.lists import listed

FEW_TRIALS = 30  # below this number, an importance is a rough estimate


def sentence(finding: SearchFinding) -> str:
    return _(
        "Of {trials} trials of {label} on {data}, {values} had the highest {metric}; the network retrained with "
        "these values and {seeds} reaches {accuracy} {part}",
        trials=len(finding.trials),
        values=text_of(finding.best.params),
        metric=_metric(finding),
        label=label_text(finding.label),
        data=finding.data,
        seeds=fresh_seeds(finding),
        accuracy=finding.accuracy.text(),
        part=accuracy_name(finding.part),
    )


def text_of(params: Mapping[str, Any]) -> str:
    """Returns text such as "train.batch_size = 64 and optim.lr = 0.005"."""
    return listed([f"{path} = {value_text(value)}" for path, value in params.items()])


def value_text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def key_name(path: str) -> str:
    names = {"train.batch_size": _("batch size"), "optim.lr": _("learning rate")}
    return names.get(path, path.removeprefix("model.options."))


def state_name(state: State) -> str:
    names = {State.FINISHED: _("trained to the end"), State.PRUNED: _("pruned"), State.DIVERGED: _("diverged")}
    return names[state]


def fresh_seeds(finding: SearchFinding) -> str:
    return ngettext("{n} fresh seed", "{n} fresh seeds", len(finding.seeds))


def _metric(finding: SearchFinding) -> str:
    """Names the accuracy by which trials are ranked."""
    return accuracy_name(finding.method.scored_on)


def trial_text(trial: Trial) -> str:
    """Formats values, accuracy and epochs of a point in a figure."""
    values = listed([f"{key_name(path)} {value_text(value)}" for path, value in trial.params.items()])
    accuracy = _("diverged") if trial.state is State.DIVERGED else f"{100 * trial.accuracy:.2f} %"
    return _("{values}: {accuracy}, epochs trained: {n}", values=values, accuracy=accuracy, n=trial.epochs)


def method_text(finding: SearchFinding) -> str:
    method, count = finding.method, len(finding.trials)
    how = _("full grid of {n}", n=count) if method.grid else _("{n} trials by {by}", n=count, by=method.sampler)
    return _("{trials}, pruner {pruner}, seed {seed}", trials=how, pruner=method.pruner, seed=method.seed)


def about() -> About:
    return About(
        _method,
        question=_("Why is the accuracy of the best trial in the search higher than that of the retrained winner?"),
        hyperparameters=_("searched; the report has the ranges and all trials"),
    )


def _method(cite: Cite) -> str:
    return _(
        "The hyperparameters were searched with Optuna{citation}; the winner was trained again with new seeds.",
        citation=cite("search"),
    )


def caveats(finding: SearchFinding) -> list[str]:
    return [*finding.flags, *_caveats(finding)]


def _caveats(finding: SearchFinding) -> Iterator[str]:
    method, trials, requested = finding.method, len(finding.trials), finding.method.requested
    if method.scored_on == "test":
        yield _(
            "The trials are scored on the test set, which they opened {n:,} times. It selected the "
            "winner and the best epoch of each run, so all accuracies here are too high",
            n=finding.test_openings,
        )
    yield _(
        "In the search, the winner had a {metric} of {accuracy:.2f} %. This tends to be too high, because it is the "
        "best of {n} trials on the same images with one seed",
        accuracy=100 * finding.best.accuracy,
        metric=_metric(finding),
        n=trials,
    )
    if finding.margin is None:
        yield _("One fresh seed has no spread, so it is unknown how many other trials are as good as the winner")
    elif finding.near:
        yield _(
            "Trials that may be as good as the winner: {n}. Their {metric} is within {margin:.2f} points of the "
            "winner's; in 95 % of cases, two runs with equal settings differ by less (t interval from the spread of "
            "the {seeds})",
            n=len(finding.near),
            margin=100 * finding.margin,
            metric=_metric(finding),
            seeds=fresh_seeds(finding),
        )
    if edge := {key: finding.best.params[key] for key in finding.at_the_edge}:
        yield _(
            "The winner is at the edge of the searched range, and a better value may be outside: {values}",
            values=text_of(edge),
        )
    if trials != requested:
        why = (
            _("the sampler found no new point")
            if trials < requested
            else _("earlier calls ran more trials, and all of them are used")
        )
        yield _("{n} trials instead of the requested {m}: {reason}", n=trials, m=requested, reason=why)
    if len(finding.seeds) == 1:
        yield _("One fresh seed: the interval covers the sampling of images, not the variation between seeds")
    if finding.part == "validation":
        yield _("The test set was not used. The validation set also selected the winner and the best epoch of each run")
    if n := finding.count(State.PRUNED):
        yield _("{n} trials were pruned by {by}; one that improves late may be among them", by=method.pruner, n=n)
    if n := finding.count(State.DIVERGED):
        yield _("{n} of {trials} trials diverged and could not win", n=n, trials=trials)
    order_matters = method.pruner in (Pruner.HYPERBAND, Pruner.MEDIAN) or method.sampler in (Sampler.TPE, Sampler.GP)
    if method.parallel and order_matters:
        yield _(
            "Several trials were trained in parallel, and the order in which they finished affected "
            "which points were tried or stopped; repeating the search may give a different result"
        )


# ---- captions ----


def trials_caption(finding: SearchFinding, name: str) -> str:
    """Caption of the figure with this name, which shows all trials."""
    marks = _("Filled: trained to the end; hollow: pruned; cross at the lower edge: diverged. Circled: winner.")
    explained = {
        "search_3d": _("Diverged trials are drawn at the lowest accuracy of the others."),
        "search_heat": _("Framed: winner. Colour: log of the error, stronger is better; grey: pruned; ×: diverged."),
        "parallel": _("One line per trial. Black: winner; stronger colour: higher accuracy; grey: pruned."),
        "search_keys": marks,
        "search_history": marks + " " + _("Line: best fully trained trial so far."),
    }
    trials = _("Trials (n = {n}, one seed each) at their best epoch.", n=len(finding.trials))
    return f"{trials} {explained[name]}"


def importance_caption(importance: Importance) -> str:
    trials = _("trained to the end") if importance.only_finished else _("at their last epoch")
    text = _(
        "fANOVA (Hutter, Hoos and Leyton-Brown 2014) in the searched range, over {n} trials ({trials}), without "
        "interactions between keys.",
        n=importance.trials,
        trials=trials,
    )
    return text + " " + _("With so few trials, this is a rough estimate.") if importance.trials < FEW_TRIALS else text

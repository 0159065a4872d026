"""The finding in words: its sentence, its caveats, its names and its captions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convoy.reporting.quantities import listed
from convoy.reporting.words import accuracy_name
from convoy.studies.search.finding import Importance, Pruner, Sampler, SearchFinding, State, Trial
from convoy.text import gettext as _
from convoy.text import ngettext

FEW_TRIALS = 30  # for an importance


def sentence(finding: SearchFinding) -> str:
    return ngettext(
        "Of {trials} trials, {values} had the highest accuracy on {images} for {label} on {data}; retrained with a "
        "fresh seed it reaches {accuracy} {part}",
        "Of {trials} trials, {values} had the highest accuracy on {images} for {label} on {data}; retrained with {n} "
        "fresh seeds it reaches {accuracy} {part}",
        len(finding.seeds),
        trials=len(finding.trials),
        values=text_of(finding.best.params),
        images=_images(finding),
        label=finding.label,
        data=finding.data,
        accuracy=finding.accuracy.text(),
        part=accuracy_name(finding.part),
    )


def text_of(params: Mapping[str, Any]) -> str:
    """ "train.batch_size = 64 and optim.lr = 0.005" """
    return listed([f"{path} = {value_text(value)}" for path, value in params.items()])


def value_text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def key_name(path: str) -> str:
    names = {"train.batch_size": _("batch size"), "optim.lr": _("learning rate")}
    return names.get(path, path.removeprefix("model.options."))


def state_name(state: State) -> str:
    names = {State.FINISHED: _("trained to the end"), State.PRUNED: _("stopped early"), State.DIVERGED: _("diverged")}
    return names[state]


def trial_text(trial: Trial) -> str:
    """The values, accuracy and epochs of a point of a figure."""
    return ngettext(
        "{values}: {accuracy}, {n} epoch",
        "{values}: {accuracy}, {n} epochs",
        trial.epochs,
        values=listed([f"{key_name(path)} {value_text(value)}" for path, value in trial.params.items()]),
        accuracy=_("diverged") if trial.state is State.DIVERGED else f"{100 * trial.accuracy:.2f} %",
    )


def method_text(finding: SearchFinding) -> str:
    method, count = finding.method, len(finding.trials)
    return ", ".join(
        [
            _("full grid of {n}", n=count) if method.grid else _("{n} trials by {by}", n=count, by=method.sampler),
            _("no pruner") if method.pruner is Pruner.NONE else _("pruner {name}", name=method.pruner),
            _("seed {seed}", seed=method.seed),
        ]
    )


def _images(finding: SearchFinding) -> str:
    """The images that scored the trials."""
    return _("the test set") if finding.method.scored_on == "test" else _("validation")


def caveats(finding: SearchFinding) -> list[str]:
    method, trials = finding.method, len(finding.trials)
    texts = [*finding.flags]
    if method.scored_on == "test":
        texts.append(
            _(
                "The trials are scored on the test set, which they opened {openings:,} times: it selected the winner "
                "and each run's epoch, so that no accuracy here is on images without selection",
                openings=finding.test_openings,
            )
        )
    texts += [
        _(
            "In the search the winner had {accuracy:.2%} on {images}: as the best of {trials} trials on the same "
            "images and with one seed, this tends to be too high",
            accuracy=finding.best.accuracy,
            images=_images(finding),
            trials=trials,
        ),
        *_near(finding),
        *_at_the_edge(finding),
    ]
    if (requested := method.requested) != trials:
        texts.append(
            _(
                "{requested} trials were requested: after {trials} the sampler found no new point",
                requested=requested,
                trials=trials,
            )
            if trials < requested
            else _(
                "{requested} trials were requested, but the search already had {trials}: all are included",
                requested=requested,
                trials=trials,
            )
        )
    if len(finding.seeds) == 1:
        texts.append(_("One fresh seed: the interval is over images and does not cover other seeds"))
    if finding.part == "validation":
        texts.append(_("The test set stayed closed: validation accuracy also selected the winner and each run's epoch"))
    if early := finding.count(State.PRUNED):
        texts.append(
            _(
                "{early} of {trials} trials were stopped early by {pruner}: a slow starter may be among them",
                early=early,
                trials=trials,
                pruner=method.pruner,
            )
        )
    if diverged := finding.count(State.DIVERGED):
        texts.append(
            ngettext("{n} trial diverged and could not win", "{n} trials diverged and could not win", diverged)
        )
    order_matters = method.pruner in (Pruner.HYPERBAND, Pruner.MEDIAN) or method.sampler in (Sampler.TPE, Sampler.GP)
    if method.parallel and order_matters:
        texts.append(
            _(
                "Several trials were trained in parallel, and their order of completion affected which points were "
                "tried or stopped: the same search may give another result"
            )
        )
    return texts


def _near(finding: SearchFinding) -> list[str]:
    if finding.margin is None:
        return [_("One fresh seed has no spread: how many other trials are as good as the winner is unknown")]
    if not finding.near:
        return []
    return [
        ngettext(
            "{n} other trial is within {margin:.2f} points of the winner on {images} and may be as good: 95 % of the "
            "differences of two single runs are smaller (t with {df} degrees of freedom, from the spread of the "
            "{seeds} fresh seeds)",
            "{n} other trials are within {margin:.2f} points of the winner on {images} and may be as good: 95 % of the "
            "differences of two single runs are smaller (t with {df} degrees of freedom, from the spread of the "
            "{seeds} fresh seeds)",
            len(finding.near),
            margin=100 * finding.margin,
            images=_images(finding),
            df=finding.scored_accuracy.n - 1,
            seeds=finding.scored_accuracy.n,
        )
    ]


def _at_the_edge(finding: SearchFinding) -> list[str]:
    """Keys whose winning value is the lowest or the highest in the search."""
    texts = []
    for axis in finding.space:
        key, value, ends = axis.path, finding.best.params[axis.path], axis.extremes
        is_numeric = all(isinstance(end, int | float) and not isinstance(end, bool) for end in ends)
        if is_numeric and len(ends) > 1 and value in (min(ends), max(ends)):
            texts.append(
                _("{key} = {value:g} is at the edge of the search: the best may be outside", key=key, value=value)
            )
    return texts


# ---- captions ----


def trials_caption(finding: SearchFinding) -> str:
    return " ".join([_marks(finding), _("Circled: winner.")])


def history_caption(finding: SearchFinding) -> str:
    return " ".join([trials_caption(finding), _("Line: best fully trained trial so far.")])


def scene_caption(finding: SearchFinding) -> str:
    return " ".join([_marks(finding, in_3d=True), _("Drag to rotate (needs JavaScript).")])


def _marks(finding: SearchFinding, *, in_3d: bool = False) -> str:
    texts = [_("Marks: trials (n = {n}, one seed each) at their best epoch.", n=len(finding.trials))]
    if early := finding.count(State.PRUNED):
        texts.append(
            _("Stopped early ({n}): at the accuracy reached until then.", n=early)
            if in_3d
            else _("Hollow: stopped early ({n}), at the accuracy reached until then.", n=early)
        )
    if diverged := finding.count(State.DIVERGED):
        texts.append(
            _("Diverged ({n}): at the lowest accuracy of the others.", n=diverged)
            if in_3d
            else _("Crosses at the lower edge: diverged ({n}).", n=diverged)
        )
    return " ".join(texts)


def heat_caption(finding: SearchFinding) -> str:
    texts = [
        _("Trials (n = {n}, one seed each) at their best epoch.", n=len(finding.trials)),
        _("Framed: winner. Colour: log of the error, stronger is better."),
    ]
    if early := finding.count(State.PRUNED):
        texts.append(_("Grey: stopped early ({n}), at the accuracy reached until then.", n=early))
    if diverged := finding.count(State.DIVERGED):
        texts.append(_("×: diverged ({n}).", n=diverged))
    return " ".join(texts)


def importance_caption(importance: Importance) -> str:
    texts = [
        _("fANOVA (Hutter, Hoos and Leyton-Brown 2014) in the searched range, without interactions between keys."),
        _("Computed from {n} trials, trained to the end.", n=importance.trials)
        if importance.only_finished
        else _("Computed from {n} trials, at their last epoch.", n=importance.trials),
    ]
    if importance.trials < FEW_TRIALS:
        texts.append(_("With so few trials this is a rough estimate."))
    return " ".join(texts)

"""Functions that reproduce published experiments and test claims."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Unpack

from convoy.api.runs import report
from convoy.api.session import Stopped, display, resume_hint, session_of
from convoy.options import (
    ARGUMENTS,
    ClusterOptions,
    Device,
    Epochs,
    Flag,
    Fresh,
    Limit,
    Out,
    Set,
    Show,
    Track,
    takes_options,
)
from convoy.registry import unknown
from convoy.text import gettext as _
from convoy.text.lists import listed

if TYPE_CHECKING:
    from convoy import runs
    from convoy.api.study import Study
    from convoy.experiments.claims import Claim
    from convoy.experiments.reproduction.base import Reproduction
    from convoy.experiments.verdicts import JudgedClaim

__all__ = ["check_claim", "reproduce"]
ALL = "all"
OF_TRAINING = frozenset(
    (
        "seeds",
        "quick",
        "full_size",
        "data",
        "archive",
        "limit",
        "epochs",
        "device",
        "set",
        "fresh",
        "where",
        "shard",
        "track",
    )
)
ARGUMENTS.update(
    experiment="course-mnist, cifar-course, resnet-mnist, classics-mnist, tensor-mnist, all, or the path of an "
    "experiment.toml.",
    claim="A table as in a claims.toml, or a Claim.",
)


class ReproduceOptions(ClusterOptions, total=False):
    protocol: Annotated[
        Literal["as-published", "corrected", "both"],
        Flag(
            "as-published (the published protocol, faults included), corrected (the same models, a sound protocol), or "
            "both.",
            "both",
        ),
    ]
    seeds: Annotated[int | None, Flag("Runs per recipe. Default: set by the experiment.")]
    quick: Annotated[
        bool,
        Flag(
            "A demonstration that takes a few minutes: each network is trained on just enough images to learn. The "
            "results are not evidence.",
            False,
        ),
    ]
    only: Annotated[
        Sequence[str] | str,
        Flag(
            "Comma-separated parts: models, faults, claims, crossval, search, landscape, ablation, seeds, ladder.", ""
        ),
    ]
    models: Annotated[
        Sequence[str] | str,
        Flag(
            "Comma-separated models to train. For the others, the report shows runs that are already finished.",
            "",
        ),
    ]
    full_size: Annotated[
        bool, Flag("Test each claim at the published scale instead of the scale for a small machine.", False)
    ]
    data: Annotated[
        str | None,
        Flag("Location of the data, as in cifar10=PATH. The report lists data that this machine does not have."),
    ]
    archive: Annotated[
        str | Path | None,
        Flag("Folder of archived runs. Finished runs are read from it and added to it, without weights and images."),
    ]
    archived: Annotated[
        bool,
        Flag(
            "Train nothing and show the runs that come with Convoy. With the same --out, a later call without "
            "--archived reuses them and trains the missing ones.",
            False,
        ),
    ]
    limit: Limit
    epochs: Epochs
    device: Device
    set: Set
    out: Out
    fresh: Fresh
    track: Track
    show: Show


@takes_options
def reproduce(experiment: str | Path, **options: Unpack[ReproduceOptions]) -> Study:
    """Reproduce a published experiment: its models, the effect of each protocol fault, its claims and its studies.

    After an interruption, it reports the finished parts; run the same command again to continue.

    Example: `convoy reproduce tensor-mnist --quick`

    Returns
    -------
    Study
        Its finding is a ReproductionFinding; for "all", a ReproductionsFinding.

    Examples
    --------
    >>> study = convoy.reproduce("classics-mnist", only="models", models="lenet", seeds=1, limit=500, epochs=1)
    """
    from convoy.api.arguments import overrides_of, parts_of
    from convoy.api.study import Study
    from convoy.experiments import experiment as published
    from convoy.experiments.experiment import Settings
    from convoy.experiments.parts import EXPERIMENT_PARTS
    from convoy.experiments.reproductions import run as reproduce_all
    from convoy.files import reading_once
    from convoy.studies.shards import ShardEnded

    only, data, show = parts_of(options["only"]), options["data"], options["show"]
    for part in only:
        if part not in EXPERIMENT_PARTS:
            raise unknown(_("part"), part, EXPERIMENT_PARTS, _("an experiment"))
    given: dict[str, Any] = {key: value for key, value in options.items() if key in Settings.__dataclass_fields__}
    for name in ("seeds", "limit", "epochs"):
        if given[name] is not None and given[name] < 1:
            raise ValueError(_("{name} = {given}: must be at least 1", name=name, given=given[name]))
    chosen = tuple(part for part in EXPERIMENT_PARTS if part in only) or EXPERIMENT_PARTS
    overrides = tuple(overrides_of({"set": options["set"]}))
    given |= {"only": chosen, "models": tuple(parts_of(options["models"])), "data": None, "set": overrides}
    settings = Settings(**given)
    for name, value in options.items():
        if options["archived"] and name in OF_TRAINING and value:
            raise ValueError(
                _("--archived does not train, so --{option} cannot be used", option=name.replace("_", "-"))
            )
    names = published.names() if experiment == ALL else [str(experiment)]
    experiments = [published.load(name) for name in names]
    for label in settings.models:
        labels = [model.label for each in experiments for model in each.model]
        if label not in labels:
            raise unknown(_("model"), label, labels, str(experiment))
    if data is not None and data.partition("=")[0] not in [each.data for each in experiments]:
        accepted = listed(dict.fromkeys(f"{each.data}=PATH" for each in experiments), "or")
        raise ValueError(
            _("data = {data!r}: {experiment} accepts {accepted}", data=data, experiment=experiment, accepted=accepted)
        )
    studies: dict[str, runs.Study] = {}
    reading = reading_once() if options["archived"] else nullcontext()  # reproductions that train write runs
    with session_of(None, options) as session, reading:
        stage, say = partial(display, show=show, track=session.show), partial(_say, show=show)
        kind, reproductions = _kind_of_reproduction(archived=options["archived"]), []
        for each in experiments:
            own_data = data if data is not None and data.partition("=")[0] == each.data else None
            own_settings = replace(settings, data=own_data)
            reproductions.append(kind(each, own_settings, session, stage, options["archive"], say))
        if session.shard is not None:
            from convoy.experiments.reproduction.run import TrainedReproduction

            trained = [each for each in reproductions if isinstance(each, TrainedReproduction)]
            ended = [each.train_shard() for each in trained if not session.interrupted()]
            if session.interrupted():
                raise Stopped(resume_hint(options))
            raise ShardEnded.sum_of(ended)
        for each, reproduction in zip(experiments, reproductions, strict=True):
            study, parts, finished = reproduction.run()
            page = _write_reports(study, parts)
            studies[each.name] = study
            if not finished:
                break
        if experiment == ALL:
            waiting = [each.name for each in experiments if each.name not in studies]
            name = settings.name(ALL) + ("-archived" if options["archived"] else "")
            study = reproduce_all.gather(studies, waiting, session.out, name=name, command=session.command)
            page = report(study)
    if not finished:
        hint = resume_hint(options)
        raise Stopped(_("{hint}; report of the finished parts: {page}", hint=hint, page=page))
    return Study(study.path)


def _write_reports(study: runs.Study, parts: Sequence[runs.Study]) -> Path:
    """Returns the page of the study. The reports of its parts are written at the same time, on a second core."""
    from convoy.reporting.forks import computed

    jobs = [lambda: report(study)]
    if parts:
        jobs.append(lambda: [report(part) for part in parts][-1])
    return computed(jobs)[0]


def _kind_of_reproduction(*, archived: bool) -> type[Reproduction]:
    if archived:
        from convoy.experiments.reproduction.archived import ArchivedReproduction

        return ArchivedReproduction
    from convoy.experiments.reproduction.run import TrainedReproduction  # imports torch

    return TrainedReproduction


def _say(text: str, *, show: bool | str) -> None:
    if show:
        print(text, file=sys.stderr if show == "stderr" else None, flush=True)


class ClaimOptions(ClusterOptions, total=False):
    full_size: Annotated[bool, Flag("Test at the published scale, not at the claim's reduced one.", False)]
    seeds: Annotated[int | None, Flag("Runs per recipe. Default: that of the claim.")]
    set: Set
    out: Out
    fresh: Fresh
    track: Track
    show: Show


@takes_options
def check_claim(claim: Claim | Mapping[str, Any], **options: Unpack[ClaimOptions]) -> JudgedClaim:
    """Test whether a claim holds, does not hold, or is inconclusive; returns its verdict and its numbers.

    Returns
    -------
    JudgedClaim
        The verdict, and the values of both sides of the claim.

    Examples
    --------
    >>> claim = {
    ...     "id": "norm-helps",
    ...     "sentence": "Batch norm increases the accuracy",
    ...     "measure": "test_accuracy",
    ...     "a": {"label": "with", "recipe": "two_conv_cnn"},
    ...     "b": {"label": "without", "recipe": "two_conv_cnn", "set": {"model.options.norm": "none"}},
    ...     "relation": "above",
    ... }
    >>> judged = convoy.check_claim(claim, seeds=2, set={"data.limit": 500, "train.epochs": 1})
    >>> print(judged.verdict, judged.result)
    """
    from convoy.api.arguments import overrides_of
    from convoy.experiments import claims
    from convoy.experiments.reproduction.networks import ClaimCounter
    from convoy.experiments.verdicts import judge
    from convoy.studies.session import Entry
    from convoy.studies.train_all import train_all

    ready = claims.check(
        claims.read(claim),
        full_size=options["full_size"],
        overrides=overrides_of({"set": options["set"]}),
        seeds=options["seeds"],
    )
    entries = [Entry(trial.label, trial.recipe) for trial in ready.trials]
    with session_of([entry.title for entry in entries], options) as session:
        members = train_all(entries, session)
    if members is None:
        raise Stopped(resume_hint(options))
    return judge(ready, [member.run for member in members], ClaimCounter().of(ready))

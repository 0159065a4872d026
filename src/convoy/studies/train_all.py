"""Trains a list of labelled recipes, the first step of most studies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from convoy.evaluation import cost
from convoy.events import Ended
from convoy.files import file_name
from convoy.recipe import Recipe
from convoy.run_contents import RunState
from convoy.runs import Member, Run, Study, Workspace, digest_of
from convoy.studies.execute import choose, execute
from convoy.studies.expectation import Expectation
from convoy.studies.session import Entry, RetrainOnce, Session
from convoy.studies.shards import ShardEnded
from convoy.text import gettext as _
from convoy.training.run import fault_checks
from convoy.training.run.plan import plan_all


def check_named(recipes: Sequence[tuple[str, Recipe]], seeds: int, study: str) -> None:
    """Raises ValueError for repeated labels and without a recipe or seed."""
    if not recipes or seeds < 1:
        raise ValueError(_("a {study} needs at least one recipe and one seed", study=study))
    labels = [label for label, _ in recipes]
    for label in labels:
        if labels.count(label) > 1:
            raise ValueError(_("{label!r} occurs twice in the {study}", label=label, study=study))


def study_name(kind: str, labels: Sequence[str], digest: str) -> str:
    """Returns the name of a study's folder."""
    more = f"-and-{len(labels) - 4}-more" if len(labels) > 4 else ""
    return f"{kind}-{'-'.join(labels[:4])}{more}-{digest}"


class _Job(NamedTuple):
    """The small part of a plan that is kept in memory; a plan also contains a copy of the images."""

    recipe: Recipe
    fingerprint: str
    images: int  # training images times epochs
    flops: int


def train_all(
    entries: Sequence[Entry],
    session: Session,
    *,
    distinct: bool = True,
    name: Callable[[str], str] | None = None,
) -> list[Member] | None:
    """Trains the missing runs, long ones first; returns a member for each entry, in order.

    Returns None if interrupted; the same call resumes. All recipes are checked before training: raises ValueError for
    a recipe that cannot be trained and, if `distinct`, for a recipe with two labels. Entries with the same fingerprint
    share a run. `name` makes the study's name from a digest of its runs. Raises ShardEnded after the runs of a shard.
    """
    jobs, fresh, test = _jobs(entries), session.fresh, session.test
    if test is not True:
        for entry in entries:
            fault_checks.check_test_closed(entry.recipe, may_select=test == "only with fault")
    first_of: dict[str, int] = {}
    for position, job in enumerate(jobs):
        other = entries[first_of.setdefault(job.fingerprint, position)].label
        if distinct and other != entries[position].label:
            raise ValueError(
                _(
                    "{other!r} and {label!r} are the same recipe: expected different recipes",
                    other=other,
                    label=entries[position].label,
                )
            )
    if name is not None:
        session.name_study(file_name(name(digest_of(job.fingerprint for job in jobs))))
    # Long runs first, so that workers finish at about the same time; FLOPs are a good enough estimate.
    order = sorted(first_of.values(), key=lambda position: jobs[position].flops, reverse=True)
    # Includes finished runs, so that a resumed study uses the same thread count and is bit-identical.
    where = choose(
        [jobs[position].recipe for position in order], sum(jobs[position].images for position in order), session
    )
    if session.shard is not None:
        order = session.shard.of(order, {position: jobs[position].flops for position in order})
    done = fresh.done if isinstance(fresh, RetrainOnce) else set()
    reused = [position for position in order if not fresh or jobs[position].fingerprint in done]
    to_retrain = [position for position in order if position not in reused]
    runs: dict[str, Run] = {}
    workspace = Workspace(session.out)
    work = [0.0] * len(entries)
    for position in order:
        run = workspace.find(jobs[position].fingerprint) if position in reused else None
        work[position] = 0.0 if run is not None and run.finished else jobs[position].flops
    show = Expectation(session.show, work) if len(order) > 1 else session.show
    for positions, retrain in ((to_retrain, True), (reused, False)):
        recipes = [jobs[position].recipe for position in positions]
        for place, event in execute(recipes, replace(session, fresh=retrain), where=where):
            show(positions[place], event)
            if isinstance(event, Ended) and event.state is RunState.FINISHED:
                job = jobs[positions[place]]
                runs[job.fingerprint] = Run(event.run)
                done.add(job.fingerprint)
    if len(runs) < len(order):
        return None
    if session.shard is not None:
        existing = [workspace.find(fingerprint) for fingerprint in first_of]
        raise ShardEnded(sum(run is not None and run.finished for run in existing), len(existing))
    return [
        Member(entry.label, entry.recipe.seed, runs[job.fingerprint]) for entry, job in zip(entries, jobs, strict=True)
    ]


def write_study(kind: str, name: Callable[[str], str], members: Sequence[Member], session: Session) -> Study:
    """Writes study.toml. `name`: as in `train_all`."""
    digest = digest_of(member.run.status.fingerprint for member in members)
    return Workspace(session.out).write_study(name(digest), kind, members, session.command)


def _jobs(entries: Sequence[Entry]) -> list[_Job]:
    flops: dict[tuple[str, int, int], int] = {}  # per image
    jobs = []
    for plan in plan_all(entry.recipe for entry in entries):
        model, shape = plan.recipe.model.model_dump_json(), (plan.prepared.in_chans, plan.prepared.image_size)
        if (model, *shape) not in flops:
            flops[model, *shape] = cost.flops_per_image(plan.network, (*shape, shape[1]))
        images = len(plan.prepared.train) * plan.recipe.train.epochs
        jobs.append(_Job(plan.recipe, plan.fingerprint, images, flops[model, *shape] * images))
    return jobs

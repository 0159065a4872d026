"""Training under torchrun: rank 0 runs `run_one`; the other ranks `follow` its announcements and write no files."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import nn

from convoy.evaluation.predict import images_per_batch, predict
from convoy.events import Ended, Event
from convoy.models import user
from convoy.randomness import derive_seed
from convoy.recipe import Recipe
from convoy.registry import is_user_class
from convoy.run_contents import RunState
from convoy.text import gettext as _
from convoy.training.machine.denormals import denormals_as_zero
from convoy.training.machine.memory import MemoryRetention
from convoy.training.machine.threads import fix_threads, restored_threads
from convoy.training.run.plan import Plan, plan_one
from convoy.training.run.scoring import Normalise, ScoredPart, score_part
from convoy.training.step.ranks import Command, Ranks


@dataclass(frozen=True)
class _Readiness:
    """The report of a rank after planning."""

    error: str = ""
    fingerprint: str = ""
    torch: str = torch.__version__
    convoy: str = version("convoy-ml")


def plan_together(recipe: Recipe, ranks: Ranks) -> Plan:
    """Calls `plan_one` in every rank. Raises ValueError if a rank cannot train the recipe or differs from rank 0."""
    error: ValueError | None = None
    try:
        plan = plan_one(recipe)
        if plan.recipe.probe.every_steps:
            raise ValueError(_("probe.every_steps: the probe needs a single process, not torchrun"))
        if plan.device.type == "mps" or plan.device.index is not None:
            raise ValueError(
                _(
                    "compute.device = {device!r} with torchrun: expected auto, cpu or cuda; each process "
                    "uses a CUDA device of its own",
                    device=plan.recipe.compute.device,
                )
            )
        readiness = _Readiness(fingerprint=plan.fingerprint)
    except ValueError as raised:
        error, readiness = raised, _Readiness(str(raised))
    for rank, other in enumerate(ranks.from_all(readiness)):
        if error is None and other.error:
            error = ValueError(_("rank {rank} of torchrun: {problem}", rank=rank, problem=other.error))
        for name in ("torch", "convoy", "fingerprint"):
            ours, theirs = getattr(readiness, name), getattr(other, name)
            if error is None and ours != theirs:
                advice = _("; its data or code differ") if name == "fingerprint" else ""
                text = _("expected {name} {ours}, got {theirs}", name=name, ours=ours, theirs=theirs) + advice
                error = ValueError(_("rank {rank} of torchrun: {problem}", rank=rank, problem=text))
    if error is not None:
        raise error
    return plan


def lead(events: Iterator[Event], ranks: Ranks) -> Iterator[Event]:
    """Yields the events of rank 0, then ends the other ranks."""
    finished: Path | None = None
    try:
        for event in events:
            if isinstance(event, Ended) and event.state is RunState.FINISHED:
                finished = event.run
            yield event
        ranks.announce(Command.END)
        ranks.from_leader(finished)
    except BaseException:  # possibly within a step, while the other ranks wait for its gradients
        ranks.leave()
        raise


def follow(recipe: Recipe, ranks: Ranks) -> Path | None:
    """Trains until rank 0 announces the end. Returns the path of the run; None if it was interrupted or failed."""
    with _ignoring_signals(), denormals_as_zero(), restored_threads():
        try:
            plan = plan_together(recipe, ranks)
        except ValueError:
            return None  # rank 0 reports it
        try:
            _follow(plan, ranks)
            return ranks.from_leader()
        except ConnectionError:
            return None  # rank 0 or torchrun reports it
        except Exception as error:
            if is_user_class(recipe.model.name) and user.failed_in(recipe.model.name, error):
                raise user.failure(recipe.model.name, error) from error
            raise


def _follow(plan: Plan, ranks: Ranks) -> None:
    fix_threads(plan.recipe.compute.threads, default=ranks.threads)
    learner, batches, memory = plan.learner(ranks), plan.batches(), MemoryRetention()
    per_epoch = batches.steps_per_epoch
    prepared_step, batch = -1, (torch.empty(0), torch.empty(0))
    while (announced := ranks.next()).command is not Command.END:
        step = announced.number
        if announced.command is Command.LOAD:
            learner.load(**ranks.from_leader())
        elif announced.command is Command.SCORE:
            score_together(plan, learner.network, epoch=announced.number, ranks=ranks)
        else:
            if step != prepared_step:
                batch = batches.at(*divmod(step, per_epoch))
            # Each rank has its own dropout seed; rank 0 has the seed of a single process.
            torch.manual_seed(derive_seed(plan.recipe.seed, f"dropout in rank {ranks.rank}", *divmod(step, per_epoch)))
            learner.set_lr_factor(announced.factor)
            learner.step(*batch)
            memory.trim()
            prepared_step, batch = step + 1, batches.at(*divmod(step + 1, per_epoch))  # while rank 0 decides


def score_together(plan: Plan, module: nn.Module, epoch: int, ranks: Ranks) -> ScoredPart:
    """Scores the validation set: each rank predicts its share of the batches."""
    images = plan.validation_in(epoch)
    assert images is not None
    shared = partial(_predict_together, ranks)
    return score_part(plan, module, "validation", images, epoch=epoch, predict=shared)


def _predict_together(ranks: Ranks, module: nn.Module, images: np.ndarray, normaliser: Normalise) -> np.ndarray:
    """Returns what `predict` returns; the ranks share its batches."""
    size = images_per_batch(images)
    first, last = (batch * size for batch in ranks.share(-(-len(images) // size)))
    own = predict(module, images[first:last], normaliser) if first < last else None
    return np.concatenate([part for part in ranks.from_all(own) if part is not None])


@contextmanager
def _ignoring_signals() -> Iterator[None]:
    """Ignores SIGINT and SIGTERM. torchrun sends them to every rank; rank 0 saves the run and announces the end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

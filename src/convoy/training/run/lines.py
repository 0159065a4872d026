"""The lines that a run prints and writes to log.txt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from convoy import chance
from convoy.evaluation import cost
from convoy.run_contents import Change, Environment, EpochMetrics, PartScore, Score, part_name
from convoy.runs import Run
from convoy.text import gettext as _
from convoy.text import ngettext
from convoy.text.lists import joined
from convoy.text.wrap import typeset
from convoy.training.run.ledger import Ledger
from convoy.training.run.plan import Plan


def start(plan: Plan, environment: Environment, resumed: bool) -> str:
    prepared = plan.prepared
    parts = {
        _("training"): prepared.train,
        _("validation"): prepared.validation,
        _("held-out"): prepared.fold,
        _("test"): prepared.test,
    }
    return _(
        "{verb} {model} ({parameters:,} parameters) on {data}: {counts} images; seed {seed}, {where}",
        verb=_("resuming") if resumed else _("training"),
        model=plan.recipe.label,
        parameters=cost.parameters(plan.network),
        data=prepared.name,
        counts=joined(_("{n:,} {part}", n=len(part), part=name) for name, part in parts.items() if part is not None),
        seed=plan.recipe.seed,
        where=_where(plan.device, environment),
    )


def _where(device: torch.device, environment: Environment) -> str:
    threads, ranks = environment.threads, environment.ranks
    one = ngettext("{n} CPU thread", "{n} CPU threads", threads) if device.type == "cpu" else str(device)
    return one if ranks == 1 else _("{ranks} processes of {threads}", ranks=ranks, threads=one)


def resumed_elsewhere(changes: Sequence[Change]) -> list[str]:
    """Returns a warning for each property in BITS_DEPEND_ON that changed when the run was resumed."""
    names = {
        "torch": _("version of torch"),
        "cpu": _("processor"),
        "kernels": _("instruction set of torch's kernels"),
        "threads": _("thread count"),
        "ranks": _("number of processes"),
    }
    return [
        _(
            "resumed with another {name} ({before}, then {after}): the weights may differ in their last bits from "
            "those of an uninterrupted run",
            name=names[change.key],
            before=change.before,
            after=change.after,
        )
        for change in changes
    ]


def epoch(metrics: EpochMetrics, epochs: int, selection: str | None) -> str:
    parts = dict.fromkeys(("train", *([selection] if selection else []), "test"))
    texts = [
        _("epoch {epoch}/{epochs}", epoch=metrics.epoch, epochs=epochs),
        *(_part(name, score) for name in parts if (score := metrics.of(name)) is not None),
        _("{seconds:.1f} s", seconds=metrics.train_seconds),
    ]
    if skipped := metrics.skipped:
        texts.append(ngettext("{n} step skipped (not finite)", "{n} steps skipped (not finite)", skipped))
    if metrics.best and selection is not None:
        texts.append(_("best"))
    return "  ".join(texts)


def _part(name: str, score: PartScore) -> str:
    loss = _("not finite") if score.loss is None else f"{score.loss:.4f}"
    return _("{part} loss {loss} {accuracy:.2%}", part=part_name(name), loss=loss, accuracy=score.correct / score.total)


def _share(correct: int, images: int) -> str:
    return f"{correct / images:.2%} ({correct:,}/{images:,})"


def skipped_last(ledger: Ledger) -> str:
    """Returns the warning of a run whose last steps were skipped."""
    return ngettext(
        "the last step was skipped because it was not finite",
        "the last {n} steps were skipped because they were not finite",
        ledger.skipped_in_a_row,
    )


def stopped(reason: str, kept_epoch: int, selection: str | None, *, epochs: int) -> str:
    """With several epochs, the line also names the epoch whose weights are scored."""
    if epochs < 2:
        return _("training ended: {reason}", reason=reason)
    if selection is None or kept_epoch == epochs:
        return _("training ended: {reason}; kept: the weights of epoch {epoch}", reason=reason, epoch=kept_epoch)
    return _(
        "training ended: {reason}; kept: the weights of epoch {epoch}, best on {part}",
        reason=reason,
        epoch=kept_epoch,
        part=part_name(selection),
    )


def opened(score: Score, opening: int) -> str:
    return ngettext(
        "test accuracy {accuracy}; test set opened {n} time in this workspace",
        "test accuracy {accuracy}; test set opened {n} times in this workspace",
        opening,
        accuracy=_share(score.correct, score.n),
    )


def held_out(score: Score) -> str:
    return _("fold accuracy {accuracy}", accuracy=_share(score.correct, score.n))


def not_finite(part: str, count: int, images: int) -> str:
    return _(
        "{count:,} of {images:,} {part} images have non-finite outputs; images with NaN have no predicted "
        "class and count as wrong",
        count=count,
        images=images,
        part=part_name(part),
    )


def chance_levels(run: Run) -> list[str]:
    """Returns sentences about a run at chance level on the part scored last; none if it has learned."""
    scores = run.scores
    part = next((part for part in ("test", "fold", "validation") if part in scores), None)
    return [] if part is None else chance.sentences([(run.label, run.recipe.seed, scores[part])], part)


def already_trained(run: Run, scores: Mapping[str, Score]) -> str:
    sentence = _("already trained: {run}", run=run.path)
    accuracies = [
        _("{part} accuracy {accuracy:.2%}", part=part_name(part), accuracy=score.accuracy)
        for part, score in scores.items()
    ]
    return typeset(", ".join([sentence, *accuracies]))

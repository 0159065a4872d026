"""The lines of a run for the console and log.txt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from convoy import chance
from convoy.evaluation import cost
from convoy.run_contents import EpochMetrics, PartScore, Score
from convoy.runs import Run, model_label
from convoy.training.machine.environment import BITS_DEPEND_ON
from convoy.training.run.ledger import Ledger
from convoy.training.run.plan import Plan


def start(ready: Plan, device: torch.device, resumed: bool) -> str:
    prepared = ready.prepared
    parameters = cost.parameters(ready.network)
    parts = {
        "training": prepared.train,
        "validation": prepared.validation,
        "held-out": prepared.fold,
        "test": prepared.test,
    }
    counts = ", ".join(f"{len(part):,} {name}" for name, part in parts.items() if part is not None)
    where = _count(torch.get_num_threads(), "CPU thread") if device.type == "cpu" else str(device)
    verb = "resuming" if resumed else "training"
    name, seed = model_label(ready.recipe), ready.recipe.seed
    return f"{verb} {name} ({parameters:,} parameters) on {prepared.name}: {counts} images; seed {seed}, {where}"


def resumed_elsewhere(changes: Sequence[Mapping[str, Any]]) -> list[str]:
    """Flags of a run that was resumed with another processor, thread count or version of torch (environment.json)."""
    return [
        f"resumed with another {BITS_DEPEND_ON[change['key']]} ({change['before']}, then {change['after']}): "
        "the weights may differ in their last bits from those of an uninterrupted run"
        for change in changes
    ]


def epoch(metrics: EpochMetrics, epochs: int, selection: str | None) -> str:
    shown = dict.fromkeys(("train", *([selection] if selection else []), "test"))
    parts = [_part(name, score) for name in shown if (score := metrics.of(name)) is not None]
    text = f"epoch {metrics.epoch}/{epochs}  " + "  ".join(parts)
    text += f"  {metrics.images_per_second:,.0f} images/s  {metrics.train_seconds:.1f} s"
    if metrics.skipped:
        text += f"  {_count(metrics.skipped, 'step')} skipped (not finite)"
    return text + ("  -> best" if metrics.best and selection is not None else "")


def _part(name: str, score: PartScore) -> str:
    loss = "not finite" if score.loss is None else f"{score.loss:.4f}"
    return f"{name} loss {loss}, {score.accuracy:.2%} ({score.correct:,}/{score.total:,})"


def skipped_last(ledger: Ledger) -> str:
    """A flag if the last steps were skipped; else ""."""
    last = ledger.skipped_in_a_row
    steps = f"{last} steps were" if last > 1 else "step was"
    return f"the last {steps} not finite and skipped" if last else ""


def opened(score: Score, opening: int) -> str:
    counts = f"{score.correct:,}/{score.n:,}"
    return f"test accuracy {score.accuracy:.2%} ({counts}); test set opened {_count(opening, 'time')} in this workspace"


def not_finite(part: str, count: int, images: int) -> str:
    return (
        f"{count:,} of {images:,} {part} images have outputs that are not finite; images with NaN have no predicted "
        "class and count as wrong"
    )


def chance_levels(run: Run) -> list[str]:
    """Sentences about a run at chance level on the part scored last; empty if it has learned."""
    part = next((part for part in ("test", "fold", "validation") if part in run.scores), None)
    return [] if part is None else chance.sentences([(run.label, run.recipe.seed, run.scores[part])], part)


def held_out(score: Score) -> str:
    return f"held-out accuracy {score.accuracy:.2%} ({score.correct:,}/{score.n:,})"


def accuracies(scores: Mapping[str, Score]) -> str:
    return "".join(f", {part} accuracy {score.accuracy:.2%}" for part, score in scores.items())


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"

"""The processes of test_ranks.py. Each is one rank of a job, as started by torchrun."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from tests.forks import write_output

from convoy import cli
from convoy.recipe import resolve
from convoy.training.run.plan import plan_one
from convoy.training.step.ranks import Ranks, torchrun_ranks

STEPS = 40
NORMS = f"{Path(__file__).with_name('ranks_network.py')}:Net"
MIXED = {
    "data.augment": [{"name": "shift"}, {"name": "mixup"}],
    "train.ema_decay": 0.99,
    "train.clip_norm": 0.5,
    "train.loss.label_smoothing": 0.1,
}
WEIGHTED = {"train.class_weights": "balanced", "train.accumulate": 3}
SQUARED = {"train.loss": {"name": "squared_error"}, "train.batch_size": 3}  # fewer images than ranks
CASES = {
    "lenet, mixed images": ("lenet", MIXED),
    "lenet, class weights": ("lenet", WEIGHTED),
    "lenet, three images": ("lenet", SQUARED),
    "norms": (NORMS, {}),
    "norms, mixed images": (NORMS, MIXED),
    "norms, class weights": (NORMS, WEIGHTED),
}


def enter(rank: int, environment: Mapping[str, str], folder: Path) -> None:
    """Makes this process a rank of a job in the folder. Its output goes to the files out.RANK and err.RANK."""
    os.environ.update(environment, RANK=str(rank), LOCAL_RANK=str(rank))
    os.chdir(folder)
    write_output(str(rank))


def run_command(rank: int, environment: Mapping[str, str], folder: Path, arguments: list[str]) -> None:
    enter(rank, environment, folder)
    sys.argv = ["convoy", *arguments]
    cli.main(arguments)


def train_cases(rank: int, environment: Mapping[str, str], folder: Path, cases: list[str]) -> None:
    """Trains each case with all ranks. Rank 0 writes losses.pt."""
    enter(rank, environment, folder)
    torch.set_num_threads(1)
    found = {case: losses(case, torchrun_ranks()) for case in cases}
    if rank == 0:
        torch.save(found, "losses.pt")


def losses(case: str, ranks: Ranks | None) -> torch.Tensor:
    """Returns the losses of the first steps, float64 [STEPS]."""
    model, changes = CASES[case]
    recipe = resolve("lenet").override(
        {"model.name": model, "data.limit": 300, "train.batch_size": 37, "compute.precision": "float64", **changes}
    )
    plan = plan_one(recipe)
    learner, batches = plan.learner(ranks), plan.batches()
    values = []
    for step in range(STEPS):
        torch.manual_seed(step)
        values.append(learner.step(*batches.at(*divmod(step, batches.steps_per_epoch))).loss)
    return torch.stack(values)

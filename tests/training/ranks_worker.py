"""One of the processes that torchrun starts in test_ranks.py: trains each case with all ranks, and rank 0 also alone.

python -m torch.distributed.run --nproc-per-node N ranks_worker.py RESULT.json CASE ...
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from convoy.recipe import resolve
from convoy.training.run.plan import plan_one
from convoy.training.step.ranks import Ranks

STEPS = 100
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


def main() -> None:
    torch.set_num_threads(1)
    ranks = Ranks()
    differences = {}
    for name in sys.argv[2:]:
        model, changes = CASES[name]
        shared = losses(model, changes, ranks)
        if ranks.is_leader:
            alone = losses(model, changes, None)
            differences[name] = ((shared - alone).abs() / alone.abs()).max().item()
    if ranks.is_leader:
        Path(sys.argv[1]).write_text(json.dumps(differences), encoding="utf-8")


def losses(model: str, changes: dict[str, object], ranks: Ranks | None) -> torch.Tensor:
    """Returns the losses of the first steps, float64 [STEPS]."""
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


if __name__ == "__main__":
    main()

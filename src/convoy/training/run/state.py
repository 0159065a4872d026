"""The state of a run during training, saved in checkpoints: learner, totals, curves, best weights."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from convoy.checkpoint import load_checkpoint, save_checkpoint, save_weights
from convoy.files import write_arrays
from convoy.runs import Run
from convoy.training.run.ledger import Ledger
from convoy.training.run.plan import Plan
from convoy.training.step.loop import Record
from convoy.training.step.probe import StepProbe
from convoy.training.step.ranks import Ranks


class TrainingState:
    def __init__(self, run: Run, plan: Plan, ranks: Ranks | None = None) -> None:
        self.run, self.plan = run, plan
        self.learner = plan.learner(ranks)
        self.ledger = Ledger()
        self.steps: dict[str, list[np.ndarray]] = {"loss": [], "lr": [], "grad_norm": []}
        every_steps, seed = plan.recipe.probe.every_steps, plan.recipe.seed
        self.probe = StepProbe(every_steps, seed) if every_steps else None
        self.best: dict[str, torch.Tensor] = {}  # the weights of the ledger's best epoch; empty in the first
        self.best_outputs: np.ndarray | None = None  # outputs of `best` for the first selection images
        self.start_clock()

    def start_clock(self) -> None:
        self._started_at = time.perf_counter() - self.ledger.total_seconds

    def update_total_seconds(self) -> None:
        """Includes evaluations and the time before a resume."""
        self.ledger.total_seconds = time.perf_counter() - self._started_at

    def add(self, record: Record) -> None:
        self.ledger.add(record)
        lr = record.lr_factor * np.float32(self.plan.recipe.optim.lr)
        for name, values in {"loss": record.loss, "lr": lr, "grad_norm": record.grad_norm}.items():
            self.steps[name].append(values)
        self.update_total_seconds()

    def keep_best(self) -> None:
        weights = self.learner.network.state_dict()
        self.best = {name: tensor.detach().to("cpu", copy=True) for name, tensor in weights.items()}
        save_weights(self.run.path / "best.safetensors", self.best)

    def save_epoch_weights(self, epoch: int) -> None:
        if self.plan.recipe.probe.keep_weights:
            save_weights(self.run.path / "weights" / f"epoch-{epoch:05}.safetensors", self.learner.network.state_dict())

    def save(self) -> None:
        self.update_total_seconds()
        steps = {name: np.concatenate([*values, np.empty(0, np.float32)]) for name, values in self.steps.items()}
        write_arrays(self.run.path / "steps.npz", steps)
        outputs = None if self.best_outputs is None else torch.from_numpy(self.best_outputs)
        state = {"learner": self.learner.state(), "ledger": asdict(self.ledger), "best": self.best, "outputs": outputs}
        state |= {} if self.probe is None else {"probe": self.probe.state()}
        save_checkpoint(self.run.path / "checkpoints", self.ledger.step, state)

    def resume(self, steps_per_epoch: int) -> bool:
        """Loads the newest valid checkpoint and truncates the logs to it. Returns False if there is none.

        Raises ValueError if the checkpoint has another format or steps.npz has too few steps.
        """
        folder, hint = self.run.path / "checkpoints", "use --fresh to train the run from scratch"
        try:
            state = load_checkpoint(folder)
            if state is None:
                self.run.cut_metrics(0)
                return False
            self._load(**state)
        except (KeyError, TypeError):
            raise ValueError(f"{folder}: the checkpoint has the format of another version; {hint}") from None
        if self.best:  # epochs after the checkpoint may have written other weights
            save_weights(self.run.path / "best.safetensors", self.best)
        self.run.cut_metrics(self.ledger.step // steps_per_epoch)
        steps = self.run.steps
        if any(len(steps.get(name, ())) < self.ledger.step for name in self.steps):
            raise ValueError(f"{self.run.path / 'steps.npz'} has fewer steps than the checkpoint; {hint}")
        self.steps = {name: [values[: self.ledger.step]] for name, values in steps.items()}
        return True

    def _load(
        self,
        learner: Mapping[str, Any],
        ledger: Mapping[str, Any],
        best: dict[str, torch.Tensor],
        outputs: torch.Tensor | None,
        probe: Mapping[str, Any] | None = None,
    ) -> None:
        self.learner.load(**learner)
        self.ledger, self.best = Ledger(**ledger), best
        self.best_outputs = None if outputs is None else outputs.numpy()
        if self.probe is not None:
            self.probe.load(**probe or {})

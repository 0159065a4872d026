"""The state of a run during training, saved in checkpoints: learner, totals, curves, best weights."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from convoy.checkpoint import load_checkpoint, save_checkpoint, save_weights
from convoy.files import write_arrays
from convoy.run_contents import Environment, EpochMetrics
from convoy.run_files import sha256_of
from convoy.runs import Run
from convoy.text import gettext as _
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
        self.metrics: list[dict[str, float | None]] = []  # lines of metrics.jsonl
        self.epoch_weights: dict[str, str] = {}  # SHA-256 of the saved weights of each epoch, by file
        self.environment: Environment | None = None  # recorded by the run so far
        self.openings = 0  # openings of the test set in this workspace, when this run last opened it
        self._saved: tuple[int, int] | None = None  # the progress that the newest checkpoint contains
        self.start_clock()

    @property
    def _progress(self) -> tuple[int, int]:
        """Steps, and epochs that were evaluated."""
        return self.ledger.step, len(self.metrics)

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
            path = self.run.path / "weights" / f"epoch-{epoch:05}.safetensors"
            self.epoch_weights[path.name] = save_weights(path, self.learner.network.state_dict())

    def append_metrics(self, metrics: EpochMetrics) -> None:
        self.metrics.append(metrics.as_line())
        self.run.append_metrics(metrics)

    def save(self) -> None:
        """Writes a checkpoint, unless the newest one has this progress."""
        if self._progress == self._saved:
            return
        self.update_total_seconds()
        steps = {name: np.concatenate([*values, np.empty(0, np.float32)]) for name, values in self.steps.items()}
        write_arrays(self.run.path / "steps.npz", steps)
        outputs = None if self.best_outputs is None else torch.from_numpy(self.best_outputs)
        state: dict[str, Any] = {
            "learner": self.learner.state(),
            "ledger": asdict(self.ledger),
            "best": self.best,
            "outputs": outputs,
        }
        state |= {} if self.probe is None else {"probe": self.probe.state()}
        state |= {"steps": {name: torch.from_numpy(values) for name, values in steps.items()}, "metrics": self.metrics}
        state |= {"environment": None if self.environment is None else asdict(self.environment)}
        state |= {"openings": self.openings, "epoch_weights": self.epoch_weights}
        save_checkpoint(self.run.path / "checkpoints", self.ledger.step, state, self.plan.fingerprint)
        self._saved = self._progress

    def resume(self) -> bool:
        """Loads the newest valid checkpoint and rewrites the files of the run from it. Returns False without one.

        No other file of the run is read, so that damaged files are ignored. Only the stored weights of each epoch
        cannot be restored: if they have changed, the run starts from scratch. Raises ValueError for another format.
        """
        folder = self.run.path / "checkpoints"
        try:
            state = load_checkpoint(folder, self.plan.fingerprint)
            if state is None or not self._has_epoch_weights(state["epoch_weights"]):
                shutil.rmtree(folder, ignore_errors=True)
                self.run.write_metrics([])
                return False
            self._load(**state)
        except (KeyError, TypeError):
            hint = _("use --fresh to train the run from scratch")
            raise ValueError(
                _("{folder}: the checkpoint has the format of another version; {hint}", folder=folder, hint=hint)
            ) from None
        if self.best:  # epochs after the checkpoint may have written other weights
            save_weights(self.run.path / "best.safetensors", self.best)
        self.run.write_metrics(self.metrics)
        write_arrays(self.run.path / "steps.npz", {name: values for name, (values,) in self.steps.items()})
        return True

    def _has_epoch_weights(self, digests: Mapping[str, str]) -> bool:
        paths = {self.run.path / "weights" / name: digest for name, digest in digests.items()}
        return all(path.is_file() and sha256_of(path) == digest for path, digest in paths.items())

    def _load(
        self,
        learner: Mapping[str, Any],
        ledger: Mapping[str, Any],
        best: dict[str, torch.Tensor],
        outputs: torch.Tensor | None,
        probe: Mapping[str, Any] | None = None,
        **record: Any,
    ) -> None:
        steps, environment = record["steps"], record["environment"]
        self.metrics, self.openings = record["metrics"], record["openings"]
        self.epoch_weights = record["epoch_weights"]
        self.environment = None if environment is None else Environment(**environment)
        self.steps = {name: [steps[name].numpy()] for name in self.steps}
        self.learner.load(**learner)
        self.ledger, self.best = Ledger(**ledger), best
        self.best_outputs = None if outputs is None else outputs.numpy()
        if self.probe is not None:
            self.probe.load(**probe or {})
        self._saved = self._progress

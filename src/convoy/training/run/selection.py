"""Selects the best epoch by the validation set or, with a fault, by the test set."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from torch import nn

from convoy.data.imageset import ImageSet
from convoy.recipe.faults import Fault
from convoy.run_contents import EpochMetrics
from convoy.runs import Run, Workspace
from convoy.training.run import reloaded
from convoy.training.run.follow import score_together
from convoy.training.run.ledger import Ledger
from convoy.training.run.plan import Plan
from convoy.training.run.scoring import augments, score_part
from convoy.training.step.ranks import Command, Ranks


class Selection:
    def __init__(
        self, run: Run, plan: Plan, workspace: Workspace, *, openings: int = 0, ranks: Ranks | None = None
    ) -> None:
        self._run, self._ready, self._workspace = run, plan, workspace
        self._ranks = ranks if plan.selection == "validation" and not augments(plan) else None
        # How often the test set had been opened in this workspace when this run last opened it.
        self.openings = openings
        self._test = self._open_test() if plan.selection == "test" else None
        self.outputs: np.ndarray | None = None  # [N, classes]: outputs for the first images after the last epoch

    def end_epoch(self, module: nn.Module, ledger: Ledger, metrics: EpochMetrics) -> EpochMetrics:
        """Returns the metrics with `best` and the score of the part that selects the epoch. Then updates the ledger."""
        part, epoch = self._ready.selection, metrics.epoch
        if part is None:
            ledger.best_epoch = epoch
            return metrics
        images = self._test if part == "test" else self._ready.validation_in(epoch)
        assert images is not None
        if self._ranks is None:
            scored = score_part(self._ready, module, part, images, epoch=epoch)
        else:
            self._ranks.announce(Command.SCORE, epoch)
            scored = score_together(self._ready, module, epoch, self._ranks)
        self.outputs = scored.logits[: reloaded.IMAGES].copy()
        score = scored.part_score
        best = ledger.is_best(score.accuracy)
        test = score if part == "test" else None
        if best and Fault.TEST_OPENED_AT_EACH_BEST in self._ready.recipe.protocol.faults:
            test = score_part(self._ready, module, "test", self._open_test(), epoch=epoch).part_score
            self._run.update("data.json", test_openings=self.openings)
        ledger.select(epoch, score.accuracy, scored.loss)
        return replace(metrics, best=best, validation=score if part == "validation" else None, test=test)

    def _open_test(self) -> ImageSet:
        assert self._ready.prepared.test is not None
        return self._ready.prepared.test.open(self._count)

    def _count(self, data_hash: str) -> None:
        self.openings = self._workspace.record_opening(data_hash, self._run.name)

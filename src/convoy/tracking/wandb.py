"""Weights & Biases, online or offline depending on WANDB_MODE."""

from __future__ import annotations

import os
from collections.abc import Mapping

import wandb

from convoy.tracking import PROJECT
from convoy.tracking.contents import Head, Results


class WeightsAndBiases:
    def __init__(self, head: Head) -> None:
        self._run = wandb.init(
            project=head.place or os.environ.get("WANDB_PROJECT", PROJECT),
            id=head.run,
            name=head.run,
            group=head.group,
            config=dict(head.parameters),
            reinit="create_new",  # several runs can be open
            settings=wandb.Settings(console="off", silent=True, disable_git=True, x_disable_stats=True),
        )

    def log(self, values: Mapping[str, float], epoch: int, time: float) -> None:
        self._run.log(dict(values), step=epoch)

    def close(self, results: Results | None) -> None:
        if results is not None:
            self._run.summary.update(dict(results.scores))
            self._run.notes = "\n".join(results.flags)
            if results.confusion is not None:
                self._run.log({"confusion": wandb.Image(results.confusion)}, step=results.epoch)
        self._run.finish(exit_code=int(results is None))

    @property
    def view(self) -> str:
        return "wandb sync" if self._run.offline else str(self._run.project_url)

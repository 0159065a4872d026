"""Trackio: a local project, or the server or Space given by its environment variables."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from contextvars import copy_context

import trackio

from convoy.recipe.files import flattened
from convoy.tracking import PROJECT
from convoy.tracking.contents import Head, Results


class Trackio:
    def __init__(self, head: Head) -> None:
        self._project = head.place or PROJECT
        with suppress(ValueError):  # the project does not exist
            for earlier in trackio.Api().runs(self._project):
                if earlier.name == head.run:
                    earlier.delete()
        # `init` would end the current run of its context, but several runs can be open.
        self._run = copy_context().run(
            trackio.init,
            self._project,
            name=head.run,
            group=head.group,
            config=flattened(head.parameters),
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )

    def log(self, values: Mapping[str, float], epoch: int, time: float) -> None:
        self._run.log(dict(values), step=epoch)

    def close(self, results: Results | None) -> None:
        if results is not None:
            values = {**results.scores, **({"flags": "\n".join(results.flags)} if results.flags else {})}
            if results.confusion is not None:
                values["confusion"] = trackio.Image(results.confusion)
            self._run.log(values, step=results.epoch)
        self._run.finish()

    @property
    def view(self) -> str:
        return f"trackio show --project {self._project}"

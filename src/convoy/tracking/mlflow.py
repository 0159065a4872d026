"""MLflow: the server or database given by MLFLOW_TRACKING_URI, by default a file in the current folder."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping

import mlflow
from mlflow.entities import Metric, Param

from convoy.recipe.files import flattened
from convoy.tracking import PROJECT
from convoy.tracking.contents import Head, Results

RUN_TAG, STUDY_TAG = "convoy_run", "convoy_study"
BATCH = 100  # parameters that the server accepts at once
MAX_LENGTH = 6000  # characters of a parameter


class MLflow:
    def __init__(self, head: Head) -> None:
        self._client = mlflow.MlflowClient()
        name = head.place or os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        experiment = self._client.get_experiment_by_name(name)
        identifier = self._client.create_experiment(name) if experiment is None else experiment.experiment_id
        for earlier in self._client.search_runs([identifier], f"tags.{RUN_TAG} = '{head.run}'"):
            self._client.delete_run(earlier.info.run_id)
        tags = {RUN_TAG: head.run} | ({STUDY_TAG: head.group} if head.group else {})
        run = self._client.create_run(identifier, start_time=_ms(head.started), tags=tags, run_name=head.run)
        self._id = run.info.run_id
        params = [Param(name, str(value)[:MAX_LENGTH]) for name, value in flattened(head.parameters).items()]
        for start in range(0, len(params), BATCH):
            self._client.log_batch(self._id, params=params[start : start + BATCH])

    def log(self, values: Mapping[str, float], epoch: int, time: float) -> None:
        self._client.log_batch(self._id, [Metric(name, value, _ms(time), epoch) for name, value in values.items()])

    def close(self, results: Results | None) -> None:
        if results is None:
            self._client.set_terminated(self._id, "KILLED")
            return
        self.log(results.scores, results.epoch, results.ended)
        if results.flags:
            self._client.set_tag(self._id, "mlflow.note.content", "\n".join(results.flags))
        if results.confusion is not None:
            self._client.log_image(self._id, results.confusion, "confusion.png")
        self._client.set_terminated(self._id, "FINISHED", _ms(results.ended))

    @property
    def view(self) -> str:
        address = mlflow.get_tracking_uri()
        return address if address.startswith("http") else f"mlflow ui --backend-store-uri {shlex.quote(address)}"


def _ms(seconds: float) -> int:
    return int(1000 * seconds)

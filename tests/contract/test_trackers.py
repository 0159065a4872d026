"""The contract of all trackers: written data are read back by the tracker's library. Skipped if not installed."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.fake_runs import Setting, fake_run

import convoy
from convoy.recipe.files import flattened
from convoy.runs import Run
from convoy.stats import wilson
from convoy.tracking import TRACKERS

BLOCK = 32768  # bytes
SMALL = Setting(epochs=3, counts={"train": 800, "validation": 200, "test": 500}, limit=1500, flags=("a flag",))


class Written(NamedTuple):
    """A run in a tracker."""

    group: str | None
    parameters: dict[str, Any]
    points: dict[str, dict[int, float]]  # name -> epoch -> value, including final scores
    has_confusion: bool
    flags: str


Read = Callable[[str], dict[str, list[Written]]]  # takes the folder or project; by name of the run


def read_tensorboard(place: str) -> dict[str, list[Written]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    runs: dict[str, list[Written]] = {}
    for file in Path(place).rglob("events.out.tfevents.*"):
        events = EventAccumulator(str(file)).Reload()
        content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
        values = HParamsPluginData.FromString(content).session_start_info.hparams
        parameters = {name: getattr(value, value.WhichOneof("kind")) for name, value in values.items()}
        points = {name: {e.step: e.value for e in events.Scalars(name)} for name in events.Tags()["scalars"]}
        tensors = [event.tensor_proto.string_val[0].decode() for event in events.Tensors("flags")]
        above = file.parent.parent
        group = None if above == Path(place) else above.name
        has_picture = "confusion" in events.Tags()["images"]
        runs.setdefault(file.parent.name, []).append(Written(group, parameters, points, has_picture, tensors[0]))
    return runs


def read_trackio(place: str) -> dict[str, list[Written]]:
    import trackio
    from trackio.sqlite_storage import SQLiteStorage

    runs: dict[str, list[Written]] = {}
    for run in trackio.Api().runs(place):
        points: dict[str, dict[int, float]] = {}
        logs = SQLiteStorage.get_logs(place, run.name, run_id=run.id)
        others = {name: value for line in logs for name, value in line.items()}
        for line in logs:
            for name, value in line.items():
                if isinstance(value, int | float) and name != "step":
                    points.setdefault(name, {})[line["step"]] = value
        parameters = dict(run.config)
        written = Written(parameters["_Group"], parameters, points, "confusion" in others, others["flags"])
        runs.setdefault(run.name, []).append(written)
    return runs


def read_wandb(place: str) -> dict[str, list[Written]]:
    from wandb.proto.wandb_internal_pb2 import Record

    runs: dict[str, list[Written]] = {}
    for file in Path("wandb").glob("offline-run-*/*.wandb"):
        records = [Record.FromString(content) for content in leveldb_log(file.read_bytes()[7:])]
        (run, *_) = (record.run for record in records if record.run.run_id)
        if run.project != place:
            continue
        points: dict[str, dict[int, float]] = {}
        names = set()
        for record in records:
            row = values_of(record.history.item)
            names |= row.keys()
            for name, value in row.items():
                if isinstance(value, int | float) and not name.startswith("_"):
                    points.setdefault(name, {})[row["_step"]] = value
            for name, value in values_of(record.summary.update).items():
                if name.startswith("scores/"):
                    points[name] = {SMALL.epochs: value}
        parameters = {item.key: json.loads(item.value_json) for item in run.config.update}
        notes = "".join(record.run.notes for record in records)
        written = Written(run.run_group or None, flattened(parameters), points, "confusion/path" in names, notes)
        runs.setdefault(file.stem.removeprefix("run-"), []).append(written)
    return runs


def values_of(items: Iterable[Any]) -> dict[str, Any]:
    return {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}


def leveldb_log(content: bytes) -> Iterator[bytes]:
    """The records of a log in LevelDB's format: blocks of 32 KiB, fragments with checksum, length and kind."""
    at, record = 0, b""
    while at + 7 <= len(content):
        left = BLOCK - (at + 7) % BLOCK  # the header of the file is part of the first block
        if left < 7:
            at += left
            continue
        length, kind = struct.unpack_from("<HB", content, at + 4)
        record += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a complete record, the end of one
            yield record
            record = b""


def read_mlflow(place: str) -> dict[str, list[Written]]:
    from mlflow import MlflowClient

    client = MlflowClient()
    experiment = client.get_experiment_by_name(place)
    runs: dict[str, list[Written]] = {}
    for run in client.search_runs([experiment.experiment_id]):
        assert run.info.status == "FINISHED"
        history = {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
        points = {name: {metric.step: metric.value for metric in metrics} for name, metrics in history.items()}
        has_picture = "confusion.png" in [file.path for file in client.list_artifacts(run.info.run_id)]
        tags = run.data.tags
        group, flags = tags.get("convoy_study"), tags["mlflow.note.content"]
        runs.setdefault(run.info.run_name, []).append(Written(group, run.data.params, points, has_picture, flags))
    return runs


READ: dict[str, Read] = {
    "tensorboard": read_tensorboard,
    "trackio": read_trackio,
    "wandb": read_wandb,
    "mlflow": read_mlflow,
}


@pytest.fixture(scope="module")
def module_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("trackers")
        patch.setenv("TRACKIO_DIR", str(folder / "trackio"))  # read once, when trackio is imported
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        yield folder


@pytest.fixture(params=TRACKERS)
def tracker(
    request: pytest.FixtureRequest, module_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.chdir(tmp_path)
    pytest.importorskip(request.param)
    return str(request.param)


def without_created(written: Written) -> Written:
    """Trackio adds the time of writing to the parameters."""
    return written._replace(parameters={**written.parameters, "_Created": ""})


def check(run: Run, written: Written) -> None:
    parameters = {**flattened(run.recipe.as_table()), "environment.cpu": run.environment.cpu}
    for name in ("model.name", "optim.lr", "train.epochs", "data.limit", "compute.deterministic", "environment.cpu"):
        assert str(written.parameters[name]) in (str(parameters[name]), str(float(parameters[name] == 1))) or float(
            written.parameters[name]
        ) == pytest.approx(parameters[name])
    for part in ("train", "validation"):
        curve = [metrics.of(part) for metrics in run.metrics]
        for key in ("accuracy", "loss"):
            values = {epoch: getattr(score, key) for epoch, score in enumerate(curve, start=1)}
            assert written.points[f"{part}/{key}"] == pytest.approx(values)
    rates = {metrics.epoch: metrics.lr for metrics in run.metrics}
    assert written.points["optimizer/learning_rate"] == pytest.approx(rates)
    for part, score in run.scores.items():
        low, high = wilson(score.correct, score.n).span
        values = {"accuracy": score.accuracy, "accuracy_low": low, "accuracy_high": high, "images": score.n}
        for key, value in values.items():
            assert list(written.points[f"scores/{part}/{key}"].values()) == pytest.approx([value])
    assert written.has_confusion
    assert written.flags == "\n".join(run.flags)


def test_a_second_export_replaces_the_first(tracker: str, tmp_path: Path) -> None:
    run = fake_run(tmp_path, setting=SMALL)
    convoy.export(run, "again", to=tracker)

    convoy.export(run, "again", to=tracker)

    runs = READ[tracker]("again")
    if tracker == "wandb":  # the server replaces a run by one with the same id
        assert len(runs[run.name]) == 2
    else:
        (written,) = runs[run.name]
        assert written.group is None
        check(run, written)


def test_live_tracking_of_a_run_and_a_study_agrees_with_their_export(
    tracker: str, tmp_path: Path, stripes: Path
) -> None:
    options: dict[str, Any] = {
        "data": str(stripes), "epochs": SMALL.epochs, "limit": 200, "out": tmp_path / "out", "show": False,
        "set": {"compute.threads": 1, "train.batch_size": 20},
    }  # fmt: skip
    run = convoy.train("two_conv_cnn", track=tracker, **options)
    study = convoy.compare(["two_conv_cnn"], seeds=2, track=tracker, **options)  # its first run is finished

    live = READ[tracker](str(tmp_path / "out" / tracker) if TRACKERS[tracker].is_folder else "convoy")
    keeps_both = tracker in ("tensorboard", "wandb")  # two folders; offline files until they are uploaded
    assert {written.group for written in live[run.name]} == {study.name} | ({None} if keeps_both else set())
    convoy.export(study, "exported", to=tracker)
    exported = READ[tracker]("exported")
    assert exported.keys() == {member.run.name for member in study.members}
    for member in study.members:
        (written,) = exported[member.run.name]
        assert written.group == study.name
        check(member.run, written)
        (tracked,) = [each for each in live[member.run.name] if each.group == study.name]
        assert without_created(tracked) == without_created(written)

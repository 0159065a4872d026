from __future__ import annotations

import gc
import subprocess
from collections.abc import Callable, Generator, Iterator
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from convoy import cli
from convoy.recipe import Recipe

Call = Callable[..., tuple[int, str, str]]

settings.register_profile("suite", deadline=None)  # a busy machine is slow now and then
settings.load_profile("suite")


# These tests run in one process: they share a trained run, a browser and the import of torch's exporter, which takes
# as long as 20 training runs of other tests.
TOGETHER = ("tests/exploring/", "tests/contract/test_exports.py", "tests/test_export_networks.py")


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With several processes, runs all tests of a file in one, so that fixtures train only once."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return TOGETHER[0] if file.startswith(TOGETHER) else file

    config.option.loadscopereorder = False  # the order of pytest_collection_modifyitems instead
    return Scheduling(config, log)


@pytest.hookimpl(optionalhook=True, wrapper=True)  # of pytest-xdist
def pytest_xdist_auto_num_workers() -> Generator[None, int, int]:
    """One process more than cores with `-n auto`, because some tests wait for other processes."""
    return (yield) + 1


LONGEST_FILES = (
    "test_exports.py", "test_ranks.py", "test_kinds.py", "test_cluster.py", "test_models.py", "test_search.py",
    "test_reproduce.py", "test_cli.py", "test_estimator.py", "test_landscape.py", "test_trackers.py",
    "test_reference.py", "test_execute.py", "test_readme.py", "test_provenance.py",
)  # fmt: skip


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Imports and collects without looking for garbage, never looks at these objects again, and then looks rarely."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(10_000)  # after 700 new objects, the default, it took 3 % of the processor time
        gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With several processes, starts with the longest files, so that all processes end at about the same time."""
    if hasattr(config, "workerinput"):  # a process of pytest-xdist
        ranks = {name: rank for rank, name in enumerate(LONGEST_FILES)}
        items.sort(key=lambda item: ranks.get(item.path.name, len(ranks)))


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Uses a temporary cache instead of the user's."""
    patch = pytest.MonkeyPatch()
    patch.setenv("CONVOY_CACHE", str(tmp_path_factory.mktemp("cache")))
    patch.delenv("CONVOY_DATA", raising=False)
    patch.setenv("CONVOY_LANG", "en")  # independent of the machine's language


@pytest.fixture(scope="session", autouse=True)
def _no_power_cuts() -> Iterator[None]:
    """Disables fsync in this process, because files of tests are deleted after the test. Workers still use it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda handle: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def _few_timed_passes() -> Iterator[None]:
    """Measures latency in 4 passes instead of 50, which take longer than the training runs of tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("convoy.evaluation.cost.REPEATS", 4)
        yield


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Call:
    """Runs a command in this process, in an empty folder. Returns (exit code, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str, str]:
        code = 0
        try:
            cli.main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = int(stop.code or 0)
        return code, *capfd.readouterr()

    return run


@pytest.fixture(scope="session")
def stripes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set that a small network learns in seconds: 12x12 pixels of noise with a bright bar at one of 3 positions.

    An .npz file of 600 training and 150 test images.
    """
    draw = np.random.default_rng(0)

    def part(count: int) -> tuple[np.ndarray, np.ndarray]:
        labels = np.arange(count) % 3
        images = draw.integers(0, 120, size=(count, 12, 12), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[:, 4 * label + 1 : 4 * label + 3] += 100
        return images, labels

    path = tmp_path_factory.mktemp("data") / "stripes.npz"
    x_train, y_train = part(600)
    x_test, y_test = part(150)
    np.savez(path, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    return path


NET = """
import torch
from torch import nn


class Tiny(nn.Module):
    def __init__(self, in_chans, num_classes, image_size, width=4, drop_rate=0.0):
        super().__init__()
        conv = nn.Conv2d(in_chans, width, 3, padding=1)
        self.body = nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2))
        self.drop = nn.Dropout(drop_rate)
        self.head = nn.Linear(width * (image_size // 2) ** 2, num_classes)

    def forward(self, x):
        return self.head(self.drop(self.body(x).flatten(1)))
"""


def tiny_recipe(folder: Path, stripes: Path, *overrides: tuple[str, Any]) -> Recipe:
    """A recipe of the class in net.py of the folder, which is written if it is missing. Two epochs of 8 steps."""
    net = folder / "net.py"
    if not net.exists():
        net.write_text(NET)
    base = [
        ("model.name", f"{net}:Tiny"),
        ("data.name", str(stripes)),
        ("train.epochs", 2),
        ("train.batch_size", 60),
        ("optim.lr", 0.01),
        ("compute.threads", 1),
    ]
    return Recipe.load("defaults/images", [*base, *overrides])


@pytest.fixture
def net(tmp_path: Path) -> Path:
    path = tmp_path / "net.py"
    path.write_text(NET)
    return path


@pytest.fixture
def tiny(stripes: Path, net: Path) -> Callable[..., Recipe]:
    """Makes recipes of a user's class on the stripes: `tiny(("optim.lr", 0.1), ...)`."""
    return partial(tiny_recipe, net.parent, stripes)


@pytest.fixture
def forked_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Worker processes of studies are forks of a process that has imported torch."""
    from tests.forks import WorkerProcess

    monkeypatch.setattr("convoy.studies.child.subprocess", SimpleNamespace(Popen=WorkerProcess, PIPE=subprocess.PIPE))


@pytest.fixture(scope="session")
def one_registry() -> Iterator[None]:
    """Builds the operators of torch's ONNX exporter once instead of in each export, which takes a second."""
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ONNXRegistry, "from_torchlib", staticmethod(cache(ONNXRegistry.from_torchlib)))
        yield


@pytest.fixture
def page_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes pages without PNG files, which take as long as the page itself and are needed by few tests."""
    monkeypatch.setattr("convoy.reporting.canvas.FigureCanvasAgg.print_figure", lambda *of, **options: None)
    monkeypatch.setattr("convoy.reporting.render.save_gallery", lambda gallery, folder: None)


@pytest.fixture
def words_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes pages without figures."""
    monkeypatch.setattr("convoy.reporting.render.save_gallery", lambda gallery, folder: None)
    monkeypatch.setattr("convoy.reporting.scene3d.save_scene", lambda block, folder: None)
    monkeypatch.setattr("convoy.reporting.scene3d.static_uri", lambda block: "")
    monkeypatch.setattr("convoy.reporting.canvas.draw_chart", lambda *_: ("", b""))
    monkeypatch.setattr("convoy.reporting.canvas.inline_panels", lambda chart, svg, prefix: [])

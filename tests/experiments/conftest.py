from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from tests.experiments.small_digits import EXPERIMENT, PUBLISHED, RECIPE, again, write

from convoy.runs import Study


@pytest.fixture(autouse=True)
def _small_timed_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measures the latency of 4 images instead of 128 in the profiles of a reproduction."""
    monkeypatch.setattr("convoy.profiling.measure.LARGE_BATCH", 4)


@pytest.fixture(scope="session")
def small_digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of an experiment.toml."""
    folder = tmp_path_factory.mktemp("small-digits")
    return write(folder, corrected=RECIPE, published=PUBLISHED, experiment=EXPERIMENT)


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results") / "runs"


@pytest.fixture(scope="session")
def complete(small_digits: Path, archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    return again(small_digits, tmp_path_factory.mktemp("out"), archive=archive, with_page=True)


@pytest.fixture
def trained(complete: Study, tmp_path: Path) -> Path:
    """A workspace with links to the finished runs of `complete`, without studies. Atomic writes replace the links."""
    out = tmp_path / "trained"
    shutil.copytree(complete.path.parents[1] / "runs", out / "runs", copy_function=os.link)
    return out

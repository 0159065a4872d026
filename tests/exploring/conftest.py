"""A trained run, its page, and one browser for all tests of the page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.data.photographed_digits import photograph
from tests.exploring.browser import Browser, camera_options

import convoy
from convoy.runs import Run


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """LeNet after three short epochs, with about 90 % accuracy and the weights of each epoch."""
    return convoy.train(
        "lenet",
        data="mnist",
        limit=2000,
        epochs=3,
        batch_size=32,
        lr=3e-3,
        keep_weights=True,
        set={"compute.threads": 1},
        out=tmp_path_factory.mktemp("explored"),
        show=False,
    )


@pytest.fixture(scope="session")
def page(digits_run: Run) -> Path:
    return convoy.explore(digits_run)


@pytest.fixture(scope="session")
def photo() -> Image.Image:
    """A four on paper."""
    return photograph(4, np.random.default_rng(0))


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory, photo: Image.Image) -> Iterator[Browser]:
    """A browser whose camera sees the photo."""
    folder = tmp_path_factory.mktemp("browser")
    with Browser(folder / "profile", *camera_options(np.asarray(photo.convert("L")), folder)) as started:
        yield started

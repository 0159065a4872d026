"""The committed results can be read and are reused by `convoy reproduce --archive docs/results/runs`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from convoy.data.prepare import PreparedDataCache
from convoy.experiments import kinds
from convoy.models.network import without_weights
from convoy.reporting.pages import study_page
from convoy.runs import Run, Study
from convoy.training.run.plan import plan_one

ARCHIVE = Path(__file__).parents[1] / "docs" / "results" / "runs"
LARGEST_RUN = 48 * 1024  # bytes; 32 epochs that also score the test set: 41 kB
DATA = PreparedDataCache()


def on_packaged_data() -> Iterator[Run]:
    for recipe in sorted(ARCHIVE.glob("*/recipe.toml")):
        run = Run(recipe.parent)
        if run.recipe.data.name == "mnist":
            yield run


@pytest.mark.parametrize("folder", sorted((ARCHIVE.parent / "studies").glob("*/")), ids=lambda folder: folder.name)
def test_an_archived_study_has_a_page(folder: Path) -> None:
    page = study_page(Study(folder), folder, kinds.page_of)
    assert page.sentence
    assert page.tables or page.sections


@pytest.mark.parametrize(
    "run", sorted(on_packaged_data(), key=lambda run: repr(run.recipe.data)), ids=lambda run: run.name
)
def test_an_archived_run_has_the_fingerprint_of_its_recipe(run: Run) -> None:
    prepared = DATA.prepare(run.recipe.data)
    with without_weights():
        assert plan_one(run.recipe, prepared).fingerprint == run.status.fingerprint


@pytest.mark.parametrize("folder", sorted(ARCHIVE.glob("*/")), ids=lambda folder: folder.name)
def test_an_archived_run_is_finished_and_small_and_has_no_images(folder: Path) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert Run(folder).finished
    assert sum(path.stat().st_size for path in files) < LARGEST_RUN
    assert not {"gallery.npz", "best.safetensors"} & {path.name for path in files}

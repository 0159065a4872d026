"""The accuracy of classes and groups, and where groups come from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest

import convoy
from convoy.archive import archive_run
from convoy.data import DataError
from convoy.evaluation.subgroups import by_class, by_group, worst
from convoy.reporting import subgroups as shown
from convoy.runs import Run


def test_intervals_of_groups_agree_with_scipy_and_the_lowest_is_first() -> None:
    labels, predicted = np.zeros(60, int), np.zeros(60, int)
    groups = np.repeat(["a", "b", "c"], 20)
    predicted[[1, 2, 25]] = 1
    rows = by_group(labels, predicted, groups)
    expected = binomtest(18, 20).proportion_ci(method="wilson")

    assert [(row.name, row.accuracy.mean) for row in rows] == [("a", 0.9), ("b", 0.95), ("c", 1.0)]
    assert rows[0].accuracy.span == pytest.approx((expected.low, expected.high))


def test_a_class_without_images_has_no_accuracy() -> None:
    rows = by_class(np.array([0, 0, 2]), np.array([0, 1, 2]), ["x", "y", "z"])

    assert [row.name for row in rows] == ["x", "z"]


def test_a_group_of_few_images_is_not_named_as_the_worst() -> None:
    labels = np.zeros(22, int)
    predicted = np.array([1, 1, *[0] * 19, 1])
    groups = np.array(["small", "small", *["large"] * 20])
    both = by_group(labels, predicted, groups)

    assert [each.name for each in both] == ["small", "large"]
    lowest = [worst(rows) for rows in (both, both[:1], ())]
    assert [each and each.name for each in lowest] == ["large", "small", None]


@pytest.fixture(scope="module")
def grouped(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run on images of 30 writers whose test and validation sets are split off by writer."""
    root = tmp_path_factory.mktemp("grouped")
    random = np.random.default_rng(0)
    labels = np.arange(240) % 3
    images = random.integers(0, 120, (240, 16, 16), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[:, 4 * label + 1 : 4 * label + 3] += 100
    np.savez(root / "data.npz", x_train=images, y_train=labels)
    (root / "writers.txt").write_text("\n".join(f"writer{number:02}" for number in np.arange(240) // 8))
    group_by = {"data.split.group_by": str(root / "writers.txt")}
    return convoy.train("lenet", data=str(root / "data.npz"), epochs=1, out=root / "out", set=group_by, show=False)


def test_a_run_stores_the_groups_of_its_scored_images_and_reports_them(grouped: Run) -> None:
    groups = grouped.predictions["test_groups"]
    rows = shown.of_run(grouped, "test")

    assert len(groups) == len(grouped.predictions["test_labels"])
    assert set(groups).isdisjoint(grouped.predictions["validation_groups"])
    assert {row.name for row in rows} == set(groups)
    tested = convoy.test(grouped, show=False)
    assert tested.by_group == rows
    assert len(tested.by_class) == 3


def test_the_weights_of_a_run_have_its_groups_on_the_same_data(grouped: Run, tmp_path: Path) -> None:
    data = {"data.size": 16, "data.split.group_by": grouped.recipe.data.split.group_by}
    weights = tmp_path / "best.safetensors"  # not in the run, whose own data are known
    weights.write_bytes((grouped.path / weights.name).read_bytes())

    tested = convoy.test(weights, model="lenet", data=grouped.recipe.data.name, set=data, show=False)

    assert tested.by_group == shown.of_run(grouped, "test")


def test_an_archived_run_has_no_groups_because_they_may_be_names(grouped: Run, tmp_path: Path) -> None:
    names = [*archive_run(grouped, tmp_path).predictions]
    assert names
    assert not [name for name in names if "groups" in name]


def test_a_file_of_groups_with_another_number_of_values_is_an_error_before_the_test_set_is_opened(
    grouped: Run, tmp_path: Path
) -> None:
    openings = (grouped.path.parents[1] / "test_openings.json").read_bytes()
    (tmp_path / "groups.txt").write_text("a\nb\n")

    with pytest.raises(DataError, match="2 values"):
        convoy.test(grouped, groups=tmp_path / "groups.txt", show=False)
    assert (grouped.path.parents[1] / "test_openings.json").read_bytes() == openings

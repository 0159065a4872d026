"""The numbers behind the figures of a landscape."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from convoy.reporting.ticks import round_numbers
from convoy.studies.landscape import arrays, figures, words
from convoy.studies.landscape.arrays import Edges, FigureArrays, Probes, Surface
from convoy.studies.landscape.figures import MAX_POINTS, MIN_LOSS
from convoy.studies.landscape.words import CAP


def band_of(low: np.ndarray, high: np.ndarray) -> figures.Band:
    return figures.band("net", np.arange(1, len(low) + 1), low, high)


def test_a_long_band_has_fewer_points_and_keeps_its_extremes() -> None:
    low, high = np.ones(9 * MAX_POINTS), np.full(9 * MAX_POINTS, 2.0)
    low[4], high[-3] = 0.25, 7.0
    band = band_of(low, high)
    assert len(band.at) == MAX_POINTS
    assert (band.low[0], band.high[-1]) == (0.25, 7.0)
    assert (band.at[0], band.at[-1]) == (5.0, 9 * MAX_POINTS - 4.0)


def test_a_step_without_numbers_is_a_gap_and_an_infinite_loss_is_capped() -> None:
    band = band_of(np.array([1.0, np.nan, 1.0]), np.array([2.0, np.nan, np.inf]))
    assert np.isnan(band.low[1])
    assert band.high[2] == CAP


@pytest.mark.parametrize(("low", "high"), [(6.1, 9.6), (2.2, 2.4), (0.93, 1.04), (0.02, 5.0), (1e-12, 1e3)])
def test_a_logarithmic_axis_has_few_ticks_but_at_least_two(low: float, high: float) -> None:
    ticks = round_numbers(low, high)
    assert 2 <= len(ticks) <= 8
    assert low <= min(ticks) < max(ticks) <= high


def plane(loss: np.ndarray, *path: np.ndarray) -> Surface:
    side = np.linspace(-1, 1, len(loss))
    return Surface(side, side, loss, *path)


def test_losses_of_a_surface_are_capped_and_counted() -> None:
    surface = plane(np.array([[0.0, 1.0, 2.0], [1.0, np.inf, 3.0], [1.0, 1.0, 2 * CAP]]))
    assert figures.drawn_loss(surface).max() == CAP
    assert figures.drawn_loss(surface).min() == MIN_LOSS
    assert "(net: 2)" in words.surface_caption({"net": surface}, 100)


def test_a_path_is_on_its_surface() -> None:
    side = np.linspace(-1, 1, 5)
    loss = np.exp(side[None] + 2 * side[:, None])  # even in its logarithm: interpolation is exact
    at = np.array([[-0.3, 0.2], [0.0, 0.0]])
    surface = plane(loss, at, np.array([0, 1]), np.array([0.7, 0.2]))
    assert figures.heights(surface, at) == pytest.approx(np.exp([0.1, 0.0]))
    assert figures.dense(at)[[0, -1]].tolist() == at.tolist()
    assert "90.0 % (net)" in words.surface_caption({"net": surface}, 100)


def test_a_probe_has_the_range_along_its_step() -> None:
    loss = np.array([[1.0, 0.5, 3.0], [1.0, 0.9, 0.8]])
    probes = Probes(np.array([5, 10]), loss, np.array([[0.1, 0.4], [0.2, 0.3]]), np.array([8.0, 6.0]))
    (band,) = figures.probe_bands({"net": probes}, lambda each: each.loss)
    assert band.low.tolist() == [0.5, 0.8]
    assert band.high.tolist() == [3.0, 1.0]


def test_arrays_read_from_their_file_are_equal(tmp_path: Path) -> None:
    three = np.arange(3.0)
    surface = plane(np.ones((3, 3)), np.ones((2, 2)), np.array([0, 1]), np.array([0.7, 0.2]))
    full = FigureArrays(Edges(three, three, three, three, three), Probes(three, three, three, three), {"path": surface})
    bare = FigureArrays(full.edges, None)
    arrays.write(tmp_path / "a.npz", [full, bare])
    found = arrays.read(tmp_path / "a.npz", ["full", "bare"])
    assert found["full"].surfaces["path"].epochs.tolist() == [0, 1]
    assert found["full"].probes.beta.tolist() == [0, 1, 2]
    assert (found["bare"].probes, found["bare"].surfaces) == (None, {})

"""The numbers behind the figures of a landscape."""

from __future__ import annotations

import numpy as np
import pytest

from convoy.studies.landscape import figures as land_
from convoy.studies.landscape.figures import CAP, LEAST, MAX_POINTS


def band_of(low, high):
    step = np.arange(1, len(low) + 1)
    arrays = {"net": {"step": step, "low": low, "high": high, "smooth_low": low, "smooth_high": high}}
    return land_.band_numbers(arrays, smooth=False)[0]


def test_a_long_band_is_thinned_and_keeps_its_extremes():
    low, high = np.ones(9 * MAX_POINTS), np.full(9 * MAX_POINTS, 2.0)
    low[4], high[-3] = 0.25, 7.0
    band = band_of(low, high)
    assert len(band.at) == MAX_POINTS
    assert (band.low[0], band.high[-1]) == (0.25, 7.0)
    assert (band.at[0], band.at[-1]) == (5.0, 9 * MAX_POINTS - 4.0)


def test_a_step_without_numbers_is_a_gap_and_an_infinite_loss_is_capped():
    band = band_of(np.array([1.0, np.nan, 1.0]), np.array([2.0, np.nan, np.inf]))
    assert np.isnan(band.low[1])
    assert band.high[2] == CAP
    assert band.capped


def plane(loss, **more):
    side = np.linspace(-1, 1, len(loss))
    return land_.surface_numbers({"path_x": side, "path_y": side, "path_loss": loss, **more}, "path")


def test_losses_of_a_surface_are_capped_and_counted():
    loss = np.array([[0.0, 1.0, 2.0], [1.0, np.inf, 3.0], [1.0, 1.0, 2 * CAP]])
    numbers = plane(loss)
    assert numbers.capped == 2
    assert numbers.loss.max() == CAP
    assert numbers.loss.min() == LEAST
    assert "2 of 9 (net)" in land_.surface_caption({"net": numbers}, 100)


def test_a_path_is_on_its_surface():
    side = np.linspace(-1, 1, 5)
    loss = np.exp(side[None] + 2 * side[:, None])  # even in its logarithm: interpolation is exact
    at = np.array([[-0.3, 0.2], [0.0, 0.0]])
    numbers = plane(loss, path_at=at, path_epochs=np.array([0, 1]), path_explained=np.array([0.7, 0.2]))
    assert numbers.heights(numbers.path) == pytest.approx(np.exp([0.1, 0.0]))
    assert numbers.dense_path[0].tolist() == at[0].tolist()
    assert numbers.dense_path[-1].tolist() == at[-1].tolist()
    assert "90.0 % (net)" in land_.surface_caption({"net": numbers}, 100)


def test_arrays_that_are_missing_give_no_numbers():
    assert land_.surface_numbers({}, "plane") is None
    assert land_.probe_numbers({"net": {}}) == {"loss": [], "gradient": [], "beta": []}


def test_a_probe_has_the_range_along_its_step():
    kept = {
        "probe_step": np.array([5, 10]),
        "probe_loss": np.array([[1.0, 0.5, 3.0], [1.0, 0.9, 0.8]]),
        "probe_gradient_change": np.array([[0.1, 0.4], [0.2, 0.3]]),
        "probe_beta": np.array([8.0, 6.0]),
    }
    found = land_.probe_numbers({"net": kept})
    assert found["loss"][0].low.tolist() == [0.5, 0.8]
    assert found["loss"][0].high.tolist() == [3.0, 1.0]
    assert found["gradient"][0].high.tolist() == [0.4, 0.3]
    assert found["beta"][0].low.tolist() == [8.0, 6.0]

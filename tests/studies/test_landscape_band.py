from __future__ import annotations

import numpy as np
import pytest

from convoy.studies.landscape import band
from convoy.studies.landscape.arrays import FigureArrays
from convoy.studies.landscape.band import Curves, Measure, Verdict
from convoy.studies.landscape.finding import Landscape


def curves(*losses: np.ndarray) -> Curves:
    return Curves(np.arange(1, len(losses[0]) + 1), np.stack(losses))


def noise(seed: int, steps: int = 400) -> np.ndarray:
    return np.random.default_rng(seed).gamma(4.0, 0.25, steps)


def test_width_is_the_maximum_minus_the_minimum_loss() -> None:
    assert band.width(
        curves(np.array([1.0, 2.0]), np.array([3.0, 2.5]), np.array([2.0, 0.5])), Measure.LOSS
    ).tolist() == [
        2.0,
        2.0,
    ]


def test_width_of_the_logarithm_is_the_log_of_the_ratio_of_the_losses() -> None:
    flat = curves(np.full(60, 0.1), np.full(60, 0.4))
    assert band.width(flat, Measure.LOG) == pytest.approx(np.full(60, np.log(4)))


def test_smoothing_reduces_noise_and_does_not_change_a_constant() -> None:
    assert band.smoothed(np.full((1, 80), 3.0)) == pytest.approx(np.full((1, 80), 3.0))
    noisy = curves(noise(0), noise(1))
    assert band.width(noisy, Measure.SMOOTHED).mean() < 0.3 * band.width(noisy, Measure.LOSS).mean()


def test_a_window_over_fewer_points_covers_the_same_steps() -> None:
    """With every 12th step, a window of 25 steps has two points, so that a jump is not smeared further."""
    step = np.arange(1, 1201, 12)
    jump = Curves(step, np.where(step < 600, 0.0, 1.0)[None])

    assert jump.spacing == 12
    smeared = (lambda loss: ((loss > 0) & (loss < 1)).sum())(band.smoothed(jump.loss, jump.spacing))
    assert smeared * jump.spacing <= band.WINDOW


def test_a_step_without_a_finite_loss_is_in_no_width() -> None:
    low, high = np.ones(60), np.full(60, 2.0)
    high[7] = np.nan
    found = band.width(curves(low, high), Measure.LOSS)
    assert np.isnan(found).nonzero()[0].tolist() == [7]
    estimate = band.mean_width([found])
    assert estimate is not None
    assert (estimate.mean, estimate.low, estimate.high) == (1.0, None, None)


@pytest.mark.parametrize("factor", [0.01, 0.5, 2.0])
def test_one_seed_has_a_ratio_and_no_verdict(factor: float) -> None:
    found = band.ratio(([factor * noise(0)], [noise(0)]), reduced=False)
    assert found.ratio is not None
    assert (found.ratio.mean, found.ratio.low) == (pytest.approx(factor), None)
    assert found.verdict is Verdict.ONE_SEED


def test_the_ratio_of_several_pairs_is_the_geometric_mean() -> None:
    pairs = [([4 * noise(0)], [noise(0)]), ([noise(1)], [noise(1)])]
    found = band.ratio(*pairs, reduced=False).ratio
    assert found is not None
    assert found.mean == pytest.approx(2)


def test_several_seeds_have_a_verdict_unless_the_study_is_reduced() -> None:
    wide, narrow = [noise(s) for s in range(3)], [0.5 * noise(s + 9) for s in range(3)]
    verdicts = [band.ratio(sides, reduced=False).verdict for sides in ((narrow, wide), (wide, narrow))]
    assert verdicts == [Verdict.NARROWER, Verdict.WIDER]
    assert band.ratio((narrow, wide), reduced=True).verdict is Verdict.REDUCED


def test_bands_of_one_distribution_are_rarely_significant_over_seeds() -> None:
    ratios = [
        band.ratio(([noise(8 * s + n) for n in range(4)], [noise(8 * s + n + 4) for n in range(4)]), reduced=False)
        for s in range(80)
    ]
    assert sum(found.verdict is not Verdict.INCONCLUSIVE for found in ratios) <= 12  # 4 of 80 are expected


def test_several_seeds_give_an_interval_over_seeds() -> None:
    wide, narrow = [noise(s) for s in range(3)], [0.5 * noise(s + 9) for s in range(3)]
    found = band.ratio((narrow, wide), reduced=False).ratio
    assert found is not None
    assert found.n == 3
    assert found.low is not None
    assert found.low < found.mean < 1
    assert found.mean == pytest.approx(0.5, abs=0.05)


class Fake:
    def __init__(self, **steps: np.ndarray) -> None:
        self.steps = steps


def test_runs_are_truncated_to_the_shortest_and_sampled_at_the_points_of_an_archived_run() -> None:
    full = Fake(loss=np.arange(11, dtype=np.float32))
    archived = Fake(loss=np.array([0, 4, 8], np.float32), step=np.array([0, 4, 8]))
    (found,) = band.aligned([[full, archived]])  # type: ignore[list-item]
    assert found.step.tolist() == [1, 5, 9]
    assert found.loss.tolist() == [[0, 4, 8], [0, 4, 8]]
    (cut,) = band.aligned([[full, Fake(loss=np.zeros(3, np.float32))]])  # type: ignore[list-item]
    assert cut.step.tolist() == [1, 2, 3]


def test_early_widths_end_at_the_given_step() -> None:
    archived = Curves(np.array([1, 3, 5, 7]), np.array([[1.0, 1, 1, 1], [2, 3, 4, 5]]))
    (found,) = Landscape("net", [], [], [archived], FigureArrays(band.edges_of(archived), None)).widths(Measure.LOSS, 5)
    assert found.tolist() == [1, 2, 3]

"""The recipes that a study of seeds trains, and its finding."""

from __future__ import annotations

from itertools import pairwise
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import convoy
from convoy.power import power_of, seeds_needed, seeds_text
from convoy.recipe import Recipe
from convoy.studies.seeds.finding import Source, conclude, spread_of
from convoy.studies.seeds.run import entries_of, titles_of


def seeds_of(recipe: Recipe) -> tuple[int, int, int]:
    """Of the initial weights, of the order, of the split."""
    initial = recipe.seed if recipe.model.seed is None else recipe.model.seed
    return initial, recipe.seed, recipe.data.split.seed


def test_each_source_changes_its_own_seed_and_no_other() -> None:
    entries = entries_of(Recipe().override({"seed": 5, "data.split.seed": 9}), seeds=3)
    by_source = {source: [seeds_of(e.recipe) for e in entries if e.label == source.label] for source in Source}
    assert by_source == {
        Source.ALL: [(5, 5, 9), (6, 6, 10), (7, 7, 11)],
        Source.INITIALISATION: [(5, 5, 9), (6, 5, 9), (7, 5, 9)],
        Source.ORDER: [(5, 5, 9), (5, 6, 9), (5, 7, 9)],
        Source.SPLIT: [(5, 5, 9), (5, 5, 10), (5, 5, 11)],
    }


def test_runs_have_distinct_names_with_the_seed_that_differs() -> None:
    titles = titles_of(Recipe().override({"seed": 5, "data.split.seed": 9}), seeds=3)
    assert len(set(titles)) == len(titles) == len(entries_of(Recipe(), seeds=3))
    assert titles[-3:] == ["split of the data (seed 9)", "split of the data (seed 10)", "split of the data (seed 11)"]
    assert titles[4] == "initial weights (seed 6)"


def test_sources_share_the_recipe_itself() -> None:
    recipe = Recipe()
    assert sum(entry.recipe == recipe for entry in entries_of(recipe, seeds=4)) == 4
    assert len({entry.recipe.model_dump_json() for entry in entries_of(recipe, seeds=4)}) == 13


@pytest.mark.parametrize(
    ("change", "seeds", "named"),
    [({}, 1, "seeds"), ({"model.seed": 3}, 3, "model.seed"), ({"data.split.folds": 5}, 3, "data.split.folds")],
)
def test_a_recipe_that_sets_what_the_study_varies_is_an_error(change: dict[str, int], seeds: int, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        entries_of(Recipe().override(change), seeds)


def test_without_images_to_score_nothing_is_trained(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data\.split\.validation"):
        convoy.seeds("lenet", limit=100, test=False, set={"data.split.validation": 0.0}, out=tmp_path, show=False)
    assert not list(tmp_path.glob("runs/*"))


def test_a_difference_is_in_points(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="between 0 and 100"):
        convoy.seeds("lenet", limit=100, difference=[0.5, 100.0], out=tmp_path, show=False)


@pytest.mark.parametrize(
    ("difference", "seeds"), [(0.2, 394), (0.5, 64), (0.8, 26), (1.0, 17), (1.2, 12)], ids=lambda value: str(value)
)
def test_needed_seeds_agree_with_cohens_table(difference: float, seeds: int) -> None:
    """J. Cohen, "Statistical Power Analysis for the Behavioral Sciences", 1988; differences in standard deviations."""
    assert seeds_needed(difference, sd=1.0) == seeds


@pytest.mark.parametrize(("difference", "seeds"), [(0.5, 10), (1.0, 5), (2.0, 4)])
def test_power_agrees_with_simulated_t_tests(difference: float, seeds: int) -> None:
    draw = np.random.default_rng(0)
    a, b = draw.normal(0, 1, (20_000, seeds)), draw.normal(difference, 1, (20_000, seeds))
    found = (stats.ttest_ind(a, b, axis=1).pvalue < 0.05).mean()
    assert power_of(difference, 1.0, seeds) == pytest.approx(found, abs=4 * sqrt(0.25 / 20_000))


def test_power_rises_with_the_difference_and_is_within_0_to_1() -> None:
    for seeds in (2, 3, 5, 20, 1000):
        powers = [power_of(difference / 20, 1.0, seeds) for difference in range(1, 600)]
        assert 0 < powers[0] <= powers[-1] <= 1
        assert all(high >= low - 1e-6 for low, high in pairwise(powers))


def test_a_difference_that_needs_too_many_seeds_has_none() -> None:
    assert seeds_needed(0.0001, sd=0.01) is None
    assert seeds_text(None) == "over 10,000"


def test_interval_of_a_standard_deviation_covers_it_95_times_of_100() -> None:
    draw = np.random.default_rng(1)
    spreads = [spread_of(Source.ALL, draw.normal(0.9, 0.01, 5).tolist()) for _ in range(4_000)]
    covered = np.mean([spread.sd_low <= 0.01 <= spread.sd_high for spread in spreads])
    assert covered == pytest.approx(0.95, abs=0.014)


def test_equal_accuracies_still_need_two_seeds_or_more() -> None:
    equal = dict.fromkeys(Source, (0.98, 0.98, 0.98))
    finding = conclude(equal, label="net", data="mnist", part="test", images=10_000, differences=(0.00001, 0.01))
    assert finding.of(Source.ALL).sd == 0
    assert [each.seeds for each in finding.needed] == [seeds_needed(0.00001, 1 / (10_000 * sqrt(12))), 2]
    assert finding.image_sd == pytest.approx(sqrt(0.98 * 0.02 / 10_000))

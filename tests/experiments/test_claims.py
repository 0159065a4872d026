from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import asdict, replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.fake_runs import FakeModel, fake_run

from convoy import models
from convoy.agreement import Reason, Verdict
from convoy.api import check_claim
from convoy.experiments.claims import Claim, check, read
from convoy.experiments.reproduction.networks import ClaimCounter
from convoy.experiments.reproduction.page_sections import claims as section
from convoy.experiments.verdicts import FalseVerdicts, Inconclusive, JudgedClaim, false_verdicts, judge, verdict
from convoy.experiments.words import claimed_words, non_breaking, reduced_to, remarks, result_words, side_words
from convoy.files import write_json
from convoy.power import detectable_by_mcnemar, detectable_share, smallest_detectable
from convoy.reporting.content import Table
from convoy.stats import spread_interval

FILES = sorted(Path(str(resources.files("convoy") / "recipes")).glob("*/claims.toml"))
CLAIMS = [(path.parent.name, table) for path in FILES for table in tomllib.loads(path.read_text())["claim"]]

NORM = {
    "id": "norm",
    "sentence": "Batch norm helps",
    "measure": "test_accuracy",
    "a": {"label": "batch norm", "recipe": "two_conv_cnn"},
    "b": {"label": "none", "recipe": "two_conv_cnn", "set": {"model.options.norm": "none"}},
    "relation": "above",
}
SWEEP = {"measure": "highest_that_trains", "settings": {"within": 0.1}}
ALONE = {key: value for key, value in NORM.items() if key != "b"} | {"value": 0.9}


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.1, 0.3, "holds"),
        (0.1 + 1e-9, 0.3, "holds"),
        (0.0, 0.3, "inconclusive"),  # an end on the limit is not above it
        (-0.1, 0.3, "inconclusive"),
        (-0.3, 0.0, "does_not_hold"),
        (-0.3, -0.1, "does_not_hold"),
        (0.0, 0.0, "does_not_hold"),  # counted, and the same
        (1.0, 1.0, "holds"),
    ],
)
def test_above_and_below_are_symmetric(low: float, high: float, expected: str) -> None:
    assert verdict("above", low, high, 0.0) == expected
    assert verdict("below", -high, -low, 0.0) == expected


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.75, 1.25, "holds"),  # the margin's ends belong to it
        (0.9, 1.1, "holds"),
        (1.0, 1.0, "holds"),
        (0.7, 1.1, "inconclusive"),
        (0.9, 1.3, "inconclusive"),
        (0.5, 2.0, "inconclusive"),
        (1.25, 1.5, "inconclusive"),
        (1.26, 1.5, "does_not_hold"),
        (0.1, 0.74, "does_not_hold"),
    ],
)
def test_about_is_within_the_margin(low: float, high: float, expected: str) -> None:
    assert verdict("about", low, high, 1.0, 0.25) == expected


def judged(
    out: Path, table: dict[str, Any], accuracies: dict[str, Sequence[float | None]], seeds: int | None = None
) -> JudgedClaim:
    """Returns the verdict for these test accuracies of the sides' runs, on 1,000 images; None: no score."""
    ready = check(read(table), seeds=seeds or len(accuracies["a"]))
    runs = []
    for trial in ready.trials:
        run = fake_run(out, f"{trial.side}-{trial.tried}", seed=trial.recipe.seed)
        accuracy = accuracies[trial.side][trial.recipe.seed - 42]
        correct = 0 if accuracy is None else round(1000 * accuracy)
        score = {"accuracy": correct / 1000, "correct": correct, "n": 1000}
        write_json(run.path / "scores.json", {} if accuracy is None else {"test": score})
        runs.append(run)
    return judge(ready, runs, {})


def test_a_clear_difference_holds_and_gives_its_numbers(tmp_path: Path) -> None:
    found = judged(tmp_path, NORM, {"a": [0.95, 0.96, 0.95], "b": [0.90, 0.91, 0.90]})
    assert found.verdict is Verdict.HOLDS
    assert found.result.mean == pytest.approx(0.05)
    sides = [side_words(found, at) for at in (0, 1)]
    assert sides == [f"batch norm: {non_breaking('95.33 ± 1.43 %')}", f"none: {non_breaking('90.33 ± 1.43 %')}"]
    assert result_words(found) == non_breaking("+5.00 ± 0.10 points")
    assert "above 0 points" in claimed_words(found)
    assert len(found.runs) == 6


def test_the_pairing_is_by_seed(tmp_path: Path) -> None:
    found = judged(tmp_path, NORM, {"a": [0.80, 0.90, 0.97], "b": [0.79, 0.89, 0.96]})
    assert found.verdict is Verdict.HOLDS


def test_the_opposite_claim_does_not_hold(tmp_path: Path) -> None:
    found = judged(tmp_path, NORM, {"a": [0.90, 0.91, 0.90], "b": [0.95, 0.96, 0.95]})
    assert found.verdict is Verdict.DOES_NOT_HOLD


@pytest.mark.parametrize(
    ("b", "expected", "negligible"),
    [
        ([0.95, 0.96, 0.96], Verdict.NO_EFFECT, True),  # ± 0.6 points around 0
        ([0.93, 0.96, 0.97], Verdict.INCONCLUSIVE, False),
        ([0.945, 0.955, 0.945], Verdict.HOLDS, True),  # by 0.5 points in each seed
    ],
)
def test_an_effect_whose_interval_is_within_the_margin_is_negligible(
    tmp_path: Path, b: list[float], expected: Verdict, negligible: bool
) -> None:
    found = judged(tmp_path, NORM | {"margin": 0.02}, {"a": [0.95, 0.96, 0.95], "b": b})
    assert (found.verdict, found.negligible) == (expected, negligible)
    assert judged(tmp_path, NORM, {"a": [0.95, 0.96, 0.95], "b": b}).negligible is False  # without a margin


def test_the_smallest_detectable_effect_is_in_the_unit_of_the_quantity(tmp_path: Path) -> None:
    accuracies = {"a": [0.80, 0.82, 0.84], "b": [0.40, 0.42, 0.41]}
    difference = judged(tmp_path, NORM, accuracies)
    ratio = judged(tmp_path, NORM | {"quantity": "ratio"}, accuracies)
    assert difference.detectable == smallest_detectable(difference.result)
    assert ratio.detectable == smallest_detectable(ratio.result)
    assert 0 < difference.detectable < 0.1
    assert ratio.detectable > 1


def test_the_smallest_detectable_effect_of_one_seed_is_over_images(tmp_path: Path) -> None:
    ready, runs = check(read(NORM), seeds=1), []
    for trial, accuracy in zip(ready.trials, (0.98, 0.96), strict=True):
        runs.append(fake_run(tmp_path, trial.side, FakeModel(accuracy)))
    found = judge(ready, runs, {})
    right = [np.equal(*run.predicted("test")) for run in runs]
    assert found.detectable == detectable_by_mcnemar(int((right[0] ^ right[1]).sum()), 10_000)
    assert found.verdict is Verdict.INCONCLUSIVE
    alone = judge(check(read(ALONE), seeds=1), runs[:1], {})
    assert alone.detectable == detectable_share(runs[0].scores["test"].accuracy, 10_000)


def test_a_spread_is_the_standard_deviation_over_seeds_of_one_side(tmp_path: Path) -> None:
    table = ALONE | {"quantity": "spread", "relation": "below", "value": 0.1}
    found = judged(tmp_path, table, {"a": [0.95, 0.96, 0.95, 0.94]})
    assert found.result == spread_interval([0.95, 0.96, 0.95, 0.94])
    assert (found.quantity, found.verdict) == ("spread", Verdict.HOLDS)
    assert judged(tmp_path, table | {"value": 0.01}, {"a": [0.95, 0.96, 0.95, 0.94]}).verdict is Verdict.INCONCLUSIVE
    assert judged(tmp_path, table, {"a": [0.95]}).result is None


def test_only_verdicts_from_intervals_can_be_false_by_chance(tmp_path: Path) -> None:
    tested = judged(tmp_path, NORM, {"a": [0.95, 0.96], "b": [0.90, 0.91]})
    one_seed = judged(tmp_path, NORM, {"a": [0.95], "b": [0.90]})
    counted = judge(exact := check(read(NORM | {"measure": "parameters"})), [], ClaimCounter().of(exact))
    claims = [tested, tested, one_seed, counted, replace(tested, withheld=Reason.REDUCED)]
    assert false_verdicts(claims) == FalseVerdicts(tests=2, expected=0.1)


def test_as_published_a_claim_has_the_published_recipes_and_its_own_overrides() -> None:
    rate = {"optim.lr": 0.1}
    sides = {
        "a": {"label": "a", "recipe": "tensor-mnist/corrected", "set": rate},
        "b": {"label": "b", "recipe": "tensor-mnist/corrected", "set": rate, "set_as_published": {}},
    }
    published = {"tensor-mnist/corrected": "tensor-mnist/published"}
    corrected, as_published = (check(read(NORM | sides), published=each) for each in (None, published))
    assert not any(recipe.protocol.faults for recipe in corrected.sides.values())
    assert all(recipe.protocol.faults for recipe in as_published.sides.values())
    assert [recipe.optim.lr for recipe in corrected.sides.values()] == [0.1, 0.1]
    assert [recipe.optim.lr for recipe in as_published.sides.values()] == [0.1, 3e-4]


def test_a_difference_smaller_than_the_spread_over_seeds_is_inconclusive(tmp_path: Path) -> None:
    found = judged(tmp_path, NORM, {"a": [0.90, 0.95, 0.90], "b": [0.91, 0.90, 0.92]})
    assert (found.verdict, found.why) == (Verdict.INCONCLUSIVE, Inconclusive.INTERVAL)


def test_equal_differences_of_one_image_are_inconclusive(tmp_path: Path) -> None:
    found = judged(tmp_path, NORM, {"a": [0.901] * 3, "b": [0.900] * 3})
    assert found.verdict is Verdict.INCONCLUSIVE


def test_a_difference_of_one_seed_is_inconclusive(tmp_path: Path) -> None:
    found = judged(tmp_path, NORM, {"a": [0.99], "b": [0.50]})
    assert (found.verdict, found.why) == (Verdict.INCONCLUSIVE, Inconclusive.ONE_SEED)


@pytest.mark.parametrize("accuracy", [0.99, 0.50])
def test_one_seed_against_a_number_is_inconclusive(tmp_path: Path, accuracy: float) -> None:
    found = judged(tmp_path, ALONE, {"a": [accuracy]})
    assert (found.verdict, found.why) == (Verdict.INCONCLUSIVE, Inconclusive.ONE_SEED)
    assert found.sides[0].value.interval == "wilson"  # the measurement is reported nevertheless


def test_one_side_alone_is_compared_with_its_value(tmp_path: Path) -> None:
    found = judged(tmp_path, ALONE, {"a": [0.95, 0.96, 0.95]})
    assert found.verdict is Verdict.HOLDS
    assert (len(found.sides), found.quantity, found.limit) == (1, "value", 0.9)


def test_a_diverged_run_is_included_with_its_accuracy(tmp_path: Path) -> None:
    found = judged(tmp_path, NORM, {"a": [0.95, 0.95, 0.95], "b": [0.95, 0.95, 0.10]})
    assert found.sides[1].value.mean == pytest.approx(2 / 3)
    assert found.verdict is Verdict.INCONCLUSIVE


def test_a_seed_without_a_score_is_left_out_on_both_sides(tmp_path: Path) -> None:
    found = judged(tmp_path, NORM, {"a": [0.95, 0.96, 0.95], "b": [0.90, None, 0.90]})
    assert found.n == 2
    assert [side.lacking for side in found.sides] == [False, True]


def test_without_any_score_a_claim_is_inconclusive(tmp_path: Path) -> None:
    found = judged(tmp_path, NORM, {"a": [0.95, 0.96], "b": [None, None]})
    assert (found.why, found.result, found.sides[1].value) == (Inconclusive.NOT_MEASURED, None, None)


SECONDS = NORM | {"measure": "train_seconds", "relation": "below", "quantity": "ratio"}


def timed(out: Path, a: Sequence[float], b: Sequence[float], *, elsewhere: Sequence[int] = ()) -> JudgedClaim:
    """Returns the verdict for these seconds. Side b of the seeds `elsewhere` ran on another processor."""
    ready = check(read(SECONDS), seeds=len(a))
    runs = []
    for trial in ready.trials:
        seed = trial.recipe.seed
        run = fake_run(out, trial.side, seed=seed)
        write_json(run.path / "cost.json", {"train_seconds": {"a": a, "b": b}[trial.side][seed - 42]})
        if trial.side == "b" and seed in elsewhere:
            write_json(run.path / "environment.json", {**asdict(run.environment), "cpu": "another"})
        runs.append(run)
    return judge(ready, runs, {})


def test_seconds_of_one_machine_are_compared(tmp_path: Path) -> None:
    assert timed(tmp_path, [10, 11, 10], [20, 21, 20]).verdict is Verdict.HOLDS


def test_seconds_of_different_machines_are_inconclusive(tmp_path: Path) -> None:
    found = timed(tmp_path, [10, 11, 10], [20, 21, 20], elsewhere=[42, 43, 44])
    assert (found.why, found.result, found.excluded) == (Inconclusive.NOT_MEASURED, None, 3)


def test_a_seed_timed_on_two_machines_is_left_out(tmp_path: Path) -> None:
    found = timed(tmp_path, [10, 11, 10], [20, 21, 90], elsewhere=[44])
    assert (found.n, found.excluded) == (2, 1)


def test_rates_that_all_fail_are_inconclusive_with_a_reason(tmp_path: Path) -> None:
    ready = check(read(NORM | SWEEP | {"over": {"optim.lr": [1e-3, 1e-2]}, "quantity": "ratio"}), seeds=2)
    runs = []
    for trial in ready.trials:
        run = fake_run(tmp_path, f"{trial.side}-{trial.tried}", seed=trial.recipe.seed)
        right = 95 if trial.side == "a" else 10
        write_json(run.path / "scores.json", {"validation": {"accuracy": right / 100, "correct": right, "n": 100}})
        runs.append(run)
    found = judge(ready, runs, {})
    assert (found.verdict, found.sides[1].value) == (Verdict.INCONCLUSIVE, None)
    assert "clearly above chance" in remarks(found)


def test_a_ratio_has_an_interval_of_ratios(tmp_path: Path) -> None:
    table = NORM | {"quantity": "ratio", "relation": "about", "value": 2.0, "margin": 0.1}
    found = judged(tmp_path, table, {"a": [0.80, 0.82, 0.84], "b": [0.40, 0.41, 0.42]})
    assert found.verdict is Verdict.HOLDS
    assert found.result.mean == pytest.approx(2.0)
    assert "claimed: 1.9 to 2.1" in claimed_words(found)


def test_a_ratio_to_zero_is_inconclusive(tmp_path: Path) -> None:
    assert judged(tmp_path, NORM | {"quantity": "ratio"}, {"a": [0.5, 0.6], "b": [0.0, 0.1]}).result is None


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"relation": "above"}, "holds"),
        ({"relation": "below"}, "does_not_hold"),
        ({"relation": "about", "margin": 96}, "holds"),
        ({"relation": "about", "margin": 95}, "does_not_hold"),
        ({"relation": "about", "quantity": "ratio", "margin": 0.01}, "holds"),
    ],
)
def test_a_counted_measure_needs_no_training(change: dict[str, Any], expected: str) -> None:
    ready = check(read(NORM | {"measure": "parameters"} | change))
    found = judge(ready, [], ClaimCounter().of(ready))
    assert ready.trials == []
    assert found.verdict == expected
    assert [side.value for side in found.sides] == [698_942, 698_846]


def test_a_reduction_is_applied_to_both_sides_unless_full_size() -> None:
    reduced = {"limit": 100, "epochs": 1, "seeds": 2, "about": "100 images"}
    claim = read(NORM | {"set": {"train.batch_size": 32}, "reduced": reduced})
    small, full = check(claim), check(claim, full_size=True)
    assert {recipe.data.limit for recipe in small.sides.values()} == {100}
    assert {recipe.data.limit for recipe in full.sides.values()} == {None}
    assert {recipe.train.batch_size for recipe in full.sides.values()} == {32}
    assert (small.seeds, full.seeds) == (2, 3)
    assert (small.reduced, full.reduced) == ("100 images", "")


def test_overrides_and_seeds_of_the_command_are_applied_last() -> None:
    ready = check(read(NORM | {"reduced": {"limit": 100, "about": "x"}}), overrides=[("data.limit", 50)], seeds=1)
    assert {recipe.data.limit for recipe in ready.sides.values()} == {50}
    assert len(ready.trials) == 2


def test_a_claim_for_the_published_scale_is_withheld_at_a_reduced_one() -> None:
    claim = read(ALONE | {"full_size_only": "few images"})
    found = judge(check(claim), [], {})
    assert (found.why, found.full_size_only) == (Inconclusive.FULL_SIZE_ONLY, "few images")
    assert len(check(claim, full_size=True).trials) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"measure": "test_acuracy"}, "did you mean 'test_accuracy'"),
        ({"relation": "abuve"}, "did you mean 'above'"),
        ({"b": None}, "expected a side `b`"),
        ({"over": {"optim.lr": [0.1, 0.2]}}, "`over` needs one key"),
        (SWEEP, "`over` needs one key"),
        (SWEEP | {"over": {"optim.lr": [0.1, 0.2]}}, "quantity = 'ratio'"),
        (SWEEP | {"over": {"optim.lr": [0.0, 0.2]}, "quantity": "ratio"}, "greater than 0"),
        ({"full_size_only": "x", "reduced": {"about": "y"}}, "remove one"),
        ({"seeds": 0}, "seeds = 0"),
        ({"margin": -1}, "margin = -1"),
        ({"quantity": "spread"}, "a spread needs one side"),
        ({"sentnce": "x"}, "did you mean 'sentence'"),
    ],
)
def test_an_invalid_claim_is_a_one_line_error(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        read({key: value for key, value in (NORM | change).items() if value is not None})
    assert "\n" not in str(raised.value)


def test_error_names_a_recipe_that_does_not_exist() -> None:
    with pytest.raises(ValueError, match="did you mean 'tensor-mnist/corrected'"):
        check(read(NORM | {"a": {"label": "x", "recipe": "tensor-mnist/correctd"}}))


@pytest.mark.parametrize(("experiment", "table"), CLAIMS, ids=[f"{name}/{table['id']}" for name, table in CLAIMS])
def test_every_claim_of_the_experiments_has_trainable_recipes(experiment: str, table: dict[str, Any]) -> None:
    claim = read(table)
    assert isinstance(claim, Claim)
    for full_size in (False, True):
        ready = check(claim, full_size=full_size)
        for recipe in [*ready.sides.values(), *(trial.recipe for trial in ready.trials)]:
            known = models.default_options(recipe.model.name)
            assert recipe.model.options.keys() <= known.keys()
        fingerprints = {trial.recipe.model_dump_json() for trial in ready.trials}
        assert len(fingerprints) == len(ready.trials)


def test_ids_are_unique_within_an_experiment() -> None:
    ids = [(name, table["id"]) for name, table in CLAIMS]
    assert len(set(ids)) == len(ids)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("claims")


@pytest.fixture
def digits() -> dict[str, Any]:
    return {"data.name": "digits", "data.limit": 300, "train.epochs": 2, "train.batch_size": 32}


def test_a_claim_is_trained_and_judged_end_to_end(out: Path, digits: dict[str, Any]) -> None:
    found = check_claim(NORM, seeds=2, set=digits, out=out, show=False)
    assert found.n == 2
    assert len(list((out / "runs").iterdir())) == 4


def test_another_claim_on_the_same_runs_trains_nothing(out: Path, digits: dict[str, Any]) -> None:
    check_claim(NORM, seeds=2, set=digits, out=out, show=False)
    before = sorted((out / "runs").iterdir())
    found = check_claim(NORM | {"measure": "mean_accuracy"}, seeds=2, set=digits, out=out, show=False)
    assert found.n == 2
    assert sorted((out / "runs").iterdir()) == before


def test_a_claim_over_rates_trains_each_on_both_sides(out: Path, digits: dict[str, Any]) -> None:
    rates = {
        "measure": "highest_that_trains",
        "settings": {"within": 0.1},
        "quantity": "ratio",
        "over": {"optim.lr": [1e-3, 100.0]},
    }
    found = check_claim(NORM | rates, seeds=1, set=digits, out=out, show=False)
    assert found.sides[0].value.mean == pytest.approx(1e-3)
    assert len(found.runs) == 4


def test_the_section_has_a_row_per_verdict_and_each_sentence_once(tmp_path: Path) -> None:
    reduced = {"reduced": {"about": "100 images"}}
    found = [
        judged(tmp_path, NORM | reduced, {"a": [0.95, 0.96, 0.95], "b": [0.90, 0.91, 0.90]}),
        judge(
            counted := check(read(NORM | {"measure": "parameters", "relation": "below"})),
            [],
            ClaimCounter().of(counted),
        ),
    ]
    shown = section(found, false_verdicts(found), "")
    assert shown is not None
    (table,) = shown.blocks
    assert isinstance(table, Table)
    rows = [dict(zip([field.title for field in table.columns], row, strict=True)) for row in table.rows]
    assert [row["Verdict"].text for row in rows] == ["holds", "does\u00a0not\u00a0hold"]
    assert [row["n"].text for row in rows] == ["3", ""]
    assert "100 images" in rows[0]["Claim"].note
    assert rows[1]["Claim"].text == ""  # the same claim as the first, counted
    assert "holds: 1" in table.note
    assert "does not hold: 1" in table.note


def test_without_claims_there_is_no_section() -> None:
    assert section([], None, "") is None


def test_options_of_the_command_reduce_a_trained_claim_further(tmp_path: Path) -> None:
    trained = judged(tmp_path, NORM | {"reduced": {"about": "100 images"}}, {"a": [0.95], "b": [0.90]})
    assert "100 images" in reduced_to(trained, "1 epoch")
    assert "1 epoch" in reduced_to(trained, "1 epoch")
    assert reduced_to(trained, "") == "100 images"
    assert reduced_to(replace(trained, runs=()), "1 epoch") == "100 images"

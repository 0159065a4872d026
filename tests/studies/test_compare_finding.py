from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.fake_runs import DEFAULT, FakeModel, Setting, fake_run

from convoy.runs import Member, Run, write_json
from convoy.studies.compare_finding import conclude


def with_correct(run: Run, correct: int, part: str = "test") -> Run:
    """The run as if it had this many of 10,000 images right."""
    write_json(run.path / "scores.json", {part: {"accuracy": correct / 10_000, "correct": correct, "n": 10_000}})
    return run


def members(out: Path, correct: dict[str, list[int]], setting: Setting = DEFAULT, part: str = "test") -> list[Member]:
    return [
        Member(label, seed, with_correct(fake_run(out, label, seed=seed, setting=setting), count, part))
        for label, counts in correct.items()
        for seed, count in enumerate(counts, start=42)
    ]


CLEAR = {"lenet": [9810, 9822, 9815], "two_conv_cnn": [9901, 9903, 9910]}
LEVEL = {"lenet": [9810, 9822, 9815], "two_conv_cnn": [9830, 9802, 9816]}


def test_a_clear_difference_is_told_with_its_interval(tmp_path):
    finding = conclude(members(tmp_path, CLEAR))
    assert finding["sentence"] == "two_conv_cnn beats lenet by 0.89 ± 0.18 points (test accuracy, n = 3 seeds)"


def test_only_the_distinguishable_best_is_marked(tmp_path):
    assert [row["best"] for row in conclude(members(tmp_path, CLEAR))["rows"]] == [False, True]
    assert [row["best"] for row in conclude(members(tmp_path, LEVEL))["rows"]] == [False, False]


def test_level_models_are_called_not_distinguishable(tmp_path):
    sentence = conclude(members(tmp_path, LEVEL))["sentence"]
    assert sentence.startswith(
        "two_conv_cnn and lenet are not distinguishable with these data (0.0 ± 0.5 points between"
    )


def test_a_third_model_that_is_beaten_is_told_after_the_two_that_are_level(tmp_path):
    finding = conclude(members(tmp_path, {**LEVEL, "tiny": [9010, 9025, 9012]}))
    assert "two_conv_cnn and lenet are not distinguishable" in finding["sentence"]
    assert "; two_conv_cnn beats tiny by 8.0 ± 0.5 points" in finding["sentence"]


def test_a_leader_of_three_level_models_is_not_called_the_best(tmp_path):
    finding = conclude(members(tmp_path, {**LEVEL, "third": [9812, 9818, 9801]}))
    assert "has the highest mean, but is not distinguishable with these data from lenet or third" in finding["sentence"]


def test_many_beaten_models_are_told_by_the_nearest_and_the_farthest(tmp_path):
    correct = {f"m{i}": [9800 - 100 * i, 9803 - 100 * i, 9801 - 100 * i] for i in range(5)}
    sentence = conclude(members(tmp_path, correct))["sentence"]
    assert sentence.startswith("m0 beats 4 others, from m1 by 1.0")
    assert "m4 by 4.0" in sentence


def test_holm_takes_a_difference_back_that_stands_alone(tmp_path):
    pair = {"a": [9810, 9822, 9815], "b": [9819, 9840, 9828]}
    alone = conclude(members(tmp_path, pair))["pairs"][0]
    finding = conclude(members(tmp_path, {**pair, "c": [9835, 9818, 9820]}))
    among = finding["pairs"][0]
    assert alone["distinguishable"]
    assert among["p"] == alone["p"]
    assert not among["distinguishable"]
    assert "but p = 0.11 when corrected for 3 pairs" in finding["sentence"]


def test_pairs_are_taken_over_common_seeds_only(tmp_path):
    given = members(tmp_path, {"a": [9800, 9810, 9820, 9790], "b": [9700, 9711]})
    assert [pair["difference"]["n"] for pair in conclude(given)["pairs"]] == [2]


def test_one_seed_per_model_is_not_compared(tmp_path):
    finding = conclude(members(tmp_path, {"lenet": [9821], "two_conv_cnn": [9903]}))
    assert finding["pairs"] == []
    assert finding["sentence"].startswith("Which model is better cannot be told from these runs: two_conv_cnn 99.03 %")
    assert "train each with the same 3 seeds or more" in finding["sentence"]
    assert any("One seed per model" in caveat for caveat in finding["caveats"])


def test_one_model_with_one_seed_speaks_of_images(tmp_path):
    finding = conclude(members(tmp_path, {"lenet": [9821]}))
    assert finding["sentence"] == (
        "lenet reaches 98.21 % test accuracy (95 % interval over the 10,000 images: 97.93 to 98.45 %; one seed)"
    )
    assert finding["rows"][0]["accuracy"]["interval"] == "wilson"


def test_one_model_with_three_seeds_speaks_of_seeds(tmp_path):
    finding = conclude(members(tmp_path, {"lenet": [9810, 9822, 9815]}))
    assert finding["sentence"] == "lenet reaches 98.16 ± 0.15 % test accuracy (n = 3 seeds)"


def test_without_a_test_score_the_validation_score_decides(tmp_path):
    finding = conclude(members(tmp_path, CLEAR, part="validation"))
    assert finding["metric"] == "validation accuracy"
    assert any("also chose the epoch" in caveat for caveat in finding["caveats"])


def test_a_run_without_score_is_left_out_by_name(tmp_path):
    given = members(tmp_path, CLEAR)
    failed = given[2].run
    write_json(failed.path / "scores.json", {})
    failed.write_status(state="pruned", reason="diverged")
    finding = conclude(given)
    assert finding["rows"][0]["seeds"] == [42, 43]
    assert "lenet, seed 44 is left out: no test score (pruned: diverged)" in finding["caveats"]


def test_no_score_at_all_is_an_error(tmp_path):
    run = fake_run(tmp_path, setting=Setting(scored=()))
    with pytest.raises(ValueError, match="none of the 1 runs has a test or validation score"):
        conclude([Member("lenet", 42, run)])


def test_a_quick_try_is_the_first_caveat(tmp_path):
    flag = "quick try: 2,000 images, no evidence"
    assert conclude(members(tmp_path, CLEAR, Setting(flags=(flag,))))["caveats"][0] == flag


def test_a_flag_of_some_runs_names_their_model(tmp_path):
    given = members(tmp_path, {"lenet": [9810, 9822]}) + members(tmp_path, {"b": [9900, 9907]}, Setting(flags=("odd",)))
    assert "b: odd" in conclude(given)["caveats"]


def test_a_fault_is_a_caveat(tmp_path):
    finding = conclude(members(tmp_path, CLEAR, Setting(faults=("selection_on_test",))))
    assert any("selection_on_test" in caveat for caveat in finding["caveats"])


def test_a_test_set_opened_by_others_is_a_caveat(tmp_path):
    finding = conclude(members(tmp_path, CLEAR, Setting(openings=27)))
    assert any("opened 27 times" in caveat for caveat in finding["caveats"])


def test_rows_carry_cost_and_the_folder_of_each_run(tmp_path):
    given = members(tmp_path, CLEAR)
    row = conclude(given)["rows"][0]
    assert row["runs"] == [member.run.name for member in given[:3]]
    assert row["parameters"] == FakeModel().parameters
    assert row["train_seconds"]["n"] == 3


def test_finding_is_strict_json(tmp_path):
    finding = conclude(members(tmp_path, CLEAR))
    assert json.loads(json.dumps(finding, allow_nan=False)) == finding

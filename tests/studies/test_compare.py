from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from tests.fake_runs import DEFAULT, FakeModel, Setting, fake_run

from convoy.files import write_arrays, write_json
from convoy.recipe.faults import Fault
from convoy.runs import Member, Run
from convoy.studies.compare.finding import Flag, SkippedRun, UnintendedDifference, conclude
from convoy.studies.compare.images import MissingTest, Reason
from convoy.studies.compare.words import caveats, sentence


def with_correct(run: Run, correct: int, part: str = "test") -> Run:
    """Returns the run with this many correct images of 10,000, chosen at random by seed and name."""
    write_json(run.path / "scores.json", {part: {"accuracy": correct / 10_000, "correct": correct, "n": 10_000}})
    labels = np.arange(10_000) % 10
    wrong = np.random.default_rng([run.recipe.seed, *run.label.encode()]).permutation(10_000)[correct:]
    predicted = labels.copy()
    predicted[wrong] = (labels[wrong] + 1) % 10
    write_arrays(run.path / "predictions.npz", {f"{part}_labels": labels, f"{part}_predicted": predicted})
    return run


def members(out: Path, correct: dict[str, list[int]], setting: Setting = DEFAULT, part: str = "test") -> list[Member]:
    return [
        Member(label, seed, with_correct(fake_run(out, label, seed=seed, setting=setting), count, part))
        for label, counts in correct.items()
        for seed, count in enumerate(counts, start=42)
    ]


CLEAR = {"lenet": [9810, 9822, 9815], "two_conv_cnn": [9901, 9903, 9910]}
LEVEL = {"lenet": [9810, 9822, 9815], "two_conv_cnn": [9830, 9802, 9816]}


def test_a_clear_difference_has_its_interval(tmp_path):
    finding = conclude(members(tmp_path, CLEAR))
    (pair,) = finding.pairs
    assert (finding.best, pair.significant) == ("two_conv_cnn", True)
    assert pair.difference.points() == "−0.89 ± 0.18 points"
    assert "0.89 ± 0.18 points" in sentence(finding)


def test_equal_accuracies_have_an_interval(tmp_path):
    (row,) = conclude(members(tmp_path, {"lenet": [9810] * 3})).rows
    low, high = row.accuracy.span
    assert low < 0.981 < high


def test_only_the_distinguishable_best_is_marked(tmp_path):
    assert conclude(members(tmp_path, CLEAR)).best == "two_conv_cnn"
    assert conclude(members(tmp_path, LEVEL)).best is None


def test_models_without_a_significant_difference_are_inconclusive(tmp_path):
    finding = conclude(members(tmp_path, LEVEL))
    assert not finding.pairs[0].significant
    assert "lenet (0.0 ± 0.5 points)" in sentence(finding)
    assert "beats" not in sentence(finding)


def test_a_significantly_worse_model_is_listed_after_the_inconclusive_ones(tmp_path):
    finding = conclude(members(tmp_path, {**LEVEL, "tiny": [9010, 9025, 9012]}))
    level, beaten = sentence(finding).split("; ")
    assert "lenet (0.0 ± 0.5 points)" in level
    assert "tiny by 8.0 ± 0.5 points" in beaten


def test_the_highest_of_three_inconclusive_models_is_not_the_best(tmp_path):
    finding = conclude(members(tmp_path, {**LEVEL, "third": [9812, 9818, 9801]}))
    assert not any(pair.significant for pair in finding.pairs)
    assert "beats" not in sentence(finding)


def test_many_worse_models_are_summarised_by_the_first_and_the_last(tmp_path):
    correct = {f"m{i}": [9800 - 100 * i, 9803 - 100 * i, 9801 - 100 * i] for i in range(5)}
    text = sentence(conclude(members(tmp_path, correct)))
    assert text.startswith("m0 beats 4 others")
    assert "m1 by 1.0" in text
    assert "m2" not in text
    assert "m4 by 4.0" in text


def test_a_model_with_other_seeds_does_not_affect_the_result_of_the_others(tmp_path):
    both, third = members(tmp_path / "a", CLEAR), members(tmp_path / "b", {"third": [9700]})
    other = [Member("third", 7, third[0].run)]

    result, missing = sentence(conclude([*both, *other])).split("; ")
    assert result == sentence(conclude(both))
    assert missing.endswith("third")


def test_holms_correction_makes_a_significant_difference_inconclusive(tmp_path):
    pair = {"a": [9810, 9822, 9815], "b": [9819, 9840, 9828]}
    alone = conclude(members(tmp_path, pair)).pairs[0]
    finding = conclude(members(tmp_path, {**pair, "c": [9835, 9818, 9820]}))
    among = finding.pairs[0]
    assert alone.significant
    assert among.p == alone.p
    assert among.difference.excludes(0)
    assert among.only_uncorrected
    assert "but p = 0.11" in sentence(finding)


def test_pairs_use_common_seeds_only(tmp_path):
    given = members(tmp_path, {"a": [9800, 9810, 9820, 9790], "b": [9700, 9711]})
    assert [pair.difference.n for pair in conclude(given).pairs] == [2]


def test_one_seed_per_model_is_compared_image_by_image(tmp_path):
    finding = conclude(members(tmp_path, {"lenet": [9821], "two_conv_cnn": [9903]}))
    assert finding.pairs == ()
    text = sentence(finding)
    for words in ("0.82 points (0.49–1.14)", "p < 0.0001", "seed 42", "10,000 images", "McNemar"):
        assert words in text
    assert finding.best == "two_conv_cnn"
    assert any("seed" in caveat for caveat in caveats(finding))


def test_a_published_lead_of_17_images_is_not_distinguishable(tmp_path):
    """Accuracies as in classics-mnist: 99.30 % over 99.13 %, on 10,000 images and one seed."""
    finding = conclude(members(tmp_path, {"alexnet": [9913], "resnet18_shared": [9930]}))
    (test,) = finding.mcnemar
    assert (test.significant, test.only_b - test.only_a, test.p_holm) == (False, 17, pytest.approx(0.2, abs=0.005))
    assert "0.17 points (−0.07 to 0.41), p = 0.2" in sentence(finding)
    assert finding.best is None


def test_several_models_of_one_seed_have_the_corrected_p(tmp_path):
    finding = conclude(members(tmp_path, {"a": [9913], "b": [9930], "c": [9920], "d": [9500]}))
    level, beaten = sentence(finding).split("; ")
    assert level.startswith("b ")
    assert "a (0.17 points (−0.08 to 0.42), p = 0.6)" in level
    assert "d by 4.30 points (3.84–4.76), p < 0.0001" in beaten
    assert "6 tests" in beaten


def test_several_seeds_are_tested_one_by_one_and_corrected_together(tmp_path):
    tests = conclude(members(tmp_path, {"a": [9913, 9920], "b": [9930, 9925], "c": [9880, 9890]})).mcnemar
    assert [(test.a, test.b, test.seed) for test in tests] == [
        (a, b, seed) for a, b in ("ab", "ac", "bc") for seed in (42, 43)
    ]
    smallest = min(tests, key=lambda test: test.p)
    assert smallest.p_holm == pytest.approx(6 * smallest.p)
    assert all(test.only_a - test.only_b == round(1e4 * test.difference.mean) for test in tests)


def test_seeds_that_no_other_model_has_are_not_tested(tmp_path):
    given = members(tmp_path, {"a": [9800, 9810, 9820], "b": [9700]})
    assert [test.seed for test in conclude(given).mcnemar] == [42]


def test_models_with_one_seed_each_but_different_ones_are_inconclusive(tmp_path):
    first, second = members(tmp_path, {"a": [9800], "b": [9700, 9711]})[::2]
    finding = conclude([first, second])
    assert finding.mcnemar == ()
    assert (finding.tests, finding.best) == ((), None)
    assert "inconclusive: a 98.00 %" in sentence(finding)
    assert "3 seeds or more" in sentence(finding)


def changed(run: Run, **arrays: np.ndarray) -> None:
    write_arrays(run.path / "predictions.npz", {**run.predictions, **arrays})


def test_runs_scored_on_other_images_are_listed_and_not_tested(tmp_path):
    given = members(tmp_path, {"a": [9800], "b": [9700], "c": [9750]})
    labels, predicted = given[2].run.predicted("test")
    changed(given[2].run, test_labels=labels[::-1], test_predicted=predicted[::-1])
    finding = conclude(given)
    assert [(test.a, test.b) for test in finding.mcnemar] == [("a", "b")]
    assert finding.untested == (MissingTest(Reason.OTHER_IMAGES, pairs=(("a", "c"), ("b", "c"))),)
    assert any("(a − c and b − c)" in caveat for caveat in caveats(finding))


def test_runs_of_other_data_with_the_same_labels_are_not_tested(tmp_path):
    given = members(tmp_path, {"a": [9800], "b": [9700]})
    given[1].run.update("data.json", data_hash="e" * 64)
    assert conclude(given).mcnemar == ()


def kept(run: Run, **table: object) -> None:
    run.update("data.json", **table)


def test_same_labels_are_not_the_same_images(tmp_path):
    given = members(tmp_path, {"a": [9800], "b": [9700]})
    for member, digest in zip(given, "ab", strict=True):
        kept(member.run, split_hash=digest, parts_hash={"test": digest})
    finding = conclude(given)
    assert finding.mcnemar == ()
    assert finding.untested == (MissingTest(Reason.OTHER_IMAGES, pairs=(("a", "b"),)),)
    assert finding.mixed is UnintendedDifference.SPLITS


def test_a_part_that_two_splits_share_is_the_same_images(tmp_path):
    given = members(tmp_path, {"a": [9800], "b": [9700]})
    for member, digest in zip(given, "ab", strict=True):
        kept(member.run, split_hash=digest, parts_hash={"validation": digest, "test": "c"})
    assert len(conclude(given).mcnemar) == 1


def test_older_runs_of_other_splits_may_have_other_images(tmp_path):
    given = members(tmp_path, {"a": [9800], "b": [9700]})
    kept(given[0].run, split_hash="b", parts_hash={"test": "c"})
    finding = conclude(given)
    assert finding.mcnemar == ()
    assert finding.untested == (MissingTest(Reason.OTHER_IMAGES, pairs=(("a", "b"),)),)


def test_validation_images_that_change_in_each_epoch_are_not_compared(tmp_path):
    resplit = Setting(faults=("resplit_every_epoch",))
    finding = conclude(members(tmp_path, {"a": [9800], "b": [9700]}, resplit, part="validation"))
    assert finding.mcnemar == ()
    assert finding.untested == (MissingTest(Reason.RESPLIT, labels=("a", "b")),)


def test_runs_without_predictions_are_listed(tmp_path):
    given = members(tmp_path, {"a": [9800], "b": [9700], "c": [9750]})
    (given[0].run.path / "predictions.npz").unlink()
    changed(given[1].run, test_predicted=np.zeros(10_000, np.int64))
    finding = conclude(given)
    assert finding.untested == (
        MissingTest(Reason.NOT_STORED, labels=("a",)),
        MissingTest(Reason.MISMATCH, labels=("b",)),
    )
    assert len([caveat for caveat in caveats(finding) if "McNemar" in caveat]) == 2


def test_the_interval_of_one_model_with_one_seed_is_over_images(tmp_path):
    finding = conclude(members(tmp_path, {"lenet": [9821]}))
    for words in ("test accuracy of 98.21 %", "10,000 images", "97.93–98.45"):
        assert words in sentence(finding)
    assert finding.rows[0].accuracy.interval == "wilson"


def test_the_interval_of_one_model_with_three_seeds_is_over_seeds(tmp_path):
    finding = conclude(members(tmp_path, {"lenet": [9810, 9822, 9815]}))
    assert "test accuracy of 98.16 ± 0.15 % (n = 3)" in sentence(finding)


def test_without_a_test_score_the_validation_score_is_compared(tmp_path):
    finding = conclude(members(tmp_path, CLEAR, part="validation"))
    assert finding.part == "validation"
    assert any("alidation set" in caveat for caveat in caveats(finding))


def test_a_run_without_a_score_is_listed_as_left_out(tmp_path):
    given = members(tmp_path, CLEAR)
    failed = given[2].run
    write_json(failed.path / "scores.json", {})
    failed.write_status(state="pruned", reason="diverged")
    finding = conclude(given)
    assert finding.rows[0].seeds == (42, 43)
    assert finding.left_out == (SkippedRun("lenet", 44, "pruned", "diverged"),)


def test_a_seed_that_diverged_is_recorded(tmp_path):
    given = members(tmp_path, CLEAR)
    given[1].run.write_status(state="finished", stopped="diverged")
    first, second = conclude(given).rows
    assert (first.diverged, second.diverged) == ((43,), ())


def test_no_score_at_all_is_an_error(tmp_path):
    run = fake_run(tmp_path, setting=Setting(scored=()))
    with pytest.raises(ValueError, match="none of the 1 runs has a test or validation score"):
        conclude([Member("lenet", 42, run)])


def test_a_quick_try_is_the_first_caveat(tmp_path):
    flag = "quick try: 2,000 images, no evidence"
    assert caveats(conclude(members(tmp_path, CLEAR, Setting(flags=(flag,)))))[0] == flag


def test_a_quick_try_has_numbers_and_no_best_model(tmp_path):
    finding = conclude(members(tmp_path, CLEAR, Setting(limit=2000)))
    assert finding.reduced
    assert "beats" not in sentence(finding)
    assert sentence(finding).index("99.05 ± 0.12 %") < sentence(finding).index("98.16 ± 0.15 %")
    assert finding.best is None


def test_a_flag_of_some_runs_is_listed_with_their_model(tmp_path):
    given = members(tmp_path, {"lenet": [9810, 9822]}) + members(tmp_path, {"b": [9900, 9907]}, Setting(flags=("odd",)))
    assert conclude(given).flags == (Flag("odd", ("b",)),)


def test_a_fault_is_a_caveat(tmp_path):
    finding = conclude(members(tmp_path, CLEAR, Setting(faults=("selection_on_test",))))
    assert finding.flags == (Flag(Fault.SELECTION_ON_TEST.flag, ()),)
    assert any("selection_on_test" in caveat for caveat in caveats(finding))


def test_a_test_set_opened_by_others_is_a_caveat(tmp_path):
    finding = conclude(members(tmp_path, CLEAR, Setting(openings=27)))
    assert finding.openings == 27
    assert any("opened 27 times" in caveat for caveat in caveats(finding))


def test_rows_have_the_cost_and_the_folder_of_each_run(tmp_path):
    given = members(tmp_path, CLEAR)
    row = conclude(given).rows[0]
    assert row.runs == tuple(member.run.name for member in given[:3])
    assert row.cost.parameters == FakeModel().parameters
    assert row.cost.train_seconds.n == 3


def test_times_are_those_of_the_machine_with_most_runs(tmp_path):
    given = members(tmp_path, CLEAR)
    first, second = given[:3], given[3:]
    for member in (first[0], *second):
        environment = replace(member.run.environment, cpu_flags=("avx2",))
        write_json(member.run.path / "environment.json", asdict(environment))

    of_first, of_second = (row.cost for row in conclude([Member(m.label, m.seed, Run(m.run.path)) for m in given]).rows)

    assert (of_first.train_seconds.n, of_second.train_seconds.n) == (1, len(second))
    assert of_first.peak_memory_bytes == max(member.run.cost.peak_memory_bytes for member in first)

"""The results for models and faults, from synthetic runs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from tests.fake_runs import FakeModel, Setting, epoch_metrics, fake_run, part_score, write_metrics

from convoy.agreement import Reason
from convoy.archive import archive_run
from convoy.experiments.experiment import Fault, Model
from convoy.experiments.reproduction.finding import (
    FaultResult,
    FaultVerdict,
    ModelMeasurements,
    ModelResult,
    Options,
    Reproduction,
    fault_result,
    judge,
    model_result,
    same_bits,
)
from convoy.experiments.reproduction.words import fault_words, sentence
from convoy.experiments.words import reason_text
from convoy.files import write_arrays, write_json
from convoy.runs import Run
from convoy.stats import Estimate, nadeau_bengio_test, t_interval, welch, wilson

SEEDS = (42, 43, 44)


def runs(out: Path, label: str = "lenet", accuracy: float = 0.98, setting: Setting | None = None) -> list[Run]:
    return [
        fake_run(out, label, FakeModel(accuracy), seed=seed, setting=setting or Setting(epochs=2)) for seed in SEEDS
    ]


def result_of(
    fault: Fault,
    without: list[Run],
    with_: list[Run],
    *,
    measure: str = "test_accuracy",
    withheld: Reason | None = None,
) -> FaultResult:
    (result,) = judge([fault_result(fault, measure, without, with_)], withheld)
    return result


def finding_of(*models: ModelResult, withheld: Reason | None = None) -> Reproduction:
    options = Options("both", None, False, None, None, False, (), withheld, "")
    return Reproduction("small", "Small", "", "", {}, (), options, None, "", models=models)


def test_the_best_of_all_epochs_of_one_run_has_an_interval_over_images(tmp_path: Path) -> None:
    run = fake_run(tmp_path)
    write_metrics(run, [epoch_metrics(epoch, test=part_score(a)) for epoch, a in ((1, 0.98), (2, 0.975))])
    model = Model(
        label="net", corrected="lenet", published={"test_accuracy": 0.98},
        reported_as={"test_accuracy": "best_test_accuracy"},
    )  # fmt: skip

    result = model_result(model, {"as_published": {42: run}}, None)

    assert result.as_published.values["test_accuracy"] == wilson(9_800, 10_000)


def test_equal_accuracies_over_seeds_have_an_interval(tmp_path: Path) -> None:
    same = Setting(epochs=2, spread=0.0)
    found = {seed: fake_run(tmp_path, "lenet", FakeModel(1.0), seed=seed, setting=same) for seed in SEEDS}
    result = model_result(Model(label="net", corrected="lenet"), {"corrected": found}, None)
    accuracy = result.corrected.values["test_accuracy"]
    assert isinstance(accuracy, Estimate)
    assert accuracy.sd == 0
    assert accuracy.span[0] < accuracy.mean < accuracy.span[1]


def test_seconds_of_two_machines_have_no_difference(tmp_path: Path) -> None:
    published, corrected = runs(tmp_path / "a"), runs(tmp_path / "b")
    for run in corrected:
        write_json(run.path / "environment.json", {**asdict(run.environment), "cpu": "Another CPU"})
    model = Model(label="net", corrected="lenet", published={"train_seconds": 100.0})

    result = model_result(
        model,
        {
            "as_published": dict(zip(SEEDS, published, strict=True)),
            "corrected": dict(zip(SEEDS, corrected, strict=True)),
        },
        published[0].environment.machine,
    )

    assert "train_seconds" in result.as_published.values
    assert "train_seconds" not in result.corrected.values
    assert "train_seconds" not in result.difference
    assert "test_accuracy" in result.difference


FOLDS = Setting(epochs=2, counts={"train": 43_200, "validation": 4_800, "fold": 12_000}, scored=("validation", "fold"))


def test_folds_that_the_fault_changes_are_not_paired(tmp_path: Path) -> None:
    dealt = {"data.split.seed": 43, "data.split.stratified": False}
    fault = Fault(name="deal", sentence="s", base="b", set=dealt, measure="fold_accuracy", over="data.split.fold")
    without, with_ = runs(tmp_path / "a", setting=FOLDS), runs(tmp_path / "b", "alexnet", setting=FOLDS)

    result = result_of(fault, without, with_, measure="fold_accuracy")

    a, b = ([run.scores["fold"].accuracy for run in side] for side in (with_, without))
    assert not result.paired
    assert result.effect == welch(a, b, overlap=12_000 / 48_000).difference
    assert "not paired" in fault_words(result)


def test_equal_folds_are_paired_and_corrected_by_the_sizes_of_their_parts(tmp_path: Path) -> None:
    options = {"model.options.norm": "none"}
    fault = Fault(name="norm", sentence="s", base="b", set=options, measure="fold_accuracy", over="data.split.fold")
    without, with_ = runs(tmp_path / "a", setting=FOLDS), runs(tmp_path / "b", "alexnet", setting=FOLDS)

    result = result_of(fault, without, with_, measure="fold_accuracy")

    a, b = ([run.scores["fold"].accuracy for run in side] for side in (with_, without))
    assert (result.over, result.effect) == ("fold", nadeau_bengio_test(a, b, 48_000, 12_000).difference)


def test_a_ranking_from_one_seed_is_tested_by_the_spread_of_both_and_image_by_image(tmp_path: Path) -> None:
    fault = Fault(name="one", sentence="s", base="x/resnet18-shared", against="x/alexnet")
    base, against = runs(tmp_path, "resnet18", 0.99), runs(tmp_path, "alexnet", 0.96)

    result = result_of(fault, base, against)

    assert [(spread.label, spread.n) for spread in result.spreads] == [("resnet18_shared", 3), ("alexnet", 3)]
    ranking = result.ranking
    assert ranking is not None
    assert (ranking.first, ranking.second, ranking.differing, ranking.pairs) == ("resnet18_shared", "alexnet", 3, 3)
    assert ranking.difference is not None
    assert ranking.difference.mean == pytest.approx(0.03, abs=0.01)
    words = fault_words(result)
    assert "3 of 3" in words
    assert "3 of 3" not in fault_words(result_of(fault, base, against, withheld=Reason.QUICK_TRY))


def test_a_fault_of_a_quick_try_has_numbers_but_no_verdict(tmp_path: Path) -> None:
    fault = Fault(name="f", sentence="s", base="b", faults=("last_weights",))
    without, with_ = runs(tmp_path, "resnet18", 0.99), runs(tmp_path, "alexnet", 0.9)
    full, quick = (result_of(fault, without, with_, withheld=reason) for reason in (None, Reason.QUICK_TRY))

    assert full.verdict is FaultVerdict.CHANGED
    assert quick.verdict is FaultVerdict.WITHHELD
    assert (quick.effect, quick.p_holm) == (full.effect, full.p_holm)


def model_of(label: str, published: float, measured: Estimate) -> ModelResult:
    runs = ModelMeasurements((), {"test_accuracy": measured})
    return ModelResult(label, {"test_accuracy": published}, runs, ModelMeasurements(), {})


SEVERAL = t_interval([0.9598, 0.9670, 0.9719], step=1 / 10_000)


@pytest.mark.parametrize(
    ("published", "measured", "said"),
    [
        (0.9744, SEVERAL, "inside the prediction"),
        (0.9984, SEVERAL, "outside the prediction"),
        (0.9713, wilson(9702, 10_000), "within the sampling error"),
        (0.9900, wilson(9702, 10_000), "+1.98 points, more than"),
    ],
)
def test_the_sentence_uses_the_prediction_interval_of_one_more_run(
    published: float, measured: Estimate, said: str
) -> None:
    model = model_of("lenet", published, measured)

    assert said in sentence(finding_of(model))
    withheld = sentence(finding_of(model, withheld=Reason.REDUCED))
    assert reason_text(Reason.REDUCED) in withheld
    assert "points" not in withheld
    assert "published" not in withheld.partition(")")[2]


def test_the_sentence_counts_the_published_numbers_that_agree() -> None:
    models = [
        model_of("lenet", 0.9744, SEVERAL),
        model_of("alexnet", 0.9713, wilson(9702, 10_000)),
        model_of("googlenet", 0.9, wilson(9702, 10_000)),
    ]
    words = sentence(finding_of(*models))

    assert "googlenet" in words.partition("(lenet, alexnet)")[2]
    assert "97.02 % (googlenet)" in sentence(finding_of(*models, withheld=Reason.QUICK_TRY))


def test_only_a_fault_of_one_seed_is_compared_with_another_recipe() -> None:
    with pytest.raises(ValueError, match="`against` is only for the fault of a single seed"):
        Fault(name="one", sentence="s", base="a", against="b", faults=("last_weights",))


def test_same_bits_is_unknown_for_runs_archived_without_them(tmp_path: Path) -> None:
    run, other = (fake_run(tmp_path / name, setting=Setting(epochs=2)) for name in "ab")
    slim = archive_run(other, tmp_path / "archive")

    assert same_bits(run, other)
    assert same_bits(run, slim)
    slim.write_status(bits={})
    assert same_bits(run, slim) is None
    result = result_of(Fault(name="f", sentence="s", base="b", faults=("last_weights",)), [run], [slim])
    assert (result.verdict, result.same_bits) == (FaultVerdict.NO_INTERVAL, None)


def test_one_loss_that_differs_in_its_last_bit_is_a_difference(tmp_path: Path) -> None:
    run, other = (fake_run(tmp_path / name, setting=Setting(epochs=2)) for name in "ab")
    steps = other.steps
    steps["loss"][3] = np.nextafter(steps["loss"][3], np.float32(9))
    write_arrays(other.path / "steps.npz", steps)

    assert same_bits(run, other) is False


def test_without_published_numbers_the_best_model_is_named_by_its_label() -> None:
    models = [
        ModelResult(
            label, {}, ModelMeasurements(), ModelMeasurements((), {"test_accuracy": t_interval([accuracy])}), {}
        )
        for label, accuracy in (("plain_cnn", 0.98), ("lenet", 0.97))
    ]

    assert "98.00 % (plain_cnn)" in sentence(finding_of(*models))
    assert "97.00 % (lenet)" in sentence(finding_of(models[1]))

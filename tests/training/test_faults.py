"""Each protocol fault compared with the same recipe without it: the intended change, and nothing else."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import convoy
from convoy.checkpoint import load_weights
from convoy.data.imageset import ImageSet
from convoy.evaluation import losses
from convoy.events import Control
from convoy.recipe import Recipe
from convoy.recipe.faults import Fault
from convoy.runs import Run
from convoy.studies.session import Entry, Session
from convoy.studies.train_all import train_all
from convoy.training.run import run_one
from convoy.training.run.fault_checks import check, flags
from convoy.training.run.plan import plan_one
from convoy.training.run.scoring import score_part
from convoy.training.step import loop

Make = Callable[..., Recipe]
Train = Callable[..., Run]

ROTATED = ("data.augment", [{"name": "rotate", "degrees": 60}])


@pytest.fixture(scope="module")
def train(stripes: Path, tmp_path_factory: pytest.TempPathFactory) -> Train:
    """Runs on the stripes with given faults, each trained once: `train("last_weights", epochs=4)`.

    Each set of faults has its own workspace, so that no run copies the training of another.
    """
    out = tmp_path_factory.mktemp("faults")

    def trained(*faults: str, epochs: int = 2, more: tuple[tuple[str, Any], ...] = ()) -> Run:
        return finished(quick(stripes, faults, epochs, more), out / ("-".join(faults) or "none"))

    return trained


def quick(stripes: Path, faults: tuple[str, ...], epochs: int = 2, more: tuple[tuple[str, Any], ...] = ()) -> Recipe:
    overrides = [
        ("model.name", "two_conv_cnn"),
        ("data.name", str(stripes)),
        ("data.limit", 200),
        ("train.epochs", epochs),
        ("train.batch_size", 48),
        ("optim.lr", 1e-4),  # slow enough for wrong answers to be left
        ("compute.threads", 1),
        ("protocol.faults", list(faults)),
    ]
    return Recipe.load("defaults/images", [*overrides, *more])


def finished(recipe: Recipe, out: Path) -> Run:
    return Run(list(run_one.run_one(recipe, out))[-1].run)


def weights(run: Run) -> dict[str, bytes]:
    return {name: value.numpy().tobytes() for name, value in load_weights(run.path / "best.safetensors").items()}


def lines(run: Run, *, without: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """Returns the metrics of the epochs without times and the given keys."""
    left_out = ("seconds", "images_per_second", *without)
    tables = [each.as_line() for each in run.metrics]
    return [{key: value for key, value in line.items() if not key.endswith(left_out)} for line in tables]


def same_training(one: Run, other: Run) -> bool:
    return all(one.steps[name].tobytes() == values.tobytes() for name, values in other.steps.items())


def test_a_fault_is_mentioned_in_its_row_and_in_one_other_module() -> None:
    sources = [path.read_text(encoding="utf-8") for path in Path(convoy.__file__).parent.rglob("*.py")]
    modules = Counter(name for source in sources for name in set(re.findall(r"\bFault\.([A-Z_]+)\b", source)))
    # All code reads from the row whether a fault selects on the test set.
    assert {fault: modules[fault.name] for fault in Fault} == {fault: 1 - fault.info.selects_on_test for fault in Fault}


def test_a_run_without_faults_lists_none(train: Train) -> None:
    assert not any("fault" in flag for flag in train().status.flags)


@pytest.mark.parametrize("fault", sorted(Fault))
def test_every_fault_is_in_the_flags_and_the_log_of_the_run(train: Train, fault: Fault) -> None:
    needs: dict[str, tuple[str, Any]] = {
        "augmented_test": ROTATED,
        "patience_off_by_one": ("stop.patience_epochs", 2),
        "schedule_per_batch": ("schedule.name", "step"),
        "drop_last_in_evaluation": ("train.batch_size", 32),
    }
    run = train(fault, more=(needs[fault],) if fault in needs else ())
    assert any(flag.startswith(fault.flag) for flag in run.status.flags)
    assert fault.info.sentence() in (run.path / "log.txt").read_text()


def test_sampled_labels_change_only_the_test_scores(train: Train) -> None:
    sound, faulty = train(), train("sampled_labels")
    logits, labels = faulty.predictions["test_logits"], faulty.predictions["test_labels"]
    drawn = faulty.predicted("test")[1]
    assert weights(faulty) == weights(sound)
    assert lines(faulty) == lines(sound)
    assert faulty.scores["validation"] == sound.scores["validation"]
    assert np.array_equal(logits, sound.predictions["test_logits"])
    assert faulty.scores["test"].loss == sound.scores["test"].loss
    assert faulty.scores["test"].correct == (drawn == labels).sum() < sound.scores["test"].correct
    confusion = np.zeros((3, 3), dtype=int)
    np.add.at(confusion, (labels, drawn), 1)
    assert faulty.scores["test"].confusion == confusion.tolist()
    gallery = faulty.gallery
    assert np.array_equal(gallery["predictions_predicted"], drawn[gallery["predictions_index"]])


def test_labels_are_sampled_from_the_outputs_of_a_network_that_ends_in_a_softmax(train: Train) -> None:
    last = ("data.split.validation", 0)  # the last epoch is kept
    run = train(
        "sampled_labels", more=(("model.options", {"softmax_output": True}), ("optim.lr", 1e-3), last), epochs=6
    )
    likely = run.predictions["test_logits"]
    agreeing = (likely.argmax(1) == run.predicted("test")[1]).mean()
    assert likely.sum(1) == pytest.approx(1, abs=1e-5)
    assert agreeing == pytest.approx(likely.max(1).mean(), abs=0.1)
    assert agreeing > 0.7  # a second softmax would leave no class of three more than 0.58


def test_loss_divided_twice_changes_only_reported_losses(train: Train) -> None:
    sound, faulty = train(), train("loss_divided_twice")
    columns = ("train_loss", "validation_loss")
    assert weights(faulty) == weights(sound)
    assert same_training(faulty, sound)
    assert lines(faulty, without=columns) == lines(sound, without=columns)
    for line, true in zip(faulty.metrics, sound.metrics, strict=True):
        updates = len(sound.steps["loss"]) / len(sound.metrics)
        assert line.train.loss == pytest.approx(true.train.loss * updates / true.train.total)
        assert line.validation.loss == pytest.approx(true.validation.loss / 40)  # one batch of 40 images
    for part, scores in faulty.scores.items():
        assert replace(scores, loss=0) == replace(sound.scores[part], loss=0)
        assert 0 < scores.loss < sound.scores[part].loss / 30


@pytest.mark.parametrize(("images", "batches"), [(1000, 1), (2500, 3)])
def test_a_loss_divided_twice_is_the_sum_of_means_over_batches_of_1000_by_the_images(
    stripes: Path, images: int, batches: int
) -> None:
    ready = plan_one(quick(stripes, ("loss_divided_twice",)))
    draw = np.random.default_rng(0)
    pixels = draw.integers(
        0, 256, (images, ready.prepared.in_chans, ready.prepared.image_size, ready.prepared.image_size), np.uint8
    )
    labels = draw.integers(0, 3, images)
    scored = score_part(ready, ready.network, "test", ImageSet(pixels, labels, ready.prepared.classes), epoch=1)
    each = torch.nn.functional.cross_entropy(torch.tensor(scored.logits), torch.tensor(labels), reduction="none")
    sum_of_means = sum(float(batch.mean()) for batch in each.split(1000))
    assert scored.score.loss == pytest.approx(sum_of_means / images, rel=1e-5)
    assert len(each.split(1000)) == batches
    assert scored.loss == pytest.approx(float(each.mean()), rel=1e-5)


def test_with_loss_divided_twice_a_plateau_schedule_uses_the_true_losses(train: Train) -> None:
    plateau = (("schedule", {"name": "plateau", "patience_epochs": 0}), ("optim.lr", 0.5))
    sound, faulty = train(epochs=5, more=plateau), train("loss_divided_twice", epochs=5, more=plateau)
    assert len(set(sound.steps["lr"])) > 1
    assert same_training(faulty, sound)


def test_multiply_adds_as_flops_halve_the_flops_and_nothing_else(train: Train) -> None:
    sound, faulty = train(), train("macs_as_flops")
    assert faulty.cost.flops_per_image == faulty.cost.macs_per_image == sound.cost.macs_per_image
    assert sound.cost.flops_per_image == 2 * sound.cost.macs_per_image
    assert (weights(faulty), faulty.scores) == (weights(sound), sound.scores)


def test_last_weights_keeps_and_scores_the_weights_of_the_last_epoch(train: Train) -> None:
    swinging = (("optim.lr", 0.03),)
    sound, faulty = train(epochs=6, more=swinging), train("last_weights", epochs=6, more=swinging)
    assert sound.status.best_epoch == faulty.status.best_epoch < 6
    assert lines(faulty) == lines(sound)
    assert sound.scores["validation"].loss == sound.metrics[sound.status.best_epoch - 1].validation.loss
    assert faulty.scores["validation"].loss == faulty.metrics[-1].validation.loss
    assert weights(faulty) != weights(sound)


def test_drop_last_in_evaluation_scores_full_batches_of_the_training_batch_size(train: Train) -> None:
    of_32 = (("train.batch_size", 32),)
    sound, faulty = train(more=of_32), train("drop_last_in_evaluation", more=of_32)
    assert (sound.scores["validation"].n, sound.scores["test"].n) == (40, 150)
    assert (faulty.scores["validation"].n, faulty.scores["test"].n) == (32, 128)
    assert same_training(faulty, sound)
    assert any("8 of 40" in flag and "22 of 150" in flag for flag in faulty.status.flags)


def test_drop_last_in_evaluation_changes_no_score_if_all_batches_are_full(train: Train) -> None:
    of_10 = (("train.batch_size", 10),)
    sound, faulty = train(epochs=1, more=of_10), train("drop_last_in_evaluation", epochs=1, more=of_10)
    assert faulty.scores == sound.scores
    assert any("0 of 40" in flag and "0 of 150" in flag for flag in faulty.status.flags)


def test_faults_of_evaluation_do_not_affect_the_score_of_training_images(train: Train) -> None:
    more = (ROTATED, ("train.batch_size", 32), ("data.split.validation", 0.3))
    sound, faulty = train(more=more), train("augmented_test", "drop_last_in_evaluation", "last_weights", more=more)
    assert sound.train_score is not None
    assert faulty.train_score is not None
    assert faulty.train_score.n == sound.train_score.n == 140  # four batches of 32 and 12 images
    assert faulty.train_score.loss < faulty.scores["validation"].loss


def test_augmented_test_affects_scored_images_and_not_the_training(train: Train) -> None:
    sound, faulty = train(more=(ROTATED,)), train("augmented_test", more=(ROTATED,))
    assert same_training(faulty, sound)
    assert [line.validation.loss for line in faulty.metrics] != [line.validation.loss for line in sound.metrics]
    assert faulty.scores["test"].loss != sound.scores["test"].loss
    assert np.array_equal(faulty.predictions["test_labels"], sound.predictions["test_labels"])
    best = faulty.metrics[faulty.status.best_epoch - 1]
    assert faulty.scores["validation"].loss == pytest.approx(
        best.validation.loss, rel=1e-6
    )  # the same weights, distorted alike


def test_augmented_test_is_random_in_each_epoch_and_reproducible(stripes: Path, tmp_path: Path) -> None:
    recipe = quick(stripes, ("augmented_test",), epochs=3, more=(ROTATED, ("optim.lr", 1e-12)))
    run, again = finished(recipe, tmp_path / "one"), finished(recipe, tmp_path / "two")
    losses_by_epoch = [line.validation.loss for line in run.metrics]
    assert len({round(loss, 4) for loss in losses_by_epoch}) == 3  # of weights that hardly move
    assert lines(again) == lines(run)
    assert again.scores["test"] == run.scores["test"]


def test_a_new_revision_of_a_fault_only_changes_fingerprints_of_recipes_with_it(
    stripes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fingerprints() -> list[str]:
        faults = ((), ("last_weights",), ("loss_divided_twice",))
        return [plan_one(quick(stripes, each)).fingerprint for each in faults]

    before = fingerprints()
    monkeypatch.setattr(Fault.LOSS_DIVIDED_TWICE, "info", replace(Fault.LOSS_DIVIDED_TWICE.info, revision=99))
    after = fingerprints()
    assert before[:2] == after[:2]
    assert before[2] != after[2]


def test_with_schedule_per_batch_the_rate_oscillates_over_batches_instead_of_epochs(train: Train) -> None:
    cosine = (("schedule", {"name": "cosine", "per": "epoch", "t_max": 3, "warmup_epochs": 0}),)
    sound, faulty = train(epochs=3, more=cosine), train("schedule_per_batch", epochs=3, more=cosine)
    per_epoch, per_batch = sound.steps["lr"], faulty.steps["lr"]
    updates = len(per_epoch) // 3
    assert per_epoch[::updates] == pytest.approx([1e-4, 7.5e-5, 2.5e-5], rel=1e-4)
    assert per_batch[:7] == pytest.approx([1e-4, 7.5e-5, 2.5e-5, 0, 2.5e-5, 7.5e-5, 1e-4], rel=1e-4)
    assert any("6 batches" in flag for flag in faulty.status.flags)


def test_patience_off_by_one_trains_an_additional_epoch_and_reports_the_set_patience(train: Train) -> None:
    patient = (("stop.patience_epochs", 2), ("optim.lr", 0.03))
    sound, faulty = train(epochs=40, more=patient), train("patience_off_by_one", epochs=40, more=patient)
    assert sound.status.epochs == sound.status.best_epoch + 2
    assert faulty.status.epochs == faulty.status.best_epoch + 3
    assert faulty.status.stopped == "patience"
    assert "for 2 epochs" in faulty.status.reason
    assert lines(faulty)[: len(sound.metrics)] == lines(sound)


def test_test_set_opened_at_each_best_is_counted_and_logged_and_selects_nothing(stripes: Path, tmp_path: Path) -> None:
    sound = finished(quick(stripes, (), epochs=4), tmp_path / "sound")
    faulty = finished(quick(stripes, ("test_opened_at_each_best",), epochs=4), tmp_path / "faulty")
    on_test = ("test_accuracy", "test_loss", "test_correct", "test_total")
    bests = [line for line in faulty.metrics if line.best]
    assert [line.epoch for line in faulty.metrics if line.test is not None] == [line.epoch for line in bests]
    assert lines(faulty, without=on_test) == lines(sound)
    assert (weights(faulty), faulty.scores) == (weights(sound), sound.scores)
    assert bests[-1].test.accuracy == faulty.scores["test"].accuracy
    openings = json.loads((tmp_path / "faulty" / "test_openings.json").read_text())
    assert [len(names) for names in openings.values()] == [faulty.data.test_openings] == [len(bests) + 1]
    assert "test loss" in (faulty.path / "log.txt").read_text().split("epoch 1/4")[1].splitlines()[0]


def test_softmax_before_loss_keeps_the_loss_above_its_minimum_and_does_not_change_logits(train: Train) -> None:
    fast = (("optim.lr", 0.002), ("data.split.validation", 0))  # the last epoch is kept
    sound, faulty = train(epochs=6, more=fast), train("softmax_before_loss", epochs=6, more=fast)
    floor = np.log(1 + 2 / np.e)
    assert faulty.scores["test"].accuracy == sound.scores["test"].accuracy == 1
    assert sound.metrics[-1].train.loss < floor / 5
    assert faulty.metrics[-1].train.loss == pytest.approx(floor, abs=0.01)
    assert faulty.scores["test"].loss == pytest.approx(floor, abs=0.01)
    assert faulty.predictions["test_logits"].max() > 1
    assert any(f"{floor:.3f}" in flag for flag in faulty.status.flags)


def test_log_softmax_changes_nothing_but_the_rounding(train: Train) -> None:
    sound, faulty = train(), train("log_softmax")
    assert faulty.steps["loss"] == pytest.approx(sound.steps["loss"], rel=1e-4)
    assert faulty.scores["test"].loss == pytest.approx(sound.scores["test"].loss, rel=1e-3)


def test_resplit_every_epoch_keeps_the_split_of_the_first_epoch_and_scores_the_part_of_the_saved_epoch(
    train: Train,
) -> None:
    sound, faulty = train(epochs=3), train("resplit_every_epoch", epochs=3)
    assert lines(faulty)[0] == lines(sound)[0]
    assert lines(faulty)[1] != lines(sound)[1]
    assert faulty.data.counts == sound.data.counts
    assert faulty.data.mean == sound.data.mean
    best = faulty.metrics[faulty.status.best_epoch - 1]
    assert best.epoch > 1
    assert faulty.scores["validation"].loss == pytest.approx(best.validation.loss, rel=1e-6)
    assert faulty.scores["validation"].n == sound.scores["validation"].n


def test_an_interrupted_resplit_run_has_the_bits_of_an_uninterrupted_one(
    stripes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "RECORD_SECONDS", 0.0)
    recipe = quick(stripes, ("resplit_every_epoch",), epochs=4)
    uninterrupted = finished(recipe, tmp_path / "uninterrupted")
    asked = count(1)
    list(
        run_one.run_one(
            recipe, tmp_path / "broken", control=lambda: Control.PAUSE if next(asked) == 6 else Control.CONTINUE
        )
    )
    broken = finished(recipe, tmp_path / "broken")
    assert "resuming" in (broken.path / "log.txt").read_text()
    assert (weights(broken), broken.scores, lines(broken)) == (
        weights(uninterrupted),
        uninterrupted.scores,
        lines(uninterrupted),
    )
    assert same_training(broken, uninterrupted)


def test_all_compatible_faults_can_be_combined(stripes: Path, tmp_path: Path) -> None:
    together = tuple(fault for fault in Fault if fault is not Fault.SELECTION_ON_TEST)
    more = (ROTATED, ("stop.patience_epochs", 1), ("schedule", {"name": "step"}), ("train.batch_size", 32))
    run = finished(quick(stripes, together, epochs=2, more=more), tmp_path)
    assert [flag.split(":")[0] for flag in run.status.flags[1:]] == [f"fault {fault}" for fault in sorted(together)]
    assert run.scores["test"].n == 128


def test_the_order_of_faults_does_not_matter(stripes: Path) -> None:
    one = quick(stripes, ("sampled_labels", "last_weights"))
    assert plan_one(one).fingerprint == plan_one(quick(stripes, ("last_weights", "sampled_labels"))).fingerprint
    assert plan_one(one).fingerprint != plan_one(quick(stripes, ())).fingerprint


@pytest.mark.parametrize(
    ("faults", "more", "message"),
    [
        (["resplit_every_epoch"], {"data.split.validation": 0}, "needs a validation set"),
        (["test_opened_at_each_best"], {"data.split.validation": 0}, "needs a validation set"),
        (["last_weights"], {"data.split.validation": 0}, "the last epoch is kept in any case"),
        (["test_opened_at_each_best", "selection_on_test"], {}, "scores the test set in every epoch"),
        (["patience_off_by_one"], {}, "needs stop.patience_epochs"),
        (["softmax_before_loss"], {"model.options": {"softmax_output": True}}, "softmax_output = false"),
        (["log_softmax"], {"train.loss": {"name": "squared_error"}}, "train.loss is squared_error"),
        (["augmented_test"], {}, "needs an augmentation"),
        (["augmented_test"], {"data.augment": [{"name": "mixup"}]}, "other than mixing"),
        (["schedule_per_batch"], {"schedule.name": "one_cycle"}, "not one_cycle"),
        (["schedule_per_batch"], {"schedule": {"name": "cosine", "per": "step"}}, "not cosine with per = 'step'"),
        (["drop_last_in_evaluation"], {"train.batch_size": 64}, "40 validation images"),
        (["test_opened_at_each_best"], {"data.split.folds": 3}, "data.split.folds"),
    ],
)
def test_a_fault_without_effect_in_its_recipe_is_a_one_line_error(
    stripes: Path, faults: list[str], more: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        plan_one(quick(stripes, tuple(faults), more=tuple(more.items())))
    assert str(caught.value).startswith(f"protocol.faults: {faults[0]} ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("fault", ["sampled_labels", "selection_on_test", "test_opened_at_each_best"])
def test_a_fault_of_the_test_set_needs_a_test_set(stripes: Path, fault: str) -> None:
    ready = plan_one(quick(stripes, (fault,)))
    with pytest.raises(ValueError, match=f"{fault} needs a test set"):
        check(ready.recipe, replace(ready.prepared, test=None))


def test_the_minimum_of_the_loss_is_only_stated_if_it_applies(stripes: Path) -> None:
    weighed = (("train.class_weights", [1.0, 2.0, 3.0]),)
    ready = plan_one(quick(stripes, ("softmax_before_loss",), more=weighed))
    assert "cannot fall below" not in flags(ready.recipe, ready.prepared)[0]


def test_error_for_an_unknown_fault_names_a_close_one(stripes: Path) -> None:
    with pytest.raises(ValueError, match=r"unknown fault 'sampled_label'; did you mean 'sampled_labels'\?"):
        quick(stripes, ("sampled_label",))


def test_both_softmax_faults_together_equal_softmax_before_loss() -> None:
    logits, labels = torch.tensor([[2.0, -1.0, 0.5]]), torch.tensor([0])
    spec = Recipe.load("defaults/mnist").train.loss
    both = losses.build(spec, faults=("log_softmax", "softmax_before_loss"))(logits, labels)
    assert both == pytest.approx(losses.build(spec, faults=("softmax_before_loss",))(logits, labels))
    assert both == pytest.approx(losses.build(spec)(logits.softmax(1), labels))


@pytest.mark.parametrize("fault", ["selection_on_test", "test_opened_at_each_best"])
def test_a_fault_that_opens_the_test_set_is_an_error_if_the_test_set_must_stay_closed(
    stripes: Path, tmp_path: Path, fault: str
) -> None:
    recipe = quick(stripes, (fault,))
    with pytest.raises(ValueError, match=f"{fault}.*--no-test"):
        list(run_one.run_one(recipe, tmp_path / "out", test=False))
    with pytest.raises(ValueError, match=f"{fault}.*--no-test"):
        train_all([Entry("net", recipe)], Session(tmp_path / "out", test=False))
    if fault == "test_opened_at_each_best":
        with pytest.raises(ValueError, match="opens the test set"):
            list(run_one.run_one(recipe, tmp_path / "out", test="only with fault"))
    assert not (tmp_path / "out").exists()

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.conftest import tiny_recipe

from convoy import models
from convoy.checkpoint import load_weights, saved_step
from convoy.events import Control, Ended, EpochEnded, Event, Note, Progress, Started, from_json, to_json
from convoy.recipe import Recipe
from convoy.recipe.faults import limited
from convoy.recipe.sections import Stop
from convoy.run_contents import DIVERGED, Score
from convoy.runs import Run, Workspace
from convoy.training.machine.autosave import Autosave
from convoy.training.run import run_one, scoring, state, stopping, training
from convoy.training.run.plan import plan_one
from convoy.training.run.scoring import score_part
from convoy.training.step import loop

Make = Callable[..., Recipe]


def finish(recipe: Recipe, out: Path, **options: Any) -> Run:
    events = list(run_one.run_one(recipe, out, **options))
    return Run(events[-1].run)


def pause_after(records: int) -> Callable[[], Control]:
    asked = count(1)
    return lambda: Control.PAUSE if next(asked) >= records else Control.CONTINUE


@pytest.fixture(scope="module")
def events(stripes: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Event]:
    """The events of an uninterrupted run of `tiny()`."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    return list(run_one.run_one(tiny_recipe(folder, stripes), folder / "out"))


@pytest.fixture(scope="module")
def uninterrupted(events: list[Event]) -> Run:
    return Run(events[-1].run)


@pytest.fixture
def finished(uninterrupted: Run, tmp_path: Path) -> Run:
    """A copy of the uninterrupted run, in `tmp_path`."""
    shutil.copytree(uninterrupted.path.parents[1], tmp_path, dirs_exist_ok=True)
    return Run(tmp_path / "runs" / uninterrupted.name)


@pytest.fixture
def every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Yields a record at every step, so that a test can stop a run at any step."""
    monkeypatch.setattr(loop, "RECORD_SECONDS", 0.0)


def bits(run: Run) -> dict[str, Any]:
    """Returns everything that must not depend on an interruption, unlike times."""
    weights = load_weights(run.path / "best.safetensors")
    return {
        "weights": {name: hashlib.sha256(value.numpy().tobytes()).hexdigest() for name, value in weights.items()},
        "scores": run.scores,
        "train_score": run.train_score,
        "metrics": [replace(each, train_seconds=0, total_seconds=0, images_per_second=0) for each in run.metrics],
        "steps": {name: values.tobytes() for name, values in run.steps.items()},
        "predictions": {name: values.tobytes() for name, values in run.predictions.items()},
    }


def test_run_folder_is_complete_and_its_scores_follow_from_its_predictions(uninterrupted: Run) -> None:
    run = uninterrupted
    files = {path.name for path in run.path.iterdir() if not path.name.startswith(".")}
    assert files - {"last.safetensors"} == {  # that only where an earlier epoch is the best
        *(
            "recipe.toml",
            "environment.json",
            "doctor.json",
            "data.json",
            "status.json",
            "metrics.jsonl",
            "scores.json",
            "cost.json",
        ),
        *(
            "steps.npz",
            "predictions.npz",
            "gallery.npz",
            "arrays.npz",
            "best.safetensors",
            "code",
            "log.txt",
        ),
    }
    predictions = run.predictions
    accuracy = (predictions["test_logits"].argmax(1) == predictions["test_labels"]).mean()
    assert run.scores["test"].accuracy == accuracy > 0.9
    assert run.data.counts == {"train": 480, "validation": 120, "test": 150}
    assert len(run.steps["loss"]) == 16
    assert run.cost.parameters == 4 * 10 + 8 + 4 * 36 * 3 + 3
    assert run.cost.flops_per_image == 2 * (144 * 4 * 9 + 144 * 3)
    lower, upper = run.cost.ms_per_image_quartiles
    assert 0 < lower <= run.cost.ms_per_image <= upper


AUGMENTED = [("model.options.drop_rate", 0.5), ("data.augment", [{"name": "rotate", "degrees": 60}])]


def test_training_images_are_scored_like_held_out_images(tiny: Make, tmp_path: Path) -> None:
    recipe = tiny(*AUGMENTED)
    run = finish(recipe, tmp_path)
    ready = plan_one(recipe)
    images = ready.prepared.train
    shown = (images.images / np.float32(255) - ready.prepared.mean[0]) / ready.prepared.std[0]
    with torch.inference_mode():
        logits = ready.network_with(run.file("best.safetensors"))(torch.tensor(shown, dtype=torch.float32))
    labels = torch.tensor(images.labels)
    assert run.train_score == Score(
        accuracy=pytest.approx((logits.argmax(1) == labels).double().mean().item()),
        correct=int((logits.argmax(1) == labels).sum()),
        n=480,
        loss=pytest.approx(torch.nn.functional.cross_entropy(logits, labels).item(), rel=1e-4),
    )


def test_the_score_of_training_images_is_not_among_the_scores(tiny: Make, finished: Run, tmp_path: Path) -> None:
    run = finished
    assert set(run.scores) == {"validation", "test"}
    assert "train" in json.loads((run.path / "scores.json").read_text())
    assert not any(name.startswith("train") for name in run.predictions)
    events = list(run_one.run_one(tiny(), tmp_path))
    assert "train accuracy" not in events[-1].text


def test_a_fixed_sample_of_many_training_images_is_scored(
    tiny: Make, uninterrupted: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "SAMPLE", 100)
    sampled, again = finish(tiny(), tmp_path / "sampled"), finish(tiny(), tmp_path / "again")
    assert sampled.train_score == again.train_score
    assert sampled.train_score is not None
    assert sampled.train_score.n == 100
    without = {key: value for key, value in bits(sampled).items() if key != "train_score"}
    assert without == {key: value for key, value in bits(uninterrupted).items() if key != "train_score"}


@pytest.mark.parametrize("optimizer", ["adamw", "rmsprop"])
@pytest.mark.usefixtures("every_step")
def test_an_interrupted_run_equals_the_uninterrupted_one_bit_exactly(
    tiny: Make, tmp_path: Path, optimizer: str
) -> None:
    recipe = tiny(
        ("optim.name", optimizer),
        ("model.options.drop_rate", 0.5),
        ("train.ema_decay", 0.9),
        ("data.augment", [{"name": "rotate", "degrees": 5}]),
        ("schedule.name", "plateau"),
    )
    for steps in (3, 5, 3):  # at step 3, at the end of the first epoch, in the second
        broken = finish(recipe, tmp_path / "broken", control=pause_after(steps))
        assert broken.state == "interrupted"
    again = finish(recipe, tmp_path / "broken")
    assert again.path == broken.path
    assert (again.path / "log.txt").read_text().count("resuming") == 3
    assert bits(again) == bits(finish(recipe, tmp_path / "uninterrupted"))


def test_an_interrupted_evaluation_ends_at_once_and_the_resumed_run_repeats_it_bit_exactly(
    tiny: Make, tmp_path: Path
) -> None:
    recipe, looks = tiny(("protocol.faults", ["test_opened_at_each_best"])), count(1)

    def control() -> Control:
        """Interrupts the evaluations after the epochs, and that of the finished training."""
        evaluates = torch.is_inference_mode_enabled()
        return Control.PAUSE if evaluates and next(looks) in (3, 10, 30, 50) else Control.CONTINUE

    stopped_at = []
    while (run := finish(recipe, tmp_path / "broken", control=control)).state == "interrupted":
        stopped_at.append((saved_step(run.path / "checkpoints", run.status.fingerprint), len(run.metrics)))

    assert stopped_at == [(8, 0), (8, 0), (16, 1), (16, 2)]
    assert bits(run) == bits(finish(recipe, tmp_path / "uninterrupted"))


@pytest.mark.usefixtures("every_step")
def test_a_killed_run_resumes_from_its_last_checkpoint(
    tiny: Make, uninterrupted: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Autosave, "due", lambda autosave, now: True)
    recipe = tiny()

    def killed(step: int) -> Callable[..., None]:
        original = state.save_checkpoint

        def save(folder: Path, at: int, state: object, run: str) -> None:
            if at == step:
                raise KeyboardInterrupt  # nothing catches it, as nothing catches a kill
            original(folder, at, state, run)

        return save

    for step in (5, 9, 16):
        with monkeypatch.context() as patch:
            patch.setattr(state, "save_checkpoint", killed(step))
            with pytest.raises(KeyboardInterrupt):
                finish(recipe, tmp_path / "broken")
    assert bits(finish(recipe, tmp_path / "broken")) == bits(uninterrupted)


def test_a_diverged_run_killed_in_its_last_evaluation_is_not_trained_further(
    tiny: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every_step: None
) -> None:
    diverged = stopping.StopRule(DIVERGED, lambda seen: seen.ledger.step >= 3, lambda seen: "")
    monkeypatch.setattr(stopping, "STOP_RULES", (diverged,))

    def killed(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training.finish, "score_held_out", killed)
        with pytest.raises(KeyboardInterrupt):
            finish(tiny(), tmp_path)
    (folder,) = (tmp_path / "runs").iterdir()
    steps = len(Run(folder).steps["loss"])

    again = finish(tiny(), tmp_path)

    assert len(again.steps["loss"]) == steps
    assert again.status.stopped == DIVERGED


def test_a_run_finished_by_another_process_in_the_meantime_is_reused(
    tiny: Make, finished: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = bits(finished)
    original, looks = Workspace.find, count()
    monkeypatch.setattr(Workspace, "find", lambda space, key: original(space, key) if next(looks) else None)

    run = finish(tiny(), tmp_path)

    assert run.path == finished.path
    assert bits(run) == before
    assert "training" not in (run.path / "log.txt").read_text().splitlines()[-1]


def test_best_weights_are_restored_from_the_checkpoint(tiny: Make, tmp_path: Path, every_step: None) -> None:
    run = finish(tiny(("train.epochs", 4)), tmp_path, control=pause_after(17))  # in the third epoch
    best = run.path / "best.safetensors"
    kept = best.read_bytes()
    best.write_bytes(b"an epoch after the checkpoint left this")
    events = run_one.run_one(tiny(("train.epochs", 4)), tmp_path)
    assert isinstance(next(events), Started)
    assert load_weights(best).keys()
    assert best.read_bytes() == kept
    events.close()


def test_closing_the_generator_saves_the_run(tiny: Make, uninterrupted: Run, tmp_path: Path) -> None:
    recipe = tiny()
    events = run_one.run_one(recipe, tmp_path)
    while not isinstance(next(events), EpochEnded):
        pass
    events.close()
    (run,) = Workspace(tmp_path).runs()
    assert run.state == "interrupted"
    assert bits(finish(recipe, tmp_path)) == bits(uninterrupted)


def test_a_run_closed_at_the_end_of_an_epoch_has_the_complete_epoch(
    tiny: Make, uninterrupted: Run, tmp_path: Path
) -> None:
    recipe = tiny()
    events = run_one.run_one(recipe, tmp_path)
    while not isinstance(event := next(events), Progress) or event.images % 480:
        pass
    events.close()
    assert bits(finish(recipe, tmp_path)) == bits(uninterrupted)


def test_an_incomplete_line_left_by_a_kill_is_ignored(tiny: Make, uninterrupted: Run, tmp_path: Path) -> None:
    recipe = tiny()
    run = finish(recipe, tmp_path, control=lambda: Control.PAUSE)
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 2, "ste')
    assert bits(finish(recipe, tmp_path)) == bits(uninterrupted)


def test_frozen_parameters_train_and_resume(tiny: Make, net: Path, tmp_path: Path) -> None:
    source = net.read_text().replace(
        "        self.drop =", "        self.body.requires_grad_(False)\n        self.drop ="
    )
    net.write_text(source)
    recipe = tiny(("optim.name", "sgd"))
    finish(recipe, tmp_path, control=lambda: Control.PAUSE)
    assert finish(recipe, tmp_path).finished


def test_a_run_starts_from_the_weights_of_another_with_a_new_head(
    tiny: Make, uninterrupted: Run, tmp_path: Path
) -> None:
    four = tmp_path / "four.npz"
    draw = np.random.default_rng(0)
    np.savez(four, x_train=draw.integers(0, 255, (80, 12, 12), dtype=np.uint8), y_train=np.arange(80) % 4)
    start = ("model.init", str(uninterrupted.path / "best.safetensors"))

    tuned = finish(tiny(("data.name", str(four)), start, ("model.freeze", "body.*")), tmp_path)

    old, new = (load_weights(run.path / "best.safetensors") for run in (uninterrupted, tuned))
    assert all(new[name].equal(old[name]) for name in old if name.startswith("body."))
    assert new["head.weight"].shape == (4, 144)
    log = (tuned.path / "log.txt").read_text()
    assert "3x144 -> 4x144" in log
    assert "4 of 6 tensors" in log


def test_total_time_includes_every_pass_over_validation_and_test_images(
    tiny: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pause = 0.2

    def score_slowly(*args: Any, **named: Any) -> Any:
        time.sleep(pause)
        return score_part(*args, **named)

    monkeypatch.setattr("convoy.training.run.finish.score_part", score_slowly)
    monkeypatch.setattr("convoy.training.run.selection.score_part", score_slowly)
    list(run_one.run_one(tiny(), tmp_path, until=1))  # interrupted after its first epoch
    cost = finish(tiny(), tmp_path).cost
    assert cost.total_seconds - cost.train_seconds > 4 * pause  # two epochs', the kept weights', the test set's


def test_other_initial_weights_give_another_run(tiny: Make, uninterrupted: Run, tmp_path: Path) -> None:
    first, second = uninterrupted, finish(tiny(("seed", 1)), tmp_path)
    from_first = finish(tiny(("model.init", str(first.path / "best.safetensors"))), tmp_path)
    from_second = finish(tiny(("model.init", str(second.path / "best.safetensors"))), tmp_path)
    assert len({first.name, second.name, from_first.name, from_second.name}) == 4
    assert from_first.metrics[0].train.loss < first.metrics[0].train.loss


def test_a_pruned_run_is_never_reused_as_finished(tiny: Make, tmp_path: Path) -> None:
    run = finish(tiny(), tmp_path, control=lambda: Control.PRUNE)
    assert (run.state, run.status.reason) == ("pruned", "pruned at epoch 1")
    assert not run.finished
    assert finish(tiny(), tmp_path).finished


def test_a_finished_run_is_reused_and_not_retrained(tiny: Make, finished: Run, tmp_path: Path) -> None:
    before = (finished.path / "metrics.jsonl").stat().st_mtime_ns
    events = list(run_one.run_one(tiny(), tmp_path))
    assert [type(event) for event in events] == [Ended]
    assert events[0].cached
    assert (finished.path / "metrics.jsonl").stat().st_mtime_ns == before
    finish(tiny(), tmp_path, fresh=True)
    assert (finished.path / "metrics.jsonl").stat().st_mtime_ns > before


def test_an_edited_network_or_module_is_retrained(tiny: Make, net: Path, tmp_path: Path) -> None:
    layers = net.with_name("layers.py")
    layers.write_text("SLOPE = 0.1\n")
    net.write_text(net.read_text().replace("import torch\n", "import torch\nfrom layers import SLOPE\n"))
    paths = [finish(tiny(), tmp_path / "out").path]
    net.write_text(net.read_text() + "\n# another word\n")
    paths.append(finish(tiny(), tmp_path / "out").path)
    layers.write_text("SLOPE = 0.2\n")
    paths.append(finish(tiny(), tmp_path / "out").path)
    assert len(set(paths)) == 3
    assert sorted(path.name for path in (paths[-1] / "code").iterdir()) == ["layers.py", "net.py"]


def test_the_test_set_can_stay_closed_and_be_opened_once_later(tiny: Make, tmp_path: Path) -> None:
    run = finish(tiny(), tmp_path, test=False)
    before, cost = run.train_score, run.cost
    assert "test" not in run.scores
    assert not (tmp_path / "test_openings.json").exists()

    opened = finish(tiny(), tmp_path)
    assert "test" in opened.scores
    assert opened.train_score == before
    assert opened.cost.total_seconds > cost.total_seconds
    assert opened.cost == replace(cost, total_seconds=opened.cost.total_seconds)

    finish(tiny(), tmp_path)
    ledger = json.loads((tmp_path / "test_openings.json").read_text())
    assert [len(openings) for openings in ledger.values()] == [1]


def test_fault_that_selects_on_the_test_set_is_flagged_everywhere(tiny: Make, tmp_path: Path) -> None:
    events = list(run_one.run_one(tiny(("protocol.faults", ["selection_on_test"])), tmp_path))
    run = Run(events[-1].run)
    assert any("selection_on_test" in event.text for event in events if isinstance(event, Note))
    assert any("selection_on_test" in flag for flag in run.status.flags)
    assert run.data.selection == "test"
    assert run.metrics[0].test is not None
    assert run.metrics[0].validation is None


def test_patience_counts_epochs_without_a_better_validation_accuracy(tiny: Make, tmp_path: Path) -> None:
    run = finish(tiny(("stop.patience_epochs", 2), ("train.epochs", 40), ("optim.lr", 0.05)), tmp_path)
    lines = run.metrics
    best = run.status.best_epoch
    assert len(lines) == best + 2 < 40
    assert [line.epoch for line in lines if line.best][-1] == best
    assert run.status.stopped == "patience"
    assert f" epoch {best}, best on validation" in (run.path / "log.txt").read_text()


def test_each_field_of_stop_belongs_to_one_rule() -> None:
    fields = [field for rule in stopping.STOP_RULES for field in rule.fields]
    assert sorted(fields) == sorted(Stop.model_fields)


def test_target_accuracy_stops_at_the_first_epoch_that_reaches_it(tiny: Make, tmp_path: Path) -> None:
    run = finish(tiny(("stop.target_accuracy", 0.5), ("train.epochs", 40)), tmp_path)
    accuracies = [line.validation.accuracy for line in run.metrics]
    assert accuracies[-1] >= 0.5
    assert all(accuracy < 0.5 for accuracy in accuracies[:-1])
    assert len(accuracies) < 40


@pytest.mark.usefixtures("every_step")
def test_seconds_stop_a_run_inside_an_epoch_and_it_is_scored(tiny: Make, tmp_path: Path) -> None:
    run = finish(tiny(("stop.max_seconds", 1e-6)), tmp_path)
    assert run.finished
    assert (run.status.steps, run.status.epochs) == (1, 0)
    assert "test" in run.scores


def test_divergence_stops_the_run_and_is_reported(tiny: Make, tmp_path: Path) -> None:
    recipe = tiny(("optim.name", "sgd"), ("optim.lr", 3e38), ("optim.momentum", 0.0), ("train.epochs", 50))
    events = list(run_one.run_one(recipe, tmp_path))
    assert any("diverged" in event.text for event in events if isinstance(event, Note))
    run = Run(events[-1].run)
    assert run.status.stopped == DIVERGED
    assert len(run.metrics) < 50


def test_without_validation_the_last_weights_are_saved_and_no_epoch_is_selected(tiny: Make, tmp_path: Path) -> None:
    run = finish(tiny(("data.split.validation", 0)), tmp_path)
    assert run.data.selection is None
    assert set(run.scores) == {"test"}
    assert run.status.best_epoch == 2


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([("stop.patience_epochs", 2), ("data.split.validation", 0)], "validation set"),
        ([("schedule.name", "plateau"), ("data.split.validation", 0)], "validation set"),
        ([("compute.device", "cuda:9")], "this machine has"),
        ([("compute.device", "gpu")], "auto, cpu, cuda, cuda:N or mps"),
        ([("compute.device", "mps")], "Apple silicon"),
        ([("model.options.widht", 3)], "widht"),
        ([("data.augment", [{"name": "rotat"}])], "did you mean 'rotate'"),
        ([("data.name", "mnits")], "did you mean 'mnist'"),
    ],
)
def test_recipe_that_cannot_be_trained_writes_nothing(
    tiny: Make, tmp_path: Path, overrides: list[tuple[str, Any]], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        finish(tiny(*overrides), tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_progress_never_exceeds_the_total_and_every_event_can_be_sent_as_json(events: list[Event]) -> None:
    assert [from_json(to_json(event)) for event in events] == events
    progress = [event for event in events if isinstance(event, Progress)]
    assert progress[-1].images == progress[-1].total == 960
    assert all(event.batches_per_second * 60 == pytest.approx(event.images_per_second) for event in progress)
    assert np.all(np.diff([event.images for event in progress]) > 0)


@pytest.mark.parametrize("precision", ["float64", "bfloat16"])
def test_other_precisions_train(tiny: Make, tmp_path: Path, precision: str) -> None:
    assert finish(tiny(("compute.precision", precision)), tmp_path).scores["test"].accuracy > 0.9


def test_a_limited_run_is_flagged_and_uses_that_many_images(tiny: Make, tmp_path: Path) -> None:
    run = finish(tiny(("data.limit", 100)), tmp_path)
    assert run.data.counts == {"train": 80, "validation": 20, "test": 100}
    assert limited(100) in run.status.flags
    assert limited(100) in (run.path / "log.txt").read_text()


def test_a_network_that_does_not_accept_one_image_is_an_error_before_training(
    tiny: Make, net: Path, tmp_path: Path
) -> None:
    net.write_text(net.read_text().replace("flatten(1)))", "flatten(1))).squeeze().log_softmax(dim=1)"))

    with pytest.raises(ValueError, match="Dimension out of range"):
        finish(tiny(), tmp_path / "out")

    assert not (tmp_path / "out").exists()


def test_the_last_weights_are_also_saved_if_another_epoch_is_the_best(tiny: Make, tmp_path: Path) -> None:
    kept = {}
    for seed in range(6):
        run = finish(tiny(("train.epochs", 4), ("optim.lr", 0.1), ("seed", seed)), tmp_path)
        last = run.path / "last.safetensors"
        kept[run.status.best_epoch < 4, last.is_file()] = run
        if len(kept) > 1:
            break
    assert set(kept) <= {(True, True), (False, False)}
    run = kept[True, True]
    best, last = (load_weights(run.path / f"{name}.safetensors") for name in ("best", "last"))
    assert best.keys() == last.keys()
    assert any((best[name] != last[name]).any() for name in best)


@pytest.mark.parametrize(("outside", "builds"), [(False, 1), (True, 3)])
def test_a_run_builds_its_network_once_and_a_users_class_twice_more_to_check_it(
    tiny: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outside: bool, builds: int
) -> None:
    names = []
    create = models.create
    monkeypatch.setattr(models, "create", lambda name, **named: names.append(name) or create(name, **named))
    keys = [] if outside else [("model.name", "two_conv_cnn"), ("train.ema_decay", 0.5)]
    finish(tiny(*keys, ("data.limit", 60), ("train.epochs", 1)), tmp_path)
    assert len(names) == builds

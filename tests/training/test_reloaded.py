from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from convoy import archive
from convoy.api import report
from convoy.events import Control, Note
from convoy.recipe import Recipe
from convoy.runs import Run, Workspace
from convoy.training.run import run_one
from convoy.training.run.ledger import Ledger
from convoy.training.run.plan import plan_one
from convoy.training.run.reloaded import ReloadDifference, difference
from convoy.training.run.reuse import finished_run
from convoy.training.step import loop

Make = Callable[..., Recipe]
# State that training changes and that is not in the state_dict: a scale of the input.
OUTSIDE = """
        if self.training:
            self.scale = getattr(self, "scale", 1.0) * 0.7
        x = x * getattr(self, "scale", 1.0) - float(hasattr(self, "scale"))
"""
NAN = """
        if not self.training and len(x) > 2:
            return torch.where(torch.arange(len(x))[:, None] % 5 == 0, float("nan"), self.head(self.body(x).flatten(1)))
"""


def edit(net: Path, body: str) -> None:
    source = "        return self.head(self.drop("
    net.write_text(net.read_text().replace(source, body.strip("\n") + "\n" + source))


def finish(recipe: Recipe, out: Path, **options: Any) -> tuple[Run, list[str]]:
    events = list(run_one.run_one(recipe, out, **options))
    return Run(events[-1].run), [event.text for event in events if isinstance(event, Note)]


def is_flagged(run: Run) -> bool:
    return any("do not reproduce" in flag for flag in run.status.flags)


@pytest.mark.parametrize(
    "overrides",
    [(), (("data.split.validation", 0),), (("protocol.faults", ["last_weights"]),)],
    ids=["best epoch", "no validation", "last weights"],
)
def test_a_network_with_state_outside_its_state_dict_is_flagged(
    tiny: Make, net: Path, tmp_path: Path, overrides: tuple[Any, ...]
) -> None:
    edit(net, OUTSIDE)
    run, notes = finish(tiny(*overrides), tmp_path / "out")
    assert is_flagged(run)
    assert sum("do not reproduce" in note for note in notes) == 1


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        (("train.ema_decay", 0.9),),
        (("compute.precision", "bfloat16"),),
        (("compute.precision", "float64"),),
        (("data.split.validation", 0),),
        (("data.split.folds", 3),),
        (("protocol.faults", ["augmented_test"]), ("data.augment", [{"name": "rotate", "degrees": 60}])),
        (("protocol.faults", ["last_weights"]),),
        (("protocol.faults", ["selection_on_test"]),),
        (("protocol.faults", ["resplit_every_epoch", "drop_last_in_evaluation"]), ("train.batch_size", 20)),
        (("model.name", "lenet"), ("data.size", 28), ("train.epochs", 1)),
        (("stop.max_seconds", 1e-6),),
    ],
    ids=str,
)
def test_the_saved_weights_of_other_networks_reproduce_them(
    tiny: Make, tmp_path: Path, overrides: tuple[Any, ...]
) -> None:
    run, _ = finish(tiny(("data.limit", 200), *overrides), tmp_path)
    assert not is_flagged(run)


def test_a_run_resumed_after_its_best_epoch_can_still_be_compared(
    tiny: Make, net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(net, OUTSIDE)
    looks = count(1)
    monkeypatch.setattr(loop, "RECORD_SECONDS", 0.0)
    monkeypatch.setattr(Ledger, "is_best", lambda ledger, accuracy: not ledger.best_epoch)
    recipe = tiny()

    def control() -> Control:
        trains = not torch.is_inference_mode_enabled()
        return Control.PAUSE if trains and next(looks) == 10 else Control.CONTINUE

    finish(recipe, tmp_path / "out", control=control)

    run, _ = finish(recipe, tmp_path / "out")

    assert run.status.best_epoch == 1
    assert is_flagged(run)


def test_outputs_differ_beyond_rounding_or_in_being_finite() -> None:
    trained = np.array([[10.0, -1.0], [0.0, 4.0]])
    assert difference(trained, trained * (1 + 1e-5)) is None
    assert difference(trained, trained[:, ::-1]) == ReloadDifference(images=2, changed=2, largest=11.0)
    assert difference(trained, np.where(trained == 4, np.nan, trained)) is not None
    assert difference(trained * np.nan, trained * np.nan) is None


def test_outputs_that_are_not_finite_are_flagged_and_count_as_wrong(tiny: Make, net: Path, tmp_path: Path) -> None:
    edit(net, NAN)
    run, notes = finish(tiny(), tmp_path / "out")
    score = run.scores["test"]
    assert (score.not_finite, score.n, score.loss) == (30, 150, None)
    assert score.accuracy <= 120 / 150
    assert np.sum(score.confusion) == 120
    assert [entry.n for entry in score.per_class] == [50, 50, 50]
    labels, predicted = run.predicted("test")
    assert (predicted == -1).sum() == 30
    assert (labels == predicted).mean() == score.accuracy
    flags = [flag for flag in run.status.flags if "non-finite" in flag]
    assert ["of 120 validation" in flags[0], "of 150 test" in flags[1]] == [True, True]
    assert set(flags) <= set(notes)


def test_outputs_that_are_not_finite_are_flagged_if_the_test_set_is_opened_later(
    tiny: Make, net: Path, tmp_path: Path, page_alone: None
) -> None:
    edit(net, NAN)
    finish(tiny(), tmp_path / "out", test=False)
    run, notes = finish(tiny(), tmp_path / "out")
    assert any("30 of 150 test images" in note for note in notes)
    page = report(run).read_text()
    assert "NaN" in page[: page.index("<h2")]


def test_images_without_a_predicted_class_are_archived(tiny: Make, net: Path, tmp_path: Path) -> None:
    edit(net, NAN)
    run, _ = finish(tiny(), tmp_path / "out")
    slim = archive.archive_run(run, tmp_path / "archive")
    assert [values.tolist() for values in slim.predicted("test")] == [v.tolist() for v in run.predicted("test")]


def test_a_reused_run_prints_its_flags(tiny: Make, net: Path, tmp_path: Path) -> None:
    edit(net, NAN)
    run, _ = finish(tiny(), tmp_path / "out")
    events = list(finished_run(run, plan_one(tiny()), Workspace(tmp_path / "out"), test=True))
    assert any("non-finite" in event.text for event in events if isinstance(event, Note))


def test_a_run_at_chance_level_is_reported_again_when_it_is_reused(tiny: Make, tmp_path: Path) -> None:
    recipe = tiny(("optim.lr", 1e-12), ("train.epochs", 1))
    for _ in range(2):
        _, notes = finish(recipe, tmp_path)
        assert any("has not learned" in note or "at chance level" in note for note in notes)
    _, notes = finish(tiny(), tmp_path)
    assert not any("has not learned" in note or "at chance level" in note for note in notes)

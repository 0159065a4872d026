from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import IO, Any

import pytest
from tests.fake_runs import fake_run

from convoy import files
from convoy.checkpoint import load_checkpoint
from convoy.events import Control, Ended, EpochEnded, Event, Note
from convoy.recipe import Recipe
from convoy.run_contents import RunState
from convoy.runs import Run, Workspace
from convoy.studies.session import Entry, Session
from convoy.studies.train_all import train_all
from convoy.training.machine.autosave import Autosave
from convoy.training.run import failures, run_one
from convoy.training.run.plan import plan_one
from convoy.training.step import loop

pytestmark = pytest.mark.any_kernels

Make = Callable[..., Recipe]


def finish(recipe: Recipe, out: Path, **options: Any) -> Run:
    events = list(run_one.run_one(recipe, out, **options))
    return Run(events[-1].run)


def only_run(out: Path) -> Run:
    (run,) = Workspace(out).runs()
    return run


@pytest.fixture
def saved_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "RECORD_SECONDS", 0.0)
    monkeypatch.setattr(Autosave, "due", lambda autosave, now: True)


def fill_disk(patch: pytest.MonkeyPatch, name: str, after: int = 0) -> None:
    """Writing a file of this name fails as on a full disk, after it was written `after` times."""
    original, tries = files.replacing, count()

    @contextmanager
    def replacing(path: Path) -> Iterator[IO[bytes]]:
        if path.name == name and next(tries) >= after:
            with files.errors_naming(path):
                raise OSError(28, "No space left on device")
        with original(path) as file:
            yield file

    patch.setattr(files, "replacing", replacing)


def test_error_for_a_full_disk_before_the_first_checkpoint_says_that_training_starts_again(
    tiny: Make, tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        fill_disk(patch, "manifest.json")
        with pytest.raises(ValueError, match=r"manifest.json: No space left .*no checkpoint") as caught:
            finish(tiny(), tmp_path)
    assert "\n" not in str(caught.value)
    assert only_run(tmp_path).state == "interrupted"
    assert finish(tiny(), tmp_path).finished


@pytest.mark.usefixtures("saved_each_step")
def test_error_for_a_full_disk_after_a_checkpoint_names_its_step_and_the_run_resumes_from_it(
    tiny: Make, tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        fill_disk(patch, "tensors.safetensors", after=5)
        patch.setenv("CONVOY_COMMAND", "convoy train lenet --fresh --epochs 2")
        with pytest.raises(
            ValueError, match=r"tensors.safetensors: No space left .*step 5: convoy train lenet --epochs 2$"
        ):
            finish(tiny(), tmp_path)
    again = list(run_one.run_one(tiny(), tmp_path))
    assert again[0].text.startswith("resuming")
    assert len(only_run(tmp_path).steps["loss"]) == 16


def test_error_for_a_full_disk_while_scoring_names_the_file_and_the_same_command_resumes(
    tiny: Make, tmp_path: Path
) -> None:
    for name in ("gallery.npz", "predictions.npz", "scores.json", "cost.json", "test_openings.json"):
        with pytest.MonkeyPatch.context() as patch:
            fill_disk(patch, name)
            with pytest.raises(ValueError, match=rf"{name}: No space left .*step 16") as caught:
                finish(tiny(), tmp_path)
        assert "\n" not in str(caught.value)
        assert only_run(tmp_path).state == "interrupted"
    assert finish(tiny(), tmp_path).finished


def test_a_finished_run_stays_finished_if_the_disk_is_full_when_it_is_scored_on_its_test_set(
    tiny: Make, tmp_path: Path
) -> None:
    finish(tiny(), tmp_path, test=False)
    with pytest.MonkeyPatch.context() as patch:
        fill_disk(patch, "predictions.npz")
        with pytest.raises(ValueError, match=r"predictions.npz: No space left .*weights"):
            finish(tiny(), tmp_path)
    assert "test" in finish(tiny(), tmp_path).scores


def test_error_for_a_report_that_cannot_be_written_names_the_file_and_the_command(
    tmp_path: Path, words_alone: None
) -> None:
    from convoy.api import report

    run = fake_run(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        fill_disk(patch, "report.md")
        with pytest.raises(ValueError, match=r"report.md: No space left .*convoy report") as caught:
            report(run)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("saved_each_step")
@pytest.mark.parametrize("records", [3, 12])
def test_deleting_the_workspace_of_a_run_is_a_one_line_error_and_the_run_can_be_retrained(
    tiny: Make, tmp_path: Path, records: int
) -> None:
    out, looks = tmp_path / "out", count(1)

    def delete() -> str:
        if next(looks) == records:
            shutil.rmtree(out)
        return Control.CONTINUE

    with pytest.raises(ValueError, match="was deleted") as caught:
        finish(tiny(), out, control=delete)
    assert "\n" not in str(caught.value)
    assert not list(out.rglob("*.safetensors"))
    assert finish(tiny(), out).finished


@pytest.mark.usefixtures("saved_each_step")
def test_a_partly_deleted_run_can_be_trained(tiny: Make, tmp_path: Path) -> None:
    finish(tiny(), tmp_path, control=iter([*[Control.CONTINUE] * 12, Control.PAUSE]).__next__)
    run = only_run(tmp_path)
    fingerprint = run.status.fingerprint
    for name in ("recipe.toml", "status.json", "data.json", "environment.json", "metrics.jsonl"):
        (run.path / name).unlink()
    assert load_checkpoint(run.path / "checkpoints", fingerprint) is not None

    again = finish(tiny(), tmp_path)

    assert again.path == run.path
    assert again.finished
    assert len(again.metrics) == 2


@pytest.fixture
def two(tiny: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Iterator[Event], Iterator[Event]]:
    """A run after its first epoch, and the same run in another process that waits for it."""
    monkeypatch.setattr(run_one, "WAITING_SECONDS", 0.05)
    first, second = (run_one.run_one(tiny(), tmp_path) for _ in range(2))
    while not isinstance(next(first), EpochEnded):
        pass
    assert "another process" in next(second).text
    return first, second


def test_a_run_trained_by_another_process_is_awaited_and_reused(
    two: tuple[Iterator[Event], Iterator[Event]], tmp_path: Path
) -> None:
    first, second = two
    list(first)  # the first process ends its run

    events = list(second)

    assert events[-1].cached
    assert len(only_run(tmp_path).metrics) == 2


def test_a_run_interrupted_in_another_process_is_resumed(
    two: tuple[Iterator[Event], Iterator[Event]], tmp_path: Path
) -> None:
    first, second = two
    first.close()

    events = list(second)

    assert events[0].text.startswith("resuming")
    assert events[-1] == Ended(events[-1].text, only_run(tmp_path).path, RunState.FINISHED)


def test_waiting_for_another_process_can_be_interrupted(
    tiny: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_one, "WAITING_SECONDS", 0.01)
    first = run_one.run_one(tiny(), tmp_path)
    next(first)
    answers = iter([Control.CONTINUE, Control.CONTINUE, Control.PAUSE])

    events = list(run_one.run_one(tiny(), tmp_path, control=lambda: next(answers)))

    assert [type(event) for event in events] == [Note, Ended]
    assert events[-1].state == "interrupted"
    first.close()


def test_two_comparisons_with_a_common_run_both_finish(
    tiny: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_one, "WAITING_SECONDS", 0.01)
    first = run_one.run_one(tiny(), tmp_path)
    next(first)
    entries = [Entry("shared", tiny()), Entry("own", tiny(("seed", 1)))]

    def go_on_with_the_first() -> bool:
        list(first)
        return False

    members = train_all(entries, Session(tmp_path, interrupted=go_on_with_the_first))

    assert members is not None
    assert all(member.run.finished for member in members)


@pytest.mark.parametrize(
    "statement", ["sys.exit(3)", "raise ValueError('no')", "raise OSError('gone')", "raise BaseException"]
)
def test_an_error_in_forward_during_training_is_one_line_and_the_run_is_interrupted(
    tiny: Make, net: Path, tmp_path: Path, statement: str
) -> None:
    source = net.read_text().replace("import torch\n", "import sys\n\nimport torch\n")
    body = f"        if self.training and len(x) > 16:\n            {statement}\n        return"
    net.write_text(source.replace("        return", body))
    line = source.splitlines().index("        return self.head(self.drop(self.body(x).flatten(1)))") + 2

    with pytest.raises(ValueError, match=f"net.py:{line}: ") as caught:
        finish(tiny(), tmp_path / "out")

    assert "\n" not in str(caught.value)
    status = json.loads((only_run(tmp_path / "out").path / "status.json").read_text())
    assert (status["state"], status["reason"]["message"]) == ("interrupted", "its network failed")


@pytest.mark.parametrize("kind", ["nn.Parameter(torch.ones(1))", "nn.Linear(3, 3)"])
def test_a_parameter_created_by_forward_in_training_is_an_error_before_anything_is_trained(
    tiny: Make, net: Path, tmp_path: Path, kind: str
) -> None:
    body = f"        if self.training and not hasattr(self, 'late'):\n            self.late = {kind}\n        return"
    net.write_text(net.read_text().replace("        return", body))

    with pytest.raises(ValueError, match=r"late.*__init__"):
        finish(tiny(), tmp_path / "out")

    assert not (tmp_path / "out").exists()


def test_a_network_that_sets_the_seed_is_an_error_before_anything_is_trained(
    tiny: Make, net: Path, tmp_path: Path
) -> None:
    source = net.read_text()
    net.write_text(source.replace("super().__init__()", "super().__init__()\n        torch.manual_seed(0)"))

    with pytest.raises(ValueError, match=r"torch.manual_seed.*model\.seed"):
        finish(tiny(), tmp_path / "out")

    assert not (tmp_path / "out").exists()


def test_parameters_created_by_the_first_pass_are_trained(tiny: Make, net: Path, tmp_path: Path) -> None:
    net.write_text(net.read_text().replace("nn.Linear(width * (image_size // 2) ** 2, ", "nn.LazyLinear("))
    assert finish(tiny(), tmp_path / "out").finished


def test_an_error_in_convoys_own_code_is_not_converted(tiny: Make, tmp_path: Path) -> None:
    ready = plan_one(tiny())
    run = Workspace(tmp_path).open_run(ready.recipe, ready.fingerprint)
    with pytest.raises(RuntimeError, match="ours"), failures.Failures(run, ready.recipe):
        raise RuntimeError("ours")


def test_classes_with_the_same_name_in_two_files_have_different_labels(
    tiny: Make, net: Path, stripes: Path, tmp_path: Path, words_alone: None
) -> None:
    from convoy.api import compare

    other = tmp_path / "other.py"
    other.write_text(net.read_text().replace("width=4", "width=2"))
    sources = {"data": str(stripes), "epochs": 1, "limit": 60, "out": tmp_path / "out", "set": {"compute.threads": 1}}

    study = compare([f"{net}:Tiny", f"{other}:Tiny"], seeds=1, show=False, **sources)

    assert [member.label for member in study.members] == ["net:Tiny", "other:Tiny"]
    with pytest.raises(ValueError, match="Tiny"):
        compare([f"{net}:Tiny", f"{net}:Tiny"], seeds=1, show=False, **sources)

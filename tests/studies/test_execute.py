from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.forks import CONTEXT, use_forks_of_this_process

from convoy.events import Ended, EpochEnded
from convoy.recipe import Recipe
from convoy.runs import Run, Workspace
from convoy.studies.execute import execute
from convoy.studies.session import Session

Make = Callable[..., Recipe]


def ended(recipes: list[Recipe], out: Path, **options: object) -> dict[int, Run]:
    events = execute(recipes, Session(out), **options)  # type: ignore[arg-type]
    return {position: Run(event.run) for position, event in events if isinstance(event, Ended)}


@pytest.fixture
def one_worker(forked_workers: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Starts one worker process instead of one per core."""
    monkeypatch.setattr("convoy.studies.execute.cores", lambda: 1)


@pytest.mark.usefixtures("forked_workers")
def test_workers_give_the_bits_of_this_process(tiny: Make, tmp_path: Path) -> None:
    recipes = [tiny(("seed", seed)) for seed in (1, 2, 3)]
    here = ended(recipes, tmp_path / "here", where="here")
    there = ended(recipes, tmp_path / "there", where="processes")
    assert sorted(there) == [0, 1, 2]
    for position, run in here.items():
        assert run.name == there[position].name
        assert (run.path / "best.safetensors").read_bytes() == (there[position].path / "best.safetensors").read_bytes()
    assert all(run.environment.threads == 1 for run in there.values())


@pytest.mark.usefixtures("one_worker")
def test_recipes_are_taken_lazily(tiny: Make, tmp_path: Path) -> None:
    taken = []

    def recipes():  # type: ignore[no-untyped-def]
        for seed in range(1000):
            taken.append(seed)
            yield tiny(("seed", seed), ("train.epochs", 1))

    ends: list[str] = []
    events = execute(recipes(), Session(tmp_path, interrupted=lambda: bool(ends)), where="processes")
    for _, event in events:
        if isinstance(event, Ended):
            ends.append(event.text)
    assert len(taken) <= 3


@pytest.mark.usefixtures("one_worker")
def test_interrupted_study_is_resumed(tiny: Make, tmp_path: Path) -> None:
    recipes = [tiny(("seed", seed), ("train.epochs", 6)) for seed in (1, 2, 3, 4)]
    ends: list[str] = []
    events = execute(recipes, Session(tmp_path, interrupted=lambda: bool(ends)), where="processes")
    for _, event in events:
        if isinstance(event, Ended):
            ends.append(event.text)
    finished = {run.name: run.status.steps for run in Workspace(tmp_path).runs() if run.finished}
    assert 1 <= len(finished) < 4
    cached = []
    for _, event in execute(recipes, Session(tmp_path), where="processes"):
        if isinstance(event, Ended):
            cached.append(event.cached)
    assert cached.count(True) >= len(finished)
    assert all(run.finished for run in Workspace(tmp_path).runs())


@pytest.mark.usefixtures("one_worker")
@pytest.mark.parametrize("where", ["here", "processes"])
def test_run_can_be_pruned_by_its_accuracy(tiny: Make, tmp_path: Path, where: str) -> None:
    recipes = [tiny(("seed", 1), ("train.epochs", 300)), tiny(("seed", 2))]
    runs = ended(recipes, tmp_path, where=where, prune=lambda position, event: position == 0)
    assert runs[0].state == "pruned"
    assert runs[0].status.reason.startswith("pruned at epoch")
    assert runs[1].finished


@pytest.mark.usefixtures("one_worker")
def test_recipe_that_fails_in_a_worker_raises_its_one_line(tiny: Make, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="did you mean 'lenet'"):
        ended([tiny(), tiny(("model.name", "lenett"))], tmp_path, where="processes")


def test_script_without_a_main_guard_is_not_run_again(stripes: Path, net: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "print('imported')\n"
        "from convoy.recipe import Recipe\n"
        "from convoy.studies.execute import execute\n"
        "from convoy.studies.session import Session\n"
        f"named = [('model.name', {str(net) + ':Tiny'!r}), ('data.name', {str(stripes)!r}), ('train.epochs', 1)]\n"
        "base = Recipe.load('defaults/images', named)\n"
        "recipes = [base.override({'seed': seed}) for seed in (1,)]\n"
        "ends = [event for _, event in execute(recipes, Session('out')) if type(event).__name__ == 'Ended']\n"
        "print(len(ends), 'runs')\n"
    )
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.stdout.splitlines() == ["imported", "1 runs"], done.stderr


def test_run_saves_itself_when_the_parent_is_killed(tiny: Make, tmp_path: Path) -> None:
    recipe, begun = tiny(("train.epochs", 100_000)), tmp_path / "begun"
    parent = CONTEXT.Process(target=train_until_killed, args=(recipe, tmp_path / "out", begun))
    parent.start()
    while not begun.exists():
        assert parent.is_alive()
        time.sleep(0.02)
    parent.kill()
    parent.join()
    (run,) = Workspace(tmp_path / "out").runs()
    deadline = time.monotonic() + 300
    while run.state == "running" and time.monotonic() < deadline:
        time.sleep(0.1)
    assert run.state == "interrupted"


def train_until_killed(recipe: Recipe, out: Path, begun: Path) -> None:
    use_forks_of_this_process()
    for _, event in execute([recipe], Session(out)):
        if isinstance(event, EpochEnded):
            begun.touch()

"""The search with real runs of a network with a few hundred weights."""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages._rdb.models import StudyModel
from scipy.stats import t as student
from sqlalchemy import Engine, event
from sqlalchemy.schema import CreateTable
from tests.conftest import NET
from tests.forks import start_command

from convoy import api
from convoy.events import Ended, EpochEnded, Event
from convoy.recipe import Recipe
from convoy.runs import Run, Study, Workspace
from convoy.studies import kinds
from convoy.studies.search.finding import Sampler, SearchFinding, State
from convoy.studies.search.loop import Trials
from convoy.studies.search.run import Search, prepare
from convoy.studies.search.run import run as search
from convoy.studies.search.space import Space, axes_of
from convoy.studies.search.storage import errors_naming_storage, open_study
from convoy.studies.session import Session

Make = Callable[..., Recipe]
GRID = ("optim.lr=1e-5,3e-3,1e-2", "train.batch_size=30,120")


@pytest.fixture(scope="module")
def base(stripes: Path, tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    folder = tmp_path_factory.mktemp("net")
    (folder / "net.py").write_text(NET)
    overrides = {
        "model.name": f"{folder / 'net.py'}:Tiny",
        "data.name": str(stripes),
        "train.epochs": 3,
        "compute.threads": 1,
        "schedule": {"name": "constant"},
    }
    return Recipe.load("defaults/images", list(overrides.items()))


def one_epoch(base: Recipe) -> Recipe:
    return base.override({"train.epochs": 1})


def question(base: Recipe, *grid: str, custom_label: str | None = None, **options: Any) -> Search:
    choices = {"trials": None, "sampler": None, "pruner": None, "seeds": 2} | options
    return prepare(base, Space(axes_of(grid or GRID, ())), **choices, custom_label=custom_label)


def searched(what: Search, out: Path, *, storage: str | None = None, **options: Any) -> Study:
    study = search(what, Session(out, **options), storage=storage)
    assert study is not None
    return study


@pytest.fixture(scope="module")
def study(base: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Study:
    return searched(question(base), tmp_path_factory.mktemp("out"))


def finding_of(study: Study) -> SearchFinding:
    return kinds.finding_of(study)


def test_winner_is_retrained_with_fresh_seeds_and_reported_next_to_its_search_score(study: Study) -> None:
    finding = finding_of(study)

    assert tuple(member.seed for member in study.members) == finding.seeds == (43, 44)
    assert all(member.run.recipe.optim.lr == finding.best.params["optim.lr"] for member in study.members)
    accuracies = [member.run.scores["test"].accuracy for member in study.members]
    assert finding.accuracy.mean == pytest.approx(sum(accuracies) / 2)
    assert f"{100 * finding.best.accuracy:.2f} %" in kinds.caveats_of(study)[0]


def test_trials_that_may_be_as_good_are_those_within_the_difference_of_two_runs(study: Study) -> None:
    finding = finding_of(study)
    spread = max(finding.scored_accuracy.sd, 1 / study.members[0].run.scores["validation"].n / 12**0.5)

    assert finding.margin == pytest.approx(float(student.ppf(0.975, 1)) * spread * 2**0.5)
    near = {trial.number for trial in finding.trials if trial.accuracy >= finding.best.accuracy - finding.margin}
    assert {trial.number for trial in finding.near} == near - {finding.winner} != set()
    assert any(f": {len(finding.near)}. " in caveat for caveat in kinds.caveats_of(study))


def test_only_the_winners_fresh_runs_open_the_test_set(study: Study) -> None:
    workspace = Workspace(study.path.parents[1])
    opened = {run.name for run in workspace.runs() if "test" in run.scores}

    assert opened == {member.run.name for member in study.members}
    (names,) = json.loads((workspace.path / "test_openings.json").read_text()).values()
    assert sorted(names) == sorted(opened)


def test_trials_end_exactly_at_the_epoch_of_their_rung(study: Study) -> None:
    finding = finding_of(study)

    assert sorted(trial.epochs for trial in finding.trials) == [1] * 4 + [3] * 2
    assert (finding.count(State.PRUNED), finding.count(State.FINISHED)) == (4, 2)
    for trial in finding.trials:
        assert len(Run(study.path / trial.run).metrics) == trial.epochs
    assert (finding.epochs_trained, finding.epochs_requested) == (10, 18)


def test_trial_that_was_stopped_early_is_not_finished_and_can_be_resumed(study: Study, base: Recipe) -> None:
    trial = next(trial for trial in finding_of(study).trials if trial.epochs == 1)
    run = Run(study.path / trial.run)
    assert (run.state, run.status.reason) == ("pruned", "pruned at epoch 1")
    first = run.metrics[0]

    lr, batch_size = trial.params["optim.lr"], trial.params["train.batch_size"]
    again = question(base, f"optim.lr={lr},2e-3", f"train.batch_size={batch_size}")
    searched(again, study.path.parents[1], test=False)

    assert run.finished
    assert len(run.metrics) == 3
    assert run.metrics[0] == first


def test_a_second_search_trains_nothing_and_has_the_same_finding(study: Study, base: Recipe) -> None:
    before, events = finding_of(study), []

    searched(question(base), study.path.parents[1], show=lambda position, event: events.append(event))

    assert finding_of(study) == before
    assert all(event.cached for event in events if isinstance(event, Ended))
    assert not any(isinstance(event, EpochEnded) for event in events)


@pytest.mark.parametrize("prefix", ["", "/gone/runs/"], ids=["name", "path of version 0.1"])
def test_moved_workspace_keeps_the_runs_of_its_search(study: Study, base: Recipe, tmp_path: Path, prefix: str) -> None:
    shutil.copytree(study.path.parents[1], tmp_path / "moved")
    with closing(sqlite3.connect(tmp_path / "moved" / "studies" / study.name / "optuna.db")) as storage, storage:
        change = "UPDATE trial_user_attributes SET value_json = '\"' || ? || substr(value_json, 2) WHERE key = 'run'"
        assert storage.execute(change, [prefix]).rowcount == 6
    events: list[Event] = []

    moved = searched(question(base), tmp_path / "moved", show=lambda position, event: events.append(event))

    assert finding_of(moved) == finding_of(study)
    assert not any(isinstance(event, EpochEnded) for event in events)


def test_winner_is_a_recipe_that_trains(study: Study) -> None:
    recipe = Recipe.load(study.path / "winner.toml")

    assert recipe.optim.lr == finding_of(study).best.params["optim.lr"]
    assert recipe.seed == 42


def interruptions(after: int) -> tuple[Callable[[], bool], Callable[..., None]]:
    """Returns an `interrupted` that is True after this many displayed epochs, and the `show` that counts them."""
    epochs: list[int] = []
    return lambda: len(epochs) >= after, lambda position, event: epochs.extend([1] * (isinstance(event, EpochEnded)))


# killed in the first epoch: tests/contract/test_kinds.py
def test_search_resumed_in_its_second_rung_has_the_same_finding_as_an_uninterrupted_one(
    study: Study, base: Recipe, tmp_path: Path
) -> None:
    interrupted, show = interruptions(8)
    assert search(question(base), Session(tmp_path, interrupted=interrupted, show=show)) is None

    broken = searched(question(base), tmp_path)

    assert timeless(broken) == timeless(study)


def test_search_resumed_while_its_winner_is_retrained_has_the_same_finding(
    study: Study, base: Recipe, tmp_path: Path
) -> None:
    shutil.copytree(study.path.parents[1], tmp_path / "out")
    for member in study.members[1:]:
        shutil.rmtree(tmp_path / "out" / "runs" / member.run.path.name)
    (tmp_path / "out" / "studies" / study.name / "finding.json").unlink()
    interrupted, show = interruptions(1)
    assert search(question(base), Session(tmp_path / "out", interrupted=interrupted, show=show)) is None
    (run,) = (run for run in Workspace(tmp_path / "out").runs() if run.state == "interrupted")
    assert run.name in {member.run.name for member in study.members}

    broken = searched(question(base), tmp_path / "out")

    assert timeless(broken) == timeless(study)


def test_killed_search_resumes_to_the_finding_of_an_uninterrupted_one(
    study: Study, base: Recipe, tmp_path: Path
) -> None:
    (tmp_path / "base.toml").write_text(base.to_toml())
    grid = [token for text in GRID for token in ("--grid", text)]
    process = start_command(tmp_path, ["search", "base.toml", *grid, "--seeds", "2", "--out", "out", "--json"])
    _wait_for(lambda: len(list(tmp_path.glob("out/runs/*/metrics.jsonl"))) >= 4)
    process.kill()
    process.join()
    before = {path: path.read_text() for path in tmp_path.glob("out/runs/*/log.txt")}
    paused = [path for path, log in before.items() if "pruned at epoch 1" in log]
    assert len(paused) >= 3

    killed = searched(question(base), tmp_path / "out")

    assert timeless(killed) == timeless(study)
    for path in paused:  # no epoch was trained twice
        assert path.read_text().count("epoch 1/3") == 1


class KilledError(Exception):
    """Stands for SIGKILL."""


@pytest.mark.parametrize("by", [Sampler.TPE, Sampler.RANDOM, "grid"])
@pytest.mark.parametrize("call", [4, 5])  # of the third trial: no parameter is stored, and one of two
def test_a_trial_whose_parameters_were_not_all_stored_gets_those_of_an_uninterrupted_search(
    by: Sampler | str, call: int, base: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = by == "grid"
    space = Space(axes_of(GRID, ()) if grid else axes_of((), ("optim.lr=1e-4..1e-1", "train.batch_size=8..64")))
    options = {"owner": "", "count": None if grid else 4, "by": Sampler.TPE if grid else by}

    def asked(study: optuna.Study) -> Iterator[None]:
        trials = Trials(study, space, base, **options)
        while (trial := trials.next()) is not None:
            study.tell(trial, trial.params["optim.lr"])
            yield

    uninterrupted, killed = optuna.create_study(), optuna.create_study()
    all(True for _ in asked(uninterrupted))
    calls, suggest = count(), optuna.Trial._suggest

    def suggest_until_killed(self: optuna.Trial, name: str, distribution: Any) -> Any:
        if next(calls) == call:
            raise KilledError
        return suggest(self, name, distribution)

    with monkeypatch.context() as patch:
        patch.setattr(optuna.Trial, "_suggest", suggest_until_killed)
        with pytest.raises(KilledError):
            all(True for _ in asked(killed))
    assert len(killed.trials[2].params) == call - 4
    all(True for _ in asked(killed))

    first, second = ([(trial.state, trial.params) for trial in study.trials] for study in (uninterrupted, killed))
    assert first == second
    assert len(first) == (6 if grid else 4)


def _wait_for(there: Callable[[], bool], seconds: float = 300) -> None:
    begun = time.monotonic()
    while not there():
        assert time.monotonic() - begun < seconds
        time.sleep(0.02)


def timeless(study: Study) -> SearchFinding:
    """Removes the names of run folders, which depend on the path of the data."""
    finding = finding_of(study)
    return replace(finding, trials=tuple(replace(trial, run=None) for trial in finding.trials))


def test_search_can_be_extended_by_more_trials(base: Recipe, tmp_path: Path) -> None:
    def by(trials: int) -> Study:
        what = question(one_epoch(base), trials=trials, sampler="tpe", pruner="none", seeds=1)
        return searched(what, tmp_path, test=False)

    first = finding_of(by(2))
    more = by(3)

    assert finding_of(more).trials[:2] == first.trials
    assert len(finding_of(more).trials) == 3
    assert [path.name for path in tmp_path.glob("studies/*")] == [more.path.name]


def test_a_search_stores_its_trials_in_a_given_database_and_locks_its_folder(base: Recipe, tmp_path: Path) -> None:
    what = question(one_epoch(base), "optim.lr=1e-3,1e-2", pruner="none", seeds=1)
    shared = tmp_path / "shared.db"

    def second() -> Iterator[str]:
        try:
            search(what, Session(tmp_path))
        except ValueError as error:
            yield str(error)

    said: list[str] = []
    study = searched(
        what,
        tmp_path,
        storage=f"sqlite:///{shared}",
        test=False,
        show=lambda position, event: said.extend([] if said else second()),
    )

    assert "in use" in said[0]
    assert shared.is_file()
    assert not (study.path / "optuna.db").exists()


@pytest.mark.parametrize(
    ("grid", "options", "message"),
    [
        (("optim.lr=1e-3,1e-2",), {"sampler": "tpr", "trials": 5}, "unknown sampler 'tpr'; did you mean 'tpe'"),
        (("optim.lr=1e-3,1e-2",), {"pruner": "medain"}, "unknown pruner 'medain'; did you mean 'median'"),
        (("optim.lr=1e-3",), {}, "a search needs 2 trials or more"),
        (("optim.lr=1e-3,1e-2",), {"trials": 1}, "a search needs 2 trials or more"),
        (("optim.lr=1e-3,1e-2",), {"sampler": "tpe"}, "the sampler tpe needs --trials"),
        (("train.epochs=1,2",), {"pruner": "median"}, "the pruner median cannot search train.epochs"),
        (
            ("optim.lr=1e-3,1e-2",),
            {"trials": 4, "sampler": "tpe", "pruner": "halving"},
            "tpe has no results",
        ),
        (("optim.lr=1e-3,1e-2",), {"seeds": 0}, "seeds = 0: expected 1 or more"),
    ],
)
def test_an_invalid_search_is_a_one_line_error(base, grid, options, message) -> None:
    with pytest.raises(ValueError, match=message):
        question(base, *grid, **options)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"data.split.validation": 0.0}, "data.split.validation = 0"),
        ({"protocol.faults": ["test_opened_at_each_best"]}, "test_opened_at_each_best opens the test set"),
    ],
)
def test_search_needs_a_validation_part_that_selects(base, tmp_path, override, message) -> None:
    with pytest.raises(ValueError, match=message):
        search(question(base.override(override)), Session(tmp_path))


@pytest.mark.usefixtures("words_alone")
def test_with_selection_on_the_test_set_trials_are_scored_there_and_each_opening_is_counted(
    base: Recipe, tmp_path: Path
) -> None:
    faulty = base.override({"protocol.faults": ["selection_on_test"], "data.split.validation": 0})
    study = searched(question(faulty, "optim.lr=1e-5,1e-2", pruner="none", custom_label="Tiny as published"), tmp_path)
    finding = finding_of(study)

    assert "as_published" in study.name
    assert finding.method.scored_on == finding.part == "test"
    assert finding.scored_accuracy == finding.accuracy
    for trial in finding.trials:
        run = Run(study.path / trial.run)
        assert trial.accuracy == max(line.test.accuracy for line in run.metrics)
        assert "validation" not in run.scores
    (names,) = json.loads((tmp_path / "test_openings.json").read_text()).values()
    trials = [Path(trial.run).name for trial in finding.trials]
    assert finding.test_openings == sum(name in trials for name in names) >= 2
    assert any("test set" in caveat for caveat in kinds.caveats_of(study))
    assert "Test accuracy" in api.report(study).read_text()
    with pytest.raises(ValueError, match="--no-test"):
        search(question(faulty), Session(tmp_path, test=False))


def test_an_unknown_model_option_is_an_error_before_the_first_trial(base, tmp_path) -> None:
    with pytest.raises(ValueError, match="widht"):
        search(question(base, "model.options.widht=2,4"), Session(tmp_path))

    assert not list(tmp_path.iterdir())


def test_unreachable_storage_is_a_one_line_error(base, tmp_path) -> None:
    with pytest.raises(ValueError, match=r"--storage nosuch://\.\.\.@host: .*postgresql"):
        search(question(base), Session(tmp_path), storage="nosuch://me:secret@host")


def test_a_trial_beyond_the_requested_number_is_a_caveat_and_displayed_under_an_existing_name(
    base: Recipe, tmp_path: Path
) -> None:
    def by(trials: int) -> Search:
        return question(one_epoch(base), "optim.lr=1e-5,3e-3,1e-2", trials=trials, pruner="none", seeds=1)

    interrupted, stop = interruptions(3)  # in the third
    assert search(by(3), Session(tmp_path, interrupted=interrupted, show=stop)) is None
    positions: set[int] = set()

    study = searched(by(2), tmp_path, show=lambda position, event: positions.add(position))

    assert len(finding_of(study).trials) == 3
    assert positions == {1, 2}
    assert by(2).names == ["trial 1 of 2", "trial 2 of 2", "winner, seed 43"]
    assert any(caveat.startswith("3 trials ") and "requested 2" in caveat for caveat in kinds.caveats_of(study))
    assert not any("requested" in caveat for caveat in kinds.caveats_of(searched(by(3), tmp_path)))


def test_epochs_of_trials_are_those_that_the_search_varies(base: Recipe, tmp_path: Path) -> None:
    study = searched(question(base, "train.epochs=1,2", seeds=1), tmp_path, test=False)

    assert (finding_of(study).epochs_trained, finding_of(study).epochs_requested) == (3, 3)


def test_error_names_a_damaged_database(base: Recipe, tmp_path: Path) -> None:
    what = question(base, "optim.lr=1e-3,1e-2")
    folder = Workspace(tmp_path).folder("studies", what.name)
    (folder / "optuna.db").write_text("no database, but a text that is longer than its header")
    with pytest.raises(ValueError, match=r"optuna.db: .*damaged"):
        search(what, Session(tmp_path))


def test_a_search_killed_while_its_storage_is_created_can_be_repeated(tmp_path: Path) -> None:
    def is_killed(engine: Engine) -> None:
        with engine.begin() as connection:
            connection.execute(CreateTable(StudyModel.__table__))  # without the index that makes names unique
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StudyModel.metadata, "create_all", is_killed)
        with pytest.raises(KeyboardInterrupt):
            open_study(tmp_path, None, None)
    assert {len(open_study(tmp_path, None, None)._storage.get_all_studies()) for _attempt in range(3)} == {1}
    assert [path.name for path in tmp_path.iterdir()] == ["optuna.db"]


def test_a_search_whose_storage_cannot_be_written_is_one_error_with_its_file_and_reason(tmp_path: Path) -> None:
    study = open_study(tmp_path, None, None)
    engine = study._storage._backend.engine  # type: ignore[attr-defined]
    event.listen(engine, "before_cursor_execute", lambda _, cursor, *of: cursor.execute("PRAGMA query_only = 1"))
    with pytest.raises(ValueError, match=r"optuna.db: .*readonly") as caught, errors_naming_storage(tmp_path, None):
        study.ask()
    assert "\n" not in str(caught.value)

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from tests.fake_runs import epoch_metrics, fake_run

from convoy import runs
from convoy.api.arguments import AmbiguousNameError, date_of, find_run, locate
from convoy.recipe import Recipe, fingerprint
from convoy.runs import Member, Run, Workspace

RECIPE = Recipe.load("defaults/mnist")


def digest_of(recipe: Recipe = RECIPE, data: str = "d", revision: int = 1, **options: object) -> str:
    return fingerprint(recipe, options=options, hashes={"data": data}, training_revision=revision)


def test_fingerprint_changes_with_recipe_options_data_and_revision() -> None:
    digests = {
        digest_of(),
        digest_of(RECIPE.override({"seed": 1})),
        digest_of(data="e"),
        digest_of(revision=2),
        digest_of(width=3),
    }
    assert len(digests) == 5
    assert digest_of() == digest_of()


def test_run_is_found_by_its_full_fingerprint(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    run = workspace.open_run(RECIPE, digest_of())
    assert workspace.find(digest_of()) == run
    assert workspace.find(digest_of(data="e")) is None
    assert workspace.find(digest_of()[:12] + "0" * 52) is None
    assert run.recipe == RECIPE


def test_run_is_read_from_a_path_as_text(tmp_path: Path) -> None:
    run = Workspace(tmp_path).open_run(RECIPE, digest_of())
    assert Run(str(run.path)) == run  # type: ignore[arg-type]


def test_metrics_are_replaced_by_those_of_a_checkpoint(tmp_path: Path) -> None:
    run = Workspace(tmp_path).open_run(RECIPE, digest_of())
    for epoch in (1, 2, 3):
        run.append_metrics(epoch_metrics(epoch))
    run.write_metrics([epoch_metrics(epoch).as_line() for epoch in (1, 2)])
    assert [line.epoch for line in run.metrics] == [1, 2]


def test_only_one_process_can_lock_a_run(tmp_path: Path) -> None:
    run = Workspace(tmp_path).open_run(RECIPE, digest_of())
    lock = run.lock()
    assert run.lock() is None
    lock.release()
    Run(run.path).lock().release()


def test_a_killed_run_is_interrupted_and_a_locked_run_is_running(tmp_path: Path) -> None:
    run = Workspace(tmp_path).open_run(RECIPE, digest_of())
    assert run.state == "interrupted"
    lock = run.lock()
    assert Run(run.path).state == "running"
    lock.release()


def test_openings_of_a_test_set_are_counted_per_data_hash(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    assert [workspace.record_opening(data, "run") for data in ("a", "a", "b", "a")] == [1, 2, 1, 3]


def test_study_finds_its_runs_after_the_workspace_was_moved(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "before")
    run = workspace.open_run(RECIPE, digest_of())
    workspace.write_study("compare/lenet", "compare", [Member("lenet", 42, run)], "")
    (tmp_path / "before").rename(tmp_path / "after")
    (study,) = Workspace(tmp_path / "after").studies()
    assert study.members[0].label == "lenet"
    assert study.members[0].run.recipe == RECIPE


def test_locate_takes_a_path_a_name_or_an_unambiguous_part_of_a_name(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    first = workspace.open_run(RECIPE, digest_of())
    second = workspace.open_run(RECIPE.override({"seed": 7}), digest_of(data="e"))
    assert locate(first.path, tmp_path) == first
    assert locate(second.name, tmp_path) == second
    assert locate("lenet-s7", tmp_path) == second
    assert locate(second.name[-12:-6], tmp_path) == second
    for newest, other in ((first, second), (second, first)):
        os.utime(other.path / "status.json", (1, 1))
        os.utime(newest.path / "status.json", (2, 2))
        with pytest.raises(
            AmbiguousNameError, match=rf"matches 2 .*: {newest.name} \(mnist, 5 epochs, 1970-.*\), {other.name} \(.*\)$"
        ) as caught:
            locate("lenet", tmp_path)
        assert caught.value.newest == newest
    workspace.write_study("compare-lenet-s42", "compare", [], "")
    assert find_run("lenet-s42", tmp_path) == first
    with pytest.raises(ValueError, match="no run or study 'vgg'"):
        locate("vgg", tmp_path)


def test_an_ambiguous_name_lists_five_candidates_including_damaged_ones(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    for seed in range(7):
        run = workspace.open_run(RECIPE.override({"seed": seed, "train.epochs": 1}), digest_of(data=str(seed)))
        os.utime(run.path / "status.json", (seed * 1e6, seed * 1e6))
    (run.path / "recipe.toml").write_text("=")
    with pytest.raises(AmbiguousNameError) as caught:
        locate("lenet", tmp_path)
    *five, rest = caught.value.candidates
    assert [candidate.split("-")[1] for candidate in five] == ["s6", "s5", "s4", "s3", "s2"]
    assert ["1 epoch" in candidate for candidate in five] == [False, True, True, True, True]
    assert rest == "2 more"


def test_date_of_a_run_is_when_it_finished_even_in_a_copy(tmp_path: Path) -> None:
    first, second = (fake_run(tmp_path, seed=seed) for seed in (1, 2))
    first.write_status(finished_at="2026-01-03 10:00:00")
    second.write_status(finished_at="2026-01-02 10:00:00")
    with pytest.raises(AmbiguousNameError) as caught:
        locate("lenet", tmp_path)
    assert caught.value.newest == first
    assert date_of(second) == "2026-01-02 10:00"
    second.write_status(finished_at="")
    os.utime(second.path / "status.json", (1, 1))
    assert date_of(second).startswith("19")
    second.finish()
    assert date_of(second)[:4] == time.strftime("%Y")


def test_part_of_a_name_ends_at_a_hyphen(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    seventy = workspace.open_run(RECIPE.override({"seed": 70}), digest_of(data="e"))
    with pytest.raises(ValueError, match="no run or study 'lenet-s7'"):
        locate("lenet-s7", tmp_path)
    seven = workspace.open_run(RECIPE.override({"seed": 7}), digest_of(data="f"))
    assert locate("lenet-s7", tmp_path) == seven
    assert locate("s70", tmp_path) == seventy
    workspace.write_study("compare-lenet-s70", "compare", [], "")
    assert locate("s7", tmp_path) == seven


@pytest.mark.parametrize("name", ["metrics.jsonl", "data.json", "environment.json"])
def test_json_nested_too_deeply_is_reported_as_damaged(tmp_path: Path, name: str) -> None:
    run = Workspace(tmp_path).open_run(RECIPE, digest_of())
    (run.path / name).write_text(100_000 * "[" + "\n")
    with pytest.raises(ValueError, match=f"{name} is damaged"):
        getattr(run, name.partition(".")[0])


def test_toml_nested_too_deeply_is_reported_as_damaged(tmp_path: Path) -> None:
    study = Workspace(tmp_path).write_study("s", "compare", [], "")
    (study.path / "study.toml").write_text("a = " + 3000 * "[" + 3000 * "]")
    with pytest.raises(ValueError, match=r"study.toml is damaged"):
        study.contents  # noqa: B018 (it reads)


def test_error_about_a_missing_run_of_a_study_names_the_run(tmp_path: Path) -> None:
    run = Workspace(tmp_path).open_run(RECIPE, digest_of())
    study = Workspace(tmp_path).write_study("s", "compare", [Member("lenet", 42, run)], "")
    run.path.rename(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=rf"^run {run.name} of .*studies/s is missing"):
        study.members  # noqa: B018 (it reads)


@pytest.mark.parametrize("name", ["status.json", "scores.json"])
def test_error_about_a_damaged_file_of_a_run_advises_to_delete_the_folder(tmp_path: Path, name: str) -> None:
    run = Workspace(tmp_path).open_run(RECIPE, digest_of())
    (run.path / name).write_text("{")
    with pytest.raises(ValueError, match=rf"{name} is damaged.*; delete the folder to train it again"):
        run.status if name == "status.json" else run.scores  # noqa: B018 (they read)


def test_a_run_that_another_process_has_just_created_is_not_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(tmp_path)
    run = workspace.open_run(RECIPE, digest_of())
    run.write_status(state="interrupted")
    before = (run.path / "status.json").read_bytes()
    lock = run.lock()
    assert lock is not None
    monkeypatch.setattr(Workspace, "find", lambda self, fingerprint: None)  # before the other process wrote
    monkeypatch.setattr(runs, "CREATION_SECONDS", 0.1)

    assert workspace.open_run(RECIPE, digest_of()).path == run.path

    assert (run.path / "status.json").read_bytes() == before
    lock.release()


def test_runs_studies_and_workspaces_stay_valid_after_a_change_of_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run, workspace = fake_run(Path("work")), Workspace("work")
    study = workspace.write_study("one", "compare", [Member("lenet", 42, run)], "convoy compare")
    assert repr(run) == f"Run('work/runs/{run.name}')"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    assert run.scores["test"].n == Run(tmp_path / "work/runs" / run.name).scores["test"].n
    assert repr(run) == f"Run('{tmp_path}/work/runs/{run.name}')"
    assert [member.run.recipe.label for member in study.members] == ["lenet"]
    assert [each.name for each in workspace.runs()] == [run.name]
    assert [each.name for each in workspace.studies()] == ["one"]


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="needs permissions of Unix")
def test_a_workspace_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    workspace, user = Workspace(tmp_path), os.geteuid()
    for name in ("runs", "studies"):
        (tmp_path / name).mkdir(mode=0)
    if user == 0:  # root can read all folders
        os.seteuid(65534)
    try:
        for folders in (workspace.runs(), workspace.studies()):
            with pytest.raises(PermissionError):
                list(folders)
    finally:
        os.seteuid(user)


def test_the_error_of_a_folder_that_cannot_be_created_names_it(tmp_path: Path) -> None:
    (tmp_path / "runs").symlink_to(tmp_path / "deleted")
    with pytest.raises(ValueError, match=f"{tmp_path / 'runs'}: "):
        Workspace(tmp_path).folder("runs", "lenet-s42")

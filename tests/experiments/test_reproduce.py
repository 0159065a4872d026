"""The reproduction of a published experiment on small images: complete, partial, interrupted, archived."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.experiments.small_digits import EXPERIMENT, PUBLISHED, again, found

from convoy import api
from convoy import archive as archives
from convoy.agreement import Reason, Verdict
from convoy.experiments import kinds
from convoy.experiments.claims import Reduction
from convoy.experiments.experiment import Settings, load
from convoy.experiments.reproduction import words
from convoy.experiments.reproduction.archived import ArchivedReproduction
from convoy.experiments.reproduction.finding import FaultResult, FaultVerdict
from convoy.experiments.reproduction.scope import Scope
from convoy.experiments.verdicts import FalseVerdicts
from convoy.experiments.words import reason_text
from convoy.runs import Run, Study, Workspace
from convoy.stats import Estimate, mean_of
from convoy.studies import findings
from convoy.studies.session import Session


def fault(study: Study, name: str) -> FaultResult:
    return next(result for result in found(study).faults if result.name == name)


def runs_in(study: Study) -> set[str]:
    return {run.name for run in Workspace(study.path.parents[1]).runs()}


def test_published_numbers_are_listed_next_to_both_protocols(complete: Study) -> None:
    model = found(complete).models[0]
    published, corrected = (side.values["test_accuracy"] for side in (model.as_published, model.corrected))

    assert model.published == {"test_accuracy": 0.99, "parameters": 1234}
    assert isinstance(published, Estimate)
    assert isinstance(corrected, Estimate)
    assert published.n == corrected.n == 2
    assert model.difference["test_accuracy"].mean == pytest.approx(published.mean - corrected.mean)


def test_a_model_that_is_not_trained_has_its_parameters_counted(complete: Study) -> None:
    trained, counted = found(complete).models

    assert counted.runs == ()
    assert counted.corrected.values == {"parameters": trained.corrected.values["parameters"]}
    assert type(counted.corrected.values["parameters"]) is type(trained.corrected.values["parameters"]) is int


def test_a_fault_that_changes_no_bit_has_no_effect(complete: Study) -> None:
    result = fault(complete, "test_opened_at_each_best")

    assert (result.verdict, result.same_bits) == (FaultVerdict.NO_CHANGE, True)
    assert result.effect is not None
    assert result.effect.n == 2


def test_a_fault_has_an_effect_with_an_interval_over_pairs_of_runs(complete: Study) -> None:
    result = fault(complete, "softmax_before_loss")

    assert result.effect is not None
    assert result.with_ is not None
    assert result.without is not None
    assert result.effect.mean == pytest.approx(result.with_.mean - result.without.mean)
    assert result.effect.span[0] < result.effect.mean < result.effect.span[1]
    assert result.p_holm is not None


def test_the_fault_of_one_seed_is_the_spread_over_several(complete: Study) -> None:
    result = fault(complete, "one_seed")
    assert [spread.n for spread in result.spreads] == [2]
    assert result.verdict is FaultVerdict.NO_INTERVAL


def test_claims_have_a_verdict_and_parts_their_own_study(complete: Study) -> None:
    finding = found(complete)

    assert [(claim.id, claim.protocol) for claim in finding.claims] == [("norm", "as_published"), ("norm", "corrected")]
    assert finding.false_verdicts == FalseVerdicts(tests=2, expected=0.1)
    (part,) = finding.parts
    assert part.accuracy == kinds.finding_of(Study(complete.path / part.study)).accuracy
    assert finding.complete


def test_finding_read_from_its_file_is_equal(complete: Study) -> None:
    finding, written = found(complete), complete.finding_json
    findings.write(complete, finding)
    assert complete.finding_json == written


def test_runs_that_several_parts_need_are_trained_once(complete: Study) -> None:
    """2 seeds each of: published, corrected, one fault (the other two use the same runs), a claim's other side under
    each protocol; and 2 folds."""
    assert len(runs_in(complete)) == 2 + 2 + 4 + 2 * 2 + 2


def test_the_report_shows_title_notes_and_faults(complete: Study) -> None:
    page = (complete.path / "report.html").read_text()

    for expected in ("Small digits", "The report has a note", "bit-identical"):
        assert expected in page


def test_the_markdown_of_the_report_has_no_bold_that_is_empty(complete: Study) -> None:
    assert "****" not in (complete.path / "report.md").read_text()


def test_a_second_call_trains_nothing_and_has_the_same_finding(small_digits: Path, complete: Study) -> None:
    before, runs = complete.finding_json, runs_in(complete)
    openings = (complete.path.parents[1] / "test_openings.json").read_text()

    study = again(small_digits, complete.path.parents[1])

    assert study.finding_json == before
    assert runs_in(study) == runs
    assert (study.path.parents[1] / "test_openings.json").read_text() == openings


def test_with_an_archive_nothing_is_trained_and_the_finding_is_the_same(
    small_digits: Path, archive: Path, complete: Study, tmp_path: Path
) -> None:
    study = again(small_digits, tmp_path, archive=archive)

    for part in ("models", "faults", "claims", "parts"):
        assert study.finding_json[part] == complete.finding_json[part], part
    assert all(run.is_archived for run in Workspace(tmp_path).runs())
    assert not (tmp_path / "test_openings.json").exists()


def test_claims_are_judged_with_all_archived_seeds_of_the_published_scale(
    small_digits: Path, archive: Path, complete: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "packaged", lambda: archive.parent)
    reduced = Reduction(about="one seed of 50 images", limit=50, seeds=1)
    read = load(str(small_digits))
    read = read.model_copy(update={"claim": (read.claim[0].model_copy(update={"reduced": reduced}),)})

    found = ArchivedReproduction(read, Settings(only=("claims",)), Session(tmp_path), stage=lambda names: None).run()  # type: ignore[arg-type, return-value]

    assert kinds.finding_of(found.study).claims == kinds.finding_of(complete).claims
    assert {claim.n for claim in kinds.finding_of(found.study).claims} == {2}


def test_archived_runs_are_small_and_contain_no_images(archive: Path, complete: Study) -> None:
    folders = [path.parent for path in archive.glob("*/recipe.toml")]

    assert len(folders) == len(runs_in(complete))
    assert all(sum(file.stat().st_size for file in folder.iterdir()) < 40 * 1024 for folder in folders)
    assert not list(archive.rglob("gallery.npz"))


def stopping_after(count: int) -> Callable[[], Any]:
    """Replaces process.interruptible: reports Ctrl-C at the given check."""
    looks = iter(range(10**9))

    @contextmanager
    def interruptible() -> Iterator[Callable[[], bool]]:
        yield lambda: next(looks) >= count

    return interruptible


def stopping_with_runs(folder: Path, count: int) -> Callable[[], Any]:
    """Replaces process.interruptible: reports Ctrl-C from the time when `count` runs are finished."""

    @contextmanager
    def interruptible() -> Iterator[Callable[[], bool]]:
        yield lambda: sum(Run(path.parent).finished for path in folder.glob("runs/*/recipe.toml")) >= count

    return interruptible


@pytest.mark.usefixtures("words_alone")
@pytest.mark.parametrize("count", [3, 25])
def test_an_interrupted_reproduction_has_a_report_and_resumes_to_the_same_finding(
    small_digits: Path, complete: Study, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr("convoy.api.session.interruptible", stopping_after(count))
        with pytest.raises(api.Stopped, match=r"run the same command again .*html"):
            again(small_digits, out, with_page=count > 3)
    stopped = Study(out / "studies" / complete.name)
    left = found(stopped).left
    begun = runs_in(stopped)
    for run in Workspace(trained).runs():
        if run.name not in begun:  # trained without an interruption in `complete`
            shutil.copytree(run.path, out / "runs" / run.name, copy_function=os.link)

    study = again(small_digits, out)

    assert left
    assert (stopped.path / "report.html").is_file() == (count > 3)
    assert found(study).complete
    for part in ("faults", "claims", "parts"):
        assert timeless(study.finding_json[part]) == timeless(complete.finding_json[part]), part


def timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: timeless(inner) for key, inner in value.items() if "seconds" not in key}
    return [timeless(inner) for inner in value] if isinstance(value, list) else value


def test_only_the_requested_parts_are_run_and_the_others_are_listed(small_digits: Path, trained: Path) -> None:
    study = again(small_digits, trained, only=["claims"], seeds=1)

    assert found(study).claims
    assert found(study).left == ("models", "faults", "crossval")


def test_models_of_several_calls_are_in_one_finding(small_digits: Path, tmp_path: Path) -> None:
    folder = tmp_path / "two"
    shutil.copytree(small_digits.parent, folder)
    (folder / "larger.toml").write_text('extends = "corrected.toml"\n[train]\nbatch_size = 32\n')
    second = '[[model]]\nlabel = "larger"\ncorrected = "larger.toml"\nseeds = 1\n'
    text = EXPERIMENT.replace('[[model]]\nlabel = "larger"\ncorrected = "corrected.toml"\nseeds = 0\n', second)
    (folder / "experiment.toml").write_text(text)
    arguments = {"out": tmp_path / "out", "only": ["models"], "protocol": "corrected", "epochs": 1}

    first = again(folder / "experiment.toml", models=["larger"], **arguments)
    begun = runs_in(first), found(first).left
    both = again(folder / "experiment.toml", models=["net"], **arguments)

    assert (len(begun[0]), begun[1]) == (1, ("faults", "claims", "crossval", "net"))
    assert [len(model.corrected.runs) for model in found(both).models] == [2, 1]
    assert found(both).left == ("faults", "claims", "crossval")


def test_runs_of_claims_that_are_also_runs_of_a_model_are_reported_by_the_first_call(
    small_digits: Path, tmp_path: Path
) -> None:
    arguments = {"only": ["models", "claims"], "models": ["larger"], "seeds": 1, "limit": 100, "epochs": 1}

    first = again(small_digits, tmp_path, **arguments).finding_json
    study = again(small_digits, tmp_path, **arguments)

    assert [len(model.runs) for model in found(study).models] == [2, 0]  # one under each protocol
    assert study.finding_json == first


def test_parts_of_several_calls_are_in_one_finding(small_digits: Path, trained: Path) -> None:
    again(small_digits, trained, only=["claims"], seeds=1)

    study = again(small_digits, trained, only=["models"], seeds=1)

    assert found(study).claims
    assert found(study).models[0].corrected.runs


def test_results_of_an_earlier_call_are_dropped_if_a_recipe_has_changed(
    small_digits: Path, tmp_path: Path, trained: Path
) -> None:
    changed = Path(shutil.copytree(small_digits.parent, tmp_path / small_digits.parent.name)) / small_digits.name
    again(changed, trained, only=["claims"], seeds=1)
    (changed.parent / "published.toml").write_text(PUBLISHED + "[optim]\nlr = 2e-3\n")

    study = again(changed, trained, only=["models"], seeds=1)

    assert found(study).claims == ()
    assert found(study).left == ("faults", "claims", "crossval")


def test_a_part_is_recomputed_from_full_runs_and_kept_for_archived_runs(
    small_digits: Path, archive: Path, complete: Study, tmp_path: Path
) -> None:
    part = found(complete).parts[0].study
    made = json.loads((complete.path / part / "finding.json").read_text())
    for folder in (tmp_path / "complete", tmp_path / "archived"):
        if folder.name == "complete":
            shutil.copytree(complete.path.parents[1], folder)
        else:
            archives.restore(archive, folder)
        path = folder / "studies" / complete.name / part / "finding.json"
        path.write_text(json.dumps({**made, "accuracy": {**made["accuracy"], "mean": 0.123}}))

        study = again(small_digits, folder, only=["crossval"])

        accuracy = found(study).parts[0].accuracy
        assert accuracy is not None
        assert (accuracy.mean == 0.123) == (folder.name == "archived")


def test_fresh_trains_a_run_that_several_parts_share_once(
    small_digits: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cleared: list[str] = []
    monkeypatch.setattr(Run, "clear", lambda run, clear=Run.clear: (cleared.append(run.name), clear(run)))

    study = again(small_digits, trained, only=["models", "faults"], seeds=1, fresh=True)

    assert sorted(cleared) == sorted(member.run.name for member in study.members)


def test_a_key_set_by_the_command_applies_to_every_run_and_is_listed(small_digits: Path, tmp_path: Path) -> None:
    options = {"only": ["models", "claims"], "protocol": "corrected", "seeds": 1}
    study = again(small_digits, tmp_path, set={"train.batch_size": 100}, **options)
    assert {member.run.recipe.train.batch_size for member in study.members} == {100}
    assert study.name == f"reproduce-{small_digits.parent.name}-corrected-seeds1-batch_size-100"
    assert found(study).options.changed == (("train.batch_size", 100),)
    assert words.changes(found(study).options) == "train.batch_size = 100"


def test_keys_set_by_the_command_do_not_change_what_a_claim_compares(small_digits: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(small_digits.parent, tmp_path / "small"))
    text = EXPERIMENT.replace('"model.options.norm" = "none"', '"train.batch_size" = 32')
    (folder / "experiment.toml").write_text(text)

    options = {"only": ["claims"], "protocol": "corrected", "seeds": 1}
    study = again(folder / "experiment.toml", tmp_path, set={"train.batch_size": 100}, **options)

    assert {member.run.recipe.train.batch_size for member in study.members} == {100, 32}


def test_an_interrupted_part_is_listed_until_it_is_finished(
    small_digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {"protocol": "corrected", "seeds": 1, "epochs": 1}
    with monkeypatch.context() as patch:
        patch.setattr("convoy.api.session.interruptible", stopping_with_runs(tmp_path, 2))
        with pytest.raises(api.Stopped):
            again(small_digits, tmp_path, only=["faults"], **few)
    (folder,) = (tmp_path / "studies").iterdir()
    assert 0 < len(found(Study(folder)).faults) < 3

    study = again(small_digits, tmp_path, only=["claims"], **few)
    assert found(study).left == ("models", "faults", "crossval")

    study = again(small_digits, tmp_path, only=["faults"], **few)
    assert found(study).left == ("models", "crossval")


def test_a_deleted_run_is_retrained(small_digits: Path, trained: Path) -> None:
    first = again(small_digits, trained, only=["models"], seeds=1)
    shutil.rmtree(first.members[0].run.path)

    study = again(small_digits, trained, only=["models"], seeds=1)

    assert [member.run.name for member in study.members] == [member.run.name for member in first.members]


def test_each_protocol_has_the_parameters_of_its_own_network(small_digits: Path, tmp_path: Path, trained: Path) -> None:
    folder = Path(shutil.copytree(small_digits.parent, tmp_path / "small"))
    (folder / "published.toml").write_text('extends = "corrected.toml"\n[model.options]\nnorm = "none"\n')

    model = found(again(folder / "experiment.toml", trained, only=["crossval"])).models[0]

    published, corrected = (mean_of(side.values["parameters"]) for side in (model.as_published, model.corrected))
    assert corrected - published == 2 * (16 + 32)  # of two batch norms


def test_a_quick_try_first_states_that_it_is_not_evidence(small_digits: Path, tmp_path: Path) -> None:
    study = again(small_digits, tmp_path, quick=True, seeds=1, limit=100, only=["models"])

    assert study.name == "reproduce-" + small_digits.parent.name + "-quick-seeds1-limit100"
    assert found(study).withheld is Reason.QUICK_TRY
    assert reason_text(Reason.QUICK_TRY) in kinds.sentence_of(study).partition(";")[0]
    assert words.quick_caveat() in kinds.caveats_of(study)


def test_claims_have_no_verdict_in_a_quick_try(small_digits: Path, tmp_path: Path) -> None:
    study = again(small_digits, tmp_path, quick=True, limit=100, only=["claims"], protocol="corrected")

    trained = [claim for claim in found(study).claims if claim.runs]
    assert trained
    assert {(claim.verdict, claim.withheld) for claim in trained} == {(Verdict.INCONCLUSIVE, Reason.QUICK_TRY)}


@pytest.mark.parametrize(("epochs", "withheld"), [(1, Reason.REDUCED), (2, None), (3, Reason.LONGER)])
def test_other_epochs_than_published_have_no_verdict(small_digits: Path, epochs: int, withheld: Reason | None) -> None:
    assert Scope(load(str(small_digits)), Settings(epochs=epochs)).withheld is withheld


def test_all_experiments_are_on_one_page(
    small_digits: Path, archive: Path, complete: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convoy.experiments.experiment.names", lambda: [str(small_digits)])

    study = again("all", tmp_path, archive=archive)

    (entry,) = kinds.finding_of(study).experiments
    assert entry.finding == found(complete)
    assert (study.path / entry.study / "finding.json").is_file()
    assert kinds.sentence_of(study).startswith("1 of 1 experiments")


@pytest.mark.usefixtures("words_alone")
def test_missing_data_are_reported_and_the_reproduction_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convoy.evaluation.cost.LATENCY_SECONDS", 0.01)  # for which large networks are timed
    monkeypatch.setattr("convoy.profiling.measure.LARGE_BATCH", 1)
    first = load("cifar-course").model[0].label
    study = again("cifar-course", tmp_path, models=[first], with_page=True)

    assert "get cifar10" in found(study).no_data
    assert found(study).models[0].as_published.values == {"parameters": 1_147_466}
    assert not runs_in(study)
    assert "get cifar10" in (study.path / "report.html").read_text()


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({}, "reproduce-all"),
        ({"quick": True, "seeds": 1}, "reproduce-all-quick-seeds1"),
        (
            {"full_size": True, "protocol": "corrected", "limit": 50, "epochs": 1},
            "reproduce-all-full-size-corrected-limit50-epochs1",
        ),
    ],
)
def test_a_reduced_reproduction_has_its_own_folder(options: dict[str, Any], name: str) -> None:
    assert Settings(**options).name("all") == name


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"experiment": "tensor-mnst"}, "did you mean 'tensor-mnist'"),
        ({"experiment": "none.toml"}, "experiment file 'none.toml' does not exist"),
        ({"experiment": "tensor-mnist", "only": ["fault"]}, "did you mean 'faults'"),
        ({"experiment": "classics-mnist", "models": ["lenett"]}, "did you mean 'lenet'"),
        ({"experiment": "tensor-mnist", "data": "cifar10=."}, "tensor-mnist accepts mnist=PATH"),
        ({"experiment": "tensor-mnist", "seeds": 0}, "seeds = 0: must be at least 1"),
        ({"experiment": "tensor-mnist", "set": {"train.epochs": 2}}, "--set cannot change train.epochs: use --epochs"),
        ({"experiment": "tensor-mnist", "set": {"model.name": "lenet"}}, "the experiment sets it"),
        ({"experiment": "tensor-mnist", "set": {"optim.lrr": 1.0}}, "did you mean 'optim.lr'"),
    ],
)
def test_invalid_settings_are_a_one_line_error(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        again(out=tmp_path, **options)


def test_experiments_and_claims_connect_to_the_cluster_of_where(small_digits: Path, tmp_path: Path) -> None:
    quick = {"out": tmp_path / "out", "where": "dask:0", "show": False}
    with pytest.raises(ValueError, match="dask:0"):
        api.reproduce(small_digits, only="models", **quick)
    sides = {side: {"label": side, "recipe": "lenet", "set": {"seed": seed}} for seed, side in enumerate("ab")}
    claim = {"id": "x", "sentence": "X", "measure": "test_accuracy", "relation": "above", **sides}
    with pytest.raises(ValueError, match="dask:0"):
        api.check_claim(claim, seeds=1, set={"data.limit": 100}, **quick)

"""Checklists: their questions, and answers that follow from the run folders."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from convoy.recipe.faults import Aspect, Fault
from convoy.reporting.checklist import CHECKLISTS, items, write_checklist
from convoy.reporting.checklist.answers import Answer, Item
from convoy.runs import Run, Study, Workspace
from convoy.studies.kinds import about_of
from convoy.text import in_language
from fake_runs import DEFAULT, fake_run, fake_study

ANSWERS = {
    Aspect.TRAINING: ["5e"],
    Aspect.TRANSFORMATION: ["4c"],
    Aspect.LEFT_OUT: ["3e", "4a", "5c"],
    Aspect.SELECTION: ["5d"],
    Aspect.SEPARATION: ["6a"],
    Aspect.SCORING: ["5c", "7a"],
    Aspect.COST: ["5a"],
}
Call = Callable[..., tuple[int, str, str]]


def by_number(target: Run | Study, name: str) -> dict[str, Item]:
    return {item.number: item for item in items(target, name, about_of(target))}


def test_checklists_have_the_published_numbers() -> None:
    numbers = {name: [row.number for row in rows()] for name, rows in CHECKLISTS.items()}

    assert numbers["neurips"] == [str(number) for number in range(1, 17)]
    modules = {"1": "abc", "2": "abcde", "3": "abcdefg", "4": "abc", "5": "abcdef", "6": "abc", "7": "abc", "8": "ab"}
    assert numbers["reforms"] == [f"{module}{letter}" for module, letters in modules.items() for letter in letters]


def test_one_run_has_no_seeds_tests_or_baselines_and_a_comparison_has_them(tmp_path: Path) -> None:
    run, study = by_number(fake_run(tmp_path), "reforms"), by_number(fake_study(tmp_path, seeds=(42, 43)), "reforms")

    assert [run[number].answer for number in ("5f", "7b", "7c")] == [Answer.NO, Answer.PARTLY, Answer.NOT_APPLICABLE]
    assert [study[number].answer for number in ("5f", "7b", "7c")] == [Answer.YES] * 3
    assert {run[number].answer for number in ("1a", "3a", "5b", "8b")} == {Answer.AUTHOR}


def test_selection_on_the_test_set_and_repeated_openings_are_reported(tmp_path: Path) -> None:
    clean = fake_run(tmp_path / "clean")
    faulty = fake_run(tmp_path / "faulty", setting=replace(DEFAULT, faults=("selection_on_test",)))

    assert [by_number(clean, "reforms")[number].answer for number in ("5d", "6a")] == [Answer.YES] * 2
    assert [by_number(faulty, "reforms")[number].answer for number in ("5d", "6a")] == [Answer.NO] * 2
    for _opening in range(3):
        Workspace(tmp_path / "clean").record_opening("test", clean.name)
    assert by_number(clean, "reforms")["6a"].answer is Answer.PARTLY


@pytest.mark.parametrize("fault", sorted(Fault))
def test_each_fault_is_mentioned_in_the_answers_that_it_affects(tmp_path: Path, fault: Fault) -> None:
    run = fake_run(tmp_path, setting=replace(DEFAULT, faults=(fault.value,)))
    (run.path / "data.json").write_text(json.dumps(asdict(run.data) | {"selection": "validation"}))
    answers = by_number(Run(run.path), "reforms")
    mentioning = {number for number, item in answers.items() if fault.flag in item.evidence}
    affected = {number for aspect in fault.info.affects for number in ANSWERS[aspect]}

    assert mentioning == affected
    assert affected
    is_separate = Aspect.SEPARATION not in fault.info.affects
    assert (answers["6a"].answer is Answer.YES) == is_separate


def test_every_link_of_a_page_exists(tmp_path: Path) -> None:
    for target in (fake_run(tmp_path), fake_study(tmp_path, seeds=(42, 43))):
        for name in CHECKLISTS:
            page = write_checklist(target, name)
            assert page.with_suffix(".md").is_file()
            assert page.read_text(encoding="utf-8").count('data-label="Answer"') == len(
                items(target, name)
            )  # on a phone
            links = {item.link for item in items(target, name)} - {"", "report.html"}
            assert links
            assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.usefixtures("words_alone")
def test_a_checklist_may_have_been_edited_and_is_not_replaced(call: Call, tmp_path: Path) -> None:
    run = fake_run(tmp_path / "out")
    code, out, err = call("report", run.path, "--checklist", "neurips", "--json")
    assert code == 0, err
    assert len(json.loads(out)["checklist"]) == 16
    assert (run.path / "report.html").is_file()

    assert call("report", run.path, "--checklist", "neurips")[0] == 2
    assert call("report", run.path, "--checklist", "neurips", "--overwrite")[0] == 0
    assert call("report", run.path, "--checklist", "neurips", "--format", "md")[0] == 2
    assert call("report", run.path, "--checklist", "reform")[0] == 2


def test_questions_and_answers_are_in_the_language_of_the_reader(tmp_path: Path) -> None:
    run = fake_run(tmp_path)
    with in_language("zh_CN"):
        chinese = items(run, "reforms")

    assert chinese
    assert all(not item.question.isascii() for item in chinese)


@pytest.mark.parametrize("name", CHECKLISTS)
def test_an_unfinished_run_has_a_checklist(tmp_path: Path, name: str) -> None:
    run = fake_run(tmp_path)
    run.write_status(state="interrupted")
    (run.path / "cost.json").unlink()

    found = by_number(run, name)
    assert Answer.PARTLY in {item.answer for item in found.values()}

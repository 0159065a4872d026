"""The contract of all kinds of studies, which are the folders of convoy.studies and convoy.experiments."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, fields, is_dataclass
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.forks import start_command

import convoy
from convoy import api
from convoy.cli.main import main
from convoy.experiments import kinds
from convoy.reporting import canvas
from convoy.runs import Study, Workspace
from convoy.studies import findings
from convoy.studies.kinds import KINDS
from convoy.verifying.result import State
from convoy.verifying.study import verify_finding

every_kind = pytest.mark.parametrize("kind", kinds.KINDS)
RECIPE = """
[model]
name = "lenet"
[data]
name = "mnist"
limit = 120
[train]
epochs = 1
"""
EXPERIMENT = """
title = "Few images"
about = "For tests"
data = "mnist"
seeds = 1
notes = ["The report has a note"]

[[model]]
label = "net"
corrected = "net.toml"
"""


class Studies(NamedTuple):
    """One study of each kind, and what its command printed. Its figures were drawn, but not saved, which is slow."""

    workspace: Workspace
    printed: dict[str, str]


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studies]:
    out, printed = tmp_path_factory.mktemp("kinds"), {}
    (out / "net.toml").write_text(RECIPE)
    (out / "experiment.toml").write_text(EXPERIMENT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("convoy.experiments.experiment.names", lambda: [str(out / "experiment.toml")])
        with pytest.MonkeyPatch.context() as no_files:
            no_files.setattr(canvas, "draw_chart", lambda chart, look: (str(canvas._all_panels(chart, look)), b""))
            no_files.setattr(canvas, "inline_panels", lambda chart, svg, prefix: [])
            no_files.setattr("convoy.reporting.render.save_gallery", lambda gallery, folder: None)
            no_files.setattr("convoy.reporting.scene3d.save_scene", lambda block, folder: None)
            no_files.setattr("convoy.reporting.scene3d.static_uri", lambda block: "")
            for kind in kinds.KINDS:
                with redirect_stdout(StringIO()) as output:
                    main(command(kind, out))
                printed[kind] = output.getvalue()
        yield Studies(Workspace(out), printed)


@pytest.fixture
def workspace(studies: Studies) -> Workspace:
    return studies.workspace


def command(kind: str, out: Path) -> list[str]:
    """The example of the kind's --help, on a few images and small networks; for experiments a small one."""
    if kind in ("reproduction", "reproductions"):
        return ["reproduce", "all" if kind == "reproductions" else str(out / "experiment.toml"), "--out", str(out)]
    example = re.search("Example: `convoy (.+)`", getattr(api, kind).__doc__)
    assert example is not None
    words = example[1]
    for option, fewer in {"--resolution": 3, "--epochs": 2, "--seeds": 2, "--folds": 2}.items():
        words = re.sub(rf"{option} [{fewer + 1}-9]", f"{option} {fewer}", words)
    words = words.replace("two_conv_cnn", "fast_mnist_cnn")
    if kind == "ladder":  # has the most runs
        words = words.replace("--seeds 2", "--seeds 1")
    return [*words.split(), "--limit", "120", "--out", str(out)]


def study_of(workspace: Workspace, kind: str) -> Study:
    return next(study for study in workspace.studies() if study.contents.kind == kind)


def without_costs(finding: Any) -> Any:
    """Removes seconds and bytes, which differ if a run is retrained."""
    if isinstance(finding, dict):
        return {name: without_costs(value) for name, value in finding.items() if name != "cost"}
    return [without_costs(each) for each in finding] if isinstance(finding, list) else finding


@contextmanager
def changed(study: Study, values: dict[str, Any]) -> Iterator[None]:
    """Yields the study with other values in its finding.json, and restores the file."""
    path, before = study.path / "finding.json", (study.path / "finding.json").read_bytes()
    path.write_text(json.dumps({**study.finding_json, **values}))
    try:
        yield
    finally:
        path.write_bytes(before)


@every_kind
def test_command_ends_with_the_path_of_its_report(kind: str, studies: Studies) -> None:
    page = Path(studies.printed[kind].splitlines()[-1])
    assert page.parent == study_of(studies.workspace, kind).path
    assert page.is_file()


@pytest.mark.parametrize("kind", [kind for kind in kinds.KINDS if kind not in KINDS])  # others: the resumed study
@pytest.mark.usefixtures("words_alone")
def test_json_output_is_one_object_with_the_finding(kind: str, workspace: Workspace, capfd) -> None:
    main([*command(kind, workspace.path), "--json"])
    assert json.loads(capfd.readouterr().out)["finding"] == study_of(workspace, kind).finding_json


@every_kind
def test_finding_read_from_its_file_is_equal(kind: str, workspace: Workspace) -> None:
    study = study_of(workspace, kind)
    finding = kinds.finding_of(study)
    assert is_dataclass(finding)
    assert finding.kind == kind
    written = study.finding_json
    findings.write(study, finding)
    assert study.finding_json == written == json.loads(json.dumps(asdict(finding)))


@pytest.mark.parametrize("kind", KINDS)
def test_finding_follows_from_its_runs_and_a_forged_one_is_found(kind: str, workspace: Workspace) -> None:
    study = study_of(workspace, kind)
    assert verify_finding(study).state is State.AGREES
    finding = study.finding_json
    name = "accuracy" if "accuracy" in finding else next(name for name, value in finding.items() if _has_float(value))
    with changed(study, {name: _forged(finding[name])}):
        assert verify_finding(study).state is State.DIFFERS


def _has_float(value: Any) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return isinstance(value, float) or any(map(_has_float, inner))


def _forged(value: Any) -> Any:
    """Adds 0.001 to the first float."""
    if isinstance(value, float):
        return value + 0.001
    place = next(key for key in (value if isinstance(value, dict) else range(len(value))) if _has_float(value[key]))
    if isinstance(value, dict):
        return value | {place: _forged(value[place])}
    return [*value[:place], _forged(value[place]), *value[place + 1 :]]


@every_kind
def test_study_and_finding_show_the_sentence_in_a_notebook(kind: str, workspace: Workspace) -> None:
    study = study_of(workspace, kind)
    finding = kinds.finding_of(study)
    start = kinds.sentence_of(study).split()[0]
    for result in (study, finding):
        assert start in result._repr_html_()


@every_kind
@pytest.mark.parametrize("change", [{"schema": 99}, {"kind": "other"}])
def test_finding_of_another_version_or_kind_is_one_clear_error(kind: str, change, workspace: Workspace) -> None:
    study = study_of(workspace, kind)
    with changed(study, change), pytest.raises(ValueError, match="expected"):
        kinds.finding_of(study)


@pytest.mark.parametrize("line", ["", 'kind = "other"'])
def test_study_without_a_known_kind_is_one_clear_error(line: str, tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(line)
    with pytest.raises(ValueError, match="expected a study of kind compare"):
        kinds.finding_of(Study(tmp_path))


@every_kind
def test_damaged_finding_names_the_field(kind: str, workspace: Workspace) -> None:
    study = study_of(workspace, kind)
    first = fields(kinds.finding_of(study))[0].name
    with changed(study, {first: {"not": "this"}}), pytest.raises(ValueError, match=f"damaged: {first}"):
        kinds.finding_of(study)


@every_kind
def test_page_has_the_sentence_and_each_caveat(kind: str, workspace: Workspace) -> None:
    study = study_of(workspace, kind)
    text = (study.path / "report.md").read_text(encoding="utf-8").replace("\\", "")
    assert kinds.sentence_of(study).split(":")[0] in text
    assert kinds.caveats_of(study) or kind == "reproductions"  # whose caveats are in the report of each


@every_kind
def test_listed_with_its_sentence(kind: str, workspace: Workspace, capfd) -> None:
    main(["list", "studies", "--out", str(workspace.path), "--json"])
    rows = json.loads(capfd.readouterr().out)["studies"]
    assert kinds.sentence_of(study_of(workspace, kind)) in [row["sentence"] for row in rows]


@pytest.mark.parametrize("kind", KINDS)  # a reproduction writes what it has so far
@pytest.mark.usefixtures("words_alone")
def test_resumed_study_has_the_same_finding_as_an_uninterrupted_one_and_prints_it_as_json(
    kind: str, workspace: Workspace, tmp_path: Path, capfd
) -> None:
    process = start_command(tmp_path, command(kind, tmp_path))
    while not any("epoch 1/" in path.read_text(encoding="utf-8") for path in tmp_path.glob("out.command")):
        assert process.is_alive()
        time.sleep(0.02)
    process.kill()
    process.join()
    assert not list(tmp_path.glob("studies/*/finding.json"))
    (tmp_path / "runs").mkdir(exist_ok=True)
    interrupted = {run.name for run in Workspace(tmp_path).runs()}
    for run in workspace.runs():  # finished ones, which are not trained again here
        if run.name not in interrupted:
            shutil.copytree(run.path, tmp_path / "runs" / run.name, copy_function=os.link)  # atomic writes replace
    capfd.readouterr()
    main([*command(kind, tmp_path), "--json"])
    printed = json.loads(capfd.readouterr().out)["finding"]
    first, second = (study_of(out, kind).finding_json for out in (Workspace(tmp_path), workspace))
    assert printed == first
    assert without_costs(first) == without_costs(second)


@every_kind
def test_study_of_the_python_interface_has_the_typed_finding(kind: str, workspace: Workspace) -> None:
    study = study_of(workspace, kind)
    (again,) = [each for each in convoy.Workspace(workspace.path).studies() if each.name == study.name]
    assert again.finding == convoy.Study(study.path).finding == kinds.finding_of(study)

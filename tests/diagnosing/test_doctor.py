"""The command, and the quick checks before each training run."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import Call
from tests.fake_runs import Setting, fake_run
from tests.training.test_run_one import finish

import convoy
from convoy import diagnosing
from convoy.diagnosing.evidence import name_of
from convoy.diagnosing.table import CHECKS
from convoy.files import read_json
from convoy.recipe import Recipe
from convoy.text import in_language

RETURNS = "return self.head(self.drop(self.body(x).flatten(1)))"


def changed(net: Path, line: str) -> None:
    net.write_text(net.read_text().replace(RETURNS, line))


def test_error_is_printed_with_exit_code_1(call: Call, net: Path, stripes: Path) -> None:
    changed(net, f"{RETURNS}.softmax(1)")
    code, out, _ = call("doctor", net, "--data", stripes, "--quick")
    assert code == 1
    assert "softmax_before_loss" in out
    assert "lowest possible loss 0.5514" in out


def test_json_has_findings_and_checks(call: Call, net: Path, stripes: Path) -> None:
    code, out, _ = call("doctor", net, "--data", stripes, "--only", "network,cannot_overfit", "--json")
    diagnosis = json.loads(out)
    assert (code, diagnosis["findings"]) == (0, [])
    assert diagnosis["checks"] == [check.name for check in CHECKS if check.topic == "network"] + ["cannot_overfit"]


def test_network_that_cannot_be_built_is_a_finding(call: Call, net: Path, stripes: Path) -> None:
    net.write_text(net.read_text().replace("nn.Conv2d", "nn.Conv5d"))
    code, out, _ = call("doctor", net, "--data", stripes, "--json")
    [finding] = json.loads(out)["findings"]
    assert (code, finding["check"]) == (1, "cannot_train")
    assert "net.py" in finding["problem"]


@pytest.mark.parametrize("arguments", [("lenot",), ("lenet", "--only", "dead_unit"), ("lenet", "--data", "mnits")])
def test_unknown_name_is_an_error_of_the_command(call: Call, arguments: tuple[str, ...]) -> None:
    assert call("doctor", *arguments)[0] == 2


def test_error_about_an_unknown_topic_names_the_closest_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^unknown check 'networks'; did you mean 'network'\?$"):
        convoy.doctor("lenet", only="networks", out=tmp_path)


@pytest.mark.parametrize(("name", "meant"), [("lenett", "lenet"), ("fast-mnst", "fast-mnist"), ("mnits", "mnist")])
def test_unknown_name_has_close_matches(call: Call, name: str, meant: str) -> None:
    code, _out, error = call("doctor", name)
    assert code == 2
    assert repr(meant) in error


def test_of_several_matching_runs_the_newest_is_examined(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for epochs in (1, 2):
        fake_run(tmp_path, setting=Setting(epochs=epochs))

    diagnosis = convoy.doctor("lenet-s42", out=tmp_path, only="results", quick=True)

    assert "noise_floor" in diagnosis.checks
    assert "matches 2 runs" in capsys.readouterr().err


def test_without_an_argument_the_machine_is_examined(tmp_path: Path) -> None:
    diagnosis = convoy.doctor(out=tmp_path)
    assert "free_disk" in diagnosis.checks
    assert not diagnosis.has_errors


def test_findings_before_training_are_printed_and_stored(
    tiny: Callable[..., Recipe], net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net.write_text(net.read_text().replace("self.drop =", "self.extra = nn.Linear(3, 3)\n        self.drop ="))
    run = finish(tiny(("train.epochs", 1)), tmp_path)
    [finding] = read_json(run.path / "doctor.json")["findings"]
    assert (finding["check"], finding["evidence"]["parameters"]) == ("unused_parameters", 12)
    assert finding["problem"] in (run.path / "log.txt").read_text()
    assert run.flags == []  # a warning

    monkeypatch.setenv("CONVOY_DOCTOR", "off")
    other = finish(tiny(("train.epochs", 1), ("seed", 3)), tmp_path)
    assert read_json(other.path / "doctor.json")["findings"] == []


def test_outputs_that_are_not_finite_are_stored(tiny: Callable[..., Recipe], net: Path, tmp_path: Path) -> None:
    changed(net, f"{RETURNS} * float('nan')")
    run = finish(tiny(("train.epochs", 1)), tmp_path)
    [finding] = read_json(run.path / "doctor.json")["findings"]
    assert (finding["check"], finding["evidence"]["loss"]) == ("non_finite_values", "nan")


def test_quick_checks_do_not_change_the_bits_of_a_run(
    tiny: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny(("train.epochs", 1), ("model.name", "fast_mnist_cnn"), ("data.size", 20))
    checked = finish(recipe, tmp_path / "checked")
    monkeypatch.setenv("CONVOY_DOCTOR", "off")
    unchecked = finish(recipe, tmp_path / "unchecked")
    assert (checked.steps["loss"] == unchecked.steps["loss"]).all()


def test_every_number_that_a_check_measures_has_a_name() -> None:
    calls = [
        node
        for path in Path(diagnosing.__file__).parent.glob("checks/*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Finding"
    ]
    tables = [node for call in calls for node in call.args[3:4] if isinstance(node, ast.Dict)]
    keys = {ast.literal_eval(key) for table in tables for key in table.keys if isinstance(key, ast.Constant)}
    assert len(keys) > 50
    with in_language("zh_CN"):
        assert {key for key in keys if name_of(key) == key.replace("_", " ")} == {"torch"}  # in every language

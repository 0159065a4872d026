"""`convoy profile` and `convoy.profile`: pages, tables, JSON and errors."""

from __future__ import annotations

import json
import re
import sys
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import pytest
from tests.conftest import Call

import convoy
from convoy.cli.app import print_table
from convoy.evaluation import cost
from convoy.profiling import measure
from convoy.profiling.result import PROFILES

FAILING = """
from torch import nn


class Failing(nn.Module):
    def __init__(self, in_chans, num_classes):
        super().__init__()
        self.conv = nn.Conv2d(in_chans, 4, 3)
        self.head = nn.Linear(4, num_classes)

    def forward(self, x):
        assert len(x) > 1, "needs two images"
        return self.head(self.conv(x).mean((2, 3)))
"""


@pytest.fixture
def call(call: Call, monkeypatch: pytest.MonkeyPatch) -> Call:
    """The command `profile`, with short measurements."""
    monkeypatch.setattr(cost, "LATENCY_SECONDS", 0.02)
    monkeypatch.setattr(measure, "LARGE_BATCH", 4)
    return partial(call, "profile")


def test_profile_prints_layers_totals_and_the_path_of_its_page(call: Call) -> None:
    code, out, err = call("lenet")
    assert code == 0, err
    assert re.search(r"features.0 +Conv2d 5×5 +6×24×24 +156 +172,800\n", out)
    markdown = Path("convoy-runs/profiles/lenet/profile.md").read_text()
    for size in ("0.003 MiB", "0.028 MiB", "0.169 MiB", "0.201 MiB"):
        assert size in out
        assert size in markdown
    for count in ("44,426", "563,280", "282 kMACs"):
        assert count in out
    page = Path(out.splitlines()[-1])
    assert page.is_file()
    assert page.parts == ("convoy-runs", "profiles", "lenet", "profile.html")


def test_page_loads_no_external_resources_and_its_pictures_are_valid_xml(call: Call) -> None:
    call("lenet", "mnist_resnet", "--save", "page")
    html = Path("page/profile.html").read_text()
    assert "http:" not in html
    assert "https:" not in html
    assert "<script" not in html
    for path in Path("page/figures").glob("*.svg"):
        ElementTree.parse(path)
    assert {path.name for path in Path("page/figures").iterdir()} == {
        "architecture-1.svg", "architecture-2.svg", "cost.png", "cost.svg"
    }  # fmt: skip
    links = re.findall(r"\]\((figures/[^)]+)\)", Path("page/profile.md").read_text())
    assert links
    assert all((Path("page") / name).is_file() for name in links)


def test_a_table_that_is_wider_than_the_terminal_continues_in_another(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm")
    row = {"Model": "lenet", "Kind": "a network from long ago", "Parameters": "44,426", "Throughput": "9,291"}
    print_table([row | {"Latency": "0.185"}], ["Model", "Kind"])
    out = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out)
    assert max(map(len, out.splitlines())) <= 40
    assert out.count("Model") == out.count("lenet") == 2
    assert all(out.count(name) == 1 for name in ("Parameters", "44,426", "Throughput", "9,291", "Latency", "0.185"))


def test_json_is_one_object_and_data_set_the_image_shape(call: Call, net: Path, stripes: Path) -> None:
    code, out, err = call(f"{net}:Tiny", "--data", stripes, "--json", "--model.options.width", "6")
    assert code == 0, err
    (profile,) = json.loads(out)["profiles"]
    assert (profile["input"], profile["classes"]) == ([1, 12, 12], 3)
    assert profile["parameters"] == 6 * 9 + 6 + 12 + 6 * 36 * 3 + 3
    assert profile["flops_per_image"] == 2 * profile["macs_per_image"] == 2 * (12 * 12 * 6 * 9 + 6 * 36 * 3)
    assert sum(layer["parameters"] for layer in profile["layers"]) == profile["parameters"]


def test_recipe_defines_data_and_batch_size(call: Call) -> None:
    code, out, err = call("tensor-mnist/corrected", "--json")
    assert code == 0, err
    (profile,) = json.loads(out)["profiles"]
    assert (profile["model"], profile["input"]) == ("two_conv_cnn", [1, 28, 28])
    assert profile["training_bytes"]["batch_size"] == 16


def test_profiles_from_python_equal_those_in_profile_json(tmp_path: Path) -> None:
    result = convoy.profile("lenet", input="3x32x32", classes=7, save=tmp_path)
    stored = json.loads((tmp_path / "profile.json").read_text())
    assert result.page == tmp_path / "profile.html"
    assert PROFILES.validate_python(stored["profiles"]) == result.profiles
    assert stored["profiles"][0]["training_bytes"]["kept"] == result.profiles[0].training.optimizer_state
    assert stored["profiles"][0]["input"] == [3, 32, 32]


def test_published_flaw_and_unused_parameters_are_reported(call: Call) -> None:
    _, out, _ = call("mnist_resnet_published", "--save", "page")
    assert "32->128" in out
    assert "37,120" in Path("page/profile.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "at least one model"),
        (["lenett"], "did you mean 'lenet'"),
        (["lenet", "lenet"], "'lenet'"),
        (["lenet", "--input", "28"], "input '28': expected channels x height x width, such as 1x28x28"),
        (["lenet", "--input", "1x28x30"], "28 x 30"),
        (["lenet", "--input", "1x12x12"], "images of 12 pixels are too small for lenet"),
        (["lenet", "--input", "1x28x28", "--data", "mnist"], "'1x28x28'"),
        (["lenet", "--classes", "7", "--data", "mnist"], "classes = 7"),
        (["lenet", "--classes", "0"], "classes = 0: expected at least 1"),
        (["lenet", "--data", "mnits"], "did you mean 'mnist'"),
        (["lenet", "--model.options.activation", "tanhh"], "tanhh"),
        (["absent.py:Net"], "absent.py"),
        (["lenet", "--device", "tpu"], "compute.device = 'tpu'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_invalid_arguments_are_one_line_errors(call: Call, tmp_path: Path, arguments: list[str], message: str) -> None:
    code, out, err = call(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert not any(tmp_path.iterdir())


def test_error_in_a_users_network_is_one_line_with_file_and_line(call: Call, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(FAILING)
    code, _, err = call("net.py:Failing")
    assert code == 2
    assert "net.py:12: Failing" in err
    assert "AssertionError" in err
    assert err.count("\n") == 1

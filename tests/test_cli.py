from __future__ import annotations

import errno
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch
from PIL import Image
from tests.conftest import Call
from tests.data.photographed_digits import photograph
from tests.fake_runs import Setting, fake_run
from tests.forks import run_code, start_command

import convoy
from convoy import api, cli
from convoy.files import write_json
from convoy.recipe import Recipe
from convoy.runs import Workspace
from convoy.studies import findings
from convoy.studies.seeds.finding import Source, conclude


@pytest.fixture
def quick(stripes: Path, net: Path) -> list[str]:
    return [f"{net}:Tiny", "--data", str(stripes), "--epochs", "1", "--optim.lr", "0.01", "--compute.threads", "1"]


def test_version_equals_the_version_of_the_installed_distribution(call: Call) -> None:
    code, out, _ = call("--version")
    assert (code, out.strip()) == (0, version("convoy-ml"))


@pytest.mark.usefixtures("words_alone")
def test_train_test_predict_report_and_list_work_together(call: Call, quick: list[str], tmp_path: Path) -> None:
    code, out, err = call("train", *quick)
    assert code == 0, err
    assert "test accuracy" in out
    (run,) = Workspace("convoy-runs").runs()
    assert (run.path / "log.txt").read_text().count("epoch 1/1") == 1

    code, out, _ = call("test", run.name, "--samples", 9, "--save", "predictions.png")
    assert code == 0
    assert f"{run.scores['test'].accuracy:.2%}" in out
    assert Image.open("predictions.png").width > 300

    Image.fromarray(np.zeros((12, 12), np.uint8)).save("black.png")
    code, out, _ = call("predict", run.name, "black.png", "--json")
    (prediction,) = json.loads(out)["predictions"]
    assert code == 0
    assert prediction["predicted"] in run.data.classes
    assert 0 < prediction["confidence"] <= 1

    code, out, _ = call("report", run.name)
    assert code == 0
    assert Path(out.strip()).name == "report.html"

    code, out, _ = call("list", "runs", "--json")
    assert json.loads(out)["runs"][0]["name"] == run.name


def test_predict_prints_the_position_of_a_digit_in_a_photograph(call: Call, tmp_path: Path) -> None:
    call("train", "lenet", "--data", "mnist", "--limit", 100, "--epochs", 1)
    (run,) = Workspace("convoy-runs").runs()
    photograph(3, np.random.default_rng(0)).save("three.png")

    code, out, err = call("predict", run.name, "three.png")
    assert code == 0, err
    assert len(out.splitlines()) == 3  # the flag of a limited run, the prediction, where the digit is

    found = json.loads(call("predict", run.name, "three.png", "--json")[1])["predictions"][0]["ink"]
    (prediction,) = convoy.predict(run, "three.png")
    assert prediction.ink is not None
    assert prediction.ink._asdict() == found
    assert f"{found['right'] - found['left']} x {found['bottom'] - found['top']}" in out

    code, out, _ = call("predict", run.name, "three.png", "--raw")
    assert (code, len(out.splitlines())) == (0, 2)
    assert convoy.predict(run, "three.png", raw=True)[0].ink is None

    photograph(4, np.random.default_rng(2), 7).save("two.png")
    code, out, _ = call("predict", run.name, "two.png")
    assert "2 characters found" in out.splitlines()[-1]


@pytest.mark.usefixtures("words_alone")
def test_last_line_of_compare_is_the_path_of_its_report(call: Call, quick: list[str]) -> None:
    model, *rest = quick
    code, out, err = call("compare", model, "lenet", *rest, "--data.size", 28, "--limit", 60, "--seeds", 2)
    assert code == 0, err
    page = Path(out.splitlines()[-1])
    assert page.name == "report.html"
    assert page.is_file()
    (study,) = Workspace("convoy-runs").studies()
    assert [(member.label, member.seed) for member in study.members] == [
        ("Tiny", 42),
        ("Tiny", 43),
        ("lenet", 42),
        ("lenet", 43),
    ]


def test_json_output_is_one_object(call: Call, quick: list[str]) -> None:
    code, out, _ = call("train", *quick, "--json")
    answer = json.loads(out)
    assert code == 0
    assert answer["state"] == "finished"
    assert 0 <= answer["scores"]["test"]["accuracy"] <= 1


def test_the_output_of_a_users_network_is_not_in_the_json(call: Call, quick: list[str], net: Path) -> None:
    net.write_text("print('hello')\n" + net.read_text())
    code, out, _ = call("train", *quick, "--json")
    assert code == 0
    assert json.loads(out)["state"] == "finished"


def test_runs_scored_on_different_parts_are_listed_together(call: Call) -> None:
    fake_run(Path("convoy-runs"), "lenet")
    run = fake_run(Path("convoy-runs"), "two_conv_cnn")
    (run.path / "predictions.npz").unlink()
    write_json(
        run.path / "scores.json",
        {part: {"accuracy": 0.5, "correct": 1, "n": 2} for part in ("validation", "fold", "train")},
    )
    code, out, _ = call("list", "runs")
    assert code == 0
    header, _, scored_on_both = out.splitlines()
    assert header.split() == [
        "name",
        "data",
        "epochs",
        "date",
        "test",
        "validation",
        "fold",
        "state",
    ]  # no run has a flag
    assert scored_on_both.count("50.00%") == 2  # the training accuracy is not listed


def test_studies_are_listed_with_their_findings(call: Call) -> None:
    workspace = Workspace("convoy-runs")
    for name, kind in (("broken", "compare"), ("stopped", "search"), ("complete", "seeds")):
        study = workspace.write_study(name, kind, [], "")
    accuracies = dict.fromkeys(Source, (0.97, 0.98))
    scored = {"label": "lenet", "data": "mnist", "part": "test", "images": 100, "differences": ()}
    findings.write(study, conclude(accuracies, **scored))
    Path("convoy-runs/studies/broken/study.toml").write_text("kind =")

    code, out, _ = call("list", "studies")

    header, broken, complete, stopped = out.splitlines()
    assert code == 0
    assert header.split() == ["name", "kind", "sentence"]
    assert "study.toml" in broken
    assert stopped.split()[:2] == ["stopped", "search"]
    assert "97.00 to 98.00 %" in complete


def test_recipes_are_listed_with_the_short_names_that_commands_take(call: Call) -> None:
    recipes = json.loads(call("list", "recipes", "--json")[1])["recipes"]
    short = {row["name"]: row["short_name"] for row in recipes}

    assert short["defaults/fast-mnist"] == "fast-mnist"
    assert short["classics-mnist/lenet"] is None  # a model's name
    assert short["tensor-mnist/corrected"] is None  # resnet-mnist has one, too


def test_experiments_are_listed_by_the_name_that_reproduce_takes(call: Call) -> None:
    names = [line.split()[0] for line in call("list", "experiments")[1].splitlines()[1:]]
    assert names == ["cifar-course", "classics-mnist", "course-mnist", "resnet-mnist", "tensor-mnist"]


@pytest.mark.usefixtures("words_alone")
def test_an_ambiguous_name_is_the_newest_run_except_for_test(
    call: Call, quick: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    for seed in (2, 1):
        call("train", *quick, "--seed", seed)
    one, two = Workspace("convoy-runs").runs()
    Image.fromarray(np.zeros((12, 12), np.uint8)).save("black.png")
    for command in (["predict", "Tiny", "black.png"], ["report", "Tiny"], ["export", "Tiny", "--to", "pth", "a.pth"]):
        code, out, err = call(*command)
        assert code == 0, err
        assert err.index(f"{one.name} (stripes.npz, 1 epoch, ") < err.index(two.name)
        assert two.name not in out
    for command in (["test", "Tiny"], ["train", *quick, "--init", "Tiny"]):
        code, _, err = call(*command)
        assert code == 2
        assert err.index(f"{one.name} (stripes.npz, 1 epoch, ") < err.index(two.name)
    assert convoy.load("Tiny", trust_code=True).classes == tuple(one.data.classes)
    assert one.name in capfd.readouterr().err


def test_listed_flags_are_shortened_except_in_json(call: Call) -> None:
    flag = "long " * 40 + "flag"
    run = fake_run(Path("convoy-runs"), setting=Setting(flags=(flag, flag)))
    line = call("list", "runs")[1].splitlines()[1]
    assert line.split()[:3] == [run.name, "mnist", "5"]
    assert 2 * " long" in line
    assert len(line) < 200
    (row,) = json.loads(call("list", "runs", "--json")[1])["runs"]
    assert row["warnings"] == f"{flag}; {flag}"
    assert (row["data"], row["epochs"]) == ("mnist", 5)


@pytest.mark.usefixtures("words_alone")
def test_short_flags_set_the_keys_of_a_recipe(call: Call, quick: list[str]) -> None:
    short = ["--batch-size", 60, "--optimizer", "adam", "--weight-decay", "0.1", "--no-augment"]
    code, _, err = call("train", *quick, *short)
    assert code == 0, err
    (run,) = Workspace("convoy-runs").runs()
    recipe = run.recipe
    assert (recipe.train.batch_size, recipe.optim.name, recipe.optim.weight_decay) == (60, "adam", 0.1)
    assert recipe.data.augment == ()
    model, *rest = quick
    keys = {"train.batch_size": 60, "optim.name": "adam", "optim.weight_decay": 0.1, "data.augment": "[]"}
    call("train", model, *rest, *(part for key, value in keys.items() for part in (f"--{key}", value)))
    assert [each.name for each in Workspace("convoy-runs").runs()] == [run.name]
    code, _, err = call("compare", model, *rest[:-4], "--lr", 0.01, "--compute.threads", 1, *short, "--seeds", 1)
    assert code == 0, err
    assert [each.name for each in Workspace("convoy-runs").runs()] == [run.name]


@pytest.mark.parametrize("kind", ["runs", "studies"])
def test_an_empty_list_prints_a_sentence(call: Call, kind: str) -> None:
    assert call("list", kind, "--out", "nowhere")[:2] == (0, f"no {kind} in nowhere\n")
    assert json.loads(call("list", kind, "--out", "nowhere", "--json")[1]) == {kind: []}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("status.json", "{}"),
        ("status.json", "[]"),
        ("scores.json", '{"test": {}}'),
        ("scores.json", "[1]"),
        ("scores.json", "{"),
    ],
)
def test_damaged_run_is_listed_as_damaged_and_named_by_the_others(call: Call, name: str, content: str) -> None:
    run = fake_run(Path("convoy-runs"))
    (run.path / name).write_text(content)
    code, out, _ = call("list", "runs", "--json")
    assert code == 0
    assert json.loads(out)["runs"][0]["state"] == "damaged"
    code, _, err = call("report", run.name)
    assert code == 2
    assert f"{name} is damaged" in err
    assert err.count("\n") == 1


def test_a_run_with_an_unreadable_file_does_not_prevent_the_list_of_the_others(call: Call) -> None:
    run, other = fake_run(Path("convoy-runs"), seed=1), fake_run(Path("convoy-runs"), seed=2)
    (run.path / "status.json").unlink()
    (run.path / "status.json").mkdir()
    code, out, _ = call("list", "runs", "--json")
    assert code == 0
    states = {row["name"]: row["state"] for row in json.loads(out)["runs"]}
    assert states == {run.name: "damaged", other.name: "finished"}


def test_training_continues_after_the_reader_of_its_output_has_exited(quick: list[str], tmp_path: Path) -> None:
    unread = "import os, sys\nreader, writer = os.pipe()\nos.close(reader)\nsys.stdout = open(writer, 'w')\n"
    run_code(tmp_path, f"{unread}from convoy.cli import main\nmain({['train', *quick]})", [])
    (run,) = Workspace(tmp_path / "convoy-runs").runs()
    assert run.finished


def test_weights_of_another_training_loop_are_scored(call: Call, quick: list[str], stripes: Path) -> None:
    call("train", *quick)
    (run,) = Workspace("convoy-runs").runs()
    from convoy.checkpoint import load_weights

    torch.save(load_weights(run.path / "best.safetensors"), "weights.pth")
    code, out, err = call("test", "weights.pth", "--model", quick[0], "--data", stripes, "--json")
    assert code == 0, err
    assert json.loads(out)["accuracy"] == run.scores["test"].accuracy


def test_a_test_part_split_from_the_training_images_needs_the_same_split(call: Call, net: Path, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    images, labels = draw.integers(0, 256, (300, 12, 12), dtype=np.uint8), np.arange(300) % 3
    np.savez(tmp_path / "own.npz", x_train=images, y_train=labels)
    call("train", f"{net}:Tiny", "--data", "own.npz", "--epochs", "1", "--compute.threads", "1")
    (run,) = Workspace("convoy-runs").runs()

    same, other = call("test", run.name, "--json"), call("test", run.name, "--data.split.seed", "7")
    np.savez(tmp_path / "own.npz", x_train=images[:280], y_train=labels[:280])
    fewer = call("test", run.name)

    assert json.loads(same[1])["accuracy"] == run.scores["test"].accuracy
    assert (other[0], fewer[0]) == (2, 2)
    assert "the split" in other[2]
    assert "changed since" in fewer[2]


def test_equal_models_or_data_are_an_error(call: Call) -> None:
    for arguments in (["lenet", "--model.name", "vgg_a"], ["lenet", "--data", "mnist", "--data.name", "digits"]):
        code, _, err = call("train", *arguments)
        assert code == 2
        assert "is set twice" in err


def test_code_of_a_foreign_run_folder_runs_only_when_trusted(
    call: Call, quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call("train", *quick)
    (run,) = Workspace("convoy-runs").runs()
    Image.fromarray(np.zeros((12, 12), np.uint8)).save("black.png")
    assert call("predict", run.name, "black.png")[0] == 0
    monkeypatch.setenv("CONVOY_CACHE", str(tmp_path / "cache-of-another-machine"))
    code, _, err = call("predict", run.name, "black.png")
    assert code == 2
    assert "--trust-code" in err
    assert call("predict", run.name, "black.png", "--trust-code")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "lenett"], "did you mean 'lenet'"),
        (["train", "fastmnist"], "did you mean 'fast-mnist'"),
        (["train", "lenet", "--data", "mnits"], "did you mean 'mnist'"),
        (["train", "lenet", "--data", ""], "data.name = ''"),
        (["train", "lenet", "--optim.lrr", "1"], "did you mean 'optim.lr'"),
        (["train", "lenet", "--optim.lr", "fast"], "optim.lr = 'fast'"),
        (["train", "lenet", "--optim.lr"], "--optim.lr needs a value"),
        (["train", "lenet", "--set", "optim.lr"], "--set needs key=value"),
        (["train", "lenet", "--epochs", "0"], "train.epochs = 0"),
        (["train", "lenet", "--epochs", "x"], "--epochs"),
        (["train", "lenet", "--epochs", "2.5"], "--epochs: expected an integer, got '2.5'"),
        (["compare", "lenet", "--seeds", "2.5"], "--seeds: expected an integer, got '2.5'"),
        (["train", "lenet", "--optim.lr", "1", "--optim.lr", "2"], "optim.lr is set twice: to 1 and to 2"),
        (["train", "lenet", "--epochs", "1", "--set", "train.epochs=2"], "train.epochs is set twice: to 1 and to 2"),
        (["compare", "lenet", "--vary", "optim.lr=1,2", "--optim.lr", "3"], "optim.lr cannot be both set (to 3"),
        (["search", "lenet", "--grid", "train.epochs=1,2", "--epochs", "3"], "train.epochs cannot be both set"),
        (["landscape", "lenet", "--lrs", "0.1,0.2", "--optim.lr", "3"], "optim.lr cannot be both set (to 3"),
        (["landscape", "lenet", "--lrs", "-1,1e-3"], "learning rate -1: "),
        (
            ["search", "lenet", "--limit", "60", "--grid", "model.options.activation=relu,x"],
            "at model.options.activation = x: ",
        ),
        (["crossval", "lenet", "--limit", "60", "--folds", "100000"], "more folds than the"),
        (["train", "lenet", "--limit", "60", "--out", "/proc/x"], "--out /proc/x: "),
        (["train", "lenet", "--device", "tpu"], "compute.device = 'tpu'"),
        (["train", "tensor-mnist/correctd"], "did you mean 'tensor-mnist/corrected'"),
        (["train", "absent.toml"], "absent.toml"),
        (["train", "lenet", "--init", "absent.pth"], "absent.pth"),
        (["train", "lenet", "--init", "nothing"], "no run or study 'nothing'"),
        (["train", "lenet", "--limit", "100", "--model.freeze", "featurs.*"], "model.freeze"),
        (["train", "lenet", "--limit", "100", "--model.freeze", "*"], "nothing is left to train"),
        (["train", "lenet", "--train.accumulate", "0"], "train.accumulate = 0"),
        (["train", "lenet", "--train.accumulate", "500"], "train.accumulate = 500 exceeds train.batch_size = 128"),
        (
            ["train", "resnet18", "--limit", "60", "--train.batch_size", "1", "--data.size", "8"],
            "batch norm",
        ),
        (["train", "lenet", "--data.augment", "mixup"], "data.augment = 'mixup'"),
        (["train", "lenet", "--train.class_weights", "1,2"], "a list"),
        (["train", "lenet", "--init", ""], "init is empty"),
        (["train", "lenet", "--lr", "fast"], "--lr"),
        (["train", "lenet", "--lr", "-1"], "optim.lr = -1"),
        (["train", "lenet", "--lr", "1", "--lr", "2"], "--lr is given more than once"),
        (["train", "lenet", "--lr", "1", "--optim.lr", "2"], "optim.lr is set twice: to 1.0 and to 2"),
        (["train", "lenet", "--batch-size", "2.5"], "--batch-size: expected an integer, got '2.5'"),
        (["train", "lenet", "--optimizer", "adamm"], "did you mean 'adam'"),
        (["train", "lenet", "--no-augment", "--data.augment", "[]"], "data.augment is set twice"),
        (["lr-range", "lenet", "--lr", "0.1"], "sets optim.lr itself"),
        (["search", "lenet", "--grid", "optim.lr=1,2", "--lr", "3"], "optim.lr cannot be both set"),
        (["train", "lenet", "--learning_rate", "1"], "use --lr"),
        (["compare", "lenet", "--bs=64"], "use --batch-size"),
        (["train", "lenet", "--momentum", "0.9"], "use --optim.momentum"),
        (["profile", "lenet", "--optimizer", "sgd"], "use --optim.name"),
        (["train", "lenet", "--gpu"], "--device cuda"),
        (["train", "lenet", "--resume"], "--fresh"),
        (["train", "lenet", "-v"], "log.txt"),
        (["train", "lenet", "--epocs", "3"], "--epochs"),
        (["report", "nothing", "--gpu"], "--gpu"),
        (["train", "lenet", "--init", __file__], ".safetensors"),
        (["train", "lenet", "--limit", "60", "--out", __file__], "--out "),
        (["train", "mobilenet_v2", "--limit", "60", "--model.options.width_mult", "1e12"], "out of memory"),
        (["lr-range", "lenet", "--optim.lr", "0.1"], "sets optim.lr itself"),
        (["lr-range", "lenet", "--limit", "100", "--from", "1", "--to", "0.1"], "0 < lowest < highest"),
        (["train", "absent.py:Net"], "absent.py"),
        (["train", "lenet", "--model.options.activation", "tanhh"], "tanhh"),
        (["train"], "convoy train fast-mnist"),
        (["search", "--grid", "lr=1e-3,1e-2"], "expected a model or recipe"),
        (["train", "lenet", "extra"], "unexpected argument 'extra'"),
        (["compare"], "at least one recipe"),
        (["compare", "lenet", "lenet"], "'lenet'"),
        (["compare", "lenet", "defaults/mnist", "--limit", "100"], "'lenet' and 'defaults/mnist' are the same recipe"),
        (["compare", "lenet", "vgg99"], "unknown model or recipe 'vgg99'"),
        (["test", "absent.pth", "--model", "lenet"], "absent.pth"),
        (["predict", "nothing", "x.png"], "no run or study 'nothing'"),
        (["report", "nothing"], "no run or study 'nothing'"),
        (["report", "nothing", "--optim.lr", "1"], "--optim.lr"),
        (["trian", "lenet"], "train"),
        (["list", "modles"], "models"),
        (["list"], "KIND is missing; known: models, data"),
        (["train", "lenet", "--compute.threads", "100000"], "compute.threads = 100000"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_invalid_arguments_are_one_line_errors(call: Call, tmp_path: Path, arguments: list[str], said: str) -> None:
    code, out, err = call(*arguments)
    assert code == 2
    assert said in err
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "nett.py"], "did you mean 'net.py'?"),
        (["train", "lenet", "--data", "./my_image"], "did you mean 'my_images'?"),
        (["train", "lenet", "--data", "my_image"], "did you mean 'my_images'?"),
        (["train", "recpie.toml"], "did you mean 'recipe.toml'?"),
        (["predict", "lenet", "my_images/fuor.png"], "did you mean 'my_images/four.png'?"),
        (["report", "lenett"], "did you mean 'lenet'"),
        (["report", "fastmnist-s42"], "did you mean 'fast_mnist_cnn-s42'"),
        (["report", "xyz"], "convoy list runs"),
    ],
)
def test_a_missing_file_or_run_gets_the_closest_name(
    call: Call, tmp_path: Path, arguments: list[str], said: str
) -> None:
    (tmp_path / "my_images").mkdir()
    for name in ("net.py", "recipe.toml", "my_images/four.png"):
        (tmp_path / name).touch()
    for model in ("lenet", "fast_mnist_cnn"):
        fake_run(Path("convoy-runs"), model)
    code, _, err = call(*arguments)
    assert (code, err.count("\n")) == (2, 1)
    assert said in err


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("net.pth", "load_state_dict"),
        ("net.pt2", "torch.export.load"),
        ("net.onnx", "onnxruntime"),
        ("a.png", "a file"),
    ],
)
def test_error_for_a_file_instead_of_a_run_says_what_to_use(call: Call, tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / name).touch()
    code, _, err = call("predict", name, "a.png")
    assert (code, err.count("\n")) == (2, 1)
    assert said in err
    with pytest.raises(ValueError, match="expected a run"):
        convoy.load(tmp_path / name)


BROKEN = {
    "raises in init": (
        "class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n        1 / 0",
        "net.py",
    ),
    "raises in forward": (
        "class Net(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.a = nn.Linear(3, 3)\n"
        "    def forward(self, x):\n        return self.a(x)",
        "net.py",
    ),
    "wrong shape": (
        "class Net(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.a = nn.Linear(144, 7)\n"
        "    def forward(self, x):\n        return self.a(x.flatten(1))",
        "[2, 7]",
    ),
    "fails in training": (
        "class Net(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.a = nn.Linear(144, 3)\n"
        "    def forward(self, x):\n        return self.a(x.flatten(1)) if not self.training else self.b",
        "net.py:7",
    ),
    "frozen": (
        "class Net(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n"
        "        self.a = nn.Linear(144, 3).requires_grad_(False)\n"
        "    def forward(self, x):\n        return self.a(x.flatten(1))",
        "frozen",
    ),
    "syntax": ("class Net(:", "net.py"),
    "import": ("import nosuchmodule\nclass Net(nn.Module): pass", "nosuchmodule"),
    "other name": ("class Nat(nn.Module): pass", "did you mean 'Nat'"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_error_in_a_users_class_is_one_line(call: Call, tmp_path: Path, stripes: Path, case: str) -> None:
    source, said = BROKEN[case]
    (tmp_path / "net.py").write_text(f"from torch import nn\n{source}\n")
    code, _, err = call("train", "net.py:Net", "--data", stripes)
    assert code == 2
    assert said in err
    assert err.count("\n") == 1
    assert not (tmp_path / "convoy-runs").exists()


def test_error_in_a_users_network_late_in_training_is_one_line(call: Call, quick: list[str], net: Path) -> None:
    late = "        self.calls = getattr(self, 'calls', 0) + 1\n        assert self.calls < 5 or self.late\n"
    net.write_text(net.read_text().replace("    def forward(self, x):\n", "    def forward(self, x):\n" + late))
    code, _, err = call("train", *quick, "--train.batch_size", 60)
    assert code == 2
    assert "net.py:" in err
    assert "late" in err
    assert err.count("\n") == 1


def test_help_imports_neither_torch_nor_recipes() -> None:
    code = "import sys\nfrom convoy.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    check = "assert not (slow := {'torch', 'numpy', 'convoy.recipe'} & set(sys.modules)), f'imported: {slow}'"
    done = subprocess.run([sys.executable, "-c", code + check], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "compare" in done.stdout


def test_packed_tensors_equal_their_source(call: Call, stripes: Path) -> None:
    code, out, err = call("data", "pack", "tensors", "--data", stripes, "--to", "tensors")
    assert code == 0, err
    assert sorted(Path(line).name for line in out.split()) == [
        "test_data.pth",
        "test_labels.pth",
        "train_data.pth",
        "train_labels.pth",
    ]
    from convoy.data import load

    assert np.array_equal(load("tensors").train.images, load(str(stripes)).train.images)


def interrupt_when(arguments: list[str], folder: Path, seen: str) -> tuple[list[str], int | None]:
    """Lines of a command that gets Ctrl-C once it has printed a line with `seen`, and its exit code."""
    process, out = start_command(folder, arguments), folder / "out.command"
    while not (out.is_file() and seen in out.read_text(encoding="utf-8")):
        assert process.is_alive()
        time.sleep(0.02)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGINT)
    process.join(timeout=300)
    outputs = [out, folder / "err.command"]
    lines = [line for path in outputs for line in path.read_text(encoding="utf-8").splitlines()]
    for path in outputs:
        path.unlink()
    return lines, process.exitcode


@pytest.mark.parametrize("verb", ["train", "compare"])
def test_ctrl_c_saves_the_run_and_the_same_command_resumes(quick: list[str], tmp_path: Path, verb: str) -> None:
    quick[quick.index("--epochs") + 1] = "4000"
    seeds = ["--seeds", "2"] if verb == "compare" else []
    command = [verb, *quick, *seeds]
    lines, code = interrupt_when([*command, "--fresh"], tmp_path, "epoch 3/")
    assert code == 130
    assert shlex.split(lines[-1].partition(": ")[2]) == ["convoy", *command]
    assert not any("Traceback" in line for line in lines)
    epochs = {run.name: len(run.metrics) for run in Workspace(tmp_path / "convoy-runs").runs()}
    interrupt_when(command, tmp_path, "epoch ")
    for run in Workspace(tmp_path / "convoy-runs").runs():
        assert run.state == "interrupted"
        assert "resuming Tiny" in (run.path / "log.txt").read_text()
        assert [line.epoch for line in run.metrics] == list(range(1, len(run.metrics) + 1))
        assert len(run.metrics) >= epochs[run.name]


def test_python_functions_have_the_results_of_the_commands(quick: list[str], stripes: Path, tmp_path: Path) -> None:
    recipe = Recipe.load("defaults/images")
    options = {
        "model": quick[0],
        "data": str(stripes),
        "epochs": 1,
        "set": {"optim.lr": 0.01},
        "out": tmp_path,
        "show": False,
    }
    run = convoy.train(recipe, **options)  # type: ignore[arg-type]
    assert run.finished
    assert run.scores["test"].n == 150
    again = convoy.train(recipe, **options)  # type: ignore[arg-type]
    assert again.path == run.path
    assert convoy.test(run, out=tmp_path).score.accuracy == run.scores["test"].accuracy


def test_recipes_of_one_model_are_compared_under_different_names(
    quick: list[str], stripes: Path, tmp_path: Path
) -> None:
    recipe = Recipe.load("defaults/images", [("model.name", quick[0]), ("data.name", str(stripes))])
    rates = {f"rate {rate}": recipe.override({"optim.lr": rate}) for rate in (0.001, 0.01)}
    study = convoy.compare(rates, seeds=1, epochs=1, out=tmp_path, show=False)
    assert [member.label for member in study.members] == ["rate 0.001", "rate 0.01"]


def test_fine_tuning_starts_from_a_run_by_its_name(call: Call, quick: list[str]) -> None:
    call("train", *quick)
    (first,) = Workspace("convoy-runs").runs()
    code, _, err = call("train", *quick, "--init", first.name, "--model.freeze", "body.*")
    assert code == 0, err
    assert sum(1 for _ in Workspace("convoy-runs").runs()) == 2


def test_part_of_a_name_refers_to_the_original_run_after_fine_tuning(call: Call, quick: list[str]) -> None:
    call("train", *quick)
    for _ in range(2):
        code, out, err = call("train", *quick, "--init", "Tiny-s42")
        assert code == 0, err
    assert "already trained" in out


def test_public_names_exist_and_load_lazily() -> None:
    for name in convoy.__all__:
        assert getattr(convoy, name) is not None
    assert set(api.__all__) <= set(convoy.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        convoy.nonsense  # noqa: B018


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_lines_on_a_terminal_fit_into_80_columns(
    quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pty

    for name in ("lenet", "a-model-with-a-long-name"):
        fake_run(tmp_path / "convoy-runs", name)
    commands = (["train", *quick], ["test", "Tiny-s42"], ["list", "runs"], ["list", "data"], ["profile", "lenet"])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("convoy.evaluation.cost.LATENCY_SECONDS", 0.02)
    for name, value in {"COLUMNS": "80", "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)
    ours, theirs = pty.openpty()
    output = bytearray()

    def read() -> None:
        with suppress(OSError):  # how Linux ends a pseudo-terminal
            while part := os.read(ours, 1 << 16):
                output.extend(part)

    reader = Thread(target=read)
    reader.start()
    with open(theirs, "w", buffering=1) as terminal, monkeypatch.context() as patch:
        for stream in ("stdout", "stderr"):
            patch.setattr(sys, stream, terminal)
        for command in commands:
            cli.main(command)
    reader.join()
    os.close(ours)
    lines = re.split("[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output.decode()))
    assert len(lines) > 40
    assert [line for line in lines if len(line) > 80] == []


def test_help_on_a_terminal_of_one_column_is_printed() -> None:
    command = [sys.executable, "-m", "convoy", "list", "--help"]  # a process, because a console keeps its width
    done = subprocess.run(command, env=os.environ | {"COLUMNS": "1"}, capture_output=True, text=True, check=True)
    assert max(map(len, done.stdout.splitlines())) == 20


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/a/b.svg"), "/a/b.svg: No space left on device; free some"),
        (PermissionError(errno.EACCES, "Permission denied", "/a"), "/a: Permission denied; check the permissions"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error\n"),
        (OSError("Connection error"), "Connection error\n"),
    ],
)
def test_an_error_of_the_file_system_is_a_sentence_with_advice(
    call: Call, monkeypatch: pytest.MonkeyPatch, error: OSError, line: str
) -> None:
    def fail(*_arguments: object) -> None:
        raise error

    monkeypatch.setitem(cli.main.__globals__, "_run", fail)
    code, _out, err = call("list", "models")
    assert code == 2
    assert err.startswith(f"convoy: {line}")

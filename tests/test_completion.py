"""`convoy --install-completion` writes into HOME, and bash uses the script."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from convoy.cli import main
from convoy.recipe import Recipe


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def complete(home: Path, *words: str) -> list[str]:
    """Returns the completions of Tab in a real bash after these words; the last word is at the cursor."""
    program = '. "$HOME/.bashrc"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _convoy; printf "%s\\n" "${COMPREPLY[@]}"'
    command = ["bash", "--norc", "-c", program, "bash", "convoy", *words]
    environment = {"HOME": str(home), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_commands_flags_names_and_keys(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--install-completion", "--shell", "bash"])
    script = home / ".local" / "share" / "bash-completion" / "completions" / "convoy"
    printed = capsys.readouterr().out
    assert script.is_file()
    assert str(script) in printed
    assert str(home / ".bashrc") in printed

    assert complete(home, "comp") == ["compare"]
    assert complete(home, "data", "sh") == ["show"]
    assert complete(home, "train", "--ep") == ["--epochs"]
    assert complete(home, "train", "fast_m") == ["fast_mnist_cnn"]
    assert complete(home, "compare", "lenet", "classics-mnist/goo") == [
        "classics-mnist/googlenet",
        "classics-mnist/googlenet-published",
    ]
    assert complete(home, "train", "lenet", "--data", "fash") == ["fashion-mnist"]
    assert complete(home, "train", "lenet", "--set", "optim.moment") == ["optim.momentum="]
    assert complete(home, "train", "--train.batch") == ["--train.batch_size"]
    assert complete(home, "train", "--opti") == ["--optimizer", "--optim."]
    assert complete(home, "report", "--train.batch") == []
    assert complete(home, "reproduce", "tensor") == ["tensor-mnist"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_exactly_the_keys_of_a_recipe_and_is_fast(home: Path) -> None:
    main(["--install-completion", "--shell", "bash"])
    offered = {key.rstrip("=") for key in complete(home, "train", "--set", "train.")}
    assert {key for key in offered if key.count(".") == 1} == {
        f"train.{key}" for key in Recipe().train.model_dump() if key != "loss"
    }

    begin = os.times().children_user
    complete(home, "train", "--optim.")
    assert os.times().children_user - begin < 0.3  # CPU seconds


@pytest.mark.parametrize(
    ("shell", "path"),
    [("zsh", ".zsh/completions/_cyclopts_convoy"), ("fish", ".config/fish/completions/convoy.fish")],
)
def test_scripts_of_other_shells_have_the_commands(shell: str, path: str, home: Path) -> None:
    main(["--install-completion", "--shell", shell])
    assert "crossval" in (home / path).read_text(encoding="utf-8")


def test_a_second_installation_adds_no_second_line(home: Path) -> None:
    for _ in range(2):
        main(["--install-completion", "--shell", "bash"])
    assert (home / ".bashrc").read_text(encoding="utf-8").count("completions/convoy") == 2  # the test and the command

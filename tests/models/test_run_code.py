"""The code of a run folder: only the bytes that this machine trained with are executed."""

from __future__ import annotations

import inspect
import py_compile
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

import convoy
from convoy.evaluation.load import network_of
from convoy.models.run_code import RunCode
from convoy.recipe import Recipe
from convoy.runs import Run

NET = """
from base import Base
from blocks.norms import SCALE
from .layers import Head


class Net(Base):
    def __init__(self, in_chans, num_classes, image_size):
        super().__init__()
        self.head = Head(in_chans * image_size * image_size, num_classes)

    def forward(self, x):
        from .late import flat
        return SCALE * self.head(flat(x))
"""
FILES = {
    "net.py": NET,
    "base.py": "from torch import nn\n\nclass Base(nn.Module):\n    pass\n",
    "blocks/norms.py": "SCALE = 2\n",
    "layers.py": "from torch import nn\n\nclass Head(nn.Linear):\n    pass\n",
    "late.py": "def flat(x):\n    return x.flatten(1)\n",
}


@pytest.fixture
def run(tmp_path: Path, tiny: Callable[..., Recipe]) -> Run:
    folder = tmp_path / "mine"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    recipe = tiny(("model.name", f"{folder / 'net.py'}:Net"), ("train.epochs", 1))
    return convoy.train(recipe, out=tmp_path / "out", show=False)


@pytest.fixture
def payload(tmp_path: Path) -> Iterator[str]:
    """Python code that creates a file if it is executed; the test then fails."""
    marker = tmp_path / "executed"
    yield f"open({str(marker)!r}, 'w').close()\n"
    assert not marker.exists()


def compiled(text: str, target: Path) -> None:
    source = target.parent.parent / "payload.txt"
    source.write_text(text)
    target.parent.mkdir(parents=True, exist_ok=True)
    py_compile.compile(str(source), cfile=str(target), doraise=True)
    source.unlink()


def refused(run: Run, word: str, *, trust_code: bool = False) -> None:
    with pytest.raises(ValueError, match=word):
        network_of(run, trust_code=trust_code)


def test_own_code_with_local_modules_runs_without_trust(run: Run) -> None:
    network = network_of(run)
    assert network(torch.ones(1, 1, 12, 12)).shape == (1, 3)
    assert sorted(RunCode.read(run.path / "code").files) == sorted(FILES)
    assert "base" not in sys.modules
    assert "blocks" not in sys.modules


@pytest.mark.parametrize("name", ["base/__init__.pyc", "base.pyc", "__pycache__/base.cpython-311.pyc"])
def test_byte_code_is_an_error_and_not_executed(run: Run, payload: str, name: str) -> None:
    compiled(payload, run.path / "code" / name)
    refused(run, "pyc")
    refused(run, "pyc", trust_code=True)


@pytest.mark.parametrize("name", ["base.so", "base.cpython-311-x86_64-linux-gnu.so", "evil.pth", "base/data.bin", "x"])
def test_files_other_than_source_are_an_error(run: Run, payload: str, name: str) -> None:
    (run.path / "code" / name).parent.mkdir(exist_ok=True)
    (run.path / "code" / name).write_text(f"import os; {payload}")
    refused(run, "is not a .py file", trust_code=True)


def test_package_that_shadows_a_module_needs_trust_code(run: Run, payload: str) -> None:
    (run.path / "code" / "base").mkdir()
    (run.path / "code" / "base" / "__init__.py").write_text(payload + FILES["base.py"])
    refused(run, "--trust-code")


@pytest.mark.parametrize("name", ["base.py", "torch.py", "deep/er/module.py"])
def test_changed_or_added_source_needs_trust_code(run: Run, payload: str, name: str) -> None:
    (run.path / "code" / name).parent.mkdir(parents=True, exist_ok=True)
    (run.path / "code" / name).write_text(payload + FILES["base.py"])
    refused(run, "--trust-code")


def test_symbolic_links_are_an_error(run: Run, payload: str, tmp_path: Path) -> None:
    code = run.path / "code"
    (tmp_path / "evil.py").write_text(payload)
    (code / "more.py").symlink_to(tmp_path / "evil.py")
    refused(run, "symbolic link")
    (code / "more.py").unlink()
    (code / "more").symlink_to(tmp_path)
    refused(run, "symbolic link")
    (code / "more").unlink()
    code.rename(tmp_path / "elsewhere")
    code.symlink_to(tmp_path / "elsewhere")
    refused(run, "expected a folder")


def test_files_changed_after_reading_are_not_executed(run: Run, payload: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read = RunCode.read

    def read_and_change(folder: Path) -> RunCode:
        code = read(folder)
        for name in FILES:
            (folder / name).write_text(payload)
        compiled(payload, folder / "base" / "__init__.pyc")
        return code

    monkeypatch.setattr(RunCode, "read", read_and_change)
    network = network_of(run)
    assert network(torch.ones(1, 1, 12, 12)).shape == (1, 3)
    assert "class Net(Base)" in inspect.getsource(type(network))
    assert "SCALE * self.head" in inspect.getsource(type(network).forward)


def test_sys_path_entry_from_dunder_file_does_not_point_to_the_run_folder(
    tmp_path: Path, tiny: Callable[..., Recipe], payload: str
) -> None:
    base = "import os, sys\nsys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))\n"
    base += "try:\n    import convoy_absent\nexcept ImportError:\n    pass\n" + FILES["base.py"]
    (tmp_path / "mine").mkdir()
    for name, text in (FILES | {"base.py": base}).items():
        (tmp_path / "mine" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "mine" / name).write_text(text)
    recipe = tiny(("model.name", f"{tmp_path / 'mine' / 'net.py'}:Net"), ("train.epochs", 1))
    before = list(sys.path)
    try:
        run = convoy.train(recipe, out=tmp_path / "out", show=False)
        sys.path[:] = before
        code = RunCode.read(run.path / "code")
        (run.path / "code" / "convoy_absent.py").write_text(payload)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(RunCode, "read", lambda folder: code)
            network_of(run)
    finally:
        sys.path[:] = before


def test_a_class_other_than_the_trained_one_needs_trust_code(run: Run) -> None:
    recipe = run.path / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("net.py:Net", "net.py:Head"))
    run.write_status(files={})
    (run.path / "doctor.json").unlink()  # as in versions that recorded no hashes
    refused(Run(run.path), "--trust-code")


def test_error_in_trusted_code_names_the_file_in_the_run_folder(run: Run) -> None:
    path = run.path / "code" / "layers.py"
    path.write_text("\n1 / 0\n")
    refused(run, f"^{path.resolve()}:2: ZeroDivisionError", trust_code=True)


def test_training_replaces_what_was_in_the_code_folder(
    run: Run, tmp_path: Path, tiny: Callable[..., Recipe], payload: str
) -> None:
    (run.path / "code" / "evil.py").write_text(payload)
    again = tiny(("model.name", f"{tmp_path / 'mine' / 'net.py'}:Net"), ("train.epochs", 1))
    convoy.train(again, out=tmp_path / "out", show=False, fresh=True)
    assert not (run.path / "code" / "evil.py").exists()
    network_of(run)


def test_digest_distinguishes_names_and_contents(tmp_path: Path) -> None:
    one = RunCode(tmp_path, {"a.py": b"x\0code/b.py\0y"})
    two = RunCode(tmp_path, {"a.py": b"x", "code/b.py": b"y"})
    assert one.digest() != two.digest()
    assert one.digest("a", "b") != one.digest("ab", "")

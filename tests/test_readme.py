"""Runs the README's blocks marked `<!-- run -->` and parses the options of all other commands.

A block under `<!-- file: NAME -->` is written to NAME first. Make targets and paths in the text must exist.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image
from tests.test_reference import FUNCTIONS, examples_of

from convoy import cli
from convoy.cli.app import app
from convoy.recipe import read_chain

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted(path for path in (ROOT / "docs").rglob("*.md") if not {"_build", "_pages"} & {*path.parts})
BLOCK = re.compile(r"(?:<!-- (run|file: (\S+)) -->\n)?```(console|python)\n(.*?)```", re.DOTALL)


class Block(NamedTuple):
    language: str
    text: str
    marked_run: bool
    file: str  # to write it to; empty for most

    @property
    def commands(self) -> list[list[str]]:
        lines = [line for line in self.text.splitlines() if line.startswith("$ ")] if self.language == "console" else []
        return [shlex.split(line.removeprefix("$ "), comments=True) for line in lines]


def blocks_of(page: str) -> list[Block]:
    return [Block(language, text, mark == "run", file) for mark, file, language, text in BLOCK.findall(page)]


BLOCKS = blocks_of(README)
ALL_COMMANDS = [
    command
    for page in (README, *(path.read_text(encoding="utf-8") for path in PAGES))
    if "<!-- new: src/" not in page  # commands that the page adds; test_extending.py runs them
    for block in blocks_of(page)
    for command in block.commands
]
CONVOY_COMMANDS = sorted({" ".join(map(shlex.quote, command)) for command in ALL_COMMANDS if command[0] == "convoy"})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The reader's working directory: the files that the README shows, and images of a cat and a dog.

    The recipes on MNIST are limited to 500 images.
    """
    for block in BLOCKS:
        if block.file:
            (tmp_path / block.file).write_text(block.text, encoding="utf-8")
    draw = np.random.default_rng(0)
    for darkest, animal in enumerate(("cat", "dog")):
        (tmp_path / "my_images" / animal).mkdir(parents=True)
        for number in range(20):
            pixels = draw.integers(100 * darkest, 156 + 99 * darkest, size=(16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "my_images" / animal / f"{number}.png")

    def limited(name: str, relative_to: Path) -> tuple[dict[str, Any], str]:
        table, origin = read_chain(name, relative_to)
        data = table.get("data", {})
        return table | {"data": data | {"limit": 500}} if data.get("name") == "mnist" else table, origin

    monkeypatch.setattr("convoy.recipe.read_chain", limited)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder", "page_alone")
def test_marked_blocks_run_one_after_another() -> None:
    marked = [block for block in BLOCKS if block.marked_run]
    assert marked
    for block in marked:
        if block.language == "python":
            exec(compile(block.text.replace("limit=5000", "limit=500"), "README.md", "exec"), {})
        for program, *arguments in block.commands:
            assert program == "convoy"
            cli.main(arguments)


def test_convoy_is_a_command() -> None:
    done = subprocess.run([Path(sys.executable).with_name("convoy"), "--version"], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("line", CONVOY_COMMANDS)
def test_options_of_every_command_shown_exist(line: str) -> None:
    _language, arguments = cli.split_language(shlex.split(line)[1:])
    overrides, tokens = cli.split_overrides(arguments)

    command, bound, _ = app.parse_args(tokens, exit_on_error=False, print_error=False)

    assert command.__module__.startswith("convoy.cli.")
    assert not overrides or "set" in bound.signature.parameters


def test_python_examples_agree_with_the_types_of_the_functions(tmp_path: Path) -> None:
    for page in (ROOT / "README.md", *PAGES):
        for number, block in enumerate(blocks_of(page.read_text(encoding="utf-8"))):
            if block.language == "python" and "import convoy\n" in block.text:
                (tmp_path / f"{page.stem.replace('-', '_')}_{number}.py").write_text(block.text, encoding="utf-8")
    for name in FUNCTIONS:
        (tmp_path / f"docstring_of_{name}.py").write_text(f"import convoy\n\n{examples_of(name)}", encoding="utf-8")
    wrong = tmp_path / "wrong.py"
    wrong.write_text('import convoy\n\nconvoy.train("lenet", epochs="two").scores["test"].no_score\n', encoding="utf-8")
    mypy = [sys.executable, "-m", "mypy", "--cache-dir", str(ROOT / ".mypy_cache"), "--no-pretty"]
    done = subprocess.run([*mypy, *map(str, tmp_path.iterdir())], cwd=ROOT, capture_output=True, text=True, check=False)
    errors = set(re.findall(r"(\w+\.py):\d+: error: .*\[(.+)\]", done.stdout))

    assert errors == {("wrong.py", "arg-type"), ("wrong.py", "attr-defined")}, done.stdout


def test_named_make_targets_exist() -> None:
    named = {
        name for page in (README, *map(Path.read_text, PAGES)) for name in re.findall(r"(?:`|\$ )make (\w+)", page)
    }
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))

    assert {"demo", "test"} <= named
    assert named <= targets


def test_tree_names_files_that_exist() -> None:
    tree = re.search(r"^## Source tree\n\n(.*?)^Each part of the package", README, re.MULTILINE | re.DOTALL)
    assert tree is not None
    folder = ROOT
    for line in tree[1].strip("\n").splitlines():
        depth, name = len(line) - len(line.lstrip()), line.split()[0]
        folder = ROOT if depth == 4 else folder
        path = folder / name
        assert path.is_dir() if name.endswith("/") else path.is_file(), name
        folder = path if depth == 4 else folder


def test_links_in_readme_lead_to_files() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", README)

    assert [link for link in targets if not link.startswith("https://") and not (ROOT / link).exists()] == []


def test_table_of_benchmarks_names_every_script() -> None:
    folder = ROOT / "benchmarks"
    scripts = {path.name for path in folder.glob("*.py") if "\ndef main(" in path.read_text(encoding="utf-8")}

    assert scripts - set(re.findall(r"`(\w+\.py)`", (folder / "README.md").read_text(encoding="utf-8"))) == set()

"""Applies the examples of docs/guides/extending.md to a copy of the package and runs their commands there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent, indent

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "docs" / "guides" / "extending.md").read_text(encoding="utf-8")
EXAMPLE = re.compile(r"<!-- (new|in): (\S+?)(?:, (after|before): +(.*?))? -->\n```\w+\n(.*?)```", re.DOTALL)
COMMANDS = re.findall(r"^\$ (convoy .*)", GUIDE[GUIDE.index("## A recipe") :], re.MULTILINE)  # before: registered names
RUN_ALL = """
import shlex, sys
from convoy.cli import main
from convoy.evaluation import cost
from convoy.reporting import canvas

cost.LATENCY_SECONDS = 0.02
canvas.FigureCanvasAgg.print_figure = lambda *of, **options: None  # SVG files are enough
for line in sys.stdin.read().splitlines():
    print("$", line, flush=True)
    main(shlex.split(line)[1:])
"""


def apply(text: str, where: str, anchor: str, code: str) -> str:
    """Inserts code with the indentation of the anchor; 4 more after an opening bracket or colon."""
    lines = text.splitlines(keepends=True)
    places = [index for index, line in enumerate(lines) if line.strip() == anchor]
    assert len(places) == 1, f"docs/guides/extending.md: {anchor!r} is in {len(places)} lines of the file, not in one"
    (index,) = places
    is_inside = where == "after" and anchor.split("  #")[0][-1] in ":({["
    depth = len(lines[index]) - len(lines[index].lstrip()) + 4 * is_inside
    end = index + (where == "after")
    return "".join([*lines[:end], indent(dedent(code), " " * depth), *lines[end:]])


def output_of_all_commands(folder: Path) -> str:
    """The output of the page's commands in an extended copy of the package, and the names of the files they write."""
    shutil.copytree(ROOT / "src", folder / "src")  # with what Python has compiled
    for kind, name, where, anchor, code in EXAMPLE.findall(GUIDE):
        path = folder / name
        path.write_text(code if kind == "new" else apply(path.read_text("utf-8"), where, anchor, code), "utf-8")
    environment = {**os.environ, "PYTHONPATH": str(folder / "src"), "OMP_NUM_THREADS": "1"}
    process = subprocess.run(
        [sys.executable, "-c", RUN_ALL], input="\n".join(COMMANDS), cwd=folder, env=environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert process.returncode == 0, f"{process.stdout}\n{process.stderr}"
    return process.stdout + "\n".join(str(path.relative_to(folder)) for path in folder.rglob("*.*"))


def test_examples_of_the_guide_have_their_effect(tmp_path: Path) -> None:
    expected = [
        "stop.max_steps = 2 reached",
        "fault halved_logits",
        "The recipe trains one epoch",
        "figures/gap.svg",
        " MB on disk",
        "convoy-runs: ",
        "predicted.csv",
        "curves/lenet-s8-",
        "posterize ",
    ]
    output = output_of_all_commands(tmp_path)
    assert [text for text in expected if text not in output] == []


def test_every_extension_point_has_an_example() -> None:
    rows = re.findall(
        r"^\| ([a-z ]+?)(?: \*)? \|", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    points = [re.sub(" (without|with) a Python function| of a study", "", row) for row in rows if row != "new"]
    headings = " ".join(re.findall(r"^## (.*?):", GUIDE, re.MULTILINE)).lower()
    assert len(points) > 9
    assert [point for point in points if point not in headings] == []

"""The examples of docs/guides/extending.md, applied to a copy of the package; their commands run in it."""

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
EXAMPLE = re.compile(r"<!-- (new|in): (\S+?)(?:, (after|before|instead of): +(.*?))? -->\n```\w+\n(.*?)```", re.DOTALL)
COMMANDS = re.findall(r"^\$ (convoy .*)", GUIDE[GUIDE.index("## A recipe") :], re.MULTILINE)  # before: registered names
RUN_ALL = """
import shlex, sys
from convoy.cli import main
for line in sys.stdin.read().splitlines():
    print("$", line, flush=True)
    main(shlex.split(line)[1:])
"""


def apply(text: str, where: str, anchor: str, code: str) -> str:
    """The code takes the indentation of the anchor; after an opening bracket or colon it is inside."""
    lines = text.splitlines(keepends=True)
    (place,) = (place for place, line in enumerate(lines) if line.strip() == anchor)
    depth = (
        len(lines[place]) - len(lines[place].lstrip()) + 4 * (where == "after" and anchor.split("  #")[0][-1] in ":({")
    )
    end = place if where == "before" else place + 1
    return "".join([*lines[: place + (where == "after")], indent(dedent(code), " " * depth), *lines[end:]])


def output_of_all_commands(folder: Path) -> str:
    """What the commands of the page print in an extended copy of the package, and the files that they write."""
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    for kind, name, where, anchor, code in EXAMPLE.findall(GUIDE):
        path = folder / name
        path.write_text(code if kind == "new" else apply(path.read_text("utf-8"), where, anchor, code), "utf-8")
    environment = {**os.environ, "PYTHONPATH": str(folder / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", RUN_ALL], input="\n".join(COMMANDS), cwd=folder, env=environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout + "\n".join(str(path.relative_to(folder)) for path in folder.rglob("*.*"))


def test_examples_of_the_guide_have_their_effect(tmp_path: Path) -> None:
    traces = [
        "stop.max_steps = 2 reached",
        "fault halved_logits",
        "figures/gap.svg",
        " MB on disk",
        "convoy-runs: ",
        "predicted.csv",
    ]
    output = output_of_all_commands(tmp_path)
    assert [trace for trace in traces if trace not in output] == []


def test_every_extension_point_has_an_example() -> None:
    rows = re.findall(r"^\| ([a-z ]+?) \|", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.MULTILINE)
    points = [row.removesuffix(" without a Python function") for row in rows if row != "new"]
    headings = " ".join(re.findall(r"^## (.*?):", GUIDE, re.MULTILINE)).lower()
    assert len(points) > 9
    assert [point for point in points if point not in headings] == []

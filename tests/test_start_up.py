"""What the commands import. Each module here takes as long to import as a short training."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SLOW = ("torch._dynamo", "torch._inductor", "sympy", "sklearn")
PROGRAM = """
import sys
from convoy.cli import main

main(sys.argv[2:])
print(*(name for name in sys.argv[1].split() if name in sys.modules))
"""


@pytest.mark.parametrize(
    ("slow", "command"),
    [
        (SLOW, "train lenet --data mnist --epochs 1 --limit 100"),
        (SLOW, "train lenet --data mnist --epochs 1 --limit 100 --optim.name sgd"),
        (("torch", "matplotlib", "pydantic"), "list models"),
        (("torch", "matplotlib"), "list recipes"),
    ],
)
def test_a_command_does_not_import_what_it_does_not_need(slow: tuple[str, ...], command: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, " ".join(slow), *command.split()],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == ""

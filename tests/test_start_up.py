"""Commands do not import modules whose import takes as long as a short training."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SLOW = ("torch._dynamo", "torch._inductor", "sympy", "sklearn")
PROGRAM = """
import sys
from convoy.cli import main

for command in sys.argv[2:]:
    main(command.split())
print(*(name for name in sys.argv[1].split() if name in sys.modules))
"""


@pytest.mark.parametrize(
    ("slow", "commands"),
    [
        (SLOW, [f"train lenet --data mnist --epochs 1 --limit 100 --optim.name {name}" for name in ("adam", "sgd")]),
        (("torch", "matplotlib", "pydantic"), ["list models"]),
        (("torch", "matplotlib"), ["list recipes"]),
    ],
)
def test_commands_do_not_import_slow_modules(slow: tuple[str, ...], commands: list[str], tmp_path: Path) -> None:
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM, " ".join(slow), *commands],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert process.returncode == 0, process.stderr
    assert process.stdout.splitlines()[-1] == ""

"""docs/reliability.md names a test for each guarantee."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_each_guarantee_names_a_test_that_exists() -> None:
    text = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    tables = re.findall(r"^\| guarantee .*\n.*\n((?:\|.*\n)+)", text, re.MULTILINE)
    rows = [line.split("|")[1:-1] for table in tables for line in table.splitlines()]
    assert rows
    for _guarantee, tests, _measured in rows:
        files, names = re.findall(r"`(tests/[\w/]+\.py)`", tests), re.findall(r"`(test_\w+)`", tests)
        assert files, tests
        source = "".join((ROOT / file).read_text(encoding="utf-8") for file in files)
        assert [name for name in names if f"def {name}(" not in source] == []

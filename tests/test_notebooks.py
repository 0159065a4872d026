"""The notebooks of docs/notebooks agree with their guides and were executed. These tests execute none."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs"))
make_notebooks = pytest.importorskip("make_notebooks", reason="needs the extra docs", exc_type=ImportError)
GUIDES = make_notebooks.guides()
every_guide = pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)


def stored(guide: Path) -> dict[str, Any]:
    return json.loads((ROOT / "docs" / "notebooks" / f"{guide.stem}.ipynb").read_text(encoding="utf-8"))


def sources(cells: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(cell["cell_type"], "".join(cell["source"])) for cell in cells]


def test_each_guide_with_marked_blocks_has_a_notebook_which_the_documentation_links() -> None:
    names = {guide.stem for guide in GUIDES}
    page = (ROOT / "docs" / "guides" / "notebook.md").read_text(encoding="utf-8")

    assert len(names) >= 10
    assert {path.stem for path in (ROOT / "docs" / "notebooks").glob("*.ipynb")} == names
    assert set(re.findall(r"notebooks/([\w-]+)\.ipynb", page)) == names


@every_guide
def test_cells_agree_with_the_guide(guide: Path) -> None:
    assert sources(stored(guide)["cells"]) == sources(make_notebooks.notebook_of(guide).cells), "run make notebooks"


@every_guide
def test_cells_were_executed_in_order_without_an_error_and_outputs_are_small(guide: Path) -> None:
    cells = [cell for cell in stored(guide)["cells"] if cell["cell_type"] == "code"]
    outputs = [output for cell in cells for output in cell["outputs"]]

    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert {output["output_type"] for output in outputs} <= {"stream", "display_data", "execute_result"}
    assert any("text/html" in output.get("data", {}) for output in outputs)
    assert "stderr" not in {output.get("name") for output in outputs}
    assert len(json.dumps(outputs)) < 300_000
    assert re.search(r"/tmp/|/home/|/root/|Traceback", json.dumps(outputs)) is None

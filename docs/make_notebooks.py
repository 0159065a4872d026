"""Makes docs/notebooks/*.ipynb from the guides and executes them: `make notebooks`; `ONLY=compare` for one guide.

A guide whose Python blocks are marked `<!-- run -->` has a notebook: the sections with these blocks, and the blocks as
cells. A block marked `<!-- file: NAME -->` is written to NAME. tests/test_notebooks.py compares guides and notebooks.
"""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

DOCS = Path(__file__).parent
NOTEBOOKS = DOCS / "notebooks"
BLOCK = re.compile(r"<!-- (?:run|file: (\S+)) -->\n```python\n(.*?)```\n", re.DOTALL)
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


def guides() -> list[Path]:
    return [path for path in sorted(DOCS.glob("guides/*.md")) if "<!-- run -->\n```python" in path.read_text("utf-8")]


def notebook_of(guide: Path) -> NotebookNode:
    """The notebook of a guide, not executed."""
    title, *sections = re.split(r"^(?=## )", guide.read_text("utf-8"), flags=re.MULTILINE)
    head, _, intro = title.partition("\n")
    name = head.removeprefix("# ")
    about = f"The Python examples of the guide [{name}](../guides/{guide.name}), executed."
    cells = [new_markdown_cell(f"{head}\n\n{about}")]
    for section in (intro, *sections):
        if BLOCK.search(section) is None:
            continue
        text, *blocks = BLOCK.split(section)
        cells.append(_markdown(text))
        for file, code, after in zip(blocks[::3], blocks[1::3], blocks[2::3], strict=True):
            cells.append(new_code_cell((f"%%writefile {file}\n" if file else "") + code.strip()))
            cells.append(_markdown(after))
    cells = [cell for cell in cells if cell.source]
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"  # a random id would change with each execution
    return new_notebook(cells=cells, metadata={"kernelspec": KERNEL})


def _markdown(text: str) -> NotebookNode:
    """The text of a guide, with its links relative to docs/notebooks."""
    return new_markdown_cell(re.sub(r"\]\((?!\w+:|#|\.\./)", "](../guides/", text.strip()))


def execute(notebook: NotebookNode) -> None:
    with TemporaryDirectory() as folder:
        NotebookClient(notebook, timeout=600, resources={"metadata": {"path": folder}}, record_timing=False).execute()
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            output.get("metadata", {}).clear()


def main(names: list[str]) -> None:
    NOTEBOOKS.mkdir(exist_ok=True)
    for guide in guides():
        if not names or guide.stem in names:
            notebook, start = notebook_of(guide), time.monotonic()
            execute(notebook)
            path = NOTEBOOKS / f"{guide.stem}.ipynb"
            nbformat.write(notebook, path)
            size, seconds = path.stat().st_size / 1000, time.monotonic() - start
            print(f"{path.relative_to(DOCS.parent)}: {size:.0f} kB, {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])

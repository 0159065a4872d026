"""The formats in which a page can be written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from convoy.files import write_bytes
from convoy.reporting import pdf, raster, render
from convoy.reporting.content import Drawing, Page
from convoy.text import gettext as _

Charts = Mapping[str, str]  # see `render.html`


class Format(NamedTuple):
    contents: Callable[[Page, Path, Charts], bytes]  # (page, folder with figures/, charts) -> contents of the file
    check: Callable[[], object] = lambda: None  # raises ValueError if a package or program is missing
    reads_figures: bool = True  # needs the PNG files in figures/, including those of drawings


def write(page: Page, folder: Path, name: str, suffix: str) -> Path:
    """Writes `name`.`suffix`, a key of FORMATS, and figures/; returns its path. Call `check` of the format first."""
    chosen = FORMATS[suffix]
    charts = render.write_figures(page, folder / "figures")
    if chosen.reads_figures:
        for block in page.blocks:
            if isinstance(block, Drawing):
                raster.save_drawing(block, folder / "figures")
    path = folder / f"{name}.{suffix}"
    write_bytes(path, chosen.contents(page, folder, charts))
    return path


def _check_docx() -> None:
    if find_spec("docx") is None:
        raise ValueError(_("a Word document needs python-docx: pip install 'convoy-ml[lab]'"))


def _docx(page: Page, folder: Path, charts: Charts) -> bytes:
    from convoy.reporting import word

    return word.docx(page, folder)


def _tex(page: Page, folder: Path, charts: Charts) -> bytes:
    from convoy.reporting import latex

    return latex.tex(page, folder)


def _pdf(page: Page, folder: Path, charts: Charts) -> bytes:
    program = pdf.program()
    if pdf.is_browser(program):
        return pdf.print_html(program, render.html(page, charts))
    return pdf.compile_tex(program, _tex(page, folder, charts), folder)


FORMATS: Mapping[str, Format] = {
    "html": Format(lambda page, _, charts: render.html(page, charts).encode(), reads_figures=False),
    "md": Format(lambda page, *_: render.markdown(page).encode(), reads_figures=False),
    "docx": Format(_docx, _check_docx),
    "tex": Format(_tex),
    "pdf": Format(_pdf, pdf.program),
}

"""Renders a page as a Word document (.docx) with python-docx, which is not needed for any other format."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

from convoy.reporting.content import MANY_COLUMNS, Block, Cell, Code, Page, Prose, Table, readable, short
from convoy.reporting.figure_files import WIDTH, inches_of, png_of
from convoy.reporting.render import FIGURES, figure_titles, full_stop, readable_lines
from convoy.text import page_language
from convoy.text.wrap import columns

BODY, SMALL, TINY = 10.5, 8.5, 7.5  # points
MAX_PROPERTY = 255  # characters of a property of a document, a limit of the format
MAX_CHARACTERS = 45  # characters; a longer text does not widen its column further
GREY = "595959"
CODE_FONT = "Consolas"
EAST_ASIAN_FONTS = {  # Chinese font of each style; Word includes them on Windows and macOS
    "Normal": "SimSun", "Title": "SimHei", "Heading 1": "SimHei", "Heading 2": "SimHei", "Caption": "SimSun",
}  # fmt: skip


def docx(page: Page, folder: Path) -> bytes:
    """`folder` contains figures/. Raises ModuleNotFoundError without python-docx."""
    document = _Document(page, folder / "figures")
    file = BytesIO()
    document.document.save(file)
    return file.getvalue()


class _Document:
    def __init__(self, page: Page, figures: Path) -> None:
        import docx

        self.document = docx.Document()
        self._figures, self._titles = figures, figure_titles(page)
        self._set_up(page)
        self._paragraph(page.title, "Title")
        self._paragraph(page.kicker, "Subtitle")
        self._paragraph(full_stop(page.sentence)).runs[0].bold = True
        for caveat in page.caveats:
            self._paragraph(full_stop(caveat), "List Bullet")
        for table in page.tables:
            self._add(table)
        for section in page.sections:
            self._paragraph(section.title, "Heading 1")
            for block in section.blocks:
                self._add(block)

    def _set_up(self, page: Page) -> None:
        """Sets A4, plain black headings, page numbers and the properties of the file."""
        from docx.enum.text import WD_ALIGN_PARAGRAPH
        from docx.oxml.ns import qn
        from docx.shared import Inches, Mm, Pt, RGBColor

        (section,) = self.document.sections
        section.page_width, section.page_height = Mm(210), Mm(297)
        section.left_margin = section.right_margin = Inches((210 / 25.4 - WIDTH) / 2)
        section.top_margin = section.bottom_margin = Mm(20)
        styles = self.document.styles
        normal, language = styles["Normal"], page_language()
        normal.font.size = Pt(BODY)
        normal.paragraph_format.space_after = Pt(6)
        # Of Latin words: with the language Chinese, Word could break them anywhere.
        latin = "en-US" if language.startswith("zh") else language
        _child(normal.element.get_or_add_rPr(), "w:lang", val=latin, eastAsia=language)
        for name, font_name in EAST_ASIAN_FONTS.items() if language.startswith("zh") else ():
            fonts = styles[name].element.get_or_add_rPr().get_or_add_rFonts()
            fonts.attrib.pop(qn("w:eastAsiaTheme"), None)
            fonts.set(qn("w:eastAsia"), font_name)
        for name, size in (("Title", 20), ("Subtitle", BODY), ("Heading 1", 14), ("Heading 2", 11), ("Caption", 9)):
            font = styles[name].font
            font.size, font.color.rgb, font.italic = Pt(size), RGBColor(0, 0, 0), False
            font.bold = name.startswith("Heading")
        styles["Subtitle"].font.color.rgb = RGBColor.from_string(GREY)
        styles["Caption"].paragraph_format.space_after = Pt(12)
        paragraph = section.footer.paragraphs[0]
        paragraph.alignment = WD_ALIGN_PARAGRAPH.CENTER
        _child(paragraph._p, "w:fldSimple", instr="PAGE")
        properties = self.document.core_properties
        title = short(readable(page.title), MAX_PROPERTY)
        properties.title, properties.author, properties.comments = title, "", ""
        properties.language = language

    def _paragraph(self, text: str, style: str | None = None) -> Any:
        return self.document.add_paragraph(readable(text), style)

    def _add(self, block: Block) -> None:
        title = getattr(block, "title", "") or getattr(block, "collapsed_title", "")
        match block:
            case Table():
                self._add_table(block, title)
            case Code():
                self._add_code(block, title)
            case Prose():
                self._add_prose(block)
            case _ if isinstance(block, FIGURES):
                self._add_figure(block.name, block.title, block.caption)

    def _add_prose(self, block: Prose) -> None:
        paragraph = self._paragraph(block.text)
        if block.link:
            paragraph.add_run(f" {readable(block.link_text)}")
        for _ in range(block.blank_lines):
            self._paragraph("")

    def _add_code(self, block: Code, title: str) -> None:
        from docx.shared import Pt

        if title:
            self._paragraph(title, "Heading 2")
        paragraph = self.document.add_paragraph()
        _child(paragraph._p.get_or_add_pPr(), "w:shd", val="clear", fill="F2F2F2")
        run = paragraph.add_run(readable_lines(block.text))
        run.font.name, run.font.size = CODE_FONT, Pt(TINY if "\n" in block.text else SMALL)
        run.font.no_proof = True

    def _add_figure(self, name: str, title: str, caption: str) -> None:
        from docx.shared import Inches

        path = png_of(self._figures, name)
        width, height = inches_of(path)
        paragraph = self.document.add_paragraph()
        paragraph.paragraph_format.keep_with_next = True
        picture = paragraph.add_run().add_picture(str(path), Inches(width), Inches(height))
        picture._inline.docPr.set("descr", readable(title))
        paragraph = self.document.add_paragraph(style="Caption")
        heading = f"{self._titles[name]} {readable(full_stop(title))}"
        paragraph.add_run(heading).bold = True
        paragraph.add_run(readable(f"{heading} {caption}").removeprefix(heading))  # a space, except after Chinese stops

    def _add_table(self, table: Table, title: str) -> None:
        from docx.enum.text import WD_ALIGN_PARAGRAPH
        from docx.shared import Inches, Pt

        if title:
            self._paragraph(title, "Heading 2")
        has_header = any(column.title or column.unit for column in table.columns)
        grid = self.document.add_table(rows=has_header + len(table.rows), cols=len(table.columns))
        size = TINY if len(table.columns) > MANY_COLUMNS else SMALL
        _rules(grid)
        for column, width in zip(grid.columns, _widths(table), strict=True):
            column.width = Inches(width)
            for word_cell in column.cells:
                word_cell.width = Inches(width)
        is_chinese = page_language().startswith("zh")
        header = [Cell(column.title, column.unit, bold=True) for column in table.columns]
        for row, cells in zip(grid.rows, [*([header] if has_header else []), *table.rows], strict=True):
            _child(row._tr.get_or_add_trPr(), "w:cantSplit")
            for word_cell, column, cell in zip(row.cells, table.columns, cells, strict=True):
                (paragraph,) = word_cell.paragraphs
                paragraph.paragraph_format.space_after = Pt(0)
                paragraph.paragraph_format.keep_with_next = cells is not table.rows[-1]
                if column.numeric:
                    paragraph.alignment = WD_ALIGN_PARAGRAPH.RIGHT
                # Chinese has no spaces at which a title and its unit could be broken.
                _fill(paragraph, cell, size, before_note="\n" if cells is header and is_chinese and cell.text else " ")
        if has_header:
            _child(grid.rows[0]._tr.get_or_add_trPr(), "w:tblHeader")
        if len(table.rows) > 25:  # too many for one page
            for word_cell in (word_cell for row in grid.rows[1:] for word_cell in row.cells):
                word_cell.paragraphs[0].paragraph_format.keep_with_next = False
        note = self._paragraph(table.note)
        note.paragraph_format.space_before = Pt(3)
        for run in note.runs:
            run.font.size = Pt(SMALL)


def _widths(table: Table) -> list[float]:
    """Returns column widths in inches by their longest texts. Word itself would make all columns equally wide."""
    letters = []
    for place, column in enumerate(table.columns):
        lengths = [columns(row[place].text) + columns(row[place].note) for row in table.rows]
        words = [1 + round(1.1 * columns(word)) for word in column.title.split()]  # bold
        words += [1 + columns(word) for word in column.unit.split()]
        letters.append(min(max([4, *words, *lengths]), MAX_CHARACTERS) + 2)
    return [WIDTH * count / sum(letters) for count in letters]


def _fill(paragraph: Any, cell: Cell, size: float, before_note: str) -> None:
    from docx.shared import Pt, RGBColor

    run = paragraph.add_run(readable(cell.text) if cell.text else "")
    run.bold, run.font.size = cell.bold, Pt(size)
    if not cell.text:  # otherwise the line would have the height of the paragraph's style
        _child(_child(paragraph._p.get_or_add_pPr(), "w:rPr"), "w:sz", val=str(round(2 * size)))
    if cell.note:
        note = paragraph.add_run(f"{before_note}{readable(cell.note)}")
        note.font.size, note.font.color.rgb = Pt(size - 0.5), RGBColor.from_string(GREY)


def _rules(grid: Any) -> None:
    """Draws a line above, below and between rows, and narrows the space between columns."""
    borders = _child(grid._tbl.tblPr, "w:tblBorders", before=("w:tblLayout", "w:tblLook"))
    for side, colour in (("top", "000000"), ("bottom", "000000"), ("insideH", "D4D9DE")):
        _child(borders, f"w:{side}", val="single", sz="4", color=colour)
    margins = _child(grid._tbl.tblPr, "w:tblCellMar", before=("w:tblLook",))
    for side in ("left", "right"):
        _child(margins, f"w:{side}", w="36", type="dxa")


def _child(parent: Any, tag: str, *, before: tuple[str, ...] = (), **attributes: str) -> Any:
    """Adds a WordprocessingML element that python-docx does not support, before the elements that must follow it."""
    from docx.oxml import OxmlElement
    from docx.oxml.ns import qn

    child = OxmlElement(tag)
    for name, value in attributes.items():
        child.set(qn(f"w:{name}"), value)
    following = [each for each in parent if each.tag in map(qn, before)]
    if following:
        following[0].addprevious(child)
    else:
        parent.append(child)
    return child

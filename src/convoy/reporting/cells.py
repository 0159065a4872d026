"""Renders a page as the output of a notebook cell: HTML without scripts or external resources, light and dark."""

from __future__ import annotations

from importlib import resources

from markupsafe import Markup

from convoy.reporting import canvas, palette
from convoy.reporting.content import Chart, Page, Section
from convoy.reporting.render import FIGURES, html_context, html_templates

# Selectors of JupyterLab, VS Code, Colab and the themes of Sphinx. If none matches, the system setting is used.
LIGHT_THEMES = "[data-jp-theme-light=true], .vscode-light, .vscode-high-contrast-light, [theme=light], "
LIGHT_THEMES += "[data-theme=light]"
DARK_THEMES = "[data-jp-theme-light=false], .vscode-dark, .vscode-high-contrast, [theme=dark], [data-theme=dark]"
FONT = "var(--jp-content-font-family, var(--vscode-font-family, system-ui, sans-serif))"


def cell_html(page: Page) -> str:
    """Renders title, sentence, tables and all blocks of a page. A 3D figure is a static image."""
    look = palette.Look(page.labels, page.aliases)
    charts = {
        block.name: canvas.chart_svg(block, block.look or look) for block in page.blocks if isinstance(block, Chart)
    }
    style = resources.files("convoy.reporting").joinpath("templates", "style.css").read_text(encoding="utf-8")
    return (
        html_templates()
        .get_template("cell.html.j2")
        .render(
            html_context(page, charts, in_cell=True),
            font=Markup(FONT),
            light_themes=Markup(LIGHT_THEMES),
            dark_themes=Markup(DARK_THEMES),
            style=Markup(style.replace("@media", "@container")),  # the width of the cell, not of the window
        )
    )


def first_figure(page: Page) -> tuple[Section, ...]:
    """Returns only the first figure of the page."""
    figures = [block for block in page.blocks if isinstance(block, FIGURES)]
    return (Section("", tuple(figures[:1])),)

"""Help pages in the user's language. cyclopts formats them; each text is translated before it is shown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from convoy.text import gettext as _
from convoy.text import page_language, translated
from convoy.text.lists import joined
from convoy.text.wrap import columns, wrapped

if TYPE_CHECKING:
    from cyclopts import App
    from cyclopts.help import HelpEntry, HelpPanel
    from rich.console import Console, ConsoleOptions

EXAMPLE = "Example: "
MIN_WIDTH = 20  # characters; cyclopts takes minutes to wrap a flag into one or two


class HelpFormatter:
    """Formats like cyclopts' own formatter, with translated texts."""

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
        from cyclopts.help.formatters import DefaultFormatter

        if page_language() != "en":
            titles = {"Commands": _("Commands"), "Arguments": _("Arguments"), "Parameters": _("Options")}
            title = titles.get(str(panel.title), panel.title)
            panel = panel.copy(title=title, entries=[_entry(entry) for entry in panel.entries])
        if console.width < MIN_WIDTH:  # another console, because setting a width would affect all later texts
            console = type(console)(file=console.file, width=MIN_WIDTH)
        DefaultFormatter()(console, options, panel)

    def render_usage(self, console: Console, options: ConsoleOptions, usage: Any) -> None:
        from cyclopts.help.formatters import DefaultFormatter
        from rich.text import Text

        if page_language() == "en":
            DefaultFormatter().render_usage(console, options, usage)
        else:
            names = {  # names that cyclopts uses
                "COMMAND": _("COMMAND"),
                "[OPTIONS]": _("[OPTIONS]"),
                "[ARGS]": _("[ARGS]"),
                "[ARGS...]": _("[ARGS...]"),
            }
            words = [names.get(word, word) for word in str(usage).split()]
            console.print(Text(_("Usage: {usage}", usage=" ".join(words)), style="bold"), end="\n\n")

    def render_description(self, console: Console, options: ConsoleOptions, description: Any) -> None:
        console.print(description if page_language() == "en" else _Translated(description, blank_lines=1))


def _entry(entry: HelpEntry) -> HelpEntry:
    """Translates the description and the notes that cyclopts would append in English."""
    notes = []
    if entry.choices:
        notes.append(_("[choices: {choices}]", choices=joined(entry.choices)))
    if entry.default is not None:
        notes.append(_("[default: {value}]", value=entry.default))
    if entry.required:
        notes.append(_("[required]"))
    description = _Translated(entry.description, " ".join(notes))
    return entry.copy(description=description, choices=None, default=None, required=False)


class _Translated:
    """A description, translated and wrapped, because rich would break Chinese lines only at spaces."""

    def __init__(self, description: Any, notes: str = "", blank_lines: int = 0) -> None:
        markdown = getattr(description.primary_renderable, "markup", "")
        texts = [_paragraph(text) for text in paragraphs(markdown)]
        self.code = re.findall(r"`(.*?)`", "".join(texts))
        self.texts = [text.replace("`", "") for text in texts]
        if notes:
            self.texts = [*self.texts[:-1], f"{self.texts[-1] if self.texts else ''} {notes}".strip()]
        self.blank_lines = blank_lines

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Any]:
        from rich.text import Text

        for text in self.texts:
            for line in wrapped(text, options.max_width):
                line_text = Text(line)
                line_text.highlight_words(self.code, "markdown.code")
                yield line_text
            yield from [""] * self.blank_lines

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Any:
        from rich.measure import Measurement

        return Measurement(min(20, options.max_width), max(map(columns, self.texts), default=0))


def _paragraph(text: str) -> str:
    if text.startswith(EXAMPLE):
        return _("Example: {command}", command=text.removeprefix(EXAMPLE))
    return translated(text)


def paragraphs(text: str) -> list[str]:
    return [" ".join(lines.split()) for lines in re.split(r"\n\s*\n", text.strip()) if lines.strip()]


def meaning(help_text: str) -> str:
    """Returns the first sentence of a description, translated, in lower case and without its full stop."""
    first = re.split(r"\. |。", translated(help_text), maxsplit=1)[0].rstrip(".")
    return first[:1].lower() + first[1:]


def texts(app: App) -> Iterator[str]:
    """Yields all texts of the help pages of a command and its subcommands, for translation."""
    from cyclopts.help.help import docstring_parse

    parsed = docstring_parse(app.help, "markdown")
    for text in (parsed.short_description or "", parsed.long_description or ""):
        yield from (each for each in paragraphs(text) if not each.startswith(EXAMPLE))
    if hasattr(app.default_command, "__self__"):  # --help and --version, which have neither flags nor subcommands
        return
    if app.default_command is not None:
        for argument in app.assemble_argument_collection(parse_docstring=True):
            yield from paragraphs(argument.parameter.help or "")
    for name in app:
        yield from texts(app[name])

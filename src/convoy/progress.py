"""Shows the progress of runs: plain lines, bars on a terminal, or one updated output in a notebook."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup
from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from convoy.events import Ended, EpochEnded, Event, Note, Progress, Started
from convoy.text import gettext as _
from convoy.text import ngettext
from convoy.text.wrap import typeset

MIN_WIDTH_FOR_SPEED = 120  # columns of the terminal
UPDATE_SECONDS = 0.2  # between two updates of bars in a notebook
LINES_IN_NOTEBOOK = 6  # earlier lines are collapsed


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Lets training continue without output after the reader of a pipe has exited (`| head`)."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())


class Display:
    """Shows the events of one or several runs; `show` takes the run's position in `names`."""

    def __init__(self, names: Sequence[str], *, to_stderr: bool = False) -> None:
        self._names = list(names)
        self._console = _Console(stderr=to_stderr, highlight=False)
        self._wide = not self._console.is_terminal or self._console.width >= MIN_WIDTH_FOR_SPEED
        self._bars: Bars | None = None
        self._tasks: dict[int, TaskID] = {}
        self._overall: TaskID | None = None
        self._evaluation: TaskID | None = None
        self._printed_notes: set[str] = set()

    def __enter__(self) -> Display:
        if self._console.is_terminal:
            self._bars = Bars(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=20 if self._wide else 6),
                TextColumn("{task.fields[numbers]}"),
                TimeElapsedColumn(),
                *([TextColumn(_("left"))] if self._wide else []),
                TimeRemainingColumn(),
                console=self._console,
            )
            self._bars.start()
            if len(self._names) > 1:
                self._overall = self._bars.add_task(_("runs"), total=len(self._names), numbers=f"0/{len(self._names)}")
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def show_evaluation(self, done: int, images: int) -> None:
        """Shows a separate bar for an evaluation of several batches, on a terminal only."""
        if self._bars is None or (self._evaluation is None and done >= images):
            return
        if self._evaluation is None:
            self._evaluation = self._bars.add_task(_("evaluation"), total=images, numbers="")
        self._bars.update(
            self._evaluation, completed=done, numbers=_("{done:,}/{images:,} images", done=done, images=images)
        )
        if done >= images:
            self._bars.remove_task(self._evaluation)
            self._evaluation = None

    def show(self, position: int, event: Event) -> None:
        if not isinstance(event, Progress) and self._is_printed(event):
            text = typeset(self._line(position, event))
            # Wrapped only on a terminal; elsewhere, each event is one line.
            self._console.print(text, markup=False, soft_wrap=self._bars is None)
        if self._bars is None:
            return
        if isinstance(event, Progress):
            self._advance(self._bars, position, event)
        elif isinstance(event, Ended):
            task = self._tasks.pop(position, None)
            if task is not None:
                self._bars.remove_task(task)
            if self._overall is not None:
                self._bars.advance(self._overall)
                done = int(self._bars.tasks[0].completed)
                self._bars.update(self._overall, numbers=f"{done}/{len(self._names)}")

    def _line(self, position: int, event: Started | EpochEnded | Note | Ended) -> str:
        of_study = isinstance(event, Note) and event.of_study
        if len(self._names) == 1 or of_study:
            return event.text
        return _("{labels}: {text}", labels=self._names[position], text=event.text)

    def _is_printed(self, event: Started | EpochEnded | Note | Ended) -> bool:
        """With several runs, omits lines whose content is in the bars, and notes already printed for another run."""
        if len(self._names) == 1 or isinstance(event, Ended):
            return True
        if isinstance(event, Note):
            is_new = event.text not in self._printed_notes
            self._printed_notes.add(event.text)
            return is_new
        return isinstance(event, EpochEnded) and self._bars is None

    def _numbers(self, event: Progress) -> str:
        texts = [
            _("epoch {epoch}/{epochs}", epoch=event.epoch, epochs=event.epochs),
            _("loss {loss}", loss=_("not finite") if event.loss is None else f"{event.loss:.4f}"),
            f"{event.accuracy:.1%}",
        ]
        if self._wide:
            texts += [
                _("{images:,.0f} images/s", images=event.images_per_second),
                _("{batches:,.1f} batches/s", batches=event.batches_per_second),
            ]
        return "  ".join(texts)

    def _advance(self, bars: Bars, position: int, event: Progress) -> None:
        numbers = self._numbers(event)
        if position not in self._tasks:
            self._tasks[position] = bars.add_task(self._names[position], total=event.total, numbers=numbers)
        bars.update(self._tasks[position], completed=event.images, numbers=numbers)


class NotebookDisplay(Display):
    """Shows all events in one output of a notebook cell. The stored notebook shows how the runs ended."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(names)
        self._lines: list[str] = []
        self._epoch_line: int | None = None  # the index of the line that the next epoch replaces
        self._running: dict[int, Progress] = {}
        self._scored: tuple[int, int] | None = None  # images of an evaluation: completed, total
        self._ended = 0
        self._updated = 0.0

    def __enter__(self) -> Display:
        from IPython.display import display

        self._output: Any = display(self._content(), raw=True, display_id=True)
        return self

    def __exit__(self, *exception: object) -> None:
        self._running, self._scored = {}, None
        self._update()

    def show_evaluation(self, done: int, images: int) -> None:
        self._scored = (done, images) if done < images else None
        self._update_if_due()

    def show(self, position: int, event: Event) -> None:
        if isinstance(event, Progress):
            self._running[position] = event
            self._update_if_due()
            return
        if isinstance(event, Ended):
            self._running.pop(position, None)
            self._ended += 1
        several = len(self._names) > 1
        if self._is_printed(event) and not (several and isinstance(event, EpochEnded)):
            if self._epoch_line is not None and isinstance(event, EpochEnded):
                self._lines[self._epoch_line] = event.text
            else:
                self._lines.append(self._line(position, event))
                self._epoch_line = len(self._lines) - 1 if isinstance(event, EpochEnded) else self._epoch_line
        self._update()

    def _update_if_due(self) -> None:
        if time.monotonic() > self._updated + UPDATE_SECONDS:
            self._update()

    def _update(self) -> None:
        self._updated = time.monotonic()
        self._output.update(self._content(), raw=True)

    def _content(self) -> dict[str, str]:
        bars = [
            (self._names[position], event.images, event.total, self._numbers(event))
            for position, event in sorted(self._running.items())
        ]
        if self._scored is not None:
            done, images = self._scored
            bars.append((_("evaluation"), done, images, _("{done:,}/{images:,} images", done=done, images=images)))
        if len(self._names) > 1:
            bars.insert(0, (_("runs"), self._ended, len(self._names), f"{self._ended}/{len(self._names)}"))
        row = Markup("<tr><td>{}</td><td><progress value='{}' max='{}'></progress></td><td>{}</td></tr>")
        rows = Markup().join(row.format(*bar) for bar in bars)
        text = Markup("<div style='white-space: pre-wrap; overflow-wrap: anywhere'>{}</div>")
        early, late = self._lines[:-LINES_IN_NOTEBOOK], self._lines[-LINES_IN_NOTEBOOK:]
        summary = ngettext("{n} earlier line", "{n} earlier lines", len(early))
        collapsed = Markup("<details><summary>{}</summary>{}</details>").format(summary, text.format("\n".join(early)))
        html = Markup("<div style='font: 0.85rem/1.5 sans-serif'>{}{}{}</div>").format(
            collapsed if early else "",
            text.format("\n".join(late)),
            Markup("<table style='font: inherit; margin: 0'>{}</table>").format(rows) if bars else "",
        )
        return {"text/html": str(html), "text/plain": "\n".join(self._lines)}


def display_of(names: Sequence[str], *, to_stderr: bool) -> Display:
    """Returns the display of these runs for a terminal or notebook."""
    return NotebookDisplay(names) if Console().is_jupyter else Display(names, to_stderr=to_stderr)

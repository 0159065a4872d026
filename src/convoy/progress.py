"""Prints the progress of runs: the lines of log.txt and, on a terminal, progress bars."""

from __future__ import annotations

import os
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from convoy.events import Ended, EpochEnded, Event, Note, Progress, Started
from convoy.text import gettext as _

MIN_WIDTH_FOR_SPEED = 120  # columns of the terminal


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Continues training without output after its reader has exited (`| head`)."""
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
        if not isinstance(event, Progress) and self._prints(event):
            of_study = isinstance(event, Note) and event.of_study
            prefix = f"{self._names[position]}: " if len(self._names) > 1 and not of_study else ""
            # Wrapped on a terminal only: elsewhere each event is one line.
            self._console.print(prefix + event.text, markup=False, soft_wrap=self._bars is None)
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

    def _prints(self, event: Started | EpochEnded | Note | Ended) -> bool:
        """With several runs, omits lines whose content the bars show, and notes that another run has printed."""
        if len(self._names) == 1 or isinstance(event, Ended):
            return True
        if isinstance(event, Note):
            is_new = event.text not in self._printed_notes
            self._printed_notes.add(event.text)
            return is_new
        return isinstance(event, EpochEnded) and self._bars is None

    def _advance(self, bars: Bars, position: int, event: Progress) -> None:
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
        numbers = "  ".join(texts)
        if position not in self._tasks:
            self._tasks[position] = bars.add_task(self._names[position], total=event.total, numbers=numbers)
        bars.update(self._tasks[position], completed=event.images, numbers=numbers)

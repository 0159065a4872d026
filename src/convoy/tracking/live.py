"""Starts the process of a tracker and notifies it of new results. Never waits for it during training."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from convoy.events import Ended, EpochEnded, Event, Started
from convoy.text import gettext as _
from convoy.tracking import check, default_place

PATIENCE = 60.0  # seconds to wait for the tracker after the last run


class Outcome(NamedTuple):
    view: str = ""  # the command or URL that shows the runs
    error: str = ""


class Feed:
    """Sends messages to the process of a tracker in a thread, because a full pipe would block training."""

    def __init__(self, name: str, place: str) -> None:
        self.outcome: Outcome | None = None  # None: still running
        self._command = [sys.executable, "-m", "convoy.tracking.writer", name, place]
        self._messages: queue.Queue[dict[str, str | None] | None] = queue.Queue()
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._send, daemon=True)
        self._thread.start()

    def update(self, run: Path, group: str | None) -> None:
        self._messages.put({"run": str(run.resolve()), "group": group})

    def close(self, seconds: float | None = None) -> Outcome:
        """Waits until everything is written, but at most `seconds`; then kills the process."""
        self._messages.put(None)
        try:
            self._thread.join(seconds)
        finally:
            if self._process is not None and self._thread.is_alive():
                self._process.kill()
        return self.outcome or Outcome(error=_("not finished after {seconds:.0f} s", seconds=seconds))

    def _send(self) -> None:
        """Starts the process with the first message."""
        if (message := self._messages.get()) is None:
            self.outcome = Outcome()
            return
        try:
            self._process = process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                encoding="utf-8",
                start_new_session=True,  # Ctrl-C reaches only this process
            )
        except OSError as error:
            self.outcome = Outcome(error=str(error))
            return
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(OSError):  # the process has ended; the reason is in its answer
            while message is not None:
                process.stdin.write(json.dumps(message) + "\n")
                process.stdin.flush()
                message = self._messages.get()
            process.stdin.close()
        answer = process.stdout.read()
        code = process.wait()
        self.outcome = Outcome(**json.loads(answer)) if answer else Outcome(error=_("exit code {code}", code=code))


def print_view(name: str, outcome: Outcome) -> None:
    if outcome.view:
        print(_("written to {tracker}; view with: {view}", tracker=name, view=outcome.view), file=sys.stderr)


class Live:
    """The tracker of a session."""

    def __init__(self, name: str, feed: Feed) -> None:
        self.name, self._feed = name, feed
        self._group: str | None = None
        self._warned = False

    def name_study(self, name: str) -> None:
        self._group = name

    def show(self, event: Event) -> None:
        if isinstance(event, Started | EpochEnded | Ended):
            self._feed.update(event.run, self._group)
        if self._feed.outcome is not None:
            self._warn(self._feed.outcome.error)

    def close(self) -> None:
        outcome = self._feed.close(PATIENCE)
        if outcome.error:
            self._warn(outcome.error)
        else:
            print_view(self.name, outcome)

    def _warn(self, error: str) -> None:
        if not self._warned:
            self._warned = True
            text = _(
                "not tracked by {tracker}: {error}; training is not affected; to export the run later: convoy export "
                "RUN --to {tracker}",
                tracker=self.name,
                error=error,
            )
            print(text, file=sys.stderr)


@contextmanager
def tracking(name: str, out: str | Path) -> Iterator[Live]:
    """Tracks the runs in this context. Raises ValueError for an unknown tracker or a missing library."""
    check(name, "--track")
    live = Live(name, Feed(name, default_place(name, out)))
    try:
        yield live
    finally:
        live.close()

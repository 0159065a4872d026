"""Makes the runs of a public function interruptible and prints their progress."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from convoy.process import continuing_command, in_torchrun, interruptible

if TYPE_CHECKING:
    from convoy import runs
    from convoy.api.study import Study
    from convoy.events import Event
    from convoy.studies.session import Session, Show


class Stopped(KeyboardInterrupt):
    """An interrupted command whose state was saved; the message says how to continue."""

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows instead of a traceback."""
        return [str(self)]


@contextmanager
def session_of(names: Sequence[str], options: Mapping[str, Any], *, joins: bool = False) -> Iterator[Session]:
    """Yields the session of interruptible runs with these names and prints their progress.

    `joins`: whether the processes of torchrun may train together. Raises ValueError if they may not.
    """
    from convoy.studies.session import Session

    if in_torchrun() and not joins:
        raise ValueError("torchrun: only `train` uses several processes per run; start studies without torchrun")
    with ExitStack() as stack:
        live = None
        if (tracker := options.get("track")) is not None:
            from convoy.tracking.live import tracking

            live = stack.enter_context(tracking(tracker, options["out"]))
        interrupted = stack.enter_context(interruptible())
        show = stack.enter_context(display(names, show=options["show"]))
        session = Session(
            options["out"],
            fresh=options.get("fresh", False),
            test=options.get("test", True),
            where=options.get("where"),
            insecure=options.get("insecure", False),
            interrupted=interrupted,
            show=show,
        )
        if live is not None:

            def show_and_track(position: int, event: Event) -> None:
                show(position, event)
                live.show(event)

            session = replace(session, show=show_and_track, name_study=live.name_study)
        yield session


@contextmanager
def display(names: Sequence[str], *, show: bool | str) -> Iterator[Show]:
    """Yields a function that prints the progress events of the runs `names`; it does nothing unless `show`."""
    from convoy.progress import display_of

    if not show:
        yield lambda position, event: None
        return
    from convoy.evaluation.predict import watched

    with display_of(names, to_stderr=show == "stderr") as display, watched(display.show_evaluation):
        yield display.show


def finished(study: runs.Study | None, options: Mapping[str, Any]) -> Study:
    """Raises Stopped if the study was interrupted."""
    if study is None:
        raise Stopped(resume_hint(options))
    from convoy.api.study import Study

    return Study(study.path)


def resume_hint(options: Mapping[str, Any]) -> str:
    """What to type next: the command itself, if it was `convoy`."""
    if command := continuing_command():
        return f"stopped and saved; to continue: {command}"
    without = " without --fresh" if options.get("fresh") else ""
    return f"stopped and saved; run the same command again{without} to continue"

"""Makes the runs of a public function interruptible and prints their progress."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from convoy.process import continuing_command, in_torchrun, interruptible
from convoy.text import gettext as _

if TYPE_CHECKING:
    from convoy import runs
    from convoy.api.study import Study
    from convoy.events import Event
    from convoy.studies.session import Session, Show


class Stopped(KeyboardInterrupt):
    """An interrupted command whose state was saved; the message says how to continue."""

    def _render_traceback_(self) -> list[str]:
        """The text that a notebook shows instead of a traceback."""
        return [str(self)]


@contextmanager
def session_of(names: Sequence[str] | None, options: Mapping[str, Any], *, joins: bool = False) -> Iterator[Session]:
    """Yields the session of interruptible runs with these names and prints their progress.

    `names`: None if `display` shows the runs of the session in several stages. `joins`: whether the processes of
    torchrun may train together; if not, raises ValueError under torchrun.
    """
    from convoy.studies.session import Session
    from convoy.studies.shards import Shard

    if in_torchrun() and not joins:
        raise ValueError(_("torchrun: only `train` uses several processes per run; start studies without torchrun"))
    with ExitStack() as stack:
        session = Session(
            options["out"],
            fresh=options.get("fresh", False),
            test=options.get("test", True),
            where=options.get("where"),
            insecure=options.get("insecure", False),
            shard=Shard.parse(shard) if (shard := options.get("shard")) is not None else None,
        )
        if (tracker := options.get("track")) is not None:
            from convoy.tracking.live import tracking

            live = stack.enter_context(tracking(tracker, options["out"]))
            session = replace(session, show=lambda position, event: live.show(event), name_study=live.name_study)
        session = replace(session, interrupted=stack.enter_context(interruptible()))
        if names is not None:
            session = replace(
                session, show=stack.enter_context(display(names, show=options["show"], track=session.show))
            )
        yield session


@contextmanager
def display(names: Sequence[str], *, show: bool | str, track: Show = lambda position, event: None) -> Iterator[Show]:
    """Yields a function that prints the events of the runs `names`, unless `show` is false, and tracks them."""
    from convoy.progress import display_of

    if not show:
        yield track
        return
    from convoy.evaluation.predict import watched

    with display_of(names, to_stderr=show == "stderr") as display, watched(display.show_evaluation):

        def show_and_track(position: int, event: Event) -> None:
            display.show(position, event)
            track(position, event)

        yield show_and_track


def finished(study: runs.Study | None, options: Mapping[str, Any]) -> Study:
    """Raises Stopped if the study was interrupted."""
    if study is None:
        raise Stopped(resume_hint(options))
    from convoy.api.study import Study

    return Study(study.path)


def resume_hint(options: Mapping[str, Any]) -> str:
    """Returns how to continue: the command, if it was a `convoy` command."""
    if command := continuing_command():
        return _("stopped and saved; to continue: {command}", command=command)
    if options.get("fresh"):
        return _("stopped and saved; run the same command again without --fresh to continue")
    return _("stopped and saved; run the same command again to continue")

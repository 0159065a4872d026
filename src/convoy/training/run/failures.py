"""Failures of a run: a full disk, a deleted run folder, an error in a user's network."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from convoy.checkpoint import saved_step
from convoy.models import user
from convoy.process import continuing_command
from convoy.recipe import Recipe
from convoy.registry import is_user_class
from convoy.run_contents import RunState
from convoy.runs import Run
from convoy.text import gettext as _
from convoy.text import short_path

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class Failures:
    """Context manager that converts these failures to a one-line ValueError.

    The message names the file (and the line of a user's network) and says what repeating the command will do. Errors
    in Convoy's own code are not converted.
    """

    def __init__(self, run: Run, recipe: Recipe) -> None:
        self._run, self._model = run, recipe.model.name

    def __enter__(self) -> Self:
        self._recipe_file = (self._run.path / "recipe.toml").open("rb")  # identifies the folder
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: TracebackType | None) -> None:
        deleted = self._is_deleted()
        self._recipe_file.close()
        may_be_user_error = is_user_class(self._model) and not isinstance(error, KeyboardInterrupt | GeneratorExit)
        if may_be_user_error and error is not None and user.failed_in(self._model, error):
            self._interrupted(_("its network failed"))
            raise user.failure(self._model, error) from error
        if deleted and isinstance(error, OSError | ValueError):
            text = _("{path} was deleted while it was in use", path=self._run.path)
            raise ValueError(_sentence(text, _repeat(_("to train it again")))) from error
        if isinstance(error, OSError):
            self._interrupted(f"{error.strerror or error}")
            raise ValueError(self._line(error)) from error

    def check_folder(self) -> None:
        """Raises FileNotFoundError if the folder was deleted, because the next write would create an incomplete one."""
        if self._is_deleted():
            raise FileNotFoundError(errno.ENOENT, _("deleted"), str(self._run.path))

    def _is_deleted(self) -> bool:
        return os.fstat(self._recipe_file.fileno()).st_nlink == 0

    def _line(self, error: OSError) -> str:
        advice = _("free some disk space") if error.errno in DISK_FULL else ""
        where = f"{short_path(Path(error.filename or self._run.path))}: {error.strerror or error}"
        if self._run.finished:
            return _sentence(where, advice, _("the trained weights are saved"), _repeat(_("to continue")))
        step = saved_step(self._run.path / "checkpoints", self._run.status.fingerprint)
        if step is None:
            return _sentence(where, advice, _("no checkpoint was saved yet"), _repeat(_("to start again")))
        return _sentence(where, advice, _repeat(_("to resume from the checkpoint of step {step:,}", step=step)))

    def _interrupted(self, reason: str) -> None:
        with suppress(OSError, ValueError):
            if not self._run.finished:
                self._run.write_status(state=RunState.INTERRUPTED, reason=reason)


def _sentence(*clauses: str) -> str:
    return "; ".join(filter(None, clauses))


def _repeat(purpose: str) -> str:
    command = continuing_command()
    return f"{purpose}: {command}" if command else _("repeat the call {purpose}", purpose=purpose)

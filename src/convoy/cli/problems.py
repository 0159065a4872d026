"""Errors in the arguments of a command, and errors of the file system, as sentences in the user's language."""

from __future__ import annotations

import errno
from difflib import get_close_matches
from pathlib import Path
from typing import get_args

from cyclopts import (
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    RepeatArgumentError,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
)

from convoy.cli.guesses import advice
from convoy.cli.help import meaning
from convoy.registry import unknown
from convoy.text import gettext as _
from convoy.text import short_path
from convoy.text.lists import clauses, joined


def sentence(error: CycloptsError) -> str:
    """Falls back to the English sentence of cyclopts."""
    text: str | None = None
    if isinstance(error, UnusedCliTokensError):
        unexpected = joined(repr(token) for token in error.unused_tokens or ())
        text = _("unexpected argument {tokens}: --help lists the arguments of this command", tokens=unexpected)
    elif isinstance(error, UnknownOptionError):
        flag = str(error.token.keyword or error.token.value)
        options = {name for argument in error.argument_collection for name in argument.names}
        close = get_close_matches(flag, options, 1)
        hint = advice(flag, options)
        hint = hint or (_("did you mean {name}?", name=close[0]) if close else _("--help lists the options"))
        text = _("unknown option {flag}: {hint}", flag=flag, hint=hint)
    elif isinstance(error, MissingArgumentError):
        text = _missing(error)
    elif isinstance(error, RepeatArgumentError):
        text = _("{flag} is given more than once", flag=error.token.keyword)
    elif isinstance(error, CoercionError):
        text = _invalid(error)
    elif isinstance(error, UnknownCommandError) and error.unused_tokens and error.app:
        commands = [name for name in error.app if not name.startswith("-")]
        text = str(unknown(_("command"), error.unused_tokens[0], commands))
    return text or " ".join(str(error).split())


def _missing(error: MissingArgumentError) -> str | None:
    if error.keyword is not None:
        return _("{token} needs a value", token=error.keyword)
    argument = error.argument
    if argument is None:
        return None
    choices = [name for name in get_args(argument.hint) if isinstance(name, str)]
    if choices:
        return _("{name} is missing; known: {names}", name=argument.name.lstrip("-").upper(), names=joined(choices))
    return _("{name} is missing: {meaning}", name=argument.name, meaning=meaning(argument.parameter.help or ""))


def _invalid(error: CoercionError) -> str | None:
    """Returns the converter's own message for a rejected value; for an unknown choice, the closest valid ones."""
    token = error.token
    if token is None:
        return None
    if error.msg is not None:
        return f"{token.keyword}: {error.msg}" if token.keyword else str(error.msg)
    choices = [name for name in get_args(error.target_type) if isinstance(name, str)]
    name = token.keyword or (error.argument.name.lstrip("-").upper() if error.argument else "")
    if error.target_type is float:
        problem = _("expected a number, got {value!r}", value=token.value)
        return f"{name}: {problem}"
    return str(unknown(name, token.value, choices)) if choices else None


def file_sentence(error: OSError) -> str:
    """Returns the path, the reason and what to do, instead of "[Errno 28] ..."."""
    if error.errno is None:  # an error of a library, which has its own message
        return str(error)
    reason = error.strerror or str(error)
    text = reason if error.filename is None else f"{short_path(Path(error.filename))}: {reason}"
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            advice = _("free some space there, or choose another folder, and run the command again")
        case errno.EACCES | errno.EPERM | errno.EROFS:
            advice = _("check the permissions, or choose another folder")
        case _other:
            return text
    return clauses([text, advice])

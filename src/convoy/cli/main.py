"""Parses the command line, runs the command and prints an error as one line."""

from __future__ import annotations

import atexit
import codecs
import gc
import os
import re
import sys
import warnings
from collections.abc import Sequence
from contextlib import ExitStack, redirect_stdout
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

from cyclopts import CycloptsError

from convoy import cli
from convoy.cli.app import app
from convoy.cli.problems import file_sentence, sentence
from convoy.cli.signals import EXIT_CODE, stop_signals
from convoy.text import gettext as _
from convoy.text import language_base, language_bases, selected, warn_of_language
from convoy.text.lists import joined
from convoy.text.wrap import typeset

if TYPE_CHECKING:
    from convoy.recipe.files import Override

for module in iter_modules(cli.__path__):  # registers the commands of all modules
    if not module.name.startswith("_"):
        import_module(f"{cli.__name__}.{module.name}")

# Otherwise, garbage collection over all objects of torch takes 0.7 s of processor time at exit.
atexit.register(gc.freeze)

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")  # a message can quote names and answers of servers
SPELLED_OUT = {"±": "+/-", "−": "-", "–": "-", "×": "x", "·": "-", "…": "...", "→": "->", "²": "^2", "\u00a0": " "}


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command. A user's error is printed as one line on stderr, with exit code 2."""
    replace_unencodable()
    with ExitStack() as stack:
        try:
            stack.enter_context(stop_signals())
            code, tokens = split_language(sys.argv[1:] if arguments is None else arguments)
            stack.enter_context(selected(code))
            _print_warning_of_language()
            _run(tokens)
        except CycloptsError as error:
            _fail(sentence(error))
        except BrokenPipeError:  # for example `| head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(141)
        except OSError as error:
            _fail(file_sentence(error))
        except ValueError as error:
            _fail(str(error))
        except (MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            _fail(_("out of memory: try a smaller batch, network or image size"))
        except KeyboardInterrupt as stop:
            print(str(stop) or _("stopped"), file=sys.stderr)
            sys.exit(EXIT_CODE)


def _run(arguments: Sequence[str]) -> None:
    overrides, tokens = split_overrides(arguments)
    command, bound, _ignored = app.parse_args(tokens, exit_on_error=False, print_error=False)
    if overrides and "set" in bound.signature.parameters:
        bound.arguments["set"] = overrides
    elif overrides:
        raise ValueError(_("--{key} sets a recipe's key, but this command takes no recipe", key=overrides[0][0]))
    # With --json, stdout contains only the JSON object; output of a user's network goes to stderr.
    with redirect_stdout(sys.stderr if "--json" in tokens else sys.stdout):
        command(*bound.args, **bound.kwargs)


def split_language(arguments: Sequence[str]) -> tuple[str | None, list[str]]:
    """Separates `--lang zh` or `--lang=zh` from the other arguments.

    Raises ValueError for a language without messages.
    """
    tokens = list(arguments)
    end = tokens.index("--") if "--" in tokens else len(tokens)
    place = next((i for i, token in enumerate(tokens[:end]) if token.partition("=")[0] == "--lang"), None)
    if place is None:
        return None, tokens
    _name, equals, code = tokens.pop(place).partition("=")
    if not equals:
        code = tokens.pop(place) if place < end - 1 else ""
    if language_base(code) not in language_bases():
        raise ValueError(_("--lang {code}: expected one of {known}", code=code, known=joined(language_bases())))
    return code, tokens


def _print_warning_of_language() -> None:
    with warnings.catch_warnings(record=True, action="always") as caught:
        warn_of_language()
    for warning in caught:
        print(f"convoy: {warning.message}", file=sys.stderr)


def split_overrides(arguments: Sequence[str]) -> tuple[list[Override], list[str]]:
    """Separates `--a.b value`, `--a.b=value` and `--set a.b=value` from the other arguments.

    Raises ValueError for a key without a value.
    """
    overrides: list[Override] = []
    rest: list[str] = []
    remaining = list(arguments)
    while remaining:
        token = remaining.pop(0)
        if token == "--":
            return overrides, [*rest, token, *remaining]
        name, equals, value = token.partition("=")
        if name == "--set":
            value = value if equals else remaining.pop(0) if remaining else ""
            name, equals, value = value.partition("=")
            if not (name and equals):
                raise ValueError(_("--set needs key=value, as in --set optim.lr=0.01"))
        elif not (name.startswith("--") and "." in name):
            rest.append(token)
            continue
        elif not equals:
            if not remaining or remaining[0].startswith("--"):
                raise ValueError(_("{token} needs a value", token=token))
            value = remaining.pop(0)
        from convoy.recipe.files import parse_override  # slow import

        overrides.append(parse_override(name.removeprefix("--"), value))
    return overrides, rest


def replace_unencodable() -> None:
    """Lets stdout and stderr replace characters that they cannot encode: "±" by "+/-", others by their code."""
    codecs.register_error("convoy", _spelled_out)
    for stream in (sys.stdout, sys.stderr, sys.__stdout__):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="convoy")


def _spelled_out(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end]
    replaced = (SPELLED_OUT.get(sign) or sign.encode("ascii", "backslashreplace").decode() for sign in text)
    return "".join(replaced), error.end


def _is_out_of_memory(error: Exception) -> bool:
    """Matches torch's error by name, because torch must not be imported. On a CPU it is a plain RuntimeError."""
    message = str(error)
    is_torch_error = type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in message
    return isinstance(error, MemoryError) or is_torch_error or "Storage size calculation overflowed" in message


def _fail(message: str) -> None:
    line = CONTROL.sub(lambda sign: f"\\x{ord(sign[0]):02x}", " ".join(message.split()))
    print(f"convoy: {typeset(line)}", file=sys.stderr)
    sys.exit(2)

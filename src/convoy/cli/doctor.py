"""convoy doctor: mistakes, their evidence, and how to fix them."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from convoy import api
from convoy.cli.app import Call, command, print_json, say

if TYPE_CHECKING:
    from convoy.diagnosing.finding import Diagnosis

STYLES = {"error": "bold red", "warning": "yellow", "hint": "cyan"}


@command(api.doctor)
def doctor(call: Call, as_json: bool) -> None:
    diagnosis = call()
    if as_json:
        print_json(asdict(diagnosis))
    else:
        _print(diagnosis)
    if diagnosis.has_errors:
        sys.exit(1)


def _print(diagnosis: Diagnosis) -> None:
    from rich.console import Console
    from rich.text import Text

    from convoy.diagnosing import words

    console = Console(markup=False, emoji=False, highlight=False, soft_wrap=not sys.stdout.isatty())
    for finding in diagnosis.findings:
        heading = Text.assemble((words.severity(finding.severity), STYLES[finding.severity]), f"  {finding.check}")
        console.print(heading)
        for line in words.lines(finding):
            say(line, indent=2)
    say(words.sentence(diagnosis))

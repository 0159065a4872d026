"""The commands of all studies, and reproduce."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from convoy import api
from convoy.cli.app import Call, command, print_json
from convoy.studies.kinds import KINDS

if TYPE_CHECKING:
    from convoy.runs import Study


def run_study(call: Call, as_json: bool) -> None:
    study = call(show="stderr" if as_json else True)
    page = study.path / "report.html" if call.func is api.reproduce else api.report(study)
    print_finding(study, page, as_json=as_json)


def print_finding(study: Study, page: Path, *, as_json: bool) -> None:
    """The last output of a study's command: its finding, its caveats and the path of its report."""
    if as_json:
        print_json({"study": str(study.path), "report": str(page), "finding": study.finding_json})
        return
    from convoy.experiments import kinds

    print(kinds.sentence_of(study))
    for caveat in kinds.caveats_of(study):
        print(f"- {caveat}")
    print(page)


for name in (*KINDS, "reproduce"):
    command(getattr(api, name))(run_study)

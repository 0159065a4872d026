"""The commands of all studies, and reproduce."""

from __future__ import annotations

from convoy import api
from convoy.cli.app import Call, command, print_json
from convoy.studies.kinds import KINDS


def run_study(call: Call, as_json: bool) -> None:
    """Prints the finding, its caveats and the path of the report."""
    study = call(show="stderr" if as_json else True)
    page = study.path / "report.html" if call.func is api.reproduce else api.report(study)
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

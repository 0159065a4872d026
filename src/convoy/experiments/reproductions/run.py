"""The study of several reproduced experiments."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from convoy.experiments.reproduction.finding import QUICK
from convoy.files import write_json
from convoy.prediction import Verdict, verdicts_withheld
from convoy.runs import Study, Workspace


def gather(found: Mapping[str, Study], waiting: Sequence[str], out: str | Path, *, name: str, command: str) -> Study:
    """`waiting`: experiments that were not run yet."""
    study = Workspace(out).write_study(name, {"kind": "reproductions", "command": command}, [])
    entries = [
        {"experiment": each, "study": os.path.relpath(reproduced.path, study.path), "why": ""}
        for each, reproduced in found.items()
    ]
    entries += [{"experiment": each, "study": "", "why": "Not run yet"} for each in waiting]
    findings = [reproduced.finding for reproduced in found.values()]
    claims = [claim["verdict"] for finding in findings for claim in finding["claims"]]
    faults = [fault for finding in findings for fault in finding["faults"]]
    complete = sum(not finding["missing"] for finding in findings)
    moved = sum(fault["moved"] for fault in faults)
    sentence = f"{complete} of {len(entries)} experiments reproduced completely"
    withheld = next(filter(None, map(verdicts_withheld, findings)), None)
    if withheld is not None:
        sentence += f"; no verdict on faults or claims ({withheld})"
    else:
        sentence += (
            f": {moved} of {len(faults)} tests of faults show an effect, {claims.count(Verdict.HOLDS)} of "
            f"{len(claims)} claims hold"
        )
    missing = [f"{finding['experiment']}: {each}" for finding in findings for each in finding["missing"]]
    caveats = [*([QUICK] if any(finding["quick"] for finding in findings) else []), *missing]
    write_json(
        study.path / "finding.json",
        {"kind": "reproductions", "sentence": sentence, "caveats": caveats, "experiments": entries},
    )
    return study

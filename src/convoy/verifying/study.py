"""Recomputes the finding of a study from its runs. Does not import torch."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from convoy.counts import agree
from convoy.run_files import Contradiction
from convoy.runs import Study
from convoy.studies.compare.finding import conclude
from convoy.text import gettext as _
from convoy.verifying.result import Check, Checked, compared, unknown

FINDING = "finding.json"


def verify_finding(study: Study) -> Checked:
    """Compares the finding of a comparison without varied keys; those of other kinds cannot be checked."""
    if not study.has_finding:
        return unknown(study.name, Check.FINDING, _("the study is not finished"))
    stated = study.finding_json
    if study.contents.kind != "compare" or stated.get("ablation") is not None:
        reason = _("only the finding of a comparison without --vary is computed again")
        return unknown(study.name, Check.FINDING, reason)
    try:
        found = json.loads(json.dumps(asdict(conclude(study.members))))
    except ValueError as error:
        return unknown(study.name, Check.FINDING, str(error))
    different = [
        Contradiction(study.name, FINDING, _("its runs"), name, _short(stated.get(name)), _short(value))
        for name, value in found.items()
        if not _same(stated.get(name), value)
    ]
    return compared(study.name, Check.FINDING, _("computed again from the runs"), different)


def _same(stated: Any, value: Any) -> bool:
    if isinstance(value, dict):
        return isinstance(stated, dict) and all(_same(stated.get(key), inner) for key, inner in value.items())
    if isinstance(value, list):
        return isinstance(stated, list) and len(stated) == len(value) and all(map(_same, stated, value))
    return agree(stated, value)


def _short(value: Any) -> Any:
    return None if isinstance(value, dict | list) else value

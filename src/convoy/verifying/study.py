"""Recomputes the finding of a study from its runs. Does not import torch."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from convoy.counts import agree
from convoy.run_files import CONTENT, Contradiction
from convoy.runs import Study
from convoy.studies import kinds
from convoy.text import gettext as _
from convoy.verifying.result import Check, CheckResult, comparison, not_checkable

FINDING = "finding.json"


def verify_finding(study: Study) -> CheckResult:
    """Compares the finding with one that is recomputed from the runs (`recompute` of its kind)."""
    if not study.has_finding:
        return not_checkable(study.name, Check.FINDING, _("the study is not finished"))
    if study.contents.kind not in kinds.KINDS:
        reason = _("the finding of a reproduction is not computed again, but the findings of its studies are")
        return not_checkable(study.name, Check.FINDING, reason)
    words = _("computed again from the runs")
    try:
        stated = _table(kinds.finding_of(study))
    except ValueError as error:
        damaged = Contradiction(study.name, FINDING, FINDING, CONTENT, found=str(error))
        return comparison(study.name, Check.FINDING, words, [damaged])
    try:
        recomputed = _table(kinds.recompute_finding(study))
    except ValueError as error:
        return not_checkable(study.name, Check.FINDING, str(error))
    different = [
        Contradiction(study.name, FINDING, _("its runs"), name, _short(stated.get(name)), _short(value))
        for name, value in recomputed.items()
        if not _same(stated.get(name), value)
    ]
    return comparison(study.name, Check.FINDING, words, different)


def _table(finding: Any) -> dict[str, object]:
    """As in finding.json, with the current names of its fields."""
    table: dict[str, object] = json.loads(json.dumps(asdict(finding)))
    return table


def _same(stated: object, value: object) -> bool:
    if isinstance(value, dict):
        return isinstance(stated, dict) and all(_same(stated.get(key), inner) for key, inner in value.items())
    if isinstance(value, list):
        return isinstance(stated, list) and len(stated) == len(value) and all(map(_same, stated, value))
    return agree(stated, value)


def _short(value: object) -> object:
    return None if isinstance(value, dict | list) else value

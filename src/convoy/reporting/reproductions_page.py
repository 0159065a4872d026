"""The page of several reproduced experiments: a line each, and the way to their reports."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from convoy.files import read_json
from convoy.prediction import CLAIM_VERDICTS, verdicts_withheld
from convoy.reporting.content import Cell, Code, Column, Page, Section, Table, clean
from convoy.reporting.measures import measure
from convoy.reporting.reproduction_parts import report_link
from convoy.runs import Study


def reproductions_page(study: Study, folder: Path) -> Page:
    finding = study.finding
    columns = (
        Column("Experiment", numeric=False),
        Column("What came out", numeric=False),
        Column("The fault with the largest effect", numeric=False),
        *(Column(verdict.capitalize(), "claims") for verdict in CLAIM_VERDICTS),
    )
    rows = []
    for entry in finding["experiments"]:
        path = study.path / entry["study"] if entry["study"] else None
        if path is None or not (path / "finding.json").is_file():
            why = clean(entry.get("why") or "its study is not here")
            rows.append((Cell(clean(entry["experiment"])), Cell(why), *[Cell("")] * (1 + len(CLAIM_VERDICTS))))
            continue
        found = read_json(path / "finding.json", "sentence", "faults", "claims")
        verdicts = [claim["verdict"] for claim in found["claims"]]
        rows.append(
            (
                Cell(clean(entry["experiment"]), link=report_link(path, folder)),
                Cell(clean(found["sentence"])),
                Cell(worst_fault(found)),
                *(Cell(str(verdicts.count(verdict))) for verdict in CLAIM_VERDICTS),
            )
        )
    return Page(
        kicker=f"Reproductions · {clean(study.name)}",
        title=f"{len(rows)} published experiments, done again",
        sentence=clean(finding["sentence"]),
        caveats=tuple(clean(caveat) for caveat in finding["caveats"]),
        tables=(Table(columns, tuple(rows)),),
        sections=(Section("How it was made", (Code(clean(study.table["command"]), "Command"),)),),
        labels=(),
    )


def worst_fault(finding: Mapping[str, Any]) -> str:
    """The fault that moved an accuracy most; of others none is worse than another."""
    if withheld := verdicts_withheld(finding):
        return f"no verdict ({withheld})"
    moved = [fault for fault in finding["faults"] if fault["moved"] and measure(fault["measure"]).unit == "%"]
    if not moved:
        return "none moved an accuracy" if finding["faults"] else "none was priced"
    worst = max(moved, key=lambda fault: abs(fault["effect"]["mean"]))
    number, interval = measure(worst["measure"]).parts(worst["effect"], signed=True)
    of_what = "" if worst["measure"] == "test_accuracy" else f" of {measure(worst['measure']).words}"
    return clean(f"{worst['name'].replace('_', ' ')}: {number} {interval}".rstrip() + f" points{of_what}")

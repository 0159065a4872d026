"""The page of several reproduced experiments: one row with a link to the report of each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from convoy.experiments.measure_words import measure
from convoy.experiments.reproduction.page_parts import report_link
from convoy.files import read_json
from convoy.prediction import CLAIM_VERDICTS, verdicts_withheld
from convoy.reporting.content import Cell, Code, Column, Page, Section, Table
from convoy.runs import Study


def reproductions_page(study: Study, folder: Path) -> Page:
    finding = study.finding
    columns = (
        Column("Experiment", numeric=False),
        Column("Result", numeric=False),
        Column("Largest effect of a fault", numeric=False),
        *(Column(verdict.capitalize(), "claims") for verdict in CLAIM_VERDICTS),
    )
    rows = []
    for entry in finding["experiments"]:
        path = study.path / entry["study"] if entry["study"] else None
        if path is None or not (path / "finding.json").is_file():
            reason = entry.get("why") or "study is missing"
            rows.append((Cell(entry["experiment"]), Cell(reason), *[Cell("")] * (1 + len(CLAIM_VERDICTS))))
            continue
        part = read_json(path / "finding.json", "sentence", "faults", "claims")
        verdicts = [claim["verdict"] for claim in part["claims"]]
        rows.append(
            (
                Cell(entry["experiment"], link=report_link(path, folder)),
                Cell(part["sentence"]),
                Cell(worst_fault(part)),
                *(Cell(str(verdicts.count(verdict))) for verdict in CLAIM_VERDICTS),
            )
        )
    return Page(
        kicker=f"Reproductions · {study.name}",
        title=f"Reproduction of {len(rows)} published experiments",
        sentence=finding["sentence"],
        caveats=tuple(finding["caveats"]),
        tables=(Table(columns, tuple(rows)),),
        sections=(Section("Setup", (Code(study.table["command"], "Command"),)),),
        labels=(),
    )


def worst_fault(finding: Mapping[str, Any]) -> str:
    """The fault with the largest effect on an accuracy; effects on other measures are not comparable."""
    if withheld := verdicts_withheld(finding):
        return f"no verdict ({withheld})"
    moved = [fault for fault in finding["faults"] if fault["moved"] and measure(fault["measure"]).unit == "%"]
    if not moved:
        return "no effect on an accuracy shown" if finding["faults"] else "none measured"
    worst = max(moved, key=lambda fault: abs(fault["effect"]["mean"]))
    number, interval = measure(worst["measure"]).parts(worst["effect"], signed=True)
    measure_name = "" if worst["measure"] == "test_accuracy" else f" of {measure(worst['measure']).phrase}"
    return f"{worst['name'].replace('_', ' ')}: {number} {interval}".rstrip() + f" points{measure_name}"

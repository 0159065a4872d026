"""What became of a report's claims: a row a claim, with the numbers behind its verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from convoy.reporting.content import Cell, Column, Section, Table, clean
from convoy.reporting.quantities import listed

PLURALS = {"holds": "hold", "does not hold": "do not hold", "cannot be told": "cannot be told"}
EXPLAINED = (
    "Each claim is judged alone, by the 95 % interval of what it compares, seed by seed: it holds where the whole "
    "interval is on its side of the limit, does not hold where the whole of it is on the other, and cannot be told "
    "where the interval reaches over the limit. What is counted, such as parameters, needs neither seeds nor interval."
)


def claims(found: Sequence[Mapping[str, Any]]) -> Section | None:
    """Of a finding's `claims`; None where there are none."""
    if not found:
        return None
    columns = (
        Column("Claim", numeric=False),
        Column("Verdict", numeric=False),
        Column("Measured", numeric=False),
        Column("n", "seeds"),
        *((Column("Reduced to", numeric=False),) if any(claim["reduced"] for claim in found) else ()),
    )
    rows = tuple(_row(claim, reduced=len(columns) == 5) for claim in found)
    return Section("The report's claims", (Table(columns, rows, f"{summary(found)} {EXPLAINED}"),))


def summary(found: Sequence[Mapping[str, Any]]) -> str:
    """ "Of 10 claims 4 hold, 3 do not hold and 3 cannot be told." """
    if len(found) == 1:
        return f"The one claim {found[0]['verdict']}."
    counts = {verdict: sum(claim["verdict"] == verdict for claim in found) for verdict in PLURALS}
    told = [f"{n} {verdict if n == 1 else PLURALS[verdict]}" for verdict, n in counts.items() if n]
    return f"Of {len(found)} claims {listed(told)}."


def _row(claim: Mapping[str, Any], *, reduced: bool) -> tuple[Cell, ...]:
    verdict = claim["verdict"]
    cells = (
        Cell(clean(claim["sentence"])),
        Cell(verdict.replace(" ", "\u00a0"), bold=verdict != "cannot be told"),
        Cell(clean(claim["words"])),
        Cell(_seeds(claim)),
    )
    return (*cells, Cell(clean(claim["reduced"]) if claim["reduced"] else "")) if reduced else cells


def _seeds(claim: Mapping[str, Any]) -> str:
    """Of the quantity that was judged; none where it was counted or not measured."""
    compared = claim.get("difference") or claim.get("ratio") or claim["a"]
    if not isinstance(compared, Mapping):
        return ""
    return "1" if compared["interval"] == "wilson" else str(compared["n"])

"""What became of a report's claims: a row a claim, with the numbers behind its verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from convoy.prediction import Verdict
from convoy.reporting.content import Cell, Column, Section, Table, clean
from convoy.reporting.quantities import listed

VERBS = {
    Verdict.HOLDS: ("holds", "hold"),
    Verdict.DOES_NOT_HOLD: ("does not hold", "do not hold"),
    Verdict.INCONCLUSIVE: ("is inconclusive", "are inconclusive"),
}
EXPLAINED = (
    "Each claim is judged alone, by the 95 % interval of what it compares, seed by seed: it holds where the whole "
    "interval is on its side of the limit, does not hold where the whole of it is on the other, and is inconclusive "
    "where the interval contains the limit. What is counted, such as parameters, needs neither seeds nor interval."
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
    """ "Of 10 claims 4 hold, 3 do not hold and 3 are inconclusive." """
    if len(found) == 1:
        return f"The one claim {VERBS[Verdict(found[0]['verdict'])][0]}."
    counts = {verdict: sum(claim["verdict"] == verdict for claim in found) for verdict in VERBS}
    told = [f"{n} {VERBS[verdict][n > 1]}" for verdict, n in counts.items() if n]
    return f"Of {len(found)} claims {listed(told)}."


def _row(claim: Mapping[str, Any], *, reduced: bool) -> tuple[Cell, ...]:
    verdict = claim["verdict"]
    cells = (
        Cell(clean(claim["sentence"])),
        Cell(verdict.replace(" ", "\u00a0"), bold=verdict != Verdict.INCONCLUSIVE),
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

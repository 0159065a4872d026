"""The claims of a published report: one row per claim, with the numbers behind its verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from convoy.prediction import Verdict
from convoy.reporting.content import Cell, Column, Section, Table
from convoy.reporting.quantities import listed

VERBS = {
    Verdict.HOLDS: ("holds", "hold"),
    Verdict.DOES_NOT_HOLD: ("does not hold", "do not hold"),
    Verdict.INCONCLUSIVE: ("is inconclusive", "are inconclusive"),
}
EXPLAINED = (
    "Each claim is judged alone, by the 95 % interval of the quantity it compares, paired by seed. It holds if the "
    "interval is entirely on its side of the limit, does not hold if it is entirely on the other side, and is "
    "inconclusive if the interval contains the limit. Counts, such as parameters, need neither seeds nor interval."
)


def claims(judged: Sequence[Mapping[str, Any]]) -> Section | None:
    """The section of `claims` in a finding; None without claims."""
    if not judged:
        return None
    columns = (
        Column("Claim", numeric=False),
        Column("Verdict", numeric=False),
        Column("Measured", numeric=False),
        Column("n", "seeds"),
        *((Column("Reduced to", numeric=False),) if any(claim["reduced"] for claim in judged) else ()),
    )
    rows = tuple(_row(claim, reduced=len(columns) == 5) for claim in judged)
    return Section("Claims of the report", (Table(columns, rows, f"{summary(judged)} {EXPLAINED}"),))


def summary(judged: Sequence[Mapping[str, Any]]) -> str:
    """ "Of 10 claims 4 hold, 3 do not hold and 3 are inconclusive." """
    if len(judged) == 1:
        return f"The one claim {VERBS[Verdict(judged[0]['verdict'])][0]}."
    counts = {verdict: sum(claim["verdict"] == verdict for claim in judged) for verdict in VERBS}
    parts = [f"{n} {VERBS[verdict][n > 1]}" for verdict, n in counts.items() if n]
    return f"Of {len(judged)} claims {listed(parts)}."


def _row(claim: Mapping[str, Any], *, reduced: bool) -> tuple[Cell, ...]:
    verdict = claim["verdict"]
    cells = (
        Cell(claim["sentence"]),
        Cell(verdict.replace(" ", "\u00a0"), bold=verdict != Verdict.INCONCLUSIVE),
        Cell(claim["words"]),
        Cell(_seeds(claim)),
    )
    return (*cells, Cell(claim["reduced"] or "")) if reduced else cells


def _seeds(claim: Mapping[str, Any]) -> str:
    """n of the judged quantity; empty if it was counted or not measured."""
    compared = claim.get("difference") or claim.get("ratio") or claim["a"]
    if not isinstance(compared, Mapping):
        return ""
    return "1" if compared["interval"] == "wilson" else str(compared["n"])

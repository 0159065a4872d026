"""The claims of a published report: one row per claim, with the numbers behind its verdict."""

from __future__ import annotations

from collections.abc import Sequence

from convoy.experiments import claim_words
from convoy.experiments.verdicts import JudgedClaim
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


def claims(judged: Sequence[JudgedClaim], changes: str) -> Section | None:
    """None without claims. `changes`: what the command changed in every run."""
    if not judged:
        return None
    scales = [claim_words.reduced(claim, changes) for claim in judged]
    columns = (
        Column("Claim", numeric=False),
        Column("Verdict", numeric=False),
        Column("Measured", numeric=False),
        Column("n", "seeds"),
        *((Column("Reduced to", numeric=False),) if any(scales) else ()),
    )
    rows = tuple(
        (*_cells(claim), *((Cell(scale),) if any(scales) else ())) for claim, scale in zip(judged, scales, strict=True)
    )
    return Section("Claims of the report", (Table(columns, rows, f"{summary(judged)} {EXPLAINED}"),))


def summary(judged: Sequence[JudgedClaim]) -> str:
    """ "Of 10 claims 4 hold, 3 do not hold and 3 are inconclusive." """
    if len(judged) == 1:
        return f"The one claim {VERBS[judged[0].verdict][0]}."
    counts = {verdict: sum(claim.verdict is verdict for claim in judged) for verdict in VERBS}
    parts = [f"{n} {VERBS[verdict][n > 1]}" for verdict, n in counts.items() if n]
    return f"Of {len(judged)} claims {listed(parts)}."


def _cells(claim: JudgedClaim) -> tuple[Cell, ...]:
    return (
        Cell(claim.sentence),
        Cell(claim.verdict.replace(" ", "\u00a0"), bold=claim.verdict is not Verdict.INCONCLUSIVE),
        Cell(claim_words.words(claim)),
        Cell(str(claim.n) if claim.n else ""),
    )

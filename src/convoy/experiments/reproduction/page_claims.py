"""The claims of a published report: one row per claim, with the numbers behind its verdict."""

from __future__ import annotations

from collections.abc import Sequence

from convoy.experiments import claim_words
from convoy.experiments.verdicts import JudgedClaim
from convoy.prediction import CLAIM_VERDICTS, Verdict
from convoy.reporting.content import Cell, Field, Section, table_of
from convoy.reporting.quantities import listed
from convoy.text import gettext as _
from convoy.text import ngettext


def claims(judged: Sequence[JudgedClaim], changes: str) -> Section | None:
    """None without claims. `changes`: what the command changed in every run."""
    if not judged:
        return None
    fields: list[Field[JudgedClaim]] = [
        Field(_("Claim"), lambda claim: claim.sentence, numeric=False),
        Field(_("Verdict"), _verdict, numeric=False),
        Field(_("Measured"), claim_words.words, numeric=False),
        Field("n", lambda claim: str(claim.n) if claim.n else "", _("seeds")),
    ]
    if any(claim_words.reduced(claim, changes) for claim in judged):
        fields.append(Field(_("Reduced to"), lambda claim: claim_words.reduced(claim, changes), numeric=False))
    explained = _(
        "Each claim is judged alone, by the 95 % interval of the quantity it compares, paired by seed. It holds if the "
        "interval is entirely on its side of the limit, does not hold if it is entirely on the other side, and is "
        "inconclusive if the interval contains the limit. Counts, such as parameters, need neither seeds nor interval."
    )
    return Section(_("Claims of the report"), (table_of(fields, judged, f"{summary(judged)} {explained}"),))


def summary(judged: Sequence[JudgedClaim]) -> str:
    """ "Of 10 claims 4 hold, 3 do not hold and 3 are inconclusive." """
    counts = [_count(verdict, sum(claim.verdict is verdict for claim in judged)) for verdict in CLAIM_VERDICTS]
    verdicts = listed([count for count in counts if count])
    return ngettext("Of {n} claim {verdicts}.", "Of {n} claims {verdicts}.", len(judged), verdicts=verdicts)


def _count(verdict: Verdict, n: int) -> str:
    if not n:
        return ""
    match verdict:
        case Verdict.HOLDS:
            return ngettext("{n} holds", "{n} hold", n)
        case Verdict.DOES_NOT_HOLD:
            return ngettext("{n} does not hold", "{n} do not hold", n)
    return ngettext("{n} is inconclusive", "{n} are inconclusive", n)


def _verdict(claim: JudgedClaim) -> Cell:
    text = claim_words.verdict_name(claim.verdict).replace(" ", "\u00a0")
    return Cell(text, bold=claim.verdict is not Verdict.INCONCLUSIVE)

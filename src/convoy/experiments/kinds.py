"""The kinds of studies, with those of experiments."""

from __future__ import annotations

from functools import partial

from convoy.studies import kinds
from convoy.studies.kinds import Kind

PACKAGE = "convoy.experiments"
KINDS = {
    **kinds.KINDS,
    "reproduction": Kind("Reproduction", "reproduce tensor-mnist --quick --only models", PACKAGE),
    "reproductions": Kind("Reproductions", "reproduce all --quick --only models", PACKAGE),
}

finding_of = partial(kinds.finding_of, kinds=KINDS)
sentence_of = partial(kinds.sentence_of, kinds=KINDS)
caveats_of = partial(kinds.caveats_of, kinds=KINDS)
page_of = partial(kinds.page_of, kinds=KINDS)

"""All kinds of study, including the reproductions of experiments."""

from __future__ import annotations

from functools import partial

from convoy import experiments
from convoy.studies import kinds

KINDS = kinds.KINDS | kinds.folders_of(experiments)

finding_of = partial(kinds.finding_of, kinds=KINDS)
sentence_of = partial(kinds.sentence_of, kinds=KINDS)
caveats_of = partial(kinds.caveats_of, kinds=KINDS)
about_of = partial(kinds.about_of, kinds=KINDS)
page_of = partial(kinds.page_of, kinds=KINDS)

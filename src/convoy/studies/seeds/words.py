"""Text of the finding: its sentence and its caveats."""

from __future__ import annotations

from convoy.power import POWER
from convoy.reporting.about import About
from convoy.reporting.words import accuracy_name
from convoy.run_contents import part_name
from convoy.studies.seeds.finding import SeedsFinding, Source
from convoy.text import gettext as _
from convoy.text import ngettext
from convoy.text.numbers import interval


def images_name(part: str) -> str:
    return _("other {part} images", part=part_name(part))


def sentence(finding: SeedsFinding) -> str:
    spread = finding.of(Source.ALL)
    low, high, n = min(spread.accuracies), max(spread.accuracies), len(spread.accuracies)
    study = _("{n} seeds of {label} on {data}", n=n, label=finding.label, data=finding.data)
    if low == high:
        return ngettext(
            "{study} all reach {low:.2f} % {metric}: no difference on {n:,} image",
            "{study} all reach {low:.2f} % {metric}: no difference on {n:,} images",
            finding.images,
            study=study,
            low=100 * low,
            metric=accuracy_name(finding.part),
        )
    return _(
        "{study} reach {low:.2f} to {high:.2f} % {metric}: a standard deviation of {sd:.2f} points (95 % interval "
        "{interval})",
        study=study,
        low=100 * low,
        high=100 * high,
        metric=accuracy_name(finding.part),
        sd=100 * spread.sd,
        interval=interval(100 * spread.sd_low, 100 * spread.sd_high, 2),
    )


def about() -> About:
    return About(lambda cite: _("The analysis follows the literature{citation}.", citation=cite("seeds")))


def caveats(finding: SeedsFinding) -> list[str]:
    texts = [
        _(
            "A standard deviation from {n} seeds is uncertain; see its interval. The three sources need not add up to "
            "the total, because they interact",
            n=len(finding.of(Source.ALL).accuracies),
        ),
        _(
            "The table of required seeds assumes two independent models with this spread, a two-sided t test at "
            "5 % and a power of {power:.0f} %. Runs that are paired seed by seed, as in convoy compare, can need "
            "fewer",
            power=100 * POWER,
        ),
    ]
    if finding.part == "validation":
        texts.append(_("These are validation accuracies: another split also changes the scored images"))
    if finding.limit is not None:
        texts.append(
            ngettext(
                "Limited to {n:,} image; the spread may be different with more images",
                "Limited to {n:,} images; the spread may be different with more images",
                finding.limit,
            )
        )
    return texts

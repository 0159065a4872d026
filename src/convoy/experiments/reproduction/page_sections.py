"""Sections of the page: claims of the report, networks of a quick try, studies of the experiment."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from convoy.agreement import Verdict
from convoy.experiments.parts import STUDIES, StudyPart
from convoy.experiments.quick import Choice, Size, SkippedPart, SkipReason
from convoy.experiments.reproduction.finding import StudyResult
from convoy.experiments.reproduction.words import (
    experiment_part_name,
    protocol_name,
    study_sentence,
    study_title,
    verdict_counts,
)
from convoy.experiments.verdicts import FalseVerdicts, JudgedClaim
from convoy.experiments.words import (
    claim_verdict,
    claimed_words,
    detectable_words,
    non_breaking,
    reason_text,
    remarks,
    result_words,
    side_words,
)
from convoy.reporting.content import Cell, Chart, Field, Page, Prose, Scene3D, Section, Table, TextField, table_of
from convoy.reporting.pages import study_page
from convoy.reporting.palette import Look
from convoy.runs import Study
from convoy.studies import kinds
from convoy.text import gettext as _
from convoy.text import translated
from convoy.text.numbers import plain


def claims(judged: Sequence[JudgedClaim], expected: FalseVerdicts | None, changes: str) -> Section | None:
    """Returns None without claims. `changes` describes what the command changed in all runs."""
    if not judged:
        return None
    fields: list[Field[JudgedClaim]] = [
        TextField(_("Protocol"), lambda claim: non_breaking(protocol_name(claim.protocol)) if claim.protocol else ""),
        TextField(_("Verdict"), _verdict),
        TextField("a", lambda claim: side_words(claim, 0)),
        TextField("b", lambda claim: side_words(claim, 1)),
        TextField(_("a compared with b"), result_words),
        TextField(_("Smallest detectable effect"), lambda claim: non_breaking(detectable_words(claim))),
        Field("n", lambda claim: str(claim.n) if claim.n else "", _("seeds")),
        TextField(_("Remarks"), remarks),
    ]
    if all(claim.protocol is None for claim in judged):
        del fields[0]
    first = {claim.id: claim for claim in reversed(judged)}  # a second protocol does not repeat the sentence

    def name(claim: JudgedClaim) -> Cell:
        return Cell(translated(claim.sentence), claimed_words(claim, changes)) if first[claim.id] is claim else Cell("")

    fields.insert(0, TextField(_("Claim"), name))
    explained = _(
        "Each claim is judged by the 95 % interval of the quantity it compares, paired by seed. It holds if the "
        "interval is entirely on its side of the limit and does not hold if it is entirely on the other side. "
        "If the interval includes the limit, the 90 % interval decides: if it is within the margin of the claim (two "
        "one-sided t tests at 5 %), there is no effect larger than the margin; otherwise the result is inconclusive. "
        "Smallest detectable effect: what the test at 5 % finds with a probability of 80 %, given the measured spread "
        "and n. Counts, such as parameters, need neither seeds nor interval."
    )
    reasons = dict.fromkeys(reason_text(claim.withheld) for claim in judged if claim.withheld is not None)
    withheld = [_("No verdict on claims that need training: {reason}.", reason=reason) for reason in reasons]
    note = " ".join(filter(None, (summary(judged), *withheld, false_verdicts_words(expected), explained)))
    return Section(_("Claims of the report"), (table_of(fields, judged, note),))


def false_verdicts_words(expected: FalseVerdicts | None) -> str:
    """States how many verdicts may be false; "" without tests."""
    if expected is None or not expected.tests:
        return ""
    return _(
        "Tests: {tests}, each at a level of 5 %, not corrected for their number: at most {n} false verdicts are "
        "expected.",
        tests=expected.tests,
        n=f"{expected.expected:.3g}",
    )


def summary(judged: Sequence[JudgedClaim]) -> str:
    """Returns text such as "Claims: 5. Verdicts: 10 (holds: 4, does not hold: 3, inconclusive: 3)."."""
    claims = len({claim.id for claim in judged})
    return _("Claims: {n}. Verdicts: {total} ({counts}).", n=claims, total=len(judged), counts=verdict_counts(judged))


def _verdict(claim: JudgedClaim) -> Cell:
    text = claim_verdict(claim)
    if claim.verdict is not Verdict.NO_EFFECT:
        text = text.replace(" ", "\u00a0")
    return Cell(text, bold=claim.verdict is not Verdict.INCONCLUSIVE)


def quick_try(choice: Choice | None) -> Section | None:
    if choice is None:
        return None
    tables = []
    if choice.sizes:
        trained: list[Field[tuple[str, Size]]] = [
            TextField(_("Network"), lambda row: row[0]),
            Field(_("Training images"), lambda row: f"{row[1].images:,}"),
            Field(_("Epochs"), lambda row: str(row[1].epochs)),
        ]
        note = _(
            "1.5 times as many training images (over all epochs) as the network needed to learn in a measurement, or "
            "more if a timing on this machine shows that they take almost no time."
        )
        tables.append(table_of(trained, choice.sizes.items(), note, _("Trained networks")))
    if choice.left_out:
        skipped: list[Field[SkippedPart]] = [
            TextField(_("Part"), lambda each: experiment_part_name(each.part)),
            TextField(_("Skipped"), _skipped),
            TextField(_("Reason"), _reason),
            Field(_("Training speed"), _speed, _("images/s")),
        ]
        note = _("Times and speeds are for one thread on {cpu}, cores: {n}.", cpu=choice.cpu, n=choice.cores)
        tables.append(table_of(skipped, choice.left_out, note, _("Skipped")))
    return Section(_("Quick try"), tuple(tables)) if tables else None


def _speed(left_out: SkippedPart) -> str:
    return "" if left_out.images_per_second is None else plain(left_out.images_per_second)


def _skipped(left_out: SkippedPart) -> str:
    return f"{left_out.name}, {protocol_name(left_out.side)}" if left_out.side else left_out.name


def _reason(left_out: SkippedPart) -> str:
    if left_out.reason is SkipReason.SEEDS:
        return _("compares seeds, but a quick try has only one")
    if left_out.reason is SkipReason.NO_VERDICT:
        return _("a quick try tests no claim that needs training")
    text = _("needs about {minutes:.1f} minutes on this machine", minutes=(left_out.seconds or 0.0) / 60)
    return "; ".join([text, _("timed only")]) if left_out.part == "models" else text


def study_sections(study: Study, results: Sequence[StudyResult], folder: Path) -> list[Section]:
    sections = []
    name_counts: Counter[str] = Counter()
    for result in results:
        title, path = study_title(result), study.path / result.study
        if not (path / "finding.json").is_file():
            missing = _("The study {name} is missing.", name=path.name)
            sections.append(Section(title, (Prose(f"{_capitalized(study_sentence(result))}. {missing}"),)))
            continue
        page = study_page(Study(path), folder, kinds.page_of)
        figures = []
        for figure in main_figures(page, result.kind):
            name = f"{figure.name}_as_published" if result.side == "as_published" else figure.name
            name_counts[name] += 1
            count = name_counts[name]  # with two cross-validations, file names must differ
            figures.append(replace(figure, name=f"{name}-{count}" if count > 1 else name))
        link = Prose(_("{sentence}.", sentence=page.sentence), report_link(path, folder), _("Full report"))
        caveats = (
            [Prose(" ".join(_("{sentence}.", sentence=_capitalized(caveat)) for caveat in page.caveats))]
            if page.caveats
            else []
        )
        sections.append(Section(title, (link, *caveats, *figures, *map(_unmarked, page.tables))))
    return sections


def main_figures(page: Page, part: StudyPart) -> list[Chart | Scene3D]:
    """Returns the figures that the report publishes, or else the first figure, in the colours of their own page."""
    look = Look(page.labels, page.aliases)
    figures = [
        replace(block, look=look) if isinstance(block, Chart) else block
        for block in page.blocks
        if isinstance(block, Chart | Scene3D)
    ]
    names = STUDIES[part].figures
    return [replace(figure, name=names[figure.name]) for figure in figures if figure.name in names] or figures[:1]


def _capitalized(sentence: str) -> str:
    """Capitalized unless the sentence begins with a recipe key."""
    return sentence[:1].upper() + sentence[1:] if sentence.split(" ")[0].isalpha() else sentence


def _unmarked(table: Table) -> Table:
    """Removes the model markers, whose colours are those of the other page."""
    return replace(table, rows=tuple(tuple(replace(cell, model="") for cell in row) for row in table.rows))


def report_link(study: Path, folder: Path) -> str:
    """Returns a relative link from a report in `folder` to the report of a study."""
    return quote(os.path.relpath(study.resolve() / "report.html", folder.resolve()).replace(os.sep, "/"))

"""The page of a checklist."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby

from convoy.reporting.checklist.answers import Answer, Item
from convoy.reporting.content import Cell, Field, Page, Section, TextField, table_of
from convoy.runs import Run, Study
from convoy.text import gettext as _


def answer_name(answer: Answer) -> str:
    return {
        Answer.YES: _("yes"),
        Answer.PARTLY: _("partly"),
        Answer.NO: _("no"),
        Answer.NOT_APPLICABLE: _("not applicable"),
        Answer.AUTHOR: _("author"),
    }[answer]


def title(name: str) -> str:
    return {"neurips": _("NeurIPS paper checklist"), "reforms": _("REFORMS checklist")}[name]


def source(name: str) -> str:
    return {
        "neurips": "https://neurips.cc/public/guides/PaperChecklist",
        "reforms": "https://doi.org/10.1126/sciadv.adk3452",
    }[name]


def sentence(items: Sequence[Item]) -> str:
    counts = Counter(item.answer for item in items)
    return _(
        "Of {n} questions, the run folders answer “yes” to {yes}, “partly” to {partly} and “no” to {no}; "
        "{author} are left to the author",
        n=len(items),
        yes=counts[Answer.YES],
        partly=counts[Answer.PARTLY],
        no=counts[Answer.NO],
        author=counts[Answer.AUTHOR],
    )


def _file_name(link: str, folder: str) -> str:
    """Returns the last part of a link; for a link to the folder itself, the name of the folder."""
    return folder if link == "." else link.rpartition("/")[2]


def page(target: Run | Study, name: str, items: Sequence[Item]) -> Page:
    fields: list[Field[Item]] = [
        TextField(_("No."), lambda item: item.number),
        TextField(_("Question"), lambda item: item.question),
        TextField(_("Answer"), lambda item: Cell(answer_name(item.answer), bold=item.answer is not Answer.AUTHOR)),
        TextField(_("Evidence"), lambda item: item.evidence or _("to be answered")),
        TextField(_("Source"), lambda item: Cell(_file_name(item.link, target.name), link=item.link)),
    ]
    return Page(
        kicker=target.name,
        title=title(name),
        sentence=sentence(items),
        caveats=(
            _("The questions are paraphrased; submit the original checklist: {address}", address=source(name)),
            _("An answer says what the run folders contain, not what the paper states"),
        ),
        tables=(),
        sections=tuple(
            Section(section, (table_of(fields, group, cards=True),))
            for section, group in groupby(items, lambda item: item.section)
        ),
        labels=(),
    )

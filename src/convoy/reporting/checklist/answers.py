"""The types of a checklist."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from convoy.reporting.checklist.evidence import Subject


class Answer(StrEnum):
    YES = "yes"
    PARTLY = "partly"
    NO = "no"
    NOT_APPLICABLE = "not_applicable"
    AUTHOR = "author"  # the run folders do not contain the answer


class Evidence(NamedTuple):
    """The answer that the run folders give to a question."""

    answer: Answer
    text: str = ""  # a sentence; for AUTHOR, what helps to answer
    link: str = ""  # relative to the folder of the checklist: a file, folder or report.html


@dataclass(frozen=True)
class Item:
    """A question with its answer."""

    number: str  # in the published checklist
    section: str
    question: str
    answer: Answer
    evidence: str
    link: str


class Row(NamedTuple):
    number: str
    section: str
    question: str
    evidence: Callable[[Subject], Evidence] | None = None  # None: the author has to answer

    def answered(self, subject: Subject) -> Item:
        evidence = Evidence(Answer.AUTHOR) if self.evidence is None else self.evidence(subject)
        return Item(self.number, self.section, self.question, evidence.answer, evidence.text, evidence.link)

"""Divides the runs of a study among separate jobs, as in a job array."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from convoy.text import gettext as _


@dataclass(frozen=True)
class Shard:
    """One of `count` parts of a study's runs. Each is trained by a separate job."""

    number: int  # from 1
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        match = re.fullmatch(r"(\d+)/(\d+)", text)
        shard = cls(*map(int, match.groups())) if match else cls(0, 0)
        if not 1 <= shard.number <= shard.count:
            raise ValueError(_("--shard {text}: expected K/N with K from 1 to N, as in 3/8", text=text))
        return shard

    def of(self, positions: Sequence[int], work: Mapping[int, float]) -> list[int]:
        """Returns this shard's positions. Positions are assigned in order, each to the shard with the least work."""
        loads = [0.0] * self.count
        own = []
        for position in positions:
            index = loads.index(min(loads))
            loads[index] += work[position]
            if index == self.number - 1:
                own.append(position)
        return own


class ShardEnded(Exception):  # noqa: N818 (no error)
    """The runs of a shard are finished, and no report was written.

    `finished`: number of finished runs in the workspace, among the `runs` of the study.
    """

    def __init__(self, finished: int, runs: int) -> None:
        super().__init__(finished, runs)
        self.finished, self.runs = finished, runs

    @classmethod
    def sum_of(cls, several: Iterable[ShardEnded]) -> ShardEnded:
        several = list(several)
        return cls(sum(each.finished for each in several), sum(each.runs for each in several))

    def __str__(self) -> str:
        if self.finished == self.runs:
            return _("all {n} runs are finished; the same command without --shard writes the report", n=self.runs)
        return _(
            "{finished} of {n} runs are finished here; then the same command without --shard writes the report",
            finished=self.finished,
            n=self.runs,
        )

"""The tested difference between two labels, and the correction for multiple tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self, TypeVar

from convoy.stats import Estimate, holm, is_significant


@dataclass(frozen=True)
class Pair:
    a: str
    b: str
    difference: Estimate  # value of a minus value of b
    p: float | None  # two-sided p value; None for one seed
    p_holm: float | None = None  # p value corrected for all tests of its kind

    @property
    def significant(self) -> bool:
        return self.p_holm is not None and is_significant(self.p_holm)

    @property
    def only_uncorrected(self) -> bool:
        """Whether only the correction makes the difference inconclusive: its interval excludes 0."""
        return self.p is not None and is_significant(self.p) and not self.significant

    def exchanged(self) -> Self:
        return replace(self, a=self.b, b=self.a, difference=-self.difference)

    def higher_first(self) -> Self:
        """Returns the pair with the higher side first."""
        return self.exchanged() if self.difference.mean < 0 else self


Tested = TypeVar("Tested", bound=Pair)


def corrected(pairs: Sequence[Tested]) -> tuple[Tested, ...]:
    """Applies Holm's correction over all pairs. Returns them unchanged if a p value is missing."""
    ps = [pair.p for pair in pairs if pair.p is not None]
    if len(ps) < len(pairs):
        return tuple(pairs)
    return tuple(replace(pair, p_holm=p) for pair, p in zip(pairs, holm(ps), strict=True))


def between(pairs: Sequence[Tested], a: str, b: str) -> Tested | None:
    """Returns the test of a - b from `pairs`; None if there is none."""
    matches = (pair for pair in pairs if {pair.a, pair.b} == {a, b})
    return next((pair if pair.a == a else pair.exchanged() for pair in matches), None)

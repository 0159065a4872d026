"""The finding in words: its sentence and its caveats."""

from __future__ import annotations

from collections.abc import Sequence

from convoy import chance
from convoy.reporting.quantities import listed
from convoy.stats import digits_for
from convoy.studies.compare.ablation import Ablation, Effect, Interaction
from convoy.studies.compare.finding import CompareFinding, LeftOut, Mixed, Row
from convoy.studies.compare.images import Reason, Untested
from convoy.studies.compare.pair import Pair, between

FEW_SEEDS = 5
NAMED = 3  # models that a sentence names; more are counted
UNTESTED = {
    Reason.UNKEPT: "their predictions were not stored",
    Reason.UNLIKE: "their stored predictions do not match their accuracy",
    Reason.REDRAWN: "their validation images differ between epochs",
    Reason.OTHER_IMAGES: "they were not scored on the same images",
    Reason.UNKNOWN_IMAGES: "the splits differ, and an older run did not store its images",
}


def sentence(finding: CompareFinding) -> str:
    if finding.ablation is not None:
        return _of_ablation(finding, finding.ablation)
    if len(finding.rows) == 1:
        return _alone(finding.rows[0], finding.metric)
    if finding.reduced:
        ranked = finding.ranked
        more = f" and {len(ranked) - NAMED} more" if len(ranked) > NAMED else ""
        numbers = ", ".join(_short(row) for row in ranked[:NAMED])
        return f"{finding.metric.capitalize()}: {numbers}{more} (fewer images, no verdict)"
    first, *others = finding.ranked
    against = {other.label: between(finding.tests, first.label, other.label) for other in others}
    unpaired = [label for label, pair in against.items() if pair is None]
    pairs = [pair for pair in against.values() if pair is not None]
    if not pairs:
        return _not_compared(finding)
    text = _against(first, pairs, finding)
    if unpaired:
        text += f"; it has fewer than two seeds in common with {listed(unpaired, 'or')}"
    return text


def _against(first: Row, pairs: Sequence[Pair], finding: CompareFinding) -> str:
    """The leader against the models with common seeds."""
    over_images = finding.single_seeds
    beaten = [pair for pair in pairs if pair.significant]
    level = [pair for pair in pairs if not pair.significant]
    basis = f"{finding.metric}, {_basis(pairs)}"
    seed = f"With seed {first.seeds[0]}, " if over_images else ""
    if not level:
        largest = f"; exact McNemar {_largest_p(beaten)}{_corrected(finding.tests)}" if over_images else ""
        return f"{seed}{first.label} beats {_beaten(beaten)} ({basis}{largest})"
    if len(level) == 1:
        text = (
            f"{seed}{'the' if seed else 'The'} comparison of {first.label} and {level[0].b} is inconclusive "
            f"({level[0].difference.points()} between them{_why_level(level[0], finding.tests)}, {basis})"
        )
    else:
        count = "all" if len(level) == len(pairs) else len(level)
        some = f"{count} of the {len(pairs)} others" if len(level) > NAMED else ""
        largest_level = max(level, key=lambda pair: pair.difference.mean)
        text = (
            f"{seed}{first.label} has the highest {'accuracy' if over_images else 'mean'}, but the comparisons with "
            f"{some or listed([pair.b for pair in level])} are inconclusive ({basis}; the largest of these "
            f"differences, to {largest_level.b}: {largest_level.difference.points()}"
            f"{_why_level(largest_level, finding.tests)})"
        )
    return f"{text}; {first.label} beats {_beaten(beaten)}" if beaten else text


def _alone(row: Row, metric: str) -> str:
    estimate = row.accuracy
    if estimate.over_images:
        over = f"95 % interval over the {estimate.n:,} images: {estimate.ends(scale=100)} %"
        return f"{row.label} reaches {100 * estimate.mean:.2f} % {metric} ({over}; one seed)"
    digits = digits_for(100 * (estimate.half_width or 0))
    number, interval = estimate.parts(scale=100, digits=digits, share=True)
    return f"{row.label} reaches {number} {interval} % {metric} (n = {estimate.n} seeds)"


def _not_compared(finding: CompareFinding) -> str:
    """The leader has too few common seeds with all others: numbers, and how to get a comparison."""
    first, second, *others = finding.ranked
    below = "; tests between the other models are below" if finding.tests else ""
    return (
        f"The comparison is inconclusive: {_short(first)} and {_short(second)} {finding.metric}"
        f"{f', {len(others)} more below' if others else ''}, with fewer than two seeds in common; "
        f"train each with the same 3 seeds or more{below}"
    )


def _short(row: Row) -> str:
    number, interval = row.accuracy.parts(scale=100, share=True)
    return f"{row.label} {number} % ({interval})" if row.accuracy.over_images else f"{row.label} {number} {interval} %"


def _beaten(pairs: Sequence[Pair]) -> str:
    """ "lenet by 0.9 ± 0.2 points", up to NAMED of them; of more the nearest and the farthest."""
    texts = [f"{pair.b} by {pair.difference.points()}" for pair in pairs]
    return listed(texts) if len(texts) <= NAMED else f"{len(texts)} others, from {texts[0]} to {texts[-1]}"


def _why_level(pair: Pair, tests: Sequence[Pair]) -> str:
    """The p value of McNemar's test, or of a t test whose interval excludes 0 before the correction."""
    if pair.difference.over_images:
        return f", exact McNemar {_p(pair.p_holm)}{_corrected(tests)}"
    return f", but {_p(pair.p_holm)}{_corrected(tests)}" if pair.only_uncorrected else ""


def _largest_p(beaten: Sequence[Pair]) -> str:
    largest = max(pair.p_holm or 0 for pair in beaten)
    return f"p at most {largest:.2g}" if len(beaten) > 1 and largest >= 0.0001 else _p(largest)


def _corrected(tests: Sequence[Pair], of: str = "pairs") -> str:
    return f" when corrected for {len(tests)} {of}" if len(tests) > 1 else ""


def _p(value: float | None) -> str:
    return "p < 0.0001" if (value or 0) < 0.0001 else f"p = {value:.2g}"


def _basis(pairs: Sequence[Pair]) -> str:
    counts = sorted({pair.difference.n for pair in pairs})
    if pairs[0].difference.over_images:
        return f"the same {counts[0]:,} images"
    return f"n = {counts[0]} seeds" if len(counts) == 1 else f"n = {counts[0]} to {counts[-1]} common seeds"


def _of_ablation(finding: CompareFinding, found: Ablation) -> str:
    if not found.seeds:
        return f"No seed has a {finding.part} score at every combination: the effects are inconclusive"
    clauses = [f"{key}: {_clause(key, found, reduced=finding.reduced)}" for key in found.keys]
    basis = f"{finding.metric}, {'one seed' if len(found.seeds) == 1 else f'n = {len(found.seeds)} seeds'}"
    over = ", each averaged over the others" if len(found.keys) > 1 else ""
    verdict = "; fewer images, no verdict" if finding.reduced else ""
    return f"{'; '.join(clauses)} ({basis}{over}{verdict})"


def _clause(key: str, found: Ablation, *, reduced: bool) -> str:
    """The value with the highest mean against all others."""
    best = max((each for each in found.averages if each.key == key), key=lambda each: each.accuracy.mean).value
    effects = [effect for effect in found.effects if effect.key == key and best in (effect.a, effect.b)]
    effects = [effect if effect.a == best else effect.exchanged() for effect in effects]
    if reduced or effects[0].p is None:
        return f"{best} is {listed([f'{effect.difference.points()} above {effect.b}' for effect in effects])}"
    beaten = [f"{effect.b} by {effect.difference.points()}" for effect in effects if effect.significant]
    level = [f"{effect.b} ({_level(effect, found)})" for effect in effects if not effect.significant]
    clauses = [f"{best} beats {listed(beaten)}"] if beaten else []
    if level:
        clauses.append(f"{'' if beaten else f'{best} is highest, '}inconclusive against {listed(level)}")
    return ", ".join(clauses)


def _level(effect: Effect, found: Ablation) -> str:
    """A difference that is not significant, with the p value if only the correction makes it so."""
    why = f", but {_p(effect.p_holm)}{_corrected(found.effects, 'effects')}" if effect.only_uncorrected else ""
    return f"{effect.difference.points()}{why}"


def caveats(finding: CompareFinding) -> list[str]:
    """Most important first."""
    results = {(each.label, each.seed): each.result for each in finding.not_learned}
    runs = [(row.label, seed, results.get((row.label, seed))) for row in finding.rows for seed in row.seeds]
    texts = chance.in_words(runs, finding.part)
    texts += [f"{listed(flag.labels)}: {flag.text}" if flag.labels else flag.text for flag in finding.flags]
    texts += [_left_out(run, finding.part) for run in finding.left_out]
    if finding.mixed is not None:
        different = "data" if finding.mixed is Mixed.DATA else "splits"
        texts.append(f"The runs used different {different}: differences between models include this")
    if finding.part == "validation":
        texts.append("Validation accuracy also selected the kept epoch: it is slightly too high for new images")
    if finding.openings > len(runs):
        texts.append(
            f"The test part was opened {finding.openings} times in this workspace, by more than these {len(runs)} "
            "runs: choices based on it make its accuracy too high"
        )
    texts.append(_about_seeds(finding))
    texts += map(untested, finding.untested)
    if finding.ablation is not None:
        texts += _about_keys(finding.ablation, reduced=finding.reduced)
    return texts


def _left_out(run: LeftOut, part: str) -> str:
    return f"{run.label}, seed {run.seed} is left out: no {part} score ({run.state}: {run.reason or 'not scored'})"


def _about_seeds(finding: CompareFinding) -> str:
    counts = sorted({len(row.seeds) for row in finding.rows})
    fixed = f"one split and one {finding.part} part"
    if counts == [1]:
        return f"One seed per model: intervals and tests are over images and do not cover other seeds ({fixed})"
    number = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    few = "Only " if counts[0] < FEW_SEEDS else ""
    return f"{few}{number} seeds, {fixed}: the intervals do not cover other images"


def untested(each: Untested) -> str:
    if each.labels:
        return f"No McNemar test of {', '.join(each.labels)}: {UNTESTED[each.reason]}"
    more = f" and in {len(each.pairs) - 1} more pairs" if len(each.pairs) > 1 else ""
    return f"No McNemar test between {' and '.join(each.pairs[0])}{more}: {UNTESTED[each.reason]}"


def _about_keys(found: Ablation, *, reduced: bool) -> list[str]:
    texts = []
    significant = [] if reduced else [each for each in found.interactions if each.significant]
    if significant:
        more = f"; {len(significant) - 1} more in finding.json" if len(significant) > 1 else ""
        largest = max(significant, key=lambda each: abs(each.difference.mean))
        texts.append(f"{_interaction(largest)}; the average over {largest.other} hides this{more}")
    elif len(found.keys) > 1 and len(found.seeds) > 1:
        texts.append("An interaction of the keys is neither shown nor excluded by these data")
    if 0 < len(found.seeds) < found.trained:
        texts.append(
            f"Effects are over {len(found.seeds)} of {found.trained} seeds: the others lack a score at some combination"
        )
    return texts


def _interaction(each: Interaction) -> str:
    gains = [
        f"{100 * effect:+.1f} points at {each.other} = {level}"
        for effect, level in zip(each.effects, (each.a, each.b), strict=True)
    ]
    return (
        f"The keys interact: the effect of {each.between[0]} against {each.between[1]} of {each.key} is "
        f"{' and '.join(gains)}"
    )

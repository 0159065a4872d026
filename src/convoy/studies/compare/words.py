"""The finding in words: its sentence and its caveats."""

from __future__ import annotations

from collections.abc import Sequence

from convoy import chance
from convoy.reporting.quantities import listed
from convoy.reporting.words import accuracy_name, accuracy_title, part_name
from convoy.stats import digits_for
from convoy.studies.compare.ablation import Ablation, Interaction
from convoy.studies.compare.finding import CompareFinding, LeftOut, Mixed, Row
from convoy.studies.compare.images import Reason, Untested
from convoy.studies.compare.pair import Pair, between
from convoy.text import gettext as _
from convoy.text import ngettext

FEW_SEEDS = 5
NAMED = 3  # models that a sentence names; more are counted


def sentence(finding: CompareFinding) -> str:
    if finding.ablation is not None:
        return _of_ablation(finding, finding.ablation)
    first, *others = finding.ranked
    if not others:
        return _alone(first, finding)
    if finding.reduced:
        return _(
            "{metric}: {models} (fewer images, no verdict)",
            metric=accuracy_title(finding.part),
            models=_ranking(finding),
        )
    pairs = [pair for other in others if (pair := between(finding.tests, first.label, other.label))]
    if not pairs:
        return _(
            "The comparison is inconclusive: {models} {metric}, with fewer than two seeds in common; train each with "
            "the same 3 seeds or more",
            models=_ranking(finding),
            metric=accuracy_name(finding.part),
        )
    text = f"{'; '.join(_clauses(first.label, pairs, finding.tests))} ({_basis(pairs, finding)})"
    unpaired = [other.label for other in others if other.label not in {pair.b for pair in pairs}]
    if not unpaired:
        return text
    missing = _(
        "{first} has fewer than two seeds in common with {others}", first=first.label, others=listed(unpaired, "or")
    )
    return f"{text}; {missing}"


def _ranking(finding: CompareFinding) -> str:
    return listed([f"{row.label} {row.accuracy.text()}" for row in finding.ranked], most=NAMED)


def _few(texts: Sequence[str]) -> str:
    """Up to NAMED of them; of more the first and the last."""
    if len(texts) <= NAMED:
        return listed(texts)
    return _("{n} others, from {first} to {last}", n=len(texts), first=texts[0], last=texts[-1])


def _clauses(first: str, pairs: Sequence[Pair], tests: Sequence[Pair]) -> list[str]:
    """The highest mean against others: what is inconclusive, then what is significant."""
    level = [f"{pair.b} ({_difference(pair, tests)})" for pair in pairs if not pair.significant]
    beaten = [
        _("{label} by {difference}", label=pair.b, difference=_difference(pair, tests))
        for pair in pairs
        if pair.significant
    ]
    clauses = (
        [_("{first} is highest, but its lead over {others} is inconclusive", first=first, others=_few(level))]
        if level
        else []
    )
    return clauses + ([_("{first} beats {others}", first=first, others=_few(beaten))] if beaten else [])


def _difference(pair: Pair, tests: Sequence[Pair]) -> str:
    """With its p value if that is over images, or if only the correction made the difference inconclusive."""
    points, p = pair.difference.points(), pair.p_holm or 0.0
    p_text = "p < 0.0001" if p < 0.0001 else f"p = {p:.2g}"
    if pair.only_uncorrected:
        return _("{difference}, but {p} when corrected for {n} tests", difference=points, p=p_text, n=len(tests))
    return f"{points}, {p_text}" if pair.difference.over_images else points


def _basis(pairs: Sequence[Pair], finding: CompareFinding) -> str:
    counts, tests = sorted({pair.difference.n for pair in pairs}), len(finding.tests)
    facts = [accuracy_name(finding.part)]
    if finding.single_seeds:
        facts += [_("seed {seed}", seed=finding.rows[0].seeds[0]), _("the same {n:,} images", n=counts[0])]
        facts += [_("exact McNemar test")]
        facts += [_("p corrected for {n} tests", n=tests)] if tests > 1 else []
    elif len(counts) == 1:
        facts += [_("n = {n} seeds", n=counts[0])]
    else:
        facts += [_("n = {low} to {high} common seeds", low=counts[0], high=counts[-1])]
    return ", ".join(facts)


def _alone(row: Row, finding: CompareFinding) -> str:
    accuracy, metric = row.accuracy, accuracy_name(finding.part)
    if accuracy.over_images:
        return _(
            "{label} reaches {accuracy:.2f} % {metric} (95 % interval over the {n:,} images: {ends} %; one seed)",
            label=row.label,
            accuracy=100 * accuracy.mean,
            metric=metric,
            n=accuracy.n,
            ends=accuracy.ends(scale=100),
        )
    digits = digits_for(100 * (accuracy.half_width or 0))
    number = " ".join(accuracy.parts(scale=100, digits=digits, share=True))
    return _(
        "{label} reaches {accuracy} % {metric} (n = {n} seeds)",
        label=row.label,
        accuracy=number,
        metric=metric,
        n=accuracy.n,
    )


def _of_ablation(finding: CompareFinding, found: Ablation) -> str:
    metric = accuracy_name(finding.part)
    if not found.seeds:
        return _("No seed has a score at every combination ({metric}): the effects are inconclusive", metric=metric)
    basis = [metric, ngettext("{n} seed", "n = {n} seeds", len(found.seeds))]
    basis += [_("each averaged over the others")] if len(found.keys) > 1 else []
    basis += [_("fewer images, no verdict")] if finding.reduced else []
    clauses = [f"{key}: {', '.join(_about_key(key, found, reduced=finding.reduced))}" for key in found.keys]
    return f"{'; '.join(clauses)} ({', '.join(basis)})"


def _about_key(key: str, found: Ablation, *, reduced: bool) -> list[str]:
    """The value with the highest mean against all others."""
    means = {each.value: each.accuracy.mean for each in found.averages if each.key == key}
    best, own = max(means, key=lambda value: means[value]), [effect for effect in found.effects if effect.key == key]
    effects = [effect for value in means if (effect := between(own, best, value))]
    if not reduced and effects[0].p is not None:
        return _clauses(best, effects, found.effects)
    leads = [_("{difference} above {label}", difference=each.difference.points(), label=each.b) for each in effects]
    return [_("{first} is {leads}", first=best, leads=listed(leads))]


def caveats(finding: CompareFinding) -> list[str]:
    """Most important first."""
    results = {(each.label, each.seed): each.result for each in finding.not_learned}
    runs = [(row.label, seed, results.get((row.label, seed))) for row in finding.rows for seed in row.seeds]
    texts = chance.in_words(runs, finding.part)
    texts += [f"{listed(flag.labels)}: {flag.text}" if flag.labels else flag.text for flag in finding.flags]
    texts += [_left_out(run, finding.part) for run in finding.left_out]
    if finding.mixed is Mixed.DATA:
        texts.append(_("The runs used different data: differences between models include this"))
    elif finding.mixed is Mixed.SPLITS:
        texts.append(_("The runs used different splits: differences between models include this"))
    if finding.part == "validation":
        texts.append(_("Validation accuracy also selected the kept epoch: it is slightly too high for new images"))
    if finding.openings > len(runs):
        texts.append(
            _(
                "The test part was opened {openings} times in this workspace, by more than these {runs} runs: choices "
                "based on it make its accuracy too high",
                openings=finding.openings,
                runs=len(runs),
            )
        )
    texts.append(_about_seeds(finding))
    texts += map(untested, finding.untested)
    if finding.ablation is not None:
        texts += _about_keys(finding.ablation, reduced=finding.reduced)
    return texts


def _left_out(run: LeftOut, part: str) -> str:
    return _(
        "{label}, seed {seed} is left out: no {part} score ({ending})",
        label=run.label,
        seed=run.seed,
        part=part_name(part),
        ending=": ".join(filter(None, (run.state, run.reason))),
    )


def _about_seeds(finding: CompareFinding) -> str:
    counts, part = sorted({len(row.seeds) for row in finding.rows}), part_name(finding.part)
    if counts == [1]:
        return _(
            "One seed per model: intervals and tests are over images and do not cover other seeds (one split and one "
            "{part} part)",
            part=part,
        )
    number = "–".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
    if counts[0] < FEW_SEEDS:
        return _(
            "Only {n} seeds, one split and one {part} part: the intervals do not cover other images",
            n=number,
            part=part,
        )
    return _("{n} seeds, one split and one {part} part: the intervals do not cover other images", n=number, part=part)


def untested(each: Untested) -> str:
    reasons = {
        Reason.UNKEPT: _("their predictions were not stored"),
        Reason.UNLIKE: _("their stored predictions do not match their accuracy"),
        Reason.REDRAWN: _("their validation images differ between epochs"),
        Reason.OTHER_IMAGES: _("they were not scored on the same images"),
        Reason.UNKNOWN_IMAGES: _("the splits differ, and an older run did not store its images"),
    }
    names = listed(each.labels or [f"{a} − {b}" for a, b in each.pairs], most=NAMED)
    return _("No McNemar test ({names}): {reason}", names=names, reason=reasons[each.reason])


def _about_keys(found: Ablation, *, reduced: bool) -> list[str]:
    texts = []
    significant = [] if reduced else [each for each in found.interactions if each.significant]
    if significant:
        texts.append(_interaction(max(significant, key=lambda each: abs(each.difference.mean)), len(significant)))
    elif len(found.keys) > 1 and len(found.seeds) > 1:
        texts.append(_("An interaction of the keys is neither shown nor excluded by these data"))
    if 0 < len(found.seeds) < found.trained:
        texts.append(
            _(
                "Effects are over {n} of {trained} seeds: the others lack a score at some combination",
                n=len(found.seeds),
                trained=found.trained,
            )
        )
    return texts


def _interaction(largest: Interaction, significant: int) -> str:
    at_a, at_b = largest.effects
    return _(
        "The keys interact: the difference {a} − {b} of {key} is {at_a:+.1f} points at {other} = {level_a} and "
        "{at_b:+.1f} points at {other} = {level_b}; the average over {other} hides this (in all {n} such interactions)",
        a=largest.between[0],
        b=largest.between[1],
        key=largest.key,
        at_a=100 * at_a,
        other=largest.other,
        level_a=largest.a,
        at_b=100 * at_b,
        level_b=largest.b,
        n=significant,
    )

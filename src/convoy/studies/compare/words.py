"""Text of the finding: its sentence and its caveats."""

from __future__ import annotations

from collections.abc import Sequence

from convoy import chance
from convoy.reporting.about import About, Cite
from convoy.reporting.words import accuracy_name, accuracy_title
from convoy.run_contents import part_name, state_name
from convoy.studies.compare.ablation import Ablation, Interaction
from convoy.studies.compare.finding import CompareFinding, UnintendedDifference
from convoy.studies.compare.images import MissingTest, Reason
from convoy.studies.compare.pair import Pair, between
from convoy.text import gettext as _
from convoy.text import ngettext
from convoy.text.labels import label_text
from convoy.text.lists import joined, listed
from convoy.text.numbers import fixed

MAX_NAMED = 3  # a sentence names at most this many models and counts the others


def sentence(finding: CompareFinding) -> str:
    if finding.ablation is not None:
        return _ablation_sentence(finding, finding.ablation)
    first, *others = finding.ranked
    if not others:
        metric = accuracy_name(finding.part)
        return _(
            "{label} reaches a {metric} of {accuracy}",
            label=label_text(first.label),
            metric=metric,
            accuracy=first.accuracy.text(),
        )
    if finding.reduced:
        return _(
            "{metric}: {models} (no verdict: the data were limited)",
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
        "{first} has fewer than two seeds in common with {others}",
        first=label_text(first.label),
        others=listed(map(label_text, unpaired), "or"),
    )
    return f"{text}; {missing}"


def _ranking(finding: CompareFinding) -> str:
    texts = [
        _("{label} {accuracy}", label=label_text(row.label), accuracy=row.accuracy.text()) for row in finding.ranked
    ]
    return joined([*texts[:MAX_NAMED], *[_("{n} more", n=len(texts) - MAX_NAMED)] * (len(texts) > MAX_NAMED)])


def _listed_shortly(texts: Sequence[str]) -> str:
    """Lists up to MAX_NAMED texts; with more, only the first and the last."""
    if len(texts) <= MAX_NAMED:
        return listed(texts)
    return _("{n} others, from {first} to {last}", n=len(texts), first=texts[0], last=texts[-1])


def _clauses(first: str, pairs: Sequence[Pair], tests: Sequence[Pair]) -> list[str]:
    """Compares the model with the highest mean to the others: inconclusive differences, then significant ones."""
    close = [f"{label_text(pair.b)} ({_difference(pair, tests)})" for pair in pairs if not pair.significant]
    worse = [
        _("{label} by {difference}", label=label_text(pair.b), difference=_difference(pair, tests))
        for pair in pairs
        if pair.significant
    ]
    clauses = []
    if close:
        others = _listed_shortly(close)
        clauses.append(
            _(
                "{first} has the highest accuracy, but its lead over {others} is inconclusive",
                first=label_text(first),
                others=others,
            )
        )
    if worse:
        clauses.append(_("{first} beats {others}", first=label_text(first), others=_listed_shortly(worse)))
    return clauses


def _difference(pair: Pair, tests: Sequence[Pair]) -> str:
    """Adds the p value if the test is over images, or if the difference is significant only before the correction."""
    points, p = pair.difference.points(), pair.p_holm or 0.0
    p_text = "p < 0.0001" if p < 0.0001 else f"p = {p:.2g}"
    if pair.only_uncorrected:
        return _("{difference}, but {p} after correction for {n} tests", difference=points, p=p_text, n=len(tests))
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


def _ablation_sentence(finding: CompareFinding, ablation: Ablation) -> str:
    metric = accuracy_name(finding.part)
    if not ablation.seeds:
        return _("No seed has a score for every combination ({metric}): the effects are inconclusive", metric=metric)
    basis = [metric, ngettext("{n} seed", "n = {n} seeds", len(ablation.seeds))]
    basis += [_("averaged over the other keys")] if len(ablation.keys) > 1 else []
    basis += [_("no verdict: the data were limited")] if finding.reduced else []
    texts = [", ".join(_about_key(key, ablation, reduced=finding.reduced)) for key in ablation.keys]
    clauses = [_("{labels}: {text}", labels=key, text=text) for key, text in zip(ablation.keys, texts, strict=True)]
    return f"{'; '.join(clauses)} ({', '.join(basis)})"


def _about_key(key: str, ablation: Ablation, *, reduced: bool) -> list[str]:
    """Compares the value with the highest mean to the other values of the key."""
    means = {average.value: average.accuracy.mean for average in ablation.averages if average.key == key}
    best, own = max(means, key=lambda value: means[value]), [effect for effect in ablation.effects if effect.key == key]
    effects = [effect for value in means if (effect := between(own, best, value))]
    if not reduced and effects[0].p is not None:
        return _clauses(best, effects, ablation.effects)
    leads = [f"{effect.b} ({effect.difference.points()})" for effect in effects]
    return [_("{first} is more accurate than {others}", first=best, others=listed(leads))]


def about() -> About:
    return About(_method, compares_models=True)


def _method(cite: Cite) -> str:
    return _(
        "Networks are compared by paired t tests over common seeds, and image by image by McNemar's exact "
        "test{mcnemar}. Tests of one kind are corrected together by Holm's method{holm}.",
        mcnemar=cite("mcnemar"),
        holm=cite("holm"),
    )


def caveats(finding: CompareFinding) -> list[str]:
    """Returns the caveats, most important first."""
    part, results = part_name(finding.part), {(run.label, run.seed): run.result for run in finding.not_learned}
    runs = [(row.label, seed, results.get((row.label, seed))) for row in finding.rows for seed in row.seeds]
    texts = chance.sentences_of(runs, finding.part)
    texts += [
        _("{labels}: {text}", labels=listed(map(label_text, flag.labels)), text=flag.text) if flag.labels else flag.text
        for flag in finding.flags
    ]
    for run in finding.left_out:
        ending = ": ".join(filter(None, (state_name(run.state), run.reason)))
        text = _(
            "{label}, seed {seed} is excluded: no {part} score", label=label_text(run.label), seed=run.seed, part=part
        )
        texts.append(f"{text} ({ending})")
    if finding.mixed is not None:
        what = {UnintendedDifference.DATA: _("data"), UnintendedDifference.SPLITS: _("splits")}[finding.mixed]
        texts.append(_("The runs used different {what}, which adds to the differences between models", what=what))
    if finding.part == "validation":
        texts.append(
            _("The validation set also selected the best epoch; expect a slightly lower accuracy on new images")
        )
    if finding.openings > len(runs):
        texts.append(
            _(
                "The test set was opened {openings} times in this workspace, not only by these {runs} runs; if choices "
                "were based on its results, the test accuracies are too high",
                openings=finding.openings,
                runs=len(runs),
            )
        )
    texts.append(_about_seeds(finding))
    texts += map(untested, finding.untested)
    if finding.ablation is not None:
        texts += _about_keys(finding.ablation, reduced=finding.reduced)
    return texts


def _about_seeds(finding: CompareFinding) -> str:
    counts, part = sorted({len(row.seeds) for row in finding.rows}), part_name(finding.part)
    if counts == [1]:
        return _(
            "One seed per model: intervals and tests cover the sampling of images, not the variation between seeds "
            "(one split, one {part} set)",
            part=part,
        )
    number = "–".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
    return _(
        "{n} seeds, one split and one {part} set: the intervals do not include the variation between {part} sets",
        n=number,
        part=part,
    )


def untested(missing: MissingTest) -> str:
    reasons = {
        Reason.NOT_STORED: _("their predictions were not stored"),
        Reason.MISMATCH: _("their stored predictions do not match their accuracy"),
        Reason.RESPLIT: _("their validation images differ between epochs"),
        Reason.OTHER_IMAGES: _("they were not scored on the same images"),
    }
    names = listed(missing.labels or [f"{a} − {b}" for a, b in missing.pairs], max_items=MAX_NAMED)
    return _("No McNemar test ({names}): {reason}", names=names, reason=reasons[missing.reason])


def _about_keys(ablation: Ablation, *, reduced: bool) -> list[str]:
    texts = []
    significant = [] if reduced else [interaction for interaction in ablation.interactions if interaction.significant]
    if significant:
        largest = max(significant, key=lambda interaction: abs(interaction.difference.mean))
        texts.append(_interaction(largest, len(significant)))
    elif len(ablation.keys) > 1 and len(ablation.seeds) > 1:
        texts.append(_("These data neither show nor exclude an interaction of the keys"))
    if 0 < len(ablation.seeds) < ablation.trained:
        texts.append(
            _(
                "The effects use {n} of {trained} seeds: the others have no score for some combinations",
                n=len(ablation.seeds),
                trained=ablation.trained,
            )
        )
    return texts


def _interaction(largest: Interaction, significant: int) -> str:
    at_a, at_b = largest.effects
    return _(
        "The keys interact: the difference {a} − {b} of {key} is {at_a} points at {other} = {level_a} and "
        "{at_b} points at {other} = {level_b}; the average over {other} hides this (in all {n} such interactions)",
        a=largest.between[0],
        b=largest.between[1],
        key=largest.key,
        at_a=fixed(100 * at_a, 1, signed=True),
        other=largest.other,
        level_a=largest.a,
        at_b=fixed(100 * at_b, 1, signed=True),
        level_b=largest.b,
        n=significant,
    )

"""The finding of a comparison: estimates per model, tests between models, and one sentence with the result.

Two models are paired by their common seeds, with the same split and order of batches (Student's paired t test), and
corrected for the number of pairs (Holm 1979). Tests over images (compare_images) are added; if each model has one seed,
the sentence uses them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import combinations
from statistics import fmean
from typing import Any

from convoy import chance
from convoy.recipe import faults
from convoy.run_contents import Cost
from convoy.runs import Member
from convoy.stats import OVER_IMAGES, Estimate, digits_for, distinguishable, holm, paired_t, t_interval, wilson
from convoy.studies.compare_images import compare_images

FEW_SEEDS = 5
NAMED = 3  # models that a sentence names; more are counted
Row = dict[str, Any]
Pair = dict[str, Any]


def conclude(members: Sequence[Member]) -> dict[str, Any]:
    """The finding as JSON, with rows in the order of the labels.

    Raises ValueError if no run has a test or validation score.
    """
    part = _part(members)
    scored = [member for member in members if part in member.run.scores]
    groups = _by_label(scored)
    metric = f"{part} accuracy"
    rows = [_row(label, group, part) for label, group in groups.items()]
    pairs = _pairs(groups, part)
    tests, untested = compare_images(groups, part)
    reduced = any(member.run.data.limit for member in members)
    deciding = tests if all(len(row["seeds"]) == 1 for row in rows) else pairs
    if not reduced:
        _mark_best(rows, deciding)
    return {
        "kind": "comparison",
        "quick": reduced,
        "sentence": _without_verdict(rows, metric) if reduced else _sentence(rows, deciding, metric),
        "caveats": [*_caveats(members, scored, rows, part), *untested],
        "metric": metric,
        "part": part,
        "rows": rows,
        "pairs": pairs,
        "mcnemar": tests,
    }


def _part(members: Sequence[Member]) -> str:
    """The part that most runs have a score on; the test part if equal."""
    parts = ("test", "validation")
    counts = Counter(part for member in members for part in parts if part in member.run.scores)
    if not counts:
        raise ValueError(
            f"none of the {len(members)} runs has a test or validation score: "
            "set data.split.validation above 0 or leave the test set open"
        )
    return max(parts, key=lambda part: counts[part])


def _by_label(members: Sequence[Member]) -> dict[str, list[Member]]:
    groups: defaultdict[str, list[Member]] = defaultdict(list)
    for member in members:
        groups[member.label].append(member)
    return dict(groups)


def _row(label: str, group: Sequence[Member], part: str) -> Row:
    scores = [member.run.scores[part] for member in group]
    costs = [member.run.cost for member in group]
    if len(group) == 1:
        accuracy = wilson(scores[0].correct, scores[0].n)
    else:
        accuracy = t_interval([score.accuracy for score in scores], step=1 / scores[0].n)
    peaks = [cost.peak_memory_bytes for cost in costs if cost.peak_memory_bytes is not None]
    return {
        "label": label,
        "seeds": [member.seed for member in group],
        "runs": [member.run.name for member in group],
        "accuracy": accuracy.as_json(),
        **{name: _cost(costs, name) for name in ("train_seconds", "images_per_second", "ms_per_image")},
        "ms_per_image_quartiles": _quartiles(costs),
        "parameters": costs[0].parameters,
        "flops_per_image": costs[0].flops_per_image,
        "peak_memory_bytes": max(peaks, default=None),
        "best": False,
    }


def _cost(costs: Sequence[Cost], name: str) -> dict[str, Any] | None:
    values = [value for cost in costs if (value := getattr(cost, name)) is not None]
    return t_interval(values).as_json() if values else None


def _quartiles(costs: Sequence[Cost]) -> list[float] | None:
    """Lower and upper quartile of the time per image, mean over the seeds; None if a run lacks them."""
    quartiles = [cost.ms_per_image_quartiles for cost in costs if cost.ms_per_image_quartiles]
    if len(quartiles) < len(costs):
        return None
    return [fmean(values) for values in zip(*quartiles, strict=True)]


def _pairs(groups: dict[str, list[Member]], part: str) -> list[Pair]:
    """All pairs of labels with two common seeds or more."""
    accuracies = {label: {member.seed: member.run.scores[part] for member in group} for label, group in groups.items()}
    pairs: list[Pair] = []
    for a, b in combinations(groups, 2):
        seeds = sorted(accuracies[a].keys() & accuracies[b].keys())
        if len(seeds) < 2:
            continue
        test = paired_t(
            [accuracies[a][seed].accuracy for seed in seeds],
            [accuracies[b][seed].accuracy for seed in seeds],
            step=1 / accuracies[a][seeds[0]].n,
        )
        pairs.append({"a": a, "b": b, "difference": test.difference.as_json(), "p": test.p})
    for pair, adjusted in zip(pairs, holm([pair["p"] for pair in pairs]), strict=True):
        pair |= {"p_holm": adjusted, "distinguishable": distinguishable(adjusted)}
    return pairs


def _mark_best(rows: list[Row], pairs: Sequence[Pair]) -> None:
    """Marks the first model if it is distinguishable from all others."""
    first, others = _ranked(rows)[0], _ranked(rows)[1:]
    against = [_between(pairs, first["label"], other["label"]) for other in others]
    first["best"] = bool(others) and all(pair is not None and pair["distinguishable"] for pair in against)


def _ranked(rows: Sequence[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: -row["accuracy"]["mean"])


def _between(pairs: Sequence[Pair], winner: str, loser: str) -> Pair | None:
    """The pair of two labels with the difference winner - loser."""
    for pair in pairs:
        if (pair["a"], pair["b"]) == (winner, loser):
            return pair
        if (pair["a"], pair["b"]) == (loser, winner):
            old = pair["difference"]
            turned = {**old, "mean": -old["mean"], "low": -old["high"], "high": -old["low"]}
            return {**pair, "a": winner, "b": loser, "difference": turned}
    return None


def _without_verdict(rows: Sequence[Row], metric: str) -> str:
    if len(rows) == 1:
        return _alone(rows[0], metric)
    ranked = _ranked(rows)
    more = f" and {len(ranked) - NAMED} more" if len(ranked) > NAMED else ""
    numbers = ", ".join(_short(row) for row in ranked[:NAMED])
    return f"{metric[:1].upper()}{metric[1:]}: {numbers}{more} (fewer images, no verdict)"


def _sentence(rows: Sequence[Row], pairs: Sequence[Pair], metric: str) -> str:
    if len(rows) == 1:
        return _alone(rows[0], metric)
    first, *others = _ranked(rows)
    against = {other["label"]: _between(pairs, first["label"], other["label"]) for other in others}
    unpaired = [other for other in others if against[other["label"]] is None]
    known = [pair for pair in against.values() if pair is not None]
    if not known:
        return _not_compared(first, unpaired, pairs, metric)
    sentence = _against(first, known, pairs, metric)
    if unpaired:
        sentence += f"; it has fewer than two seeds in common with {listed([row['label'] for row in unpaired], 'or')}"
    return sentence


def _against(first: Row, known: Sequence[Pair], pairs: Sequence[Pair], metric: str) -> str:
    """The leader against the models with common seeds."""
    beaten = [pair for pair in known if pair["distinguishable"]]
    level = [pair for pair in known if not pair["distinguishable"]]
    basis = f"{metric}, {_basis(known)}"
    seed = f"With seed {known[0]['seed']}, " if _over_images(known[0]) else ""
    if not level:
        return f"{seed}{first['label']} beats {_beaten(beaten)} ({basis}{_how_surely(beaten, pairs)})"
    if len(level) == 1:
        between = f"{_points(level[0])} between them{_why_level(level[0], pairs)}, {basis}"
        both = f"comparison of {first['label']} and {level[0]['b']} is inconclusive"
        sentence = f"{seed}{'the' if seed else 'The'} {both} ({between})"
    else:
        count = "all" if len(level) == len(known) else len(level)
        some = f"{count} of the {len(known)} others" if len(level) > NAMED else ""
        names = some or listed([pair["b"] for pair in level])
        largest = max(level, key=lambda pair: pair["difference"]["mean"])
        highest = "accuracy" if _over_images(largest) else "mean"
        sentence = (
            f"{seed}{first['label']} has the highest {highest}, but the comparisons with {names} are inconclusive "
            f"({basis}; the largest of these differences, to {largest['b']}: {_points(largest)}"
            f"{_why_level(largest, pairs)})"
        )
    return f"{sentence}; {first['label']} beats {_beaten(beaten)}" if beaten else sentence


def _alone(row: Row, metric: str) -> str:
    estimate = Estimate.from_json(row["accuracy"])
    if estimate.interval == "wilson":
        low, high = f"{100 * (estimate.low or 0):.2f}", f"{100 * (estimate.high or 0):.2f}"
        over = f"95 % interval over the {estimate.n:,} images: {low} to {high} %"
        return f"{row['label']} reaches {100 * estimate.mean:.2f} % {metric} ({over}; one seed)"
    digits = digits_for(100 * (estimate.half_width or 0))
    number, interval = estimate.parts(scale=100, digits=digits, share=True)
    return f"{row['label']} reaches {number} {interval} % {metric} (n = {estimate.n} seeds)"


def _not_compared(first: Row, others: Sequence[Row], pairs: Sequence[Pair], metric: str) -> str:
    """The leader has too few common seeds with all others: numbers, and how to get a comparison."""
    second = others[0]
    below = "; tests between the other models are below" if pairs else ""
    return (
        f"The comparison is inconclusive: {_short(first)} and {_short(second)} {metric}"
        f"{f', {len(others) - 1} more below' if len(others) > 1 else ''}, with fewer than two seeds in common; "
        f"train each with the same 3 seeds or more{below}"
    )


def _short(row: Row) -> str:
    estimate = Estimate.from_json(row["accuracy"])
    number, interval = estimate.parts(scale=100, share=True)
    return (
        f"{row['label']} {number} % ({interval})"
        if estimate.interval == "wilson"
        else f"{row['label']} {number} {interval} %"
    )


def _beaten(pairs: Sequence[Pair]) -> str:
    """ "lenet by 0.9 ± 0.2 points", up to NAMED of them; of more the nearest and the farthest."""
    if len(pairs) <= NAMED:
        return listed([f"{pair['b']} by {_points(pair)}" for pair in pairs])
    nearest, farthest = pairs[0], pairs[-1]
    ends = f"{nearest['b']} by {_points(nearest)} to {farthest['b']} by {_points(farthest)}"
    return f"{len(pairs)} others, from {ends}"


def _over_images(pair: Pair) -> bool:
    return pair["difference"]["interval"] in OVER_IMAGES


def _why_level(pair: Pair, pairs: Sequence[Pair]) -> str:
    """The p value of McNemar's test, or of a t test whose interval excludes zero before the correction."""
    if _over_images(pair):
        return f", exact McNemar {_p(pair['p_holm'])}{_corrected(pairs)}"
    return "" if not distinguishable(pair["p"]) else f", but {_p(pair['p_holm'])}{_corrected(pairs)}"


def _how_surely(beaten: Sequence[Pair], pairs: Sequence[Pair]) -> str:
    if not _over_images(beaten[0]):
        return ""
    largest = _p(max(pair["p_holm"] for pair in beaten))
    return f"; exact McNemar {largest.replace('=', 'at most') if len(beaten) > 1 else largest}{_corrected(pairs)}"


def _corrected(pairs: Sequence[Pair]) -> str:
    return f" when corrected for {len(pairs)} pairs" if len(pairs) > 1 else ""


def _p(value: float) -> str:
    return "p < 0.0001" if value < 0.0001 else f"p = {value:.2g}"


def _points(pair: Pair) -> str:
    return Estimate.from_json(pair["difference"]).points()


def _basis(pairs: Sequence[Pair]) -> str:
    counts = sorted({pair["difference"]["n"] for pair in pairs})
    if _over_images(pairs[0]):
        return f"the same {counts[0]:,} images"
    return f"n = {counts[0]} seeds" if len(counts) == 1 else f"n = {counts[0]} to {counts[-1]} common seeds"


def listed(words: Sequence[str], last: str = "and") -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"


def _caveats(members: Sequence[Member], scored: Sequence[Member], rows: Sequence[Row], part: str) -> list[str]:
    """Caveats of the sentence, most important first."""
    flagged: defaultdict[str, list[Member]] = defaultdict(list)
    for member in members:
        for flag in member.run.status.flags:
            flagged[flag].append(member)
    caveats = chance.sentences([(member.label, member.seed, member.run.scores[part]) for member in scored], part)
    caveats += [flag if len(group) == len(members) else f"{_names(group)}: {flag}" for flag, group in flagged.items()]
    found = sorted({fault for member in members for fault in member.run.recipe.protocol.faults})
    caveats += faults.missing_flags(found, list(flagged))
    caveats += [_left_out(member, part) for member in members if member not in scored]
    caveats += _about_data(scored, part)
    caveats += _about_seeds(rows, part)
    return caveats


def _names(group: Sequence[Member]) -> str:
    labels = list(dict.fromkeys(member.label for member in group))
    return listed(labels)


def _left_out(member: Member, part: str) -> str:
    status = member.run.status
    why = status.reason or "not scored"
    return f"{member.label}, seed {member.seed} is left out: no {part} score ({status.state}: {why})"


def _about_data(scored: Sequence[Member], part: str) -> list[str]:
    data = [member.run.data for member in scored]
    caveats = []
    for key, name in (("data_hash", "data"), ("split_hash", "splits")):
        if len({getattr(table, key) for table in data}) > 1:
            caveats.append(f"The runs used different {name}: differences between models include this")
            break
    if part == "validation":
        caveats.append("Validation accuracy also selected the kept epoch: it is slightly too high for new images")
    openings = max((table.test_openings for table in data), default=0)
    if openings > len(scored):
        caveats.append(
            f"The test part was opened {openings} times in this workspace, by more than these {len(scored)} runs: "
            "choices based on it make its accuracy too high"
        )
    return caveats


def _about_seeds(rows: Sequence[Row], part: str) -> list[str]:
    counts = sorted({len(row["seeds"]) for row in rows})
    fixed = f"one split and one {part} part"
    if counts == [1]:
        return [f"One seed per model: intervals and tests are over images and do not cover other seeds ({fixed})"]
    number = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    few = "Only " if counts[0] < FEW_SEEDS else ""
    return [f"{few}{number} seeds, {fixed}: the intervals do not cover other images"]

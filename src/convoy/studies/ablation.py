"""The ablation: recipes at every combination of some values, and the effect of each value on the accuracy.

The effect of a key is the difference between two of its values, averaged over all combinations of the other keys. It is
paired by seed, which removes what a seed has in common for all combinations. n counts seeds, because the combinations
are not a random sample (Student's paired t test, corrected over all effects by Holm's method).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from math import sqrt
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from convoy.recipe import Override, Recipe
from convoy.registry import is_user_class
from convoy.runs import Member
from convoy.stats import Estimate, distinguishable, holm, paired_t, t_interval
from convoy.studies.compare_finding import listed

LONGEST_VALUE = 28  # characters of a value in a label
RECIPE = "recipe"  # the key for several recipes
Levels = tuple[str, ...]  # the text of a value for each key
Accuracies = dict[Levels, dict[int, float]]  # by seed


@dataclass(frozen=True)
class Design:
    """Short names of the varied keys, their values as text, and the values of each label."""

    keys: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]
    levels: Mapping[str, Levels]


class Comparison(NamedTuple):
    """Two values of a key, paired by seed."""

    a: list[float]
    b: list[float]
    step: float  # the grain of these numbers


def combine(
    recipes: Sequence[tuple[str, Recipe]], varied: Mapping[str, Sequence[Any]] | Sequence[tuple[str, Sequence[Any]]]
) -> tuple[Design, list[tuple[str, Recipe]]]:
    """Every combination of the values for each recipe, labelled "lenet, norm = none, batch_size = 64".

    Raises ValueError for an unknown or repeated key, an invalid or repeated value, or fewer than two values.
    """
    vary = list(varied.items() if isinstance(varied, Mapping) else varied)
    paths = [path for path, _ in vary]
    for path, values in vary:
        _check(path, values, paths)
    names = _short_names(paths)
    texts = [_distinct([_text(value) for value in values]) for _, values in vary]
    points: list[tuple[str, Recipe]] = []
    levels: dict[str, Levels] = {}
    for label, recipe in recipes:
        for chosen in product(*(range(len(values)) for _, values in vary)):
            level = tuple(text[place] for text, place in zip(texts, chosen, strict=True))
            name = ", ".join([label, *(f"{key} = {text}" for key, text in zip(names, level, strict=True))])
            overrides: list[Override] = [(path, values[i]) for (path, values), i in zip(vary, chosen, strict=True)]
            points.append((name, recipe.override(overrides)))
            levels[name] = (label, *level) if len(recipes) > 1 else level
    if len(recipes) > 1:
        names, texts = [RECIPE, *names], [[label for label, _ in recipes], *texts]
    return Design(tuple(names), tuple(tuple(text) for text in texts), levels), points


def _check(path: str, values: Sequence[Any], paths: Sequence[str]) -> None:
    if not path or not all(path.split(".")):
        raise ValueError(f"expected a key to vary as in model.options.norm, got {path!r}")
    if paths.count(path) > 1:
        raise ValueError(f"{path} is given twice")
    if path == "seed":
        raise ValueError("seed cannot be varied: every combination is trained with all `seeds`")
    if isinstance(values, str) or len(values) < 2:
        raise ValueError(f"{path} = {values!r}: expected two values or more")
    for place, value in enumerate(values):
        if any(value == other and type(value) is type(other) for other in values[:place]):
            raise ValueError(f"{path}: {_text(value)} is given twice")


def _short_names(paths: Sequence[str]) -> list[str]:
    """The shortest distinct end of each path; "optim" for optim.name.

    A seed keeps its section, as in "split.seed", because labels are shown next to the run's seed.
    """
    parts = [path.removesuffix(".name").split(".") for path in paths]
    names = []
    for own in parts:
        count = 2 if own[-1] == "seed" else 1
        while count < len(own) and sum(other[-count:] == own[-count:] for other in parts) > 1:
            count += 1
        names.append(".".join(own[-count:]))
    return names


def _text(value: Any) -> str:
    """The text of a value in a label."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        name = [str(value["name"])] if "name" in value else []
        return " ".join(name + [f"{key} {_text(each)}" for key, each in value.items() if key != "name"])
    if isinstance(value, list | tuple):
        return " + ".join(map(_text, value)) or "none"
    text = " ".join(str(value).split())
    return text.rpartition(":")[2] if is_user_class(text) else Path(text).name if "/" in text else text


def _distinct(texts: Sequence[str]) -> list[str]:
    short = [text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 1].rstrip() + "…" for text in texts]
    return [text if short.count(text) == 1 else f"{text} ({place})" for place, text in enumerate(short, start=1)]


def conclude(design: Design, members: Sequence[Member], part: str) -> dict[str, Any]:
    """The effect of each value on the accuracy of a part, as JSON.

    Seeds without a score at some combination are left out.
    """
    accuracies, grain = _accuracies(design, members, part)
    seeds = sorted(set.intersection(*(set(cell) for cell in accuracies.values())))
    effects = _effects(design, accuracies, seeds, grain)
    interactions = _interactions(design, accuracies, seeds, grain)
    reduced = any(member.run.data.limit for member in members)
    return {
        "keys": list(design.keys),
        "seeds": seeds,
        "sentence": _sentence(design, effects, part, seeds, reduced=reduced),
        "caveats": _caveats(design, [] if reduced else interactions, seeds, len({member.seed for member in members})),
        "effects": effects,
        "interactions": interactions,
        "averages": _averages(design, accuracies, seeds, grain),
    }


def _accuracies(design: Design, members: Sequence[Member], part: str) -> tuple[Accuracies, float]:
    """The accuracy of each combination by seed, and the grain of an accuracy."""
    cells: Accuracies = {levels: {} for levels in design.levels.values()}
    images = 1
    for member in members:
        score = member.run.scores.get(part)
        if score is not None:
            cells[design.levels[member.label]][member.seed] = score.accuracy
            images = max(images, score.n)
    return cells, 1 / images


def _effects(design: Design, accuracies: Accuracies, seeds: Sequence[int], grain: float) -> list[dict[str, Any]]:
    found = [
        _tested(
            {"key": design.keys[key], "a": a, "b": b},
            _compared(design, accuracies, seeds, {key: a}, {key: b}, grain),
        )
        for key, values in enumerate(design.values)
        for a, b in combinations(values, 2)
        if seeds
    ]
    return _corrected(found)


def _interactions(design: Design, accuracies: Accuracies, seeds: Sequence[int], grain: float) -> list[dict[str, Any]]:
    """How much the difference between two values of one key depends on the value of another."""
    found = []
    for one, other in combinations(range(len(design.keys)), 2):
        for (a, b), (at, against) in product(
            combinations(design.values[one], 2), combinations(design.values[other], 2)
        ):
            if len(seeds) < 2:
                continue
            sides = [
                _compared(design, accuracies, seeds, {one: a, other: level}, {one: b, other: level}, grain)
                for level in (at, against)
            ]
            first, second = ([x - y for x, y in zip(side.a, side.b, strict=True)] for side in sides)
            names = {"keys": [design.keys[one], design.keys[other]], "between": [a, b], "at": [at, against]}
            means = {"effects": [fmean(first), fmean(second)]}
            # Rounding contributes twice the variance of a single difference.
            found.append(_tested(names | means, Comparison(first, second, sqrt(2) * sides[0].step)))
    return _corrected(found)


def _compared(
    design: Design,
    accuracies: Accuracies,
    seeds: Sequence[int],
    a: Mapping[int, str],
    b: Mapping[int, str],
    grain: float,
) -> Comparison:
    """Two sets of fixed values, each averaged over all values of the other keys."""
    sides = [_cells(design, fixed) for fixed in (a, b)]
    means = [[fmean(accuracies[cell][seed] for cell in cells) for seed in seeds] for cells in sides]
    return Comparison(means[0], means[1], grain / sqrt(len(sides[0])))


def _cells(design: Design, fixed: Mapping[int, str]) -> list[Levels]:
    return list(product(*([fixed[key]] if key in fixed else values for key, values in enumerate(design.values))))


def _tested(names: dict[str, Any], compared: Comparison) -> dict[str, Any]:
    if len(compared.a) < 2:
        return names | {"difference": t_interval([compared.a[0] - compared.b[0]]).as_json(), "p": None}
    test = paired_t(compared.a, compared.b, step=compared.step)
    return names | {"difference": test.difference.as_json(), "p": test.p}


def _corrected(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if any(each["p"] is None for each in found):
        return [each | {"p_holm": None, "distinguishable": False} for each in found]
    adjusted = holm([each["p"] for each in found])
    return [
        each | {"p_holm": p, "distinguishable": distinguishable(p)} for each, p in zip(found, adjusted, strict=True)
    ]


def _averages(design: Design, accuracies: Accuracies, seeds: Sequence[int], grain: float) -> list[dict[str, Any]]:
    averages = []
    for key, values in enumerate(design.values):
        for value in values:
            cells = _cells(design, {key: value})
            means = [fmean(accuracies[cell][seed] for cell in cells) for seed in seeds]
            if means:
                estimate = t_interval(means, step=grain / sqrt(len(cells)))
                averages.append({"key": design.keys[key], "value": value, "accuracy": estimate.as_json()})
    return averages


def _sentence(
    design: Design, effects: Sequence[dict[str, Any]], part: str, seeds: Sequence[int], *, reduced: bool
) -> str:
    if not seeds:
        return f"No seed has a {part} score at every combination: the effects are inconclusive"
    clauses = []
    for key in design.keys:
        clauses.append(f"{key}: {_clause([effect for effect in effects if effect['key'] == key], reduced=reduced)}")
    basis = f"{part} accuracy, {'one seed' if len(seeds) == 1 else f'n = {len(seeds)} seeds'}"
    over = ", each averaged over the others" if len(design.keys) > 1 else ""
    verdict = "; fewer images, no verdict" if reduced else ""
    return f"{'; '.join(clauses)} ({basis}{over}{verdict})"


def _clause(effects: Sequence[dict[str, Any]], *, reduced: bool) -> str:
    """The value with the highest mean against all others."""
    gains: dict[str, float] = {}
    for effect in effects:
        gains[effect["a"]] = gains.get(effect["a"], 0.0) + effect["difference"]["mean"]
        gains[effect["b"]] = gains.get(effect["b"], 0.0) - effect["difference"]["mean"]
    best = max(gains, key=lambda value: gains[value])
    turned = [_turned(effect, best) for effect in effects if best in (effect["a"], effect["b"])]
    others = {effect["b"]: effect for effect in turned}
    if reduced or turned[0]["p"] is None:
        return f"{best} is {listed([f'{_points(effect)} above {other}' for other, effect in others.items()])}"
    beaten = [f"{other} by {_points(effect)}" for other, effect in others.items() if effect["distinguishable"]]
    level = [f"{other} ({_points(effect)})" for other, effect in others.items() if not effect["distinguishable"]]
    clauses = [f"{best} beats {listed(beaten)}"] if beaten else []
    if level:
        clauses.append(f"{'' if beaten else f'{best} is highest, '}inconclusive against {listed(level)}")
    return ", ".join(clauses)


def _turned(effect: dict[str, Any], first: str) -> dict[str, Any]:
    if effect["a"] == first:
        return effect
    old = effect["difference"]
    ends = {"low": None, "high": None} if old["low"] is None else {"low": -old["high"], "high": -old["low"]}
    return {**effect, "a": first, "b": effect["a"], "difference": {**old, "mean": -old["mean"], **ends}}


def _points(effect: Mapping[str, Any]) -> str:
    return Estimate.from_json(effect["difference"]).points()


def _caveats(design: Design, interactions: Sequence[dict[str, Any]], seeds: Sequence[int], trained: int) -> list[str]:
    caveats = []
    significant = [each for each in interactions if each["distinguishable"]]
    if significant:
        largest = max(significant, key=lambda each: abs(each["difference"]["mean"]))
        key, other = largest["keys"]
        gains = [
            f"{100 * effect:+.1f} points at {other} = {at}"
            for effect, at in zip(largest["effects"], largest["at"], strict=True)
        ]
        more = f"; {len(significant) - 1} more in finding.json" if len(significant) > 1 else ""
        caveats.append(
            f"The keys interact: the effect of {largest['between'][0]} against {largest['between'][1]} of {key} is "
            f"{' and '.join(gains)}; the average over {other} hides this{more}"
        )
    if len(design.keys) > 1 and len(seeds) > 1 and not significant:
        caveats.append("An interaction of the keys is neither shown nor excluded by these data")
    if 0 < len(seeds) < trained:
        caveats.append(f"Effects are over {len(seeds)} of {trained} seeds: the others lack a score at some combination")
    return caveats

"""The effect of each varied value: the section that an ablation adds to the page of a comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from matplotlib.axes import Axes

from convoy.reporting.content import Cell, Chart, Column, Panel, Section, Table, shortened
from convoy.reporting.palette import INK, MODELS, MUTED, RULE
from convoy.reporting.quantities import p_value
from convoy.reporting.tables import verdict_of
from convoy.stats import Estimate

ROW_INCHES = 0.5
MAX_EFFECTS = 24  # in the chart; the table has all
EXPLAINED = (
    "Difference between two values, averaged over all combinations of the other keys and paired by seed. "
    "n: seeds. ±: half-width of the 95 % interval over seeds (Student's t). p: paired t test; corrected for all "
    "effects (Holm)."
)


class Effect(NamedTuple):
    """In percentage points; without an interval, low and high equal the mean."""

    name: str  # "norm: batch − none"
    mean: float
    low: float
    high: float
    significant: bool


class EffectNumbers(NamedTuple):
    metric: str
    effects: tuple[Effect, ...]
    seeds: int
    quick: bool = False


def ablation(finding: Mapping[str, Any]) -> Section | None:
    """None without an ablation, or if its seeds have no common scores."""
    ablation_finding = finding.get("ablation")
    if ablation_finding is None or not ablation_finding["effects"]:
        return None
    numbers = effect_numbers(finding)
    height = 0.65 + ROW_INCHES * (len(numbers.effects) + 0.2)
    panel = Panel("", partial(draw_effects, numbers=numbers), height=height, left=0.15, bottom=0.6, top=0.05)
    chart = Chart("effects", "Effects", (panel,), effects_caption(numbers))
    tables = [_effects_table(finding), _averages_table(ablation_finding["averages"], finding["metric"])]
    tables += [_interactions_table(finding)] if ablation_finding["interactions"] else []
    return Section("Ablation", (chart, *tables))


def effect_numbers(finding: Mapping[str, Any]) -> EffectNumbers:
    """In the order of the keys; of many effects the significant ones come first. Signs are positive."""
    effects, quick = [], bool(finding.get("quick"))
    for effect in finding["ablation"]["effects"]:
        a, b, estimate = _upwards(effect)
        low = estimate.mean if estimate.low is None else estimate.low
        high = estimate.mean if estimate.high is None else estimate.high
        name = f"{effect['key']}: {a} − {b}"
        effects.append(
            Effect(name, 100 * estimate.mean, 100 * low, 100 * high, effect["distinguishable"] and not quick)
        )
    if len(effects) > MAX_EFFECTS:
        effects = sorted(effects, key=lambda effect: (not effect.significant, -effect.mean))[:MAX_EFFECTS]
    return EffectNumbers(finding["metric"], tuple(effects), len(finding["ablation"]["seeds"]), quick)


def draw_effects(axes: Axes, numbers: EffectNumbers) -> None:
    colour = MODELS[0][0]
    ends = [0.0, *(end for effect in numbers.effects for end in (effect.low, effect.high))]
    room = max(0.02, 0.05 * (max(ends) - min(ends)))
    axes.set_xlim(min(ends) - room, max(ends) + room)
    axes.set_ylim(len(numbers.effects) - 0.35, -0.75)
    axes.axvline(0, color=RULE, linewidth=1)
    names = shortened([effect.name for effect in numbers.effects], 44)
    across = axes.get_yaxis_transform()
    for place, (effect, name) in enumerate(zip(numbers.effects, names, strict=True)):
        shade = colour if effect.significant else MUTED
        bar, stroke = (effect.low, effect.high), (place - 0.17, place + 0.17)
        axes.plot(bar, (place, place), color=shade, alpha=0.32, linewidth=9, solid_capstyle="butt")
        axes.plot((effect.mean, effect.mean), stroke, color=shade, linewidth=2.5, solid_capstyle="butt")
        axes.text(0, place - 0.22, name, transform=across, va="bottom", color=INK)
        axes.text(1, place - 0.22, f"{effect.mean:+.2f}", transform=across, va="bottom", ha="right", color=MUTED)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(f"{numbers.metric}, difference (points)")


def effects_caption(numbers: EffectNumbers) -> str:
    interval = "bar: 95 % interval over seeds" if numbers.seeds > 1 else "one seed, so there is no interval"
    marks = f"Stroke: mean difference; {interval}"
    if numbers.quick:
        return f"Fewer images: no verdict. {marks}."
    count = sum(effect.significant for effect in numbers.effects)
    return f"Significant: {count} of {len(numbers.effects)} effects. {marks}; grey: inconclusive."


def _effects_table(finding: Mapping[str, Any]) -> Table:
    columns = (
        Column("Key", numeric=False),
        Column("Difference between", numeric=False),
        Column("Difference", "points"),
        Column("n", "seeds"),
        Column("p"),
        Column("p, corrected"),
        Column("Verdict", numeric=False),
    )
    rows = []
    for effect in finding["ablation"]["effects"]:
        a, b, estimate = _upwards(effect)
        cells = (Cell(effect["key"]), Cell(f"{a} − {b}"), Cell(*estimate.parts(scale=100)), *_tested(effect))
        rows.append((*cells, Cell(_verdict(effect, finding))))
    return Table(columns, tuple(rows), EXPLAINED, "Effects")


def _averages_table(averages: Sequence[Mapping[str, Any]], metric: str) -> Table:
    columns = (Column("Key", numeric=False), Column("Value", numeric=False), Column(metric.capitalize(), "%"))
    rows = tuple(
        (Cell(each["key"]), Cell(each["value"]), Cell(*Estimate.from_json(each["accuracy"]).parts(scale=100)))
        for each in averages
    )
    note = (
        "Averaged over all combinations of the other keys. Values of one key share their seeds, so their difference is "
        "known more precisely than these intervals suggest."
    )
    return Table(columns, rows, note, "Mean accuracy of each value")


def _interactions_table(finding: Mapping[str, Any]) -> Table:
    columns = (
        Column("Difference between", numeric=False),
        Column("Depends on", numeric=False),
        Column("Difference of differences", "points"),
        Column("n", "seeds"),
        Column("p"),
        Column("p, corrected"),
        Column("Verdict", numeric=False),
    )
    rows = []
    interactions = finding["ablation"]["interactions"]
    for each in interactions:
        (a, b), (at, against), (key, other) = each["between"], each["at"], each["keys"]
        at_first, at_second = (f"{100 * effect:+.2f}" for effect in each["effects"])
        depends = Cell(f"{other}: {at_first} at {at}, {at_second} at {against}")
        difference = Cell(*Estimate.from_json(each["difference"]).parts(scale=100))
        cells = (Cell(f"{key}: {a} − {b}"), depends, difference)
        rows.append((*cells, *_tested(each), Cell(_verdict(each, finding))))
    note = "If this is not zero, the effect of one key depends on the value of the other, and its average hides this."
    return Table(columns, tuple(rows), note, "Interactions", collapsed_title=_interactions_title(finding))


def _interactions_title(finding: Mapping[str, Any]) -> str:
    interactions = finding["ablation"]["interactions"]
    if finding.get("quick"):
        return f"{len(interactions)} interactions"
    significant = sum(each["distinguishable"] for each in interactions)
    return f"{len(interactions)} interactions, {significant or 'none'} significant"


def _tested(effect: Mapping[str, Any]) -> tuple[Cell, Cell, Cell]:
    ps = [Cell("" if effect[name] is None else p_value(effect[name])) for name in ("p", "p_holm")]
    return Cell(str(effect["difference"]["n"])), ps[0], ps[1]


def _verdict(effect: Mapping[str, Any], finding: Mapping[str, Any]) -> str:
    return "one seed" if effect["p"] is None else verdict_of(effect, finding)


def _upwards(effect: Mapping[str, Any]) -> tuple[str, str, Estimate]:
    """With the better value first."""
    estimate = Estimate.from_json(effect["difference"])
    if estimate.mean >= 0:
        return effect["a"], effect["b"], estimate
    low, high = (None if end is None else -end for end in (estimate.high, estimate.low))
    return effect["b"], effect["a"], replace(estimate, mean=-estimate.mean, low=low, high=high)

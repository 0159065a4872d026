"""The figures of a comparison: accuracy, effects and cost of the models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from convoy.reporting import ticks
from convoy.reporting.palette import MODELS, MUTED, PAPER, Look
from convoy.reporting.rows import ChartRow, CostBars, RowChart, Value, limits
from convoy.reporting.words import accuracy_name
from convoy.stats import Estimate, mean_of
from convoy.studies.compare.ablation import Ablation, Effect
from convoy.studies.compare.finding import CompareFinding, ModelSummary
from convoy.text import gettext as _
from convoy.text.labels import label_text
from convoy.text.lists import clauses, joined
from convoy.text.numbers import fixed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_EFFECTS = 24  # in the chart; the table lists all


class CostKind(NamedTuple):
    title: str
    unit: str
    of: Callable[[ModelSummary], Estimate | float | None]
    bars: str = ""  # name of its bar chart; empty: the cost is only in the chart of accuracy and cost


def cost_kinds() -> list[CostKind]:
    return [
        CostKind(_("Training time"), _("s"), lambda row: row.cost.train_seconds, "time_bars"),
        CostKind(_("Parameters"), "", lambda row: row.cost.parameters, "parameter_bars"),
        CostKind(_("FLOPs per image"), "", lambda row: row.cost.flops_per_image),
        CostKind(_("Inference of one image"), _("ms"), lambda row: row.cost.ms_per_image),
    ]


class CostNumbers(NamedTuple):
    cost: CostKind
    accuracies: Mapping[str, Value]  # in percent, by label
    values: Mapping[str, float]  # values of the cost
    pareto_front: tuple[str, ...]  # labels, cheapest first


def accuracy_rows(finding: CompareFinding, by_seed: Mapping[str, Sequence[float]], look: Look) -> RowChart:
    """One row per model, highest mean first. `by_seed` has the accuracies as fractions, in the order of the seeds."""

    def row(model: ModelSummary) -> ChartRow:
        value = Value.of(model.accuracy, look.colour(model.label), look.mark(model.label))
        points = tuple(100 * accuracy for accuracy in by_seed[model.label])
        diverged = tuple(point for seed, point in zip(model.seeds, points, strict=True) if seed in model.diverged)
        return ChartRow(
            label_text(model.label), (replace(value, points=points, diverged=diverged),), f"{value.value:.2f} %"
        )

    return RowChart(tuple(map(row, finding.ranked)), accuracy_name(finding.part), "%")


def effects(finding: CompareFinding, ablation: Ablation) -> list[Effect]:
    """Returns at most MAX_EFFECTS effects, with positive signs; if there are more, the significant and then the
    largest.
    """
    ordered = [effect.higher_first() for effect in ablation.effects]
    if len(ordered) > MAX_EFFECTS:
        ordered.sort(key=lambda effect: (not effect.significant, -effect.difference.mean))
    return ordered[:MAX_EFFECTS]


def effect_rows(finding: CompareFinding, ablation: Ablation) -> RowChart:
    def row(effect: Effect) -> ChartRow:
        value = Value.of(effect.difference, MODELS[0][0] if effect.significant and not finding.reduced else MUTED)
        return ChartRow(
            _("{label}: {value}", label=effect.key, value=f"{effect.a} − {effect.b}"),
            (value,),
            fixed(value.value, 2, signed=True),
        )

    rows = tuple(map(row, effects(finding, ablation)))
    return RowChart(rows, _("difference of {metric}", metric=accuracy_name(finding.part)), _("points"), line=0.0)


def accuracy_caption(finding: CompareFinding) -> str:
    sentences = [
        _("Vertical line: mean; bar: 95 % interval over seeds, or over the images of one seed; small marks: seeds.")
    ]
    sentences += [_("Crosses: seeds that diverged.")] if any(row.diverged for row in finding.rows) else []
    return " ".join([*sentences, _("The axis may start above 0.")])


def effects_caption(finding: CompareFinding, ablation: Ablation) -> str:
    sentences = [_("Vertical line: mean difference; bar: 95 % interval over seeds (none for one seed).")]
    sentences.append(_("Limited data: no verdict.") if finding.reduced else _("Grey: inconclusive."))
    if len(ablation.effects) > MAX_EFFECTS:
        sentences.append(_("Shown: {n} of {total} effects.", n=MAX_EFFECTS, total=len(ablation.effects)))
    return " ".join(sentences)


def cost_numbers(finding: CompareFinding, cost: CostKind) -> CostNumbers | None:
    """Returns None if fewer than two models have this cost."""
    values = {row.label: mean_of(value) for row in finding.rows if (value := cost.of(row)) is not None}
    accuracies = {row.label: Value.of(row.accuracy) for row in finding.rows if values.get(row.label, 0) > 0}
    if len(accuracies) < 2:
        return None

    def dominates(other: str, label: str) -> bool:
        cheaper, better = values[label] - values[other], accuracies[other].value - accuracies[label].value
        return min(cheaper, better) >= 0 < max(cheaper, better)

    best = [label for label in accuracies if not any(dominates(other, label) for other in accuracies)]
    return CostNumbers(cost, accuracies, values, tuple(sorted(best, key=lambda label: values[label])))


def cost_bars(finding: CompareFinding, cost: CostKind) -> CostBars | None:
    """Returns the models with this cost, highest mean accuracy first; None if fewer than two."""
    values = {row.label: value for row in finding.ranked if (value := cost.of(row)) is not None}
    if len(values) < 2:
        return None
    intervals = [value.span if isinstance(value, Estimate) and value.n > 1 else None for value in values.values()]
    return CostBars(cost.title, cost.unit, tuple(values), tuple(map(mean_of, values.values())), tuple(intervals))


def draw_cost(axes: Axes, numbers: CostNumbers, part: str, look: Look) -> None:
    accuracies, values = numbers.accuracies, numbers.values
    low, high = limits(RowChart(tuple(ChartRow(label, (value,)) for label, value in accuracies.items()), "", "%"))
    axes.set_ylim(low, high)
    costs = [values[label] for label in accuracies]
    margin = max((max(costs) / min(costs)) ** 0.12, 1.15)
    ticks.logarithmic(axes, "x", min(costs) / margin, max(costs) * margin)
    front = (
        [values[label] for label in numbers.pareto_front],
        [accuracies[label].value for label in numbers.pareto_front],
    )
    axes.step(*front, where="post", color=MUTED, linewidth=1, zorder=1)
    for label, accuracy in accuracies.items():
        colour, cost = look.colour(label), values[label]
        if accuracy.interval:
            ends = max(accuracy.interval[0], low), min(accuracy.interval[1], high)
            axes.plot((cost, cost), ends, color=colour, linewidth=2, alpha=0.5)
        # Not clipped: clipping would cut a mark at 100 % in half.
        axes.plot(
            cost, accuracy.value, look.mark(label), color=colour, markersize=8, markeredgewidth=1.4,
            markerfacecolor=colour if label in numbers.pareto_front else PAPER, clip_on=False,
        )  # fmt: skip
    quantity = f"{numbers.cost.title} ({numbers.cost.unit})" if numbers.cost.unit else numbers.cost.title
    axes.set_xlabel(_("{quantity}, logarithmic", quantity=quantity))
    axes.set_ylabel(f"{accuracy_name(part)} (%)")


def cost_caption(panels: Sequence[CostNumbers]) -> str:
    """Names the models on the Pareto front; costs with the same front share a sentence."""
    by_front: dict[tuple[str, ...], list[str]] = {}
    equal = []
    for numbers in panels:
        if len({numbers.values[label] for label in numbers.accuracies}) == 1:
            equal.append(numbers.cost.title)
        else:
            by_front.setdefault(numbers.pareto_front, []).append(numbers.cost.title)
    sentences = [
        _("Pareto front ({costs}): {models}.", costs=joined(costs), models=clauses(map(label_text, front)))
        for front, costs in by_front.items()
    ]
    sentences += [_("Equal for all models: {costs}.", costs=joined(equal))] if equal else []
    sentences.append(
        _("Grey line: Pareto front; hollow marks: models not on it. Vertical lines: 95 % intervals of the accuracy.")
    )
    return " ".join(sentences)

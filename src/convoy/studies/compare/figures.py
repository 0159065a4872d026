"""Accuracies and effects as rows with intervals, and accuracy against cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from matplotlib.axes import Axes

from convoy.reporting import ticks
from convoy.reporting.cost_bars import CostBars
from convoy.reporting.palette import MODELS, MUTED, PAPER, Look
from convoy.reporting.quantities import listed
from convoy.reporting.rows import Row, Rows, Value, limits
from convoy.stats import Estimate
from convoy.studies.compare.ablation import Ablation, Effect
from convoy.studies.compare.finding import CompareFinding
from convoy.studies.compare.finding import Row as ModelRow

MAX_EFFECTS = 24  # in the chart; the table has all


class CostKind(NamedTuple):
    name: str
    unit: str
    of: Callable[[ModelRow], Estimate | float | None]

    @property
    def title(self) -> str:
        return self.name[0].upper() + self.name[1:]


TRAINING_TIME = CostKind("training time", "s", lambda row: row.cost.train_seconds)
PARAMETERS = CostKind("parameters", "", lambda row: row.cost.parameters)
COSTS = (
    TRAINING_TIME,
    PARAMETERS,
    CostKind("FLOPs per image", "", lambda row: row.cost.flops_per_image),
    CostKind("inference of one image", "ms", lambda row: row.cost.ms_per_image),
)


class CostNumbers(NamedTuple):
    metric: str
    cost: CostKind
    accuracies: Mapping[str, Value]  # in percent, by label
    values: Mapping[str, float]  # of the cost
    best: tuple[str, ...]  # labels on the Pareto front, by cost: no other model is as cheap and as accurate


def accuracy_rows(finding: CompareFinding, by_seed: Mapping[str, Sequence[float]], look: Look) -> Rows:
    """From the highest mean down. `by_seed`: label -> accuracies as fractions."""

    def row(model: ModelRow) -> Row:
        value = Value.of(model.accuracy, look.colour(model.label), look.mark(model.label))
        points = tuple(100 * accuracy for accuracy in by_seed[model.label])
        return Row(model.label, (replace(value, points=points),), f"{value.value:.2f} %")

    return Rows(tuple(map(row, finding.ranked)), finding.metric, "%")


def effects(finding: CompareFinding, ablation: Ablation) -> list[Effect]:
    """In the order of the keys, with positive signs; of many effects the significant ones come first."""
    shown = [effect.upwards() for effect in ablation.effects]
    if len(shown) > MAX_EFFECTS:
        shown.sort(key=lambda effect: (not effect.significant, -effect.difference.mean))
    return shown[:MAX_EFFECTS]


def effect_rows(finding: CompareFinding, ablation: Ablation) -> Rows:
    def row(effect: Effect) -> Row:
        value = Value.of(effect.difference, MODELS[0][0] if effect.significant and not finding.reduced else MUTED)
        return Row(f"{effect.key}: {effect.a} − {effect.b}", (value,), f"{value.value:+.2f}")

    rows = tuple(map(row, effects(finding, ablation)))
    return Rows(rows, f"{finding.metric}, difference", "points", line=0.0)


def accuracy_caption(finding: CompareFinding) -> str:
    over = "images, from one seed" if finding.single_seeds else "seeds"
    return f"Stroke: mean; bar: 95 % interval over {over}; small marks: single seeds. The axis does not begin at 0."


def effects_caption(finding: CompareFinding, ablation: Ablation) -> str:
    interval = "bar: 95 % interval over seeds" if len(ablation.seeds) > 1 else "one seed, so there is no interval"
    marks = f"Stroke: mean difference; {interval}"
    if finding.reduced:
        return f"Fewer images: no verdict. {marks}."
    shown = effects(finding, ablation)
    count = sum(effect.significant for effect in shown)
    return f"Significant: {count} of {len(shown)} effects. {marks}; grey: inconclusive."


def cost_numbers(finding: CompareFinding, cost: CostKind) -> CostNumbers | None:
    """None if fewer than two models have this cost."""
    values = {row.label: _mean(value) for row in finding.rows if (value := cost.of(row)) is not None}
    accuracies = {row.label: Value.of(row.accuracy) for row in finding.rows if values.get(row.label, 0) > 0}
    if len(accuracies) < 2:
        return None

    def dominates(other: str, label: str) -> bool:
        cheaper, better = values[label] - values[other], accuracies[other].value - accuracies[label].value
        return min(cheaper, better) >= 0 < max(cheaper, better)

    best = [label for label in accuracies if not any(dominates(other, label) for other in accuracies)]
    return CostNumbers(finding.metric, cost, accuracies, values, tuple(sorted(best, key=lambda label: values[label])))


def _mean(value: Estimate | float) -> float:
    return value.mean if isinstance(value, Estimate) else value


def cost_bars(finding: CompareFinding, cost: CostKind) -> CostBars | None:
    """The models with this cost, highest mean accuracy first; None if fewer than two."""
    values = {row.label: value for row in finding.ranked if (value := cost.of(row)) is not None}
    if len(values) < 2:
        return None
    spans = [value.span if isinstance(value, Estimate) and value.n > 1 else None for value in values.values()]
    return CostBars(cost.name, cost.unit, tuple(values), tuple(map(_mean, values.values())), tuple(spans))


def draw_cost(axes: Axes, numbers: CostNumbers, look: Look) -> None:
    accuracies, values = numbers.accuracies, numbers.values
    low, high = limits(Rows(tuple(Row(label, (value,)) for label, value in accuracies.items()), "", "%"))
    axes.set_ylim(low, high)
    costs = [values[label] for label in accuracies]
    room = max((max(costs) / min(costs)) ** 0.12, 1.15)
    ticks.logarithmic(axes, "x", min(costs) / room, max(costs) * room)
    front = [values[label] for label in numbers.best], [accuracies[label].value for label in numbers.best]
    axes.step(*front, where="post", color=MUTED, linewidth=1, zorder=1)
    for label, accuracy in accuracies.items():
        colour, cost = look.colour(label), values[label]
        if accuracy.span:
            span = max(accuracy.span[0], low), min(accuracy.span[1], high)
            axes.plot((cost, cost), span, color=colour, linewidth=2, alpha=0.5)
        # Not clipped: a mark at 100 % would be cut in half.
        axes.plot(
            cost, accuracy.value, look.mark(label), color=colour, markersize=8, markeredgewidth=1.4,
            markerfacecolor=colour if label in numbers.best else PAPER, clip_on=False,
        )  # fmt: skip
    unit = f" ({numbers.cost.unit})" if numbers.cost.unit else ""
    axes.set_xlabel(f"{numbers.cost.name}{unit}, logarithmic")
    axes.set_ylabel(f"{numbers.metric} (%)")


def cost_caption(panels: Sequence[CostNumbers]) -> str:
    """Names the models on the Pareto front; costs with the same front share a sentence."""
    by_front: dict[tuple[str, ...], list[str]] = {}
    equal = []
    for numbers in panels:
        if len({numbers.values[label] for label in numbers.accuracies}) == 1:
            equal.append(numbers.cost.name)
        else:
            by_front.setdefault(numbers.best, []).append(numbers.cost.name)
    sentences = [f"Pareto front ({listed(costs)}): {'; '.join(front)}." for front, costs in by_front.items()]
    if equal:
        sentences.append(f"Equal for all models: {listed(equal)}.")
    hollow = "; hollow: not on it" if any(len(numbers.best) < len(numbers.accuracies) for numbers in panels) else ""
    return " ".join([*sentences, f"Grey line: Pareto front{hollow}. Vertical lines: 95 % intervals of the accuracy."])

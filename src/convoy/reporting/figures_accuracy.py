"""Accuracy of each model, and accuracy against cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes

from convoy.reporting import ticks
from convoy.reporting.content import shortened
from convoy.reporting.figures_profile import CostBars
from convoy.reporting.palette import MUTED, PAPER, Look
from convoy.reporting.quantities import listed
from convoy.stats import Estimate

BAR_INCHES = 0.52
COSTS = {
    "train_seconds": ("training time", "s"),
    "parameters": ("parameters", ""),
    "flops_per_image": ("FLOPs per image", ""),
    "ms_per_image": ("inference of one image", "ms"),
}


class Bar(NamedTuple):
    """In percent."""

    label: str
    mean: float
    low: float
    high: float
    points: tuple[float, ...]  # one per seed


class AccuracyNumbers(NamedTuple):
    metric: str
    bars: tuple[Bar, ...]
    over_images: bool  # intervals are over images (one seed), not over seeds


class CostPoint(NamedTuple):
    label: str
    cost: float
    accuracy: float  # percent
    low: float
    high: float


class CostNumbers(NamedTuple):
    metric: str
    cost: str  # a key of COSTS
    points: tuple[CostPoint, ...]
    best: tuple[str, ...]  # labels on the Pareto front: no other model is as cheap and as accurate


def accuracy_numbers(finding: Mapping[str, Any], by_seed: Mapping[str, Sequence[float]]) -> AccuracyNumbers:
    """Bars from the highest mean down. `by_seed`: label -> accuracies as fractions."""
    bars, kinds = [], set()
    for row in finding["rows"]:
        estimate = Estimate.from_json(row["accuracy"])
        kinds.add(estimate.interval)
        low = estimate.mean if estimate.low is None else estimate.low
        high = estimate.mean if estimate.high is None else estimate.high
        points = tuple(100 * value for value in by_seed[row["label"]])
        bars.append(Bar(row["label"], 100 * estimate.mean, 100 * low, 100 * high, points))
    bars.sort(key=lambda bar: -bar.mean)
    return AccuracyNumbers(finding["metric"], tuple(bars), over_images=kinds == {"wilson"})


def draw_accuracy(axes: Axes, numbers: AccuracyNumbers, look: Look) -> None:
    low, high = _limits(
        [(bar.low, bar.high) for bar in numbers.bars] + [(p, p) for b in numbers.bars for p in b.points]
    )
    axes.set_xlim(low, high)
    axes.set_ylim(len(numbers.bars) - 0.35, -0.75)
    names = shortened([bar.label for bar in numbers.bars], 34)
    for place, (bar, name) in enumerate(zip(numbers.bars, names, strict=True)):
        colour = look.colour(bar.label)
        span = max(bar.low, low), min(bar.high, high)
        axes.plot(span, (place, place), color=colour, alpha=0.32, linewidth=9, solid_capstyle="butt")
        axes.plot(
            (bar.mean, bar.mean), (place - 0.17, place + 0.17), color=colour, linewidth=2.5, solid_capstyle="butt"
        )
        axes.plot(
            bar.points, [place] * len(bar.points), look.mark(bar.label), color=colour, markersize=5, markeredgewidth=0
        )
        across = axes.get_yaxis_transform()
        axes.text(0, place - 0.22, name, transform=across, va="bottom")
        axes.text(1, place - 0.22, f"{bar.mean:.2f} %", transform=across, va="bottom", ha="right", color=MUTED)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(f"{numbers.metric} (%)")


def accuracy_caption(numbers: AccuracyNumbers) -> str:
    over = "images, from one seed" if numbers.over_images else "seeds"
    return f"Stroke: mean; bar: 95 % interval over {over}; small marks: single seeds. The axis does not begin at 0."


def title(cost: str) -> str:
    name = COSTS[cost][0]
    return name[0].upper() + name[1:]


def cost_numbers(finding: Mapping[str, Any], cost: str) -> CostNumbers | None:
    """None if fewer than two models have this cost."""
    points = []
    for row in finding["rows"]:
        value, _ = _cost(row, cost)
        if value is not None and value > 0:
            estimate = Estimate.from_json(row["accuracy"])
            low = estimate.mean if estimate.low is None else estimate.low
            high = estimate.mean if estimate.high is None else estimate.high
            points.append(CostPoint(row["label"], value, 100 * estimate.mean, 100 * low, 100 * high))
    if len(points) < 2:
        return None
    best = tuple(point.label for point in points if not any(_dominates(other, point) for other in points))
    return CostNumbers(finding["metric"], cost, tuple(points), best)


def cost_bars(finding: Mapping[str, Any], cost: str) -> CostBars | None:
    """The models with this cost, highest mean accuracy first; None if fewer than two."""
    ranked = sorted(finding["rows"], key=lambda row: -row["accuracy"]["mean"])
    costs = [(row["label"], value, span) for row in ranked for value, span in [_cost(row, cost)] if value is not None]
    if len(costs) < 2:
        return None
    labels, values, spans = zip(*costs, strict=True)
    return CostBars(*COSTS[cost], labels, values, spans)


def _cost(row: Mapping[str, Any], cost: str) -> tuple[float | None, tuple[float, float] | None]:
    """The value, and its interval if it is an estimate with one."""
    value = row.get(cost)
    if not isinstance(value, Mapping):
        return value, None
    return value["mean"], None if value["low"] is None else (value["low"], value["high"])


def draw_cost(axes: Axes, numbers: CostNumbers, look: Look) -> None:
    low, high = _limits([(point.low, point.high) for point in numbers.points])
    axes.set_ylim(low, high)
    costs = [point.cost for point in numbers.points]
    room = max((max(costs) / min(costs)) ** 0.12, 1.15)
    ticks.logarithmic(axes, "x", min(costs) / room, max(costs) * room)
    front = _front(numbers)
    axes.step([p.cost for p in front], [p.accuracy for p in front], where="post", color=MUTED, linewidth=1, zorder=1)
    for point in numbers.points:
        colour = look.colour(point.label)
        span = max(point.low, low), min(point.high, high)
        axes.plot((point.cost, point.cost), span, color=colour, linewidth=2, alpha=0.5)
        # Not clipped: a mark at 100 % would be cut in half.
        axes.plot(
            point.cost, point.accuracy, look.mark(point.label), color=colour, markersize=8, markeredgewidth=1.4,
            markerfacecolor=colour if point.label in numbers.best else PAPER, clip_on=False,
        )  # fmt: skip
    name, unit = COSTS[numbers.cost]
    axes.set_xlabel(f"{name}{f' ({unit})' if unit else ''}, logarithmic")
    axes.set_ylabel(f"{numbers.metric} (%)")


def _front(numbers: CostNumbers) -> list[CostPoint]:
    return sorted((p for p in numbers.points if p.label in numbers.best), key=lambda p: p.cost)


def cost_caption(panels: Sequence[CostNumbers]) -> str:
    """Names the models on the Pareto front; costs with the same front share a sentence."""
    by_front: dict[tuple[str, ...], list[str]] = {}
    equal = [COSTS[numbers.cost][0] for numbers in panels if len({point.cost for point in numbers.points}) == 1]
    for numbers in panels:
        if COSTS[numbers.cost][0] not in equal:
            front = tuple(point.label for point in _front(numbers))
            by_front.setdefault(front, []).append(COSTS[numbers.cost][0])
    sentences = [f"Pareto front ({listed(costs)}): {'; '.join(front)}." for front, costs in by_front.items()]
    if equal:
        sentences.append(f"Equal for all models: {listed(equal)}.")
    hollow = "; hollow: not on it" if any(len(numbers.best) < len(numbers.points) for numbers in panels) else ""
    return " ".join([*sentences, f"Grey line: Pareto front{hollow}. Vertical lines: 95 % intervals of the accuracy."])


def _dominates(other: CostPoint, point: CostPoint) -> bool:
    no_worse = other.cost <= point.cost and other.accuracy >= point.accuracy
    return no_worse and (other.cost < point.cost or other.accuracy > point.accuracy)


def _limits(spans: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Axis limits in percent with a margin, cut near 0 and 100, which a t interval can exceed."""
    low, high = min(low for low, _ in spans), max(high for _, high in spans)
    room = max(0.05, 0.06 * (high - low))
    return max(-1.0, low - room), min(100.0 + min(room, 1.0), high + room)

"""How accurate, and at what cost: a bar per model and the plots of accuracy against cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes

from convoy.reporting import ticks
from convoy.reporting.content import shortened
from convoy.reporting.figures_profile import CostBars
from convoy.reporting.palette import MUTED, PAPER, Look
from convoy.reporting.quantities import compact, listed, plain
from convoy.stats import Estimate

BAR_INCHES = 0.52
COSTS = {
    "train_seconds": ("training time", "s"),
    "parameters": ("parameters", ""),
    "flops_per_image": ("FLOPs per image", ""),
    "ms_per_image": ("inference of one image", "ms"),
}


class Bar(NamedTuple):
    """Percent."""

    label: str
    mean: float
    low: float
    high: float
    points: tuple[float, ...]  # one a seed


class AccuracyNumbers(NamedTuple):
    metric: str
    bars: tuple[Bar, ...]
    over_images: bool  # intervals over images (one seed) in place of seeds


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
    best: tuple[str, ...]  # the Pareto front: no other model is as cheap and as accurate


def accuracy_numbers(finding: Mapping[str, Any], by_seed: Mapping[str, Sequence[float]]) -> AccuracyNumbers:
    """Bars from the highest mean down. `by_seed` holds each label's accuracies as fractions."""
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
        shown = max(bar.low, low), min(bar.high, high)
        axes.plot(shown, (place, place), color=colour, alpha=0.32, linewidth=9, solid_capstyle="butt")
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
    over = "the images, from one seed" if numbers.over_images else "seeds"
    how = f"Stroke: mean; bar: 95 % interval over {over}; small marks: single seeds. The axis does not begin at 0."
    first, last = numbers.bars[0], numbers.bars[-1]
    if len(numbers.bars) == 1:
        return f"{first.label} reaches {first.mean:.2f} %. {how}"
    widest = max((bar.high - bar.low) / 2 for bar in numbers.bars)
    spread = first.mean - last.mean
    against = "more" if spread > widest else "less"
    return (
        f"From {last.label} ({last.mean:.2f} %) up to {first.label} ({first.mean:.2f} %) it is {spread:.2f} points, "
        f"{against} than the widest interval's half-width ({widest:.2f} points). {how}"
    )


def title(cost: str) -> str:
    name = COSTS[cost][0]
    return name[0].upper() + name[1:]


def cost_numbers(finding: Mapping[str, Any], cost: str) -> CostNumbers | None:
    """None where no two models have this cost."""
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
    """The models with this cost, the highest mean accuracy first; None where they are fewer than two."""
    ranked = sorted(finding["rows"], key=lambda row: -row["accuracy"]["mean"])
    known = [(row["label"], value, span) for row in ranked for value, span in [_cost(row, cost)] if value is not None]
    if len(known) < 2:
        return None
    labels, values, spans = zip(*known, strict=True)
    return CostBars(*COSTS[cost], labels, values, spans)


def _cost(row: Mapping[str, Any], cost: str) -> tuple[float | None, tuple[float, float] | None]:
    """The value, and its interval where it is an estimate that has one."""
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
    """Names the models that nothing beats in both respects; costs of one front stand in one sentence."""
    alike: dict[tuple[str, ...], list[CostNumbers]] = {}
    level = [numbers for numbers in panels if len({point.cost for point in numbers.points}) == 1]
    for numbers in (numbers for numbers in panels if numbers not in level):
        alike.setdefault(tuple(point.label for point in _front(numbers)), []).append(numbers)
    told = []
    for front, group in alike.items():
        names = f"In {listed([COSTS[numbers.cost][0] for numbers in group])},"
        if len(front) == 1:
            told.append(f"{names} none is cheaper than {front[0]}, and none has a higher mean.")
            continue
        named = [_step(point, group) for point in _front(group[0])]
        steps = ", ".join(named) if len(named) <= 4 else f"{len(named)} steps from {named[0]} to {named[-1]}"
        told.append(f"{names} each gain in accuracy costs more: {steps}{_beaten(group[0])}.")
    if level:
        told.append(f"In {listed([COSTS[numbers.cost][0] for numbers in level])}, all are alike.")
    how = "Up and to the left is better; the grey line joins Pareto's front: no other model is at least as good in both"
    hollow = "; hollow: not on it" if any(len(numbers.best) < len(numbers.points) for numbers in panels) else ""
    return " ".join([*told, f"{how}{hollow}. Strokes: 95 % intervals of the accuracy."])


def _step(point: CostPoint, group: Sequence[CostNumbers]) -> str:
    unit = COSTS[group[0].cost][1]
    cost = f"{plain(point.cost)} {unit}, " if unit else f"{compact(point.cost)}, "
    return f"{point.label} ({cost if len(group) == 1 else ''}{point.accuracy:.2f} %)"


def _beaten(numbers: CostNumbers) -> str:
    others = [point.label for point in numbers.points if point.label not in numbers.best]
    if not others:
        return ""
    who = listed(others) if len(others) <= 3 else f"{len(others)} others"
    return f"; {who} cost{'s' if len(others) == 1 else ''} no less and score{'s' if len(others) == 1 else ''} no more"


def _dominates(other: CostPoint, point: CostPoint) -> bool:
    no_worse = other.cost <= point.cost and other.accuracy >= point.accuracy
    return no_worse and (other.cost < point.cost or other.accuracy > point.accuracy)


def _limits(spans: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Axis limits in percent, with room, hardly past what an accuracy can be: a t interval knows no such bounds."""
    low, high = min(low for low, _ in spans), max(high for _, high in spans)
    room = max(0.05, 0.06 * (high - low))
    return max(-1.0, low - room), min(100.0 + min(room, 1.0), high + room)

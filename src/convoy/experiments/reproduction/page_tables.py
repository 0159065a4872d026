"""The tables of a reproduction: published and measured numbers, faults, epochs, costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from convoy.experiments.experiment import SIDES
from convoy.experiments.measure_words import Shown, Value, mean_of, shown
from convoy.experiments.reason_words import REASONS
from convoy.experiments.reproduction.finding import FaultResult, FaultVerdict, ModelResult
from convoy.experiments.reproduction.words import fault_words
from convoy.prediction import Agreement, Reason, Verdict, compare_published
from convoy.recipe.faults import Fault
from convoy.reporting.content import Cell, Column, Table
from convoy.reporting.quantities import MIB, p_value, plain, quartile_range
from convoy.reporting.reading import Groups, Reading, every
from convoy.reporting.tables import flops_cell, flops_note
from convoy.run_contents import Cost, EpochMetrics
from convoy.stats import Estimate

FIRST = ("test_accuracy", "validation_accuracy", "train_seconds", "total_seconds", "parameters")
ALWAYS = ("test_accuracy",)  # shown even if not published
MANY_EPOCHS = 12
OVER_SEEDS = "±: half-width of the 95 % interval of the mean over seeds (Student's t)."
PREDICTED = (
    "The published value is a single run, so it is compared with the 95 % prediction interval for one more run, "
    "mean ± t sd √(1 + 1/n), over seeds on the same test images. Runs scored on other images vary more."
)
TWO_RUNS = (
    "One seed: the 95 % interval of the difference of two independent proportions (Newcombe) covers the images of both "
    "runs, but no other seeds."
)
OVER_IMAGES = "Ranges: 95 % intervals over images (Wilson), one seed."
PAIRED = "Difference: as published minus corrected, paired by seed."


@dataclass(frozen=True)
class Machines:
    """Named under the tables of times."""

    published: str  # "": not named by the report
    measured: str


def measures_of(models: Sequence[ModelResult]) -> list[Shown]:
    """Measures published as one number, and the test accuracy if measured."""
    names = {name for model in models for name, value in model.published.items() if not isinstance(value, list)}
    names |= {name for name in ALWAYS if any(name in model.side(side).values for model in models for side in SIDES)}
    order = [*(name for name in FIRST if name in names), *sorted(names - set(FIRST))]
    return [shown(name) for name in order]


def result_tables(models: Sequence[ModelResult], machines: Machines, withheld: Reason | None) -> tuple[Table, ...]:
    """One table per measure, one row per model. `withheld`: reason why published numbers are not compared."""
    return tuple(_result_table(models, metric, machines, withheld) for metric in measures_of(models))


def _result_table(models: Sequence[ModelResult], metric: Shown, machines: Machines, withheld: Reason | None) -> Table:
    columns = (
        Column("Model", numeric=False),
        Column("Published", metric.unit.of_value),
        Column("As published", metric.heading("measured")),
        Column("Corrected", metric.heading("measured")),
        Column("Difference", metric.unit.of_difference),
        *(() if metric.exact else (Column("n", "seeds"),)),
        Column("Published vs. measured", numeric=False),
    )
    rows, agreements = [], []
    for model in models:
        values = [model.side(side).values.get(metric.name) for side in SIDES]
        number = model.published.get(metric.name)
        published = None if isinstance(number, list) else number
        if published is None and values == [None, None]:
            continue
        agreement = agreement_of(metric, published, values[0], withheld)
        agreements.append(agreement)
        miscounted = (
            metric.exact and published is not None and values[0] is not None and mean_of(values[0]) != published
        )
        # No mark for one run: with another seed the difference may be anything.
        bold = miscounted or agreement.beyond is not None
        rows.append(
            (
                Cell(model.label, model=model.label),
                Cell("" if published is None else metric.number(published)),
                *(Cell(*metric.parts(value)) for value in values),
                _difference(model, metric, values),
                *(() if metric.exact else (Cell(_seeds(model)),)),
                Cell(against_published(metric, published, values[0], agreement), bold=bold),
            )
        )
    return Table(columns, tuple(rows), _note(models, metric, machines, agreements), metric.title)


def agreement_of(metric: Shown, published: float | None, value: Value | None, withheld: Reason | None) -> Agreement:
    """Not compared for counts and times: these are not estimates of the same quantity."""
    if metric.exact or metric.of_machine or isinstance(value, float):
        return Agreement(Verdict.NOT_COMPARED)
    return compare_published(published, value, withheld)


def against_published(metric: Shown, published: float | None, value: Value | None, agreement: Agreement) -> str:
    """How a published value compares with the value measured under the published protocol."""
    if published is None:
        return "not published"
    if value is None:
        return "not measured as published"
    mean = mean_of(value)
    if metric.exact:
        return _counted(published, mean)
    if metric.of_machine:
        return _times(published, mean) if metric.name != "images_per_second" else _times(mean, published)
    side = "above" if published > mean else "below"
    difference = f"{metric.unsigned_difference(published - mean)} {side}"
    if agreement.reason is not None or agreement.interval is None:
        return f"{difference}; no verdict: {REASONS[agreement.reason or Reason.NO_INTERVAL]}"
    if agreement.interval.interval == "newcombe":
        if agreement.verdict is Verdict.INSIDE:
            return "within the image noise of two runs"
        return f"{difference}, more than the image noise of two runs; other seeds were not run"
    interval = f"the prediction interval ({_ends(metric, agreement.interval)})"
    if agreement.beyond is None:
        return f"inside {interval}"
    return f"outside: {metric.unsigned_difference(agreement.beyond)} {side} {interval}"


def _ends(metric: Shown, interval: Estimate) -> str:
    return f"{metric.number(interval.low or 0.0)} to {metric.number(interval.high or 0.0)}"


def _counted(published: float, counted: float) -> str:
    if counted == published:
        return "the same"
    return f"{abs(published - counted):,.0f} {'more' if published > counted else 'fewer'} than counted"


def _times(published: float, measured: float) -> str:
    ratio = published / measured
    return f"{plain(ratio)} times as long" if ratio >= 1 else f"{plain(1 / ratio)} times as fast"


def _difference(model: ModelResult, metric: Shown, values: Sequence[Value | None]) -> Cell:
    if model.as_published.runs and model.as_published.runs == model.corrected.runs:
        return Cell("the same runs")
    difference: Value | None = model.difference.get(metric.name)
    first, second = values
    if difference is None and metric.exact and first is not None and second is not None:
        difference = mean_of(first) - mean_of(second)
    return Cell(*metric.parts(difference, signed=True))


def _seeds(model: ModelResult) -> str:
    counts = [len(model.side(side).runs) for side in SIDES]
    distinct_counts = [str(count) for count in dict.fromkeys(counts) if count]
    return " and ".join(distinct_counts)


def _note(models: Sequence[ModelResult], metric: Shown, machines: Machines, agreements: Sequence[Agreement]) -> str:
    values = [model.side(side).values.get(metric.name) for model in models for side in SIDES]
    kinds = {value.interval for value in values if isinstance(value, Estimate) and value.low is not None}
    sentences = []
    if metric.of_machine:
        published = f"Published on {machines.published}." if machines.published else ""
        sentences.append(published or "The published hardware is not named.")
        sentences.append(f"Measured on {machines.measured}: compare the models, not the machines.")
        sentences += ["Includes the passes over validation and test images."] if metric.name == "total_seconds" else []
    sentences += [OVER_SEEDS] if "t" in kinds else []
    sentences += [OVER_IMAGES] if "wilson" in kinds else []
    compared = {agreement.interval.interval for agreement in agreements if agreement.interval is not None}
    sentences += [PREDICTED] if "prediction" in compared else []
    sentences += [TWO_RUNS] if "newcombe" in compared else []
    sentences += [PAIRED] if any(metric.name in model.difference for model in models) else []
    return " ".join(sentences)


def faults_tables(faults: Sequence[FaultResult], withheld: Reason | None) -> tuple[Table, Table]:
    """Descriptions of the faults; and their effects, largest first, accuracies before other measures."""
    descriptions = {fault.title: fault.description for fault in faults}
    columns = (Column("Fault", numeric=False), Column("Description", numeric=False))
    rows = tuple((Cell(name), Cell(description)) for name, description in descriptions.items())
    return Table(columns, rows), _effects_table(faults, withheld)


def _effects_table(faults: Sequence[FaultResult], withheld: Reason | None) -> Table:
    columns = (
        Column("Fault", numeric=False),
        Column("Without"),
        Column("With"),
        Column("Effect"),
        Column("n", "pairs"),
        Column("p, corrected"),
        Column("Verdict", numeric=False),
    )
    order = sorted(
        faults,
        key=lambda fault: (not shown(fault.measure).is_accuracy, -abs(fault.effect.mean if fault.effect else 0.0)),
    )
    rows = []
    for fault in order:
        metric = shown(fault.measure)
        number, interval = metric.parts(fault.effect, signed=True)
        rows.append(
            (
                Cell(fault.title, metric.heading(metric.words), bold=fault.verdict is FaultVerdict.CHANGED),
                Cell(*metric.parts(fault.without)),
                Cell(*metric.parts(fault.with_)),
                Cell(number, "" if fault.same_bits else interval),
                _pairs(fault),
                Cell("" if fault.p_holm is None else p_value(fault.p_holm)),
                Cell(fault_words(fault)),
            )
        )
    unpaired = any(not fault.paired for fault in faults)
    note = (
        "Effect: with the fault minus without, all else equal, paired (by seed unless n names something else); 95 % "
        "intervals. p: paired t test; corrected for all tested rows (Holm). "
        f"{f'No verdict ({REASONS[withheld]}).' if withheld else 'Bold: the fault changed the number.'}"
        f"{' “Not paired”: interval and test are Welch’s.' if unpaired else ''}"
    )
    return Table(columns, tuple(rows), note, "Effects in numbers")


def _pairs(fault: FaultResult) -> Cell:
    n = fault.spreads[0].n if fault.spreads else 0 if fault.effect is None else fault.effect.n
    return Cell(str(n) if n else "", f"{fault.over}s" if n and (fault.spreads or fault.over != "seed") else "")


def epochs_table(reading: Reading, published: Mapping[str, Any], title: str) -> Table | None:
    """One row per epoch with the number of correct images, and published values by epoch such as
    `test_accuracy_by_epoch`. None without epochs."""
    metrics = reading.metrics
    if not metrics:
        return None
    parts = [part for part in ("train", "validation", "test") if any(each.of(part) for each in metrics)]
    columns = [Column("Epoch")]
    for part in parts:
        columns += [Column(f"{part.capitalize()} loss")]
        columns += [Column("Published", f"{part} loss")] if f"{part}_loss_by_epoch" in published else []
        columns += [Column(f"{part.capitalize()} accuracy", "%")]
        columns += [Column("Published", f"% {part}")] if f"{part}_accuracy_by_epoch" in published else []
    by_epoch = [published.get(f"{part}_{quantity}_by_epoch", ()) for part in parts for quantity in ("loss", "accuracy")]
    last = max(len(metrics), *map(len, by_epoch))
    measured: list[EpochMetrics | None] = [*metrics, *[None] * (last - len(metrics))]
    rows = [tuple(_epoch_cells(epoch, each, parts, published)) for epoch, each in enumerate(measured, start=1)]
    collapsed_title = f"All {len(rows)} epochs" if len(rows) > MANY_EPOCHS else ""
    return Table(
        tuple(columns),
        tuple(rows),
        f"In brackets: correct / all images. {_best_means(reading)}",
        title,
        collapsed_title,
    )


def _best_means(reading: Reading) -> str:
    if Fault.LAST_WEIGHTS in reading.recipe.protocol.faults:
        return "“best”: the best epoch so far; but the weights of the last epoch were saved (fault last_weights)."
    return "“best”: the best epoch so far, whose weights were saved."


def _epoch_cells(
    epoch: int, metrics: EpochMetrics | None, parts: Sequence[str], published: Mapping[str, Any]
) -> list[Cell]:
    """Without metrics: an epoch that only the published run has."""
    cells = [Cell(str(epoch), "best" if metrics is not None and metrics.best else "")]
    for part in parts:
        score = None if metrics is None else metrics.of(part)
        cells.append(Cell("" if score is None or score.loss is None else f"{score.loss:.4f}"))
        cells += _published_cell(epoch, published.get(f"{part}_loss_by_epoch"), "{:.4f}")
        counts = "" if score is None else f"({score.correct:,} / {score.total:,})"
        cells.append(Cell("" if score is None else f"{100 * score.accuracy:.2f}", counts))
        cells += _published_cell(epoch, published.get(f"{part}_accuracy_by_epoch"), "{:.2%}")
    return cells


def _published_cell(epoch: int, published: Sequence[float] | None, form: str) -> list[Cell]:
    if published is None:
        return []
    return [Cell(form.format(published[epoch - 1]).removesuffix("%") if epoch <= len(published) else "")]


def costs_table(groups: Groups) -> Table | None:
    """Means over seeds, one row per model and protocol; None if no cost was measured."""
    columns = (
        Column("Model", numeric=False),
        Column("Training", "s"),
        Column("Total", "s"),
        Column("Training speed", "images/s"),
        Column("Parameters"),
        Column("FLOPs", "per image"),
        Column("Inference", "ms/image"),
        Column("Peak memory", "MiB"),
    )
    rows = []
    for label, group in groups.items():
        costs = [reading.cost for reading in group if reading.cost.parameters is not None]
        if costs:
            peak = max((cost.peak_memory_bytes for cost in costs if cost.peak_memory_bytes), default=None)
            rows.append(
                (
                    Cell(label, model=label),
                    *(_mean(costs, key) for key in ("train_seconds", "total_seconds", "images_per_second")),
                    Cell(f"{costs[0].parameters:,}"),
                    flops_cell(costs[0].flops_per_image, group[0]),
                    Cell(_mean(costs, "ms_per_image").text, _quartiles(costs)),
                    Cell("" if peak is None else plain(peak / MIB)),
                )
            )
    note = (
        "Means over seeds; memory: maximum. Inference: median and quartiles of one image on one thread. Total: with "
        "the passes over validation and test images."
    )
    return Table(columns, tuple(rows), f"{note} {flops_note(every(groups))}", "Cost") if rows else None


def _quartiles(costs: Sequence[Cost]) -> str:
    """Means over seeds; empty if a run has only the median."""
    quartiles = [cost.ms_per_image_quartiles for cost in costs if cost.ms_per_image_quartiles]
    if len(quartiles) < len(costs):
        return ""
    median = fmean(cost.ms_per_image or 0 for cost in costs)
    return quartile_range(median, [fmean(values) for values in zip(*quartiles, strict=True)])


def _mean(costs: Sequence[Cost], key: str) -> Cell:
    values = [value for cost in costs if (value := getattr(cost, key)) is not None]
    return Cell(plain(fmean(values)) if values else "")

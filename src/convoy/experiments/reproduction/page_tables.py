"""The tables of a reproduction: published and measured numbers, faults, epochs, costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean
from typing import Any, NamedTuple

from convoy.experiments.experiment import SIDES
from convoy.experiments.reproduction.finding import FaultResult, FaultVerdict, ModelResult
from convoy.experiments.reproduction.words import fault_words, published_text, unit_name
from convoy.experiments.verdicts import Value
from convoy.experiments.words import Shown, mean_of, reason_text, shown
from convoy.prediction import Agreement, Reason, Verdict, compare_published
from convoy.reporting.content import Cell, Field, Table, table_of
from convoy.reporting.quantities import MIB, listed, p_value, plain, quartile_range
from convoy.reporting.reading import Groups, Reading, all_readings
from convoy.reporting.tables import flops_cell, flops_note
from convoy.reporting.words import part_name
from convoy.run_contents import Cost, EpochMetrics
from convoy.stats import Estimate
from convoy.text import gettext as _

FIRST = ("test_accuracy", "validation_accuracy", "train_seconds", "total_seconds", "parameters")
ALWAYS = ("test_accuracy",)  # shown even if not published
MANY_EPOCHS = 12


@dataclass(frozen=True)
class Machines:
    """The machines named below the tables of times."""

    published: str  # "": not named by the report
    measured: str


class Compared(NamedTuple):
    """Values of a model: published, measured as published, measured corrected."""

    model: ModelResult
    published: float | None
    values: tuple[Value | None, ...]
    agreement: Agreement


def measures_of(models: Sequence[ModelResult]) -> list[Shown]:
    """Returns the measures published as one number, and the test accuracy if measured."""
    names = {name for model in models for name, value in model.published.items() if not isinstance(value, list)}
    names |= {name for name in ALWAYS if any(name in model.side(side).values for model in models for side in SIDES)}
    order = [*(name for name in FIRST if name in names), *sorted(names - set(FIRST))]
    return [shown(name) for name in order]


def result_tables(models: Sequence[ModelResult], machines: Machines, withheld: Reason | None) -> tuple[Table, ...]:
    """Returns one table per measure with one row per model. `withheld`: why published numbers are not compared."""
    return tuple(_result_table(models, metric, machines, withheld) for metric in measures_of(models))


def _result_table(models: Sequence[ModelResult], metric: Shown, machines: Machines, withheld: Reason | None) -> Table:
    measured = metric.heading(_("measured"))
    fields: list[Field[Compared]] = [
        Field(_("Model"), lambda row: Cell(row.model.label, model=row.model.label), numeric=False),
        Field(_("Published"), lambda row: metric.parts(row.published)[0], metric.unit.of_value),
        Field(_("As published"), lambda row: Cell(*metric.parts(row.values[0])), measured),
        Field(_("Corrected"), lambda row: Cell(*metric.parts(row.values[1])), measured),
        Field(_("Difference"), lambda row: _difference(row, metric), metric.unit.of_difference),
        *([] if metric.measure.exact else [Field[Compared]("n", lambda row: _seeds(row.model), _("seeds"))]),
        Field(
            _("Published compared with measured"),
            lambda row: against_published(metric, row.published, row.values[0], row.agreement),
            numeric=False,
        ),
    ]
    rows = [row for model in models if (row := _compared(model, metric, withheld)) is not None]
    return table_of(fields, rows, _note(models, metric, machines, rows), metric.title)


def _compared(model: ModelResult, metric: Shown, withheld: Reason | None) -> Compared | None:
    """Returns None if the measure was neither published nor measured."""
    values = tuple(model.side(side).values.get(metric.name) for side in SIDES)
    number = model.published.get(metric.name)
    published = None if isinstance(number, list) else number
    if published is None and values == (None, None):
        return None
    return Compared(model, published, values, agreement_of(metric, published, values[0], withheld))


def agreement_of(metric: Shown, published: float | None, value: Value | None, withheld: Reason | None) -> Agreement:
    """Not compared for counts and times: these are not estimates of the same quantity."""
    if metric.measure.exact or metric.measure.of_machine or isinstance(value, int | float):
        return Agreement(Verdict.NOT_COMPARED)
    return compare_published(published, value, withheld)


def against_published(metric: Shown, published: float | None, value: Value | None, agreement: Agreement) -> Cell:
    """Compares a published value with the value measured under the published protocol. Bold if they differ.

    One run is never bold: with another seed the difference may be anything.
    """
    if published is None:
        return Cell(_("not published"))
    if value is None:
        return Cell(_("not measured as published"))
    more = published - mean_of(value)
    if metric.measure.exact and more:
        text = _("{n:,.0f} more than counted", n=more) if more > 0 else _("{n:,.0f} fewer than counted", n=-more)
        return Cell(text, bold=True)
    if metric.measure.exact:
        return Cell(_("the same"))
    if metric.measure.of_machine:
        ratio = published / mean_of(value)
        ratio = 1 / ratio if metric.name == "images_per_second" else ratio
        if ratio < 1:
            return Cell(_("published is {ratio} times as fast", ratio=plain(1 / ratio)))
        return Cell(_("published takes {ratio} times as long", ratio=plain(ratio)))
    return Cell(published_text(metric, published, value, agreement), bold=agreement.beyond is not None)


def _difference(row: Compared, metric: Shown) -> Cell:
    model, (first, second) = row.model, row.values
    if model.as_published.runs and model.as_published.runs == model.corrected.runs:
        return Cell(_("the same runs"))
    difference: Value | None = model.difference.get(metric.name)
    if difference is None and metric.measure.exact and first is not None and second is not None:
        difference = mean_of(first) - mean_of(second)
    return Cell(*metric.parts(difference, signed=True))


def _seeds(model: ModelResult) -> str:
    counts = [len(model.side(side).runs) for side in SIDES]
    return listed([str(count) for count in dict.fromkeys(counts) if count] or [""])


def _note(models: Sequence[ModelResult], metric: Shown, machines: Machines, rows: Sequence[Compared]) -> str:
    values = [model.side(side).values.get(metric.name) for model in models for side in SIDES]
    kinds = {value.interval for value in values if isinstance(value, Estimate) and value.low is not None}
    compared = {row.agreement.interval.interval for row in rows if row.agreement.interval is not None}
    sentences = []
    if metric.measure.of_machine:
        if machines.published:
            sentences.append(_("Published on {machine}.", machine=machines.published))
        else:
            sentences.append(_("The published hardware is not named."))
        sentences.append(_("Measured on {machine}: compare the models, not the machines.", machine=machines.measured))
    if metric.name == "total_seconds":
        sentences.append(_("Includes the passes over validation and test images."))
    if "t" in kinds:
        sentences.append(_("±: half-width of the 95 % interval of the mean over seeds (Student's t)."))
    if "wilson" in kinds:
        sentences.append(_("Ranges: 95 % intervals over images (Wilson), one seed."))
    if "prediction" in compared:
        sentences.append(
            _(
                "The published value is a single run, so it is compared with the 95 % prediction interval for one "
                "more run, mean ± t sd √(1 + 1/n), over seeds on the same test images. Runs scored on other images "
                "vary more."
            )
        )
    if "newcombe" in compared:
        sentences.append(
            _(
                "One seed: the 95 % interval of the difference of two independent proportions (Newcombe) covers the "
                "images of both runs, but no other seeds."
            )
        )
    if any(metric.name in model.difference for model in models):
        sentences.append(_("Difference: as published minus corrected, paired by seed."))
    return " ".join(sentences)


def faults_tables(faults: Sequence[FaultResult], withheld: Reason | None) -> tuple[Table, Table]:
    """Returns a table of descriptions and one of effects, largest first, accuracies before other measures."""
    fields: list[Field[tuple[str, str]]] = [
        Field(_("Fault"), lambda row: row[0], numeric=False),
        Field(_("Description"), lambda row: row[1], numeric=False),
    ]
    descriptions = {fault.title: fault.description for fault in faults}
    return table_of(fields, descriptions.items()), _effects_table(faults, withheld)


def _effects_table(faults: Sequence[FaultResult], withheld: Reason | None) -> Table:
    fields: list[Field[FaultResult]] = [
        Field(_("Fault"), _fault, numeric=False),
        Field(_("Without"), lambda fault: Cell(*shown(fault.measure).parts(fault.without))),
        Field(_("With"), lambda fault: Cell(*shown(fault.measure).parts(fault.with_))),
        Field(_("Effect"), _effect),
        Field("n", _pairs, _("pairs")),
        Field(_("p, corrected"), lambda fault: "" if fault.p_holm is None else p_value(fault.p_holm)),
        Field(_("Verdict"), fault_words, numeric=False),
    ]
    order = sorted(faults, key=lambda fault: (not shown(fault.measure).is_accuracy, -fault.size))
    sentences = [
        _(
            "Effect: the value with the fault minus the value without it, paired by seed or by the unit that n names; "
            "95 % intervals. p: paired t test; corrected for all tested rows (Holm)."
        )
    ]
    if withheld:
        sentences.append(_("No verdict ({reason}).", reason=reason_text(withheld)))
    else:
        sentences.append(_("Bold: the fault changed the number."))
    if any(not fault.paired for fault in faults):
        sentences.append(_("“Not paired”: interval and test are Welch’s."))
    return table_of(fields, order, " ".join(sentences), _("Effects in numbers"))


def _fault(fault: FaultResult) -> Cell:
    metric = shown(fault.measure)
    return Cell(fault.title, metric.heading(metric.words), bold=fault.verdict is FaultVerdict.CHANGED)


def _effect(fault: FaultResult) -> Cell:
    number, interval = shown(fault.measure).parts(fault.effect, signed=True)
    return Cell(number, "" if fault.same_bits else interval)


def _pairs(fault: FaultResult) -> Cell:
    n = fault.spreads[0].n if fault.spreads else 0 if fault.effect is None else fault.effect.n
    return Cell(str(n) if n else "", unit_name(fault.over) if n and (fault.spreads or fault.over != "seed") else "")


def epochs_table(reading: Reading, published: Mapping[str, Any], title: str) -> Table | None:
    """One row per epoch with the number of correct images, and published values by epoch such as
    `test_accuracy_by_epoch`. None without epochs."""
    metrics = reading.metrics
    if not metrics:
        return None
    fields = [Field[EpochRow](_("Epoch"), _epoch)]
    longest = len(metrics)
    for part in ("train", "validation", "test"):
        if not any(each.of(part) for each in metrics):
            continue
        name = part_name(part)
        loss, accuracy = _("{part} loss", part=name.capitalize()), _("{part} accuracy", part=name.capitalize())
        for quantity, heading, unit in (("loss", loss, ""), ("accuracy", accuracy, "%")):
            fields.append(Field(heading, partial(_epoch_score, part=part, quantity=quantity), unit))
            values = published.get(f"{part}_{quantity}_by_epoch")
            if values is not None:
                longest = max(longest, len(values))
                texts = [f"{100 * value:.2f}" if unit else f"{value:.4f}" for value in values]
                under = f"% {name}" if unit else _("{part} loss", part=name)
                fields.append(Field(_("Published"), partial(_published_epoch, texts=texts), under))
    rows = [EpochRow(place + 1, metrics[place] if place < len(metrics) else None) for place in range(longest)]
    sentences = [_("In brackets: correct / all images.")]
    if any(each.best for each in metrics) and any(fault.info.keeps_last for fault in reading.recipe.protocol.faults):
        sentences.append(
            _("“best”: the best epoch so far; but the weights of the last epoch were saved (fault last_weights).")
        )
    elif any(each.best for each in metrics):
        sentences.append(_("“best”: the best epoch so far, whose weights were saved."))
    collapsed_title = _("All {n} epochs", n=len(rows)) if len(rows) > MANY_EPOCHS else ""
    return table_of(fields, rows, " ".join(sentences), title, collapsed_title)


class EpochRow(NamedTuple):
    epoch: int
    metrics: EpochMetrics | None  # None: an epoch that only the published run has


def _epoch(row: EpochRow) -> Cell:
    return Cell(str(row.epoch), _("best") if row.metrics is not None and row.metrics.best else "")


def _epoch_score(row: EpochRow, part: str, quantity: str) -> Cell:
    score = None if row.metrics is None else row.metrics.of(part)
    if score is None:
        return Cell("")
    if quantity == "loss":
        return Cell("" if score.loss is None else f"{score.loss:.4f}")
    return Cell(f"{100 * score.accuracy:.2f}", f"({score.correct:,} / {score.total:,})")


def _published_epoch(row: EpochRow, texts: Sequence[str]) -> str:
    return texts[row.epoch - 1] if row.epoch <= len(texts) else ""


class Costs(NamedTuple):
    """Costs of a model under one protocol: means over seeds, and the maximum of the memory."""

    label: str
    first: Reading
    mean: Cost


def costs_table(groups: Groups) -> Table | None:
    """Table of mean costs, one row per model and protocol; None if no cost was measured."""
    measured = {
        label: [reading.cost for reading in group if reading.cost.parameters is not None]
        for label, group in groups.items()
    }
    rows = [Costs(label, groups[label][0], _mean(costs)) for label, costs in measured.items() if costs]
    if not rows:
        return None
    fields: list[Field[Costs]] = [
        Field(_("Model"), lambda row: Cell(row.label, model=row.label), numeric=False),
        Field(_("Training"), lambda row: _text(row.mean.train_seconds), "s"),
        Field(_("Total"), lambda row: _text(row.mean.total_seconds), "s"),
        Field(_("Training speed"), lambda row: _text(row.mean.images_per_second), "images/s"),
        Field(_("Parameters"), lambda row: f"{row.mean.parameters:,}"),
        Field(_("FLOPs"), lambda row: flops_cell(row.mean.flops_per_image, row.first), _("per image")),
        Field(_("Inference"), lambda row: _latency(row.mean), "ms/image"),
        Field(_("Peak memory"), lambda row: _text((row.mean.peak_memory_bytes or 0) / MIB or None), "MiB"),
    ]
    note = _(
        "Means over seeds; memory: maximum. Inference: median and quartiles of one image on one thread. Total: with "
        "the passes over validation and test images."
    )
    return table_of(fields, rows, f"{note} {flops_note(all_readings(groups))}", _("Cost"))


def _mean(costs: Sequence[Cost]) -> Cost:
    def values(name: str) -> list[Any]:
        return [value for cost in costs if (value := getattr(cost, name)) is not None]

    names = ("train_seconds", "total_seconds", "images_per_second", "ms_per_image")
    means: dict[str, Any] = {name: fmean(values(name)) for name in names if values(name)}
    quartiles = [fmean(ends) for ends in zip(*values("ms_per_image_quartiles"), strict=True)]
    all_have = len(values("ms_per_image_quartiles")) == len(costs)
    peak = max(values("peak_memory_bytes"), default=None)
    return replace(costs[0], **means, peak_memory_bytes=peak, ms_per_image_quartiles=quartiles if all_have else None)


def _text(value: float | None) -> str:
    return "" if value is None else plain(value)


def _latency(cost: Cost) -> Cell:
    return Cell(_text(cost.ms_per_image), quartile_range(cost.ms_per_image or 0, cost.ms_per_image_quartiles))

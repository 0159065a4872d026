"""The tables of a reproduction: published and measured numbers, faults, epochs, costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from convoy.agreement import Agreement, Reason, Verdict, compare_published
from convoy.experiments.experiment import SIDES
from convoy.experiments.reproduction.curves import CurveTest
from convoy.experiments.reproduction.finding import FaultResult, FaultVerdict, ModelResult
from convoy.experiments.reproduction.words import fault_words, published_text, unit_name
from convoy.experiments.verdicts import Value
from convoy.experiments.words import MeasureText, measure_text, reason_text
from convoy.reporting.content import Cell, Field, Table, TextField, table_of
from convoy.reporting.quantities import cost_parts
from convoy.reporting.reading import Groups, RunView, all_views
from convoy.reporting.tables import flops_note
from convoy.run_contents import EpochMetrics, part_name, usual_machine
from convoy.stats import Estimate, mean_of, t_interval
from convoy.studies.compare.finding import Cost, cost_of, recorded
from convoy.studies.compare.tables import cost_fields, times_note
from convoy.text import gettext as _
from convoy.text import translated
from convoy.text.lists import joined, listed
from convoy.text.numbers import fixed, p_value, plain

FIRST = ("test_accuracy", "validation_accuracy", "train_seconds", "total_seconds", "parameters")
ALWAYS = ("test_accuracy",)  # shown even if not published
MANY_EPOCHS = 12
EpochRow = tuple[int, EpochMetrics | None]  # None: an epoch of the published run only


@dataclass(frozen=True)
class Machines:
    """The machines named below the tables of times."""

    published: str  # "": not named by the report
    measured: str


class ModelRow(NamedTuple):
    """Values of a model: published, measured as published, measured corrected."""

    model: ModelResult
    published: float | None
    values: tuple[Value | None, ...]
    agreement: Agreement


def measures_of(models: Sequence[ModelResult]) -> list[MeasureText]:
    """Returns the measures published as one number, and the test accuracy if measured."""
    names = {name for model in models for name, value in model.published.items() if not isinstance(value, list)}
    names |= {name for name in ALWAYS if any(name in model.side(side).values for model in models for side in SIDES)}
    order = [*(name for name in FIRST if name in names), *sorted(names - set(FIRST))]
    return [measure_text(name) for name in order]


def result_tables(models: Sequence[ModelResult], machines: Machines, withheld: Reason | None) -> tuple[Table, ...]:
    """Returns one table per measure. `withheld`: why published numbers are not compared."""
    return tuple(_result_table(models, metric, machines, withheld) for metric in measures_of(models))


def _result_table(
    models: Sequence[ModelResult], metric: MeasureText, machines: Machines, withheld: Reason | None
) -> Table:
    """One row per model for which the measure was published or measured."""
    measured = metric.heading(_("measured"))
    fields: list[Field[ModelRow]] = [
        TextField(_("Model"), lambda row: Cell(row.model.label, model=row.model.label)),
        Field(_("Published"), lambda row: metric.parts(row.published)[0], metric.unit.of_value),
        Field(_("As published"), lambda row: Cell(*metric.parts(row.values[0])), measured),
        Field(_("Corrected"), lambda row: Cell(*metric.parts(row.values[1])), measured),
        Field(_("Difference"), lambda row: _difference(row, metric), metric.unit.of_difference),
        *([] if metric.measure.exact else [Field[ModelRow]("n", lambda row: _seeds(row.model), _("seeds"))]),
        TextField(
            _("Published compared with measured"),
            lambda row: against_published(
                metric, row.published, row.values[0], row.agreement, trained=bool(row.model.as_published.runs)
            ),
        ),
    ]
    rows = []
    for model in models:
        values = tuple(model.side(side).values.get(metric.name) for side in SIDES)
        number = model.published.get(metric.name)
        published = None if isinstance(number, list) else number
        if published is not None or values != (None, None):
            rows.append(ModelRow(model, published, values, agreement_of(metric, published, values[0], withheld)))
    return table_of(fields, rows, _note(models, metric, machines, rows), metric.title)


def agreement_of(
    metric: MeasureText, published: float | None, value: Value | None, withheld: Reason | None
) -> Agreement:
    """Counts and times are not compared, because they are not estimates of the same quantity."""
    if metric.measure.exact or metric.measure.of_machine or isinstance(value, int | float):
        return Agreement(Verdict.NOT_COMPARED)
    return compare_published(published, value, withheld)


def against_published(
    metric: MeasureText, published: float | None, value: Value | None, agreement: Agreement, *, trained: bool = False
) -> Cell:
    """Compares a published value with the value measured under the published protocol. Bold if they differ.

    A single run is never bold, because the difference may be due to the seed. `trained`: whether there are such runs.
    """
    if published is None:
        return Cell(_("not published"))
    if value is None and trained and metric.measure.of_machine:
        return Cell(_("measured on another machine, or on several"))
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
            return Cell(_("the published run is {ratio} times as fast", ratio=plain(1 / ratio)))
        return Cell(_("the published run takes {ratio} times as long", ratio=plain(ratio)))
    return Cell(published_text(metric, published, value, agreement), bold=agreement.beyond is not None)


def _difference(row: ModelRow, metric: MeasureText) -> Cell:
    model, (first, second) = row.model, row.values
    if model.as_published.runs and model.as_published.runs == model.corrected.runs:
        return Cell(_("the same runs"))
    difference: Value | None = model.difference.get(metric.name)
    if difference is None and metric.measure.exact and first is not None and second is not None:
        difference = mean_of(first) - mean_of(second)
    return Cell(*metric.parts(difference, signed=True))


def _seeds(model: ModelResult) -> str:
    counts = [len(model.side(side).runs) for side in SIDES]
    return listed(str(count) for count in dict.fromkeys(counts) if count)


def _note(models: Sequence[ModelResult], metric: MeasureText, machines: Machines, rows: Sequence[ModelRow]) -> str:
    values = [model.side(side).values.get(metric.name) for model in models for side in SIDES]
    kinds = {value.interval for value in values if isinstance(value, Estimate) and value.low is not None}
    compared = {row.agreement.interval.interval for row in rows if row.agreement.interval is not None}
    sentences = []
    if metric.measure.of_machine:
        published = machines.published or _("hardware that the report does not name")
        sentences.append(_("Published on {machine}.", machine=published))
        sentences.append(_("Measured on {machine}: compare the models, not the machines.", machine=machines.measured))
    if metric.name == "total_seconds":
        sentences.append(_("Includes the passes over validation and test images."))
    explained = {
        "t": _("±: half-width of the 95 % interval of the mean over seeds (Student's t)."),
        "wilson": _("Ranges: 95 % intervals over images (Wilson), one seed."),
        "prediction": _(
            "The published value is a single run, so it is compared with the 95 % prediction interval for one more "
            "run, mean ± t sd √(1 + 1/n), over seeds on the same test images. Runs scored on other images vary more."
        ),
        "newcombe": _(
            "One seed: the 95 % interval of the difference between two independent proportions (Newcombe) covers the "
            "sampling of images in both runs, but not other seeds."
        ),
    }
    sentences += [text for kind, text in explained.items() if kind in kinds | compared]
    if any(metric.name in model.difference for model in models):
        sentences.append(_("Difference: as published minus corrected, paired by seed."))
    return " ".join(sentences)


def faults_tables(faults: Sequence[FaultResult], withheld: Reason | None) -> tuple[Table, Table]:
    """Returns a table of descriptions and one of effects, largest first, accuracies before other measures."""
    fields: list[Field[tuple[str, str]]] = [
        TextField(_("Fault"), lambda row: row[0]),
        TextField(_("Description"), lambda row: row[1]),
    ]
    descriptions = {fault.title: translated(fault.description) for fault in faults}
    return table_of(fields, descriptions.items()), _effects_table(faults, withheld)


def _effects_table(faults: Sequence[FaultResult], withheld: Reason | None) -> Table:
    def name(fault: FaultResult) -> Cell:
        metric = measure_text(fault.measure)
        return Cell(fault.title, metric.heading(metric.words), bold=fault.verdict is FaultVerdict.CHANGED)

    def effect(fault: FaultResult) -> Cell:
        number, interval = measure_text(fault.measure).parts(fault.effect, signed=True)
        return Cell(number, "" if fault.same_bits else interval)

    def pairs(fault: FaultResult) -> Cell:
        n = fault.spreads[0].n if fault.spreads else 0 if fault.effect is None else fault.effect.n
        return Cell(str(n) if n else "", unit_name(fault.over) if n and (fault.spreads or fault.over != "seed") else "")

    fields: list[Field[FaultResult]] = [
        TextField(_("Fault"), name),
        Field(_("Without"), lambda fault: Cell(*measure_text(fault.measure).parts(fault.without))),
        Field(_("With"), lambda fault: Cell(*measure_text(fault.measure).parts(fault.with_))),
        Field(_("Effect"), effect),
        Field("n", pairs, _("pairs")),
        Field("p", lambda fault: "" if fault.p_holm is None else p_value(fault.p_holm), _("Holm")),
        TextField(_("Verdict"), fault_words),
    ]
    order = sorted(faults, key=lambda fault: (not measure_text(fault.measure).is_accuracy, -fault.size))
    sentences = [
        _(
            "Effect: the value with the fault minus the value without it, paired by seed or by the unit in column n; "
            "95 % intervals. p (Holm): paired t test, corrected for all tested rows."
        )
    ]
    verdicts = _("No verdict ({reason}).", reason=reason_text(withheld)) if withheld else ""
    sentences.append(verdicts or _("Bold: the fault changed the number."))
    if any(not fault.paired for fault in faults):
        sentences.append(_("“Not paired”: interval and test are Welch’s."))
    return table_of(fields, order, " ".join(sentences), _("Effects in numbers"))


def curves_table(tests: Sequence[CurveTest]) -> Table | None:
    """Returns one row per published curve; None without any."""
    if not tests:
        return None
    quantities = {"accuracy": _("accuracy"), "loss": _("loss")}
    fields: list[Field[CurveTest]] = [
        TextField(_("Model"), lambda test: Cell(test.label, model=test.label)),
        TextField(_("Curve"), lambda test: f"{part_name(test.part)} {quantities[test.quantity]}"),
        Field(_("Epochs"), lambda test: str(test.epochs), _("compared")),
        Field("n", lambda test: str(test.runs), _("runs")),
        Field(_("Difference"), _curve_difference, _("published − measured")),
        TextField(_("Epochs outside the band"), _outside),
        Field("p", lambda test: "" if test.p_holm is None else p_value(test.p_holm), _("Holm")),
        TextField(_("Published compared with measured"), _curve_verdict),
    ]
    note = _(
        "A published curve is one run. Its mean over epochs is compared with the prediction interval for one more run "
        "as published; p (Holm): corrected for all curves. Outside the band: epochs at which the published value is "
        "outside the 95 % prediction interval; by chance, that is one epoch in 20."
    )
    return table_of(fields, tests, note, _("Published curves"))


def _curve_difference(test: CurveTest) -> str:
    if test.quantity == "loss":
        return fixed(test.difference, 4, signed=True)
    return _("{points} points", points=fixed(100 * test.difference, 2, signed=True))


def _outside(test: CurveTest) -> str:
    if test.runs < 2:
        return ""
    return joined(map(str, test.outside)) or _("none")


def _curve_verdict(test: CurveTest) -> Cell:
    if test.p_holm is None:
        return Cell(_("not tested, because one run has no spread"))
    return Cell(_("differs"), bold=True) if test.differs else Cell(_("in agreement"))


def epochs_table(view: RunView, published: Mapping[str, Any], title: str) -> Table | None:
    """One row per epoch with the number of correct images, and published values by epoch such as
    `test_accuracy_by_epoch`. None without epochs."""
    metrics = view.metrics
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
                published_heading = _("Published {quantity}", quantity=heading[:1].lower() + heading[1:])
                fields.append(Field(published_heading, partial(_published_epoch, texts=texts), unit))
    rows = list(enumerate([*metrics, *[None] * (longest - len(metrics))], start=1))
    sentences = [_("In brackets: correct / all images. “best”: the best epoch so far.")]
    if any(fault.info.keeps_last for fault in view.recipe.protocol.faults):
        sentences.append(_("The weights of the last epoch were saved (fault last_weights)."))
    collapsed_title = _("All {n} epochs", n=len(rows)) if len(rows) > MANY_EPOCHS else ""
    return table_of(fields, rows, " ".join(sentences), title, collapsed_title)


def _epoch(row: EpochRow) -> Cell:
    epoch, metrics = row
    return Cell(str(epoch), _("best") if metrics is not None and metrics.best else "")


def _epoch_score(row: EpochRow, part: str, quantity: str) -> Cell:
    score = None if row[1] is None else row[1].of(part)
    if score is None:
        return Cell("")
    if quantity == "loss":
        return Cell("" if score.loss is None else f"{score.loss:.4f}")
    return Cell(f"{100 * score.accuracy:.2f}", f"({score.correct:,} / {score.total:,})")


def _published_epoch(row: EpochRow, texts: Sequence[str]) -> str:
    return texts[row[0] - 1] if row[0] <= len(texts) else ""


class Costs(NamedTuple):
    """Costs of a model under one protocol."""

    label: str
    views: list[RunView]  # with a measured cost
    cost: Cost
    total_seconds: Estimate | None


def costs_table(groups: Groups) -> Table | None:
    """Table of mean costs, one row per model and protocol; None if no cost was measured."""
    measured = {label: [r for r in group if r.cost.parameters is not None] for label, group in groups.items()}
    machine = usual_machine(view.environment for view in all_views(measured))

    def costs(label: str, views: list[RunView]) -> Costs:
        timed = [view.cost for view in views if view.environment.machine == machine]
        totals = recorded(timed, "total_seconds")
        return Costs(
            label, views, cost_of([view.run for view in views], machine), t_interval(totals) if totals else None
        )

    rows = [costs(label, views) for label, views in measured.items() if views]
    if not rows:
        return None
    fields: list[Field[Costs]] = cost_fields(lambda row: row.cost, lambda row: row.views[0])
    fields.insert(0, TextField(_("Model"), lambda row: Cell(row.label, model=row.label)))
    fields.insert(2, Field(_("Total"), lambda row: Cell(*cost_parts(row.total_seconds)), _("s")))
    note = _(
        "Means over seeds with 95 % intervals (Student's t); memory: maximum. Inference: median and quartiles of one "
        "image on one thread. Total: with the passes over validation and test images."
    )
    notes = [note, *times_note(all_views(measured)), flops_note(all_views(groups))]
    return table_of(fields, rows, " ".join(notes), _("Cost"))

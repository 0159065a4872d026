"""The page of a ladder."""

from __future__ import annotations

from pathlib import Path

from convoy.reporting import sections
from convoy.reporting.content import Cell, Chart, Field, Page, Section, Table, TextField, table_of
from convoy.reporting.palette import MODELS
from convoy.reporting.reading import all_views, chance_levels, read_study
from convoy.reporting.rows import ChartRow, RowChart, Value, interval_of
from convoy.reporting.words import accuracy_name, accuracy_title
from convoy.runs import Study
from convoy.stats import Estimate
from convoy.studies.ladder import words
from convoy.studies.ladder.finding import Effect, LadderFinding, Rung
from convoy.text import gettext as _
from convoy.text.numbers import fixed, p_value

STEP, ALONE = MODELS[0][0], MODELS[1][0]


def page(study: Study, finding: LadderFinding, folder: Path) -> Page:
    groups = read_study(study)
    views = all_views(groups)
    return Page(
        kicker=sections.kicker(_("Ladder"), study.name, views),
        title=_("From {first} to {second}, one change at a time", first=finding.first, second=finding.second),
        sentence=words.sentence(finding),
        caveats=(*chance_levels(views, finding.part), *words.caveats(finding)),
        tables=(_rungs(finding),),
        sections=(
            Section(_("Accuracy after each change"), (accuracies_chart(finding),)),
            Section(_("Effect of each change"), (effects_chart(finding),)),
            sections.data({label: groups[label] for label in (finding.first, finding.second)}),
            sections.setup(groups, folder, [study.command]),
        ),
        labels=tuple(groups),
    )


def accuracies_chart(finding: LadderFinding) -> Chart:
    ends = [(finding.first, finding.start)]
    rungs = [(f"+ {words.rung_name(rung)}", rung.accuracy) for rung in finding.rungs]
    rows = tuple(
        ChartRow(name, (Value.of(accuracy, STEP, "o"),), f"{100 * accuracy.mean:.2f} %")
        for name, accuracy in [*ends, *rungs]
    )
    caption = _(
        "Dots: means, n = {n} seeds; bars: 95 % intervals. Each row has all changes of the rows above it; the last is "
        "{second}. The axis may start above 0.",
        n=len(finding.seeds),
        second=finding.second,
    )
    chart = RowChart(rows, accuracy_name(finding.part), "%", line=100 * finding.start.mean)
    return Chart("ladder", accuracy_title(finding.part), (chart.panel(),), caption)


def effects_chart(finding: LadderFinding) -> Chart:
    rows = tuple(
        ChartRow(words.rung_name(rung), tuple(_values(rung)), _points(rung.step.difference)) for rung in finding.rungs
    )
    caption = _(
        "Filled marks and numbers: steps of the ladder. Hollow marks below: {second} with the change minus without it. "
        "Bars: 95 % intervals over {n} seeds.",
        second=finding.second,
        n=len(finding.seeds),
    )
    chart = RowChart(rows, _("effect on the accuracy"), _("points"), line=0.0)
    return Chart("effects", _("Effect on the accuracy"), (chart.panel(),), caption)


def _values(rung: Rung) -> list[Value]:
    both = [(rung.step, STEP, False)] + ([(rung.leave_one_out, ALONE, True)] if rung.leave_one_out is not None else [])
    return [
        Value(100 * effect.difference.mean, interval_of(effect.difference), colour, "o", hollow=hollow)
        for effect, colour, hollow in both
    ]


def _points(difference: Estimate) -> str:
    return fixed(100 * difference.mean, 2, signed=True)


def _rungs(finding: LadderFinding) -> Table:
    fields: list[Field[Rung]] = [
        TextField(_("Change"), words.rung_name),
        TextField(_("From"), lambda rung: words.values(rung, after=False)),
        TextField(_("To"), lambda rung: words.values(rung, after=True)),
        Field(accuracy_title(finding.part), lambda rung: Cell(*rung.accuracy.parts(scale=100)), "%"),
        Field(_("Step"), lambda rung: _effect(rung.step), _("points")),
        Field("p", lambda rung: _p(rung.step), _("Holm")),
        Field(_("Leave-one-out effect"), lambda rung: _effect(rung.leave_one_out), _("points")),
        Field("p", lambda rung: _p(rung.leave_one_out), _("Holm")),
    ]
    alone = finding.leave_one_out_total
    note = _(
        "From {start} % ({first}) to {end} % ({second}): {total}, the sum of the steps.",
        start=fixed(100 * finding.start.mean, 2),
        end=fixed(100 * finding.end.mean, 2),
        first=finding.first,
        second=finding.second,
        total=finding.total.points(),
    )
    if alone is not None:
        rest = finding.total.mean - alone
        note += " " + _(
            "The leave-one-out effects add up to {alone} points; the remaining {rest} points are "
            "interaction and noise.",
            alone=fixed(100 * alone, 2),
            rest=fixed(100 * rest, 2),
        )
    note += " " + _("Leave-one-out effect: {second} minus the same recipe without this change.", second=finding.second)
    note += " " + _(
        "±: half-width of the 95 % interval over seeds (paired t test). p (Holm): corrected for all effects. Bold: "
        "significant at the 5 % level."
    )
    return table_of(fields, finding.rungs, note)


def _effect(effect: Effect | None) -> Cell:
    if effect is None:
        return Cell("")
    return Cell(*effect.difference.parts(scale=100), bold=effect.significant)


def _p(effect: Effect | None) -> str:
    return "" if effect is None or effect.p_holm is None else p_value(effect.p_holm)

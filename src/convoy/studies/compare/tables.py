"""The tables of a comparison: models, differences between them, effects of an ablation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from convoy.reporting.content import Cell, Field, Table, TextField, table_of
from convoy.reporting.quantities import MIB, cost_parts, quartile_range
from convoy.reporting.reading import Groups, RunView, all_views
from convoy.reporting.tables import MANY_ROWS, flops_cell, flops_note
from convoy.reporting.words import accuracy_title, machine_name
from convoy.run_contents import usual_machine
from convoy.studies.compare.ablation import Ablation, Average, Effect, Interaction
from convoy.studies.compare.finding import CompareFinding, Cost, ModelSummary
from convoy.studies.compare.images import ImagePair
from convoy.studies.compare.pair import Pair
from convoy.text import gettext as _
from convoy.text import ngettext
from convoy.text.labels import label_text
from convoy.text.numbers import fixed, p_value, plain

MANY_PAIRS = 12
T = TypeVar("T")
Tested = TypeVar("Tested", bound=Pair)


def models(finding: CompareFinding, groups: Groups) -> Table:
    """One row per model, highest mean first."""
    best = finding.best
    fields: list[Field[ModelSummary]] = [
        TextField(_("Model"), lambda row: Cell(label_text(row.label), bold=row.label == best, model=row.label)),
        Field(
            accuracy_title(finding.part),
            lambda row: Cell(*row.accuracy.parts(scale=100), bold=row.label == best),
            "%",
        ),
        Field("n", lambda row: str(len(row.seeds)), _("seeds")),
        *cost_fields(lambda row: row.cost, lambda row: groups[row.label][0]),
    ]
    return table_of(fields, finding.ranked, " ".join(_notes(finding, groups)))


def cost_fields(cost_of: Callable[[T], Cost], view_of: Callable[[T], RunView]) -> list[Field[T]]:
    """The columns of a table of costs over seeds."""

    def latency(row: T) -> Cell:
        ms, quartiles = cost_of(row).ms_per_image, cost_of(row).ms_per_image_quartiles
        number, interval = cost_parts(ms)
        return Cell(number, interval if ms is None or quartiles is None else quartile_range(ms.mean, quartiles))

    def parameters(row: T) -> str:
        return "" if (count := cost_of(row).parameters) is None else f"{count:,}"

    def peak_memory(row: T) -> str:
        return "" if (peak := cost_of(row).peak_memory_bytes) is None else plain(peak / MIB)

    return [
        Field(_("Training"), lambda row: Cell(*cost_parts(cost_of(row).train_seconds)), _("s")),
        Field(_("Training speed"), lambda row: Cell(*cost_parts(cost_of(row).images_per_second)), _("images/s")),
        Field(_("Parameters"), parameters),
        Field(_("FLOPs"), lambda row: flops_cell(cost_of(row).flops_per_image, view_of(row)), _("per image")),
        Field(_("Inference"), latency, _("ms/image")),
        Field(_("Peak memory"), peak_memory, "MiB"),
    ]


def _notes(finding: CompareFinding, groups: Groups) -> list[str]:
    notes = [_("±: half-width of the 95 % interval over seeds (Student's t); for n = 1, range over images (Wilson).")]
    if finding.reduced:
        notes.append(_("No best model: the data were limited."))
    elif finding.tests:
        notes.append(_("Bold: significantly different from every other model (Holm's correction, 5 % level)."))
    elif len(finding.rows) > 1:
        notes.append(_("No best model: a comparison needs seeds that all models share, preferably several."))
    if any(row.cost.ms_per_image_quartiles for row in finding.rows):
        notes.append(_("Inference: median and quartiles over passes of one image on one thread, averaged over seeds."))
    if len(all_views(groups)) > 1:
        notes.append(_("Runs trained in parallel had one thread each."))
    return [*notes, *times_note(all_views(groups)), flops_note(all_views(groups))]


def times_note(views: Sequence[RunView]) -> list[str]:
    """Names the machine whose times are shown if the runs were trained on several."""
    machine = usual_machine(view.environment for view in views)
    timed = [view.environment for view in views if view.environment.machine == machine]
    if len(timed) == len(views):
        return []
    text = _(
        "Times come from the runs on {machine} ({n} of {total}); times from other machines, thread "
        "counts or PyTorch versions are not comparable.",
        n=len(timed),
        total=len(views),
        machine=machine_name(timed[0]),
    )
    return [text]


def pairs(finding: CompareFinding) -> Table:
    fields: list[Field[Pair]] = [_pair(), _difference(_("Difference")), _seeds(), *_tested(finding)]
    note = _("Paired t test over the common seeds of two models; p (Holm): corrected for all pairs.")
    return _differences(finding, finding.pairs, fields, note, _("Differences between models"))


def mcnemar(finding: CompareFinding) -> Table:
    """One row per pair and seed; the model with more correct images is first."""
    fields: list[Field[ImagePair]] = [
        _pair(),
        *([Field(_("Seed"), lambda test: str(test.seed))] if not finding.single_seeds else []),
        Field(_("Correct"), lambda test: f"{test.only_a:,}", _("first only")),
        Field(_("Correct"), lambda test: f"{test.only_b:,}", _("second only")),
        _difference(_("Difference")),
        *_tested(finding),
    ]
    note = _(
        "Exact McNemar test of two networks trained with the same seed, on the same {n:,} images; p (Holm): corrected "
        "for all tests. Ranges: 95 % intervals over images (Bonett and Price). They do not cover other seeds.",
        n=finding.mcnemar[0].difference.n,
    )
    return _differences(finding, finding.mcnemar, fields, note, _("Differences on the same images"))


def _differences(
    finding: CompareFinding, tests: Sequence[Tested], fields: Sequence[Field[Tested]], note: str, title: str
) -> Table:
    """Sorts by p value. With many tests, shows only those of the model with the highest mean."""
    ordered = sorted(tests, key=lambda test: test.p_holm or 0)
    if len(ordered) > MANY_PAIRS:
        best = finding.ranked[0].label
        note += " " + _("Shown: pairs with {best}; all {n} are in finding.json.", best=best, n=len(ordered))
        ordered = [test for test in ordered if best in (test.a, test.b)]
    collapsed_title = _("All {n} tests", n=len(ordered)) if len(ordered) > MANY_ROWS else ""
    return table_of(fields, [test.higher_first() for test in ordered], note, title, collapsed_title)


def effects(finding: CompareFinding, ablation: Ablation) -> Table:
    note = _(
        "Difference between two values, averaged over all combinations of the other keys and paired by seed. ±: "
        "half-width of the 95 % interval over seeds (Student's t). p: paired t test; p (Holm): for all effects."
    )
    fields: list[Field[Effect]] = [
        TextField(_("Key"), lambda effect: effect.key),
        _pair(),
        _difference(_("Difference")),
        _seeds(),
        *_tested(finding),
    ]
    return table_of(fields, [effect.higher_first() for effect in ablation.effects], note, _("Effects"))


def averages(finding: CompareFinding, ablation: Ablation) -> Table:
    note = _(
        "Averaged over all combinations of the other keys. Values of one key share their seeds, so their difference is "
        "known more precisely than these intervals suggest."
    )
    fields: list[Field[Average]] = [
        TextField(_("Key"), lambda row: row.key),
        TextField(_("Value"), lambda row: row.value),
        Field(accuracy_title(finding.part), lambda row: Cell(*row.accuracy.parts(scale=100)), "%"),
    ]
    return table_of(fields, ablation.averages, note, _("Mean accuracy of each value"))


def interactions(finding: CompareFinding, ablation: Ablation) -> Table:
    note = _(
        "If the difference of differences is not 0, the effect of one key depends on the value of the other, and the "
        "average effect hides this."
    )
    fields: list[Field[Interaction]] = [
        TextField(_("Key"), lambda row: row.key),
        TextField(_("Difference between"), lambda row: " − ".join(row.between)),
        TextField(_("Depends on"), _depends_on),
        _difference(_("Difference of differences")),
        _seeds(),
        *_tested(finding),
    ]
    collapsed_title = ngettext("{n} interaction", "{n} interactions", len(ablation.interactions))
    return table_of(fields, ablation.interactions, note, _("Interactions"), collapsed_title)


def _depends_on(interaction: Interaction) -> str:
    at_a, at_b = (fixed(100 * effect, 2, signed=True) for effect in interaction.effects)
    return _(
        "{key}: {at_a} ({a}), {at_b} ({b})",
        key=interaction.other,
        at_a=at_a,
        a=interaction.a,
        at_b=at_b,
        b=interaction.b,
    )


def _pair() -> Field[Tested]:
    return TextField(_("Difference between"), lambda pair: f"{label_text(pair.a)} − {label_text(pair.b)}")


def _difference(title: str) -> Field[Tested]:
    return Field(title, lambda pair: Cell(*pair.difference.parts(scale=100)), _("points"))


def _seeds() -> Field[Tested]:
    return Field("n", lambda pair: str(pair.difference.n), _("seeds"))


def _tested(finding: CompareFinding) -> list[Field[Tested]]:
    def verdict(pair: Pair) -> str:
        if pair.p is None:
            return _("one seed")
        if finding.reduced:
            return _("none (limited data)")
        return _("significant") if pair.significant else _("inconclusive")

    return [
        Field("p", lambda pair: "" if pair.p is None else p_value(pair.p)),
        Field("p", lambda pair: "" if pair.p_holm is None else p_value(pair.p_holm), _("Holm")),
        TextField(_("Verdict"), verdict),
    ]

"""The page of a loss landscape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from convoy.reporting import sections
from convoy.reporting.content import Cell, Chart, Field, Page, Panel, Scene3D, Section, Table, TextField, table_of
from convoy.reporting.palette import Look
from convoy.reporting.reading import Groups, all_views, read_study
from convoy.runs import Study
from convoy.stats import Estimate
from convoy.studies.landscape import arrays, figures, words
from convoy.studies.landscape.arrays import FigureArrays, Surface
from convoy.studies.landscape.band import Measure
from convoy.studies.landscape.finding import Band, BandPair, Factor, LandscapeFinding, StepRange
from convoy.text import gettext as _
from convoy.text.lists import listed
from convoy.text.numbers import interval, plain

SURFACE_HEIGHT = 4.1  # inches
Recipes = Mapping[str, FigureArrays]  # by label


def page(study: Study, finding: LandscapeFinding, folder: Path) -> Page:
    groups, recipes = read_study(study), [each.label for each in finding.recipes]
    arrays_by_label = arrays.read(study.path / arrays.NAME, recipes)
    labels, views = _coloured(groups), all_views(groups)
    look = Look(labels)
    # Only runs at one learning rate, because the curves by epoch would otherwise be bands too.
    at_one_rate = {
        each.label: [view for view in groups[each.label] if view.recipe.optim.lr == each.lr] for each in finding.recipes
    }
    return Page(
        kicker=sections.kicker(_("Landscape"), study.name, views),
        title=_("Loss landscape: {recipes} on {data}", recipes=_subject(finding), data=views[0].data.name),
        sentence=words.sentence(finding),
        caveats=tuple(words.caveats(finding)),
        tables=(_widths_table(finding), *_ratio_tables(finding)),
        sections=sections.present(
            _bands(finding, arrays_by_label, look),
            _along_the_step(finding, arrays_by_label, look),
            _around_the_weights(finding, arrays_by_label, look),
            sections.section(_("Training"), sections.curves(at_one_rate, look)),
            sections.setup(groups, folder, [study.command]),
        ),
        labels=labels,
    )


def _subject(finding: LandscapeFinding) -> str:
    labels = [each.label for each in finding.recipes]
    if not finding.factors:
        return listed(labels)
    networks = listed(list(dict.fromkeys(label.partition(",")[0] for label in labels)))
    keys = listed(list(dict.fromkeys(factor.key for factor in finding.factors)))
    return _("{networks}, {n} combinations of {keys}", networks=networks, n=len(labels), keys=keys)


def _coloured(groups: Groups) -> tuple[str, ...]:
    """Orders labels by colour: VGG-A is green, VGG-A with batch norm is red, as in the published figure."""
    by_model = {group[0].recipe.model.name: label for label, group in groups.items()}
    if len(groups) == 2 and set(by_model) == {"vgg_a", "vgg_a_bn"}:
        return ("", by_model["vgg_a_bn"], by_model["vgg_a"])
    return tuple(groups)


def _bands(finding: LandscapeFinding, recipes: Recipes, look: Look) -> Section:
    edges = {label: each.edges for label, each in recipes.items()}
    raw = [figures.band(label, each.step, each.low, each.high) for label, each in edges.items()]
    smooth = [figures.band(label, each.step, each.smooth_low, each.smooth_high) for label, each in edges.items()]
    draw = partial(figures.draw_bands, look=look, title=_("training loss"), early=finding.early_steps)
    panels = (
        Panel(_("Raw"), partial(draw, bands=raw, linear=True), height=3.3),
        Panel(_("Smoothed"), partial(draw, bands=smooth), height=3.3),
    )
    points = max(len(band.at) for band in raw)
    caption = words.band_caption(finding, points if points == figures.MAX_POINTS else None)
    title = _("Range of the loss over learning rates")
    chart = Chart("loss_band", title, panels, caption, legend=tuple(recipes))
    return Section(_("Loss band over learning rates"), (chart,))


def _along_the_step(finding: LandscapeFinding, recipes: Recipes, look: Look) -> Section | None:
    probes = {label: each.probes for label, each in recipes.items() if each.probes}
    if not probes:
        return None
    loss = figures.probe_bands(probes, lambda each: each.loss)
    change = figures.probe_bands(probes, lambda each: each.gradient_change)
    beta = figures.probe_bands(probes, lambda each: each.beta[:, None])
    draw = partial(figures.draw_bands, look=look)
    panels = tuple(
        Panel(title, partial(draw, bands=bands, title=axis), height=3.0)
        for title, axis, bands in (
            (_("Loss"), _("loss along the step"), loss),
            (_("Gradient predictiveness"), _("gradient distance"), change),
            (_("Effective beta-smoothness"), _("gradient distance / step"), beta),
        )
    )
    caption = words.probe_caption(finding)
    title = _("Loss and gradient along the step")
    chart = Chart("along_the_step", title, panels, caption, legend=tuple(probes))
    return Section(_("Along the step"), (chart, _smoothness_table(finding.recipes)))


def _around_the_weights(finding: LandscapeFinding, recipes: Recipes, look: Look) -> Section | None:
    lines, planes, paths = (
        {label: each.surfaces[kind] for label, each in recipes.items() if kind in each.surfaces}
        for kind in arrays.KINDS
    )
    line = None
    if lines:
        panel = Panel("", partial(figures.draw_lines, lines=lines, look=look), height=3.2, top=0.15)
        caption = words.surface_caption(lines, finding.images)
        line = Chart("line", _("Loss along a line"), (panel,), caption, legend=tuple(lines))
    around = _surface_blocks("surface", _("Loss around the weights"), planes, finding.images)
    along_path = _surface_blocks("path", _("Training path"), paths, finding.images)
    return sections.section(_("Around the weights"), line, *around, *along_path)


def _surface_blocks(name: str, title: str, surfaces: Mapping[str, Surface], images: int) -> list[Chart | Scene3D]:
    if not surfaces:
        return []
    panels = tuple(
        Panel(label, partial(figures.draw_surface, surface=surface), height=SURFACE_HEIGHT, left=0.85)
        for label, surface in surfaces.items()
    )
    blocks: list[Chart | Scene3D] = [Chart(name, title, panels, words.surface_caption(surfaces, images))]
    for number, (label, surface) in enumerate(surfaces.items(), start=1):
        blocks.append(
            figures.scene(f"{name}_{number}", f"{title}: {label}", surface, words.scale_note({label: surface}))
        )
    return blocks


def _step_ranges(finding: LandscapeFinding) -> list[StepRange]:
    return [StepRange.ALL, StepRange.EARLY] if finding.early_steps else [StepRange.ALL]


def _widths_table(finding: LandscapeFinding) -> Table:
    def width(measure: Measure, span: StepRange) -> Field[Band]:
        title = _("{measure}, {steps}", measure=words.measure_name(measure), steps=words.step_range_name(span, finding))
        return Field(title, lambda each: _estimate(each.widths[measure][span]))

    fields: list[Field[Band]] = [
        TextField(_("Model"), lambda each: Cell(each.label, model=each.label)),
        *(width(measure, span) for measure in Measure for span in _step_ranges(finding)),
    ]
    note = _(
        "Maximum minus minimum of the loss over the learning rates, averaged over steps. {intervals} "
        "Smoothed: each run is averaged over {n} steps.",
        intervals=words.intervals_note(finding),
        n=finding.window,
    )
    return table_of(fields, finding.recipes, note, _("Band width"))


def _ratio_tables(finding: LandscapeFinding) -> list[Table]:
    """Creates tables of ratios for varied keys or, without any, for pairs of recipes."""
    note = words.intervals_note(finding)
    if finding.factors:
        note = " ".join([_("Geometric mean over all values of the other keys."), note])
        return [_ratios_table(finding, finding.factors, _("Key"), note, _("Effect of each key on the band width"))]
    if not finding.pairs:
        return []
    return [_ratios_table(finding, finding.pairs, _("Models"), note, _("Ratio of band widths"))]


def _ratios_table(
    finding: LandscapeFinding, rows: Sequence[Factor | BandPair], first: str, note: str, title: str
) -> Table:
    def ratio(span: StepRange) -> Field[tuple[Factor | BandPair, Measure]]:
        title = words.step_range_name(span, finding).capitalize()
        return Field(title, lambda row: _estimate(row[0].ratios[row[1]][span].ratio))

    fields: list[Field[tuple[Factor | BandPair, Measure]]] = [
        TextField(first, lambda row: words.ratio_name(row[0])),
        TextField(_("Quantity"), lambda row: words.measure_name(row[1])),
        *map(ratio, _step_ranges(finding)),
        TextField(
            _("First band compared with second"),
            lambda row: words.verdict_name(row[0].ratios[row[1]][StepRange.ALL].verdict),
        ),
    ]
    return table_of(fields, [(row, measure) for row in rows for measure in Measure], note, title)


def _smoothness_table(recipes: Sequence[Band]) -> Table:
    fields: list[Field[Band]] = [
        TextField(_("Model"), lambda each: Cell(each.label, model=each.label)),
        Field(_("Range of the loss"), lambda each: _estimate(each.smoothness.loss_variation)),
        Field(_("Maximum gradient distance"), lambda each: _estimate(each.smoothness.gradient_change)),
        Field(_("Effective beta-smoothness"), lambda each: _estimate(each.smoothness.beta)),
        Field(_("Beta-smoothness"), lambda each: _estimate(each.smoothness.own_beta), _("over the optimizer step")),
        Field(_("Probes"), lambda each: f"{each.probes:,}", _("per run")),
    ]
    note = _(
        "Medians over the probes of a run; for several seeds their mean with its 95 % interval (Student's "
        "t). Over the optimizer step: distance between the gradients before and after it, on the same "
        "batch, divided by the length of the step."
    )
    return table_of(fields, recipes, note)


def _estimate(value: Estimate | None) -> Cell:
    if value is None:
        return Cell(_("unknown"))
    return Cell(plain(value.mean), interval(*value.span, plain) if value.n > 1 else "")

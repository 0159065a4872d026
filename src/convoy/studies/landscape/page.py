"""The page of a loss landscape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from convoy.reporting import sections
from convoy.reporting.content import (
    Block,
    Cell,
    Chart,
    Field,
    Page,
    Panel,
    Path3D,
    Points3D,
    Scene3D,
    Section,
    Surface3D,
    Table,
    table_of,
)
from convoy.reporting.palette import Look
from convoy.reporting.quantities import listed, plain
from convoy.reporting.reading import Groups, all_readings, read_study
from convoy.runs import Study
from convoy.stats import Estimate
from convoy.studies.landscape import arrays, figures, words
from convoy.studies.landscape.arrays import FigureArrays, Surface
from convoy.studies.landscape.band import Measure
from convoy.studies.landscape.finding import Band, BandPair, LandscapeFinding, StepRange
from convoy.text import gettext as _

SURFACE_HEIGHT = 4.1  # inches
Recipes = Mapping[str, FigureArrays]  # by label


def page(study: Study, finding: LandscapeFinding, folder: Path) -> Page:
    groups, recipes = read_study(study), [each.label for each in finding.recipes]
    drawn = arrays.read(study.path / "landscape.npz", recipes)
    labels, readings = _coloured(groups), all_readings(groups)
    look = Look(labels)
    # Only runs at one learning rate; otherwise the curves by epoch would be bands too.
    at_one_rate = {
        each.label: [reading for reading in groups[each.label] if reading.recipe.optim.lr == each.lr]
        for each in finding.recipes
    }
    curves = sections.curves(at_one_rate, look)
    page_sections = [
        _bands(finding, drawn, look),
        _along_the_step(finding, drawn, look),
        _around_the_weights(finding, drawn, look),
        Section(_("Training"), (curves,)) if curves else None,
        sections.setup(groups, folder, [study.command]),
    ]
    return Page(
        kicker=sections.kicker(_("Landscape"), study.name, readings),
        title=_("Loss landscape: {recipes} on {data}", recipes=listed(recipes), data=readings[0].data.name),
        sentence=words.sentence(finding),
        caveats=tuple(words.caveats(finding)),
        tables=(_widths_table(finding), *([_ratios_table(finding)] if finding.pairs else [])),
        sections=tuple(section for section in page_sections if section),
        labels=labels,
    )


def _coloured(groups: Groups) -> tuple[str, ...]:
    """Labels in the order of colours: VGG-A is green, VGG-A with batch norm is red, as in the published figure."""
    by_model = {group[0].recipe.model.name: label for label, group in groups.items()}
    if len(groups) == 2 and set(by_model) == {"vgg_a", "vgg_a_bn"}:
        return ("", by_model["vgg_a_bn"], by_model["vgg_a"])
    return tuple(groups)


def _bands(finding: LandscapeFinding, drawn: Recipes, look: Look) -> Section:
    edges = {label: each.edges for label, each in drawn.items()}
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
    chart = Chart("loss_band", title, panels, caption, legend=tuple(drawn))
    return Section(_("Loss band over learning rates"), (chart,))


def _along_the_step(finding: LandscapeFinding, drawn: Recipes, look: Look) -> Section | None:
    probes = {label: each.probes for label, each in drawn.items() if each.probes}
    if not probes:
        return None
    loss = figures.probe_bands(probes, lambda each: each.loss)
    change = figures.probe_bands(probes, lambda each: each.gradient_change)
    beta = figures.probe_bands(probes, lambda each: each.beta[:, None])
    draw = partial(figures.draw_bands, look=look)
    panels = (
        Panel(_("Loss"), partial(draw, bands=loss, title=_("loss along the step")), height=3.0),
        Panel(_("Gradient predictiveness"), partial(draw, bands=change, title=_("gradient distance")), height=3.0),
        Panel(
            _("Effective beta-smoothness"), partial(draw, bands=beta, title=_("gradient distance / step")), height=3.0
        ),
    )
    caption = words.probe_caption(finding)
    title = _("Loss and gradient along the step")
    chart = Chart("along_the_step", title, panels, caption, legend=tuple(probes))
    return Section(_("Along the step"), (chart, _smoothness_table(finding.recipes)))


def _around_the_weights(finding: LandscapeFinding, drawn: Recipes, look: Look) -> Section | None:
    lines, planes, paths = (
        {label: each.surfaces[kind] for label, each in drawn.items() if kind in each.surfaces} for kind in arrays.KINDS
    )
    blocks: list[Block] = []
    if lines:
        panel = Panel("", partial(figures.draw_lines, lines=lines, look=look), height=3.2, top=0.15)
        caption = words.surface_caption(lines, finding.images)
        blocks.append(Chart("line", _("Loss along a line"), (panel,), caption, legend=tuple(lines)))
    if planes:
        blocks += _surface_blocks("surface", _("Loss around the weights"), planes, finding.images)
    if paths:
        blocks += _surface_blocks("path", _("Training path"), paths, finding.images)
    return Section(_("Around the weights"), tuple(blocks)) if blocks else None


def _surface_blocks(name: str, title: str, surfaces: Mapping[str, Surface], images: int) -> list[Block]:
    panels = tuple(
        Panel(label, partial(figures.draw_surface, surface=surface), height=SURFACE_HEIGHT, left=0.85)
        for label, surface in surfaces.items()
    )
    blocks: list[Block] = [Chart(name, title, panels, words.surface_caption(surfaces, images))]
    for number, (label, surface) in enumerate(surfaces.items(), start=1):
        traces: list[Surface3D | Path3D | Points3D] = [Surface3D(surface.x, surface.y, figures.drawn_loss(surface))]
        if surface.at is not None and surface.epochs is not None:
            line, path, lift = figures.dense(surface.at), surface.at, figures.LIFT  # else the surface would hide them
            epochs = tuple(map(figures.epoch_name, surface.epochs.tolist()))
            heights = lift * figures.heights(surface, path)
            traces += [
                Path3D(line[:, 0], line[:, 1], lift * figures.heights(surface, line)),
                Points3D(path[:, 0], path[:, 1], heights, epochs, _("epochs, slightly raised")),
            ]
        caption = " ".join([_("The same in 3D."), words.scale_note({label: surface})])
        axes = (*figures.axis_names(surface), _("training loss"))
        scene = Scene3D(f"{name}_{number}", f"{title}: {label}", caption, tuple(traces), axes, (False, False, True))
        blocks.append(scene)
    return blocks


def _step_ranges(finding: LandscapeFinding) -> list[StepRange]:
    return [StepRange.ALL, StepRange.EARLY] if finding.early_steps else [StepRange.ALL]


def _widths_table(finding: LandscapeFinding) -> Table:
    def width(measure: Measure, span: StepRange) -> Field[Band]:
        title = _("{measure}, {steps}", measure=words.measure_name(measure), steps=words.step_range_name(span, finding))
        return Field(title, lambda each: _estimate(each.widths[measure][span]))

    fields: list[Field[Band]] = [
        Field(_("Model"), lambda each: Cell(each.label, model=each.label), numeric=False),
        *(width(measure, span) for measure in Measure for span in _step_ranges(finding)),
    ]
    texts = [
        _("Maximum minus minimum of the loss over the learning rates, averaged over steps."),
        words.intervals_note(finding),
        _("Smoothed: mean over {n} steps of each run.", n=finding.window),
    ]
    return table_of(fields, finding.recipes, " ".join(texts), _("Band width"))


def _ratios_table(finding: LandscapeFinding) -> Table:
    def ratio(span: StepRange) -> Field[tuple[BandPair, Measure]]:
        title = words.step_range_name(span, finding).capitalize()
        return Field(title, lambda row: _estimate(row[0].ratios[row[1]][span].ratio))

    fields: list[Field[tuple[BandPair, Measure]]] = [
        Field(_("Models"), lambda row: _("{a} over {b}", a=row[0].b, b=row[0].a), numeric=False),
        Field(_("Quantity"), lambda row: words.measure_name(row[1]), numeric=False),
        *map(ratio, _step_ranges(finding)),
        Field(
            _("Verdict on the first band"),
            lambda row: words.verdict_name(row[0].ratios[row[1]][StepRange.ALL].verdict),
            numeric=False,
        ),
    ]
    rows = [(pair, measure) for pair in finding.pairs for measure in Measure]
    return table_of(fields, rows, words.intervals_note(finding), _("Ratio of band widths"))


def _smoothness_table(recipes: Sequence[Band]) -> Table:
    fields: list[Field[Band]] = [
        Field(_("Model"), lambda each: Cell(each.label, model=each.label), numeric=False),
        Field(_("Range of the loss"), lambda each: _estimate(each.smoothness.loss_variation)),
        Field(_("Maximum gradient distance"), lambda each: _estimate(each.smoothness.gradient_change)),
        Field(_("Effective beta-smoothness"), lambda each: _estimate(each.smoothness.beta)),
        Field(_("Probes"), lambda each: f"{each.looks:,}", _("per run")),
    ]
    note = _("Medians over the probes of a run; for several seeds their mean with its 95 % interval (Student's t).")
    return table_of(fields, recipes, note)


def _estimate(value: Estimate | None) -> Cell:
    if value is None:
        return Cell(_("unknown"))
    low, high = map(plain, value.span)
    return Cell(plain(value.mean), _("{lower} to {upper}", lower=low, upper=high) if value.n > 1 else "")

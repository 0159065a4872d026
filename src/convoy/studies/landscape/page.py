"""The page of a loss landscape."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from convoy.files import read_arrays
from convoy.reporting import sections
from convoy.reporting.content import (
    Block,
    Cell,
    Chart,
    Column,
    Page,
    Panel,
    Path3D,
    Points3D,
    Scene3D,
    Section,
    Surface3D,
    Table,
)
from convoy.reporting.palette import Look
from convoy.reporting.quantities import listed, plain
from convoy.reporting.reading import Groups, every, of_study
from convoy.runs import Study
from convoy.stats import Estimate
from convoy.studies.landscape import figures as land_
from convoy.studies.landscape import words
from convoy.studies.landscape.band import Measure, Ratio, Verdict
from convoy.studies.landscape.finding import Band, LandscapeFinding, Span

Arrays = dict[str, dict[str, np.ndarray]]
MEASURES = {
    Measure.LOSS: "Loss",
    Measure.SMOOTHED: "Smoothed loss",
    Measure.LOG: "Log of the smoothed loss",
}
SURFACE_HEIGHT = 4.1  # inches


def page(study: Study, finding: LandscapeFinding, folder: Path) -> Page:
    groups, recipes = of_study(study), [each.label for each in finding.recipes]
    arrays = _arrays(study, recipes)
    labels = _coloured(groups)
    look = Look(labels)
    readings = every(groups)
    first_tables = [_widths_table(finding), *([_ratios_table(finding)] if finding.pairs else [])]
    page_sections: list[Section | None] = [
        _bands(finding, arrays, look, readings[0].seed),
        _along_the_step(finding, arrays, look),
        _around_the_weights(finding, arrays, look),
        Section("Training", tuple(block for block in [sections.curves(_probed_runs(groups, finding), look)] if block)),
        sections.setup(groups, folder, [study.table["command"]]),
    ]
    return Page(
        kicker=sections.kicker("Landscape", study.name, readings),
        title=f"Loss landscape: {listed(recipes)} on {readings[0].data.name}",
        sentence=words.sentence(finding),
        caveats=tuple(words.caveats(finding)),
        tables=tuple(first_tables),
        sections=tuple(section for section in page_sections if section and section.blocks),
        labels=labels,
    )


def _arrays(study: Study, labels: Sequence[str]) -> Arrays:
    """The arrays of landscape.npz by label."""
    arrays: Arrays = {label: {} for label in labels}
    for name, values in read_arrays(study.path / "landscape.npz").items():
        number, _, rest = name.partition("_")
        arrays[labels[int(number)]][rest] = values
    return arrays


def _coloured(groups: Groups) -> tuple[str, ...]:
    """Labels in the order of colours: VGG-A is green, VGG-A with batch norm is red, as in the published figure."""
    by_model = {group[0].recipe.model.name: label for label, group in groups.items()}
    if len(groups) == 2 and set(by_model) == {"vgg_a", "vgg_a_bn"}:
        return ("", by_model["vgg_a_bn"], by_model["vgg_a"])
    return tuple(groups)


def _probed_runs(groups: Groups, finding: LandscapeFinding) -> Groups:
    """The runs at one learning rate, for the curves by epoch: over all rates these would be a band too."""
    return {
        each.label: [reading for reading in groups[each.label] if reading.recipe.optim.lr == each.lr]
        for each in finding.recipes
    }


def _bands(finding: LandscapeFinding, arrays: Arrays, look: Look, seed: int) -> Section:
    early = finding.early_steps
    bands = land_.band_numbers(arrays, smooth=False)
    draw = partial(land_.draw_bands, look=look, title="training loss", early=early)
    smooth = partial(draw, bands=land_.band_numbers(arrays, smooth=True))
    seeds = f"seed {seed}" if not finding.own_seeds else "a different seed for each run"
    panels = (
        Panel("Raw", partial(draw, bands=bands, linear=True), height=3.3),
        Panel("Smoothed", smooth, height=3.3),
    )
    caption = land_.band_caption(bands, finding.lrs, seeds, early, finding.window)
    chart = Chart("loss_band", "Range of the loss over learning rates", panels, caption, legend=tuple(arrays))
    return Section("Loss band over learning rates", (chart,))


def _along_the_step(finding: LandscapeFinding, arrays: Arrays, look: Look) -> Section | None:
    probes = land_.probe_numbers(arrays)
    if not probes["loss"]:
        return None
    titles = {
        "loss": ("Loss", "loss along the step"),
        "gradient": ("Gradient predictiveness", "gradient distance"),
        "beta": ("Effective beta-smoothness", "gradient distance / step"),
    }
    panels = tuple(
        Panel(heading, partial(land_.draw_bands, bands=probes[name], look=look, title=axis), height=3.0)
        for name, (heading, axis) in titles.items()
    )
    rates = {each.label: each.lr for each in finding.recipes if each.looks}
    caption = land_.probe_caption(probes, rates, finding.step_sizes)
    return Section(
        "Along the step",
        (
            Chart("along_the_step", "Loss and gradient along the step", panels, caption, legend=tuple(rates)),
            _smoothness_table(finding.recipes),
        ),
    )


def _around_the_weights(finding: LandscapeFinding, arrays: Arrays, look: Look) -> Section | None:
    images = finding.images
    lines, planes, paths = (
        {label: numbers for label, held in arrays.items() if (numbers := land_.surface_numbers(held, kind))}
        for kind in ("line", "plane", "path")
    )
    blocks: list[Block] = []
    if lines:
        panel = Panel("", partial(land_.draw_lines, lines=lines, look=look), height=3.2, top=0.15)
        caption = land_.line_caption(lines, images)
        blocks.append(Chart("line", "Loss along a line", (panel,), caption, legend=tuple(lines)))
    for name, title, surfaces in (
        ("surface", "Loss around the weights", planes),
        ("path", "Training path", paths),
    ):
        if surfaces:
            blocks += _surface_blocks(name, title, surfaces, images)
    return Section("Around the weights", tuple(blocks)) if blocks else None


def _surface_blocks(
    name: str, title: str, surfaces: dict[str, land_.SurfaceNumbers], images: int
) -> list[Chart | Scene3D]:
    panels = tuple(
        Panel(label, partial(land_.draw_surface, numbers=numbers), height=SURFACE_HEIGHT, left=0.85)
        for label, numbers in surfaces.items()
    )
    blocks: list[Chart | Scene3D] = [Chart(name, title, panels, land_.surface_caption(surfaces, images))]
    for number, (label, numbers) in enumerate(surfaces.items(), start=1):
        traces: tuple[Surface3D | Path3D | Points3D, ...] = (Surface3D(numbers.x, numbers.y, numbers.loss),)
        if len(numbers.path):
            traces += _path_traces(numbers)
        blocks.append(
            Scene3D(
                f"{name}_{number}",
                f"{title}: {label}",
                f"The same in 3D; drag to rotate.{land_.capped({label: numbers})}",
                traces,
                (*land_.axis_names(numbers, short=True), "training loss"),
                (False, False, True),
            )
        )
    return blocks


def _path_traces(numbers: land_.SurfaceNumbers) -> tuple[Path3D, Points3D]:
    """Slightly above the surface, which would hide them."""
    line, path = numbers.dense_path, numbers.path
    names = tuple(f"epoch {epoch:.0f}" for epoch in numbers.epochs)
    return (
        Path3D(line[:, 0], line[:, 1], land_.LIFT * numbers.heights(line)),
        Points3D(path[:, 0], path[:, 1], land_.LIFT * numbers.heights(path), names, "epochs, slightly raised"),
    )


def _widths_table(finding: LandscapeFinding) -> Table:
    spans = _spans(finding)
    columns = [Column("Model", numeric=False)]
    columns += [Column(f"{title}, {span}") for title in MEASURES.values() for span in spans.values()]
    rows = [
        (
            Cell(each.label, model=each.label),
            *(_estimate(each.widths[measure][span]) for measure in MEASURES for span in spans),
        )
        for each in finding.recipes
    ]
    return Table(
        tuple(columns),
        tuple(rows),
        f"Maximum minus minimum of the loss over the learning rates, averaged over steps. {_over(finding)} "
        f"Smoothed: mean over {finding.window} steps of each run.",
        "Band width",
    )


def _ratios_table(finding: LandscapeFinding) -> Table:
    spans = _spans(finding)
    rows = []
    for pair in finding.pairs:
        for measure, title in MEASURES.items():
            ratios = pair.ratios[measure]
            verdict = _verdict(ratios[Span.ALL], finding)
            cells = (_ratio(ratios[span].ratio) for span in spans)
            rows.append((Cell(f"{pair.b} over {pair.a}"), Cell(title), *cells, Cell(verdict)))
    columns = (
        Column("Models", numeric=False),
        Column("Quantity", numeric=False),
        *(Column(span.capitalize()) for span in spans.values()),
        Column("The first band is", numeric=False),
    )
    return Table(columns, tuple(rows), _over(finding), "Ratio of band widths")


def _verdict(ratio: Ratio, finding: LandscapeFinding) -> str:
    if finding.seeds == 1:
        return "one seed: no verdict"
    return "none (fewer images)" if ratio.verdict is Verdict.REDUCED else ratio.verdict.value


def _smoothness_table(recipes: Sequence[Band]) -> Table:
    columns = (
        Column("Model", numeric=False),
        Column("Range of the loss"),
        Column("Maximum gradient distance"),
        Column("Effective beta-smoothness"),
        Column("Probes", "per run"),
    )
    rows = [
        (
            Cell(each.label, model=each.label),
            _estimate(each.smoothness.loss_variation),
            _estimate(each.smoothness.gradient_change),
            _estimate(each.smoothness.beta),
            Cell(f"{each.looks:,}"),
        )
        for each in recipes
    ]
    note = "Medians over the probes of a run; for several seeds their mean with its 95 % interval (Student's t)."
    return Table(columns, tuple(rows), note)


def _spans(finding: LandscapeFinding) -> dict[Span, str]:
    early = finding.early_steps
    return {Span.ALL: "all steps"} | ({Span.EARLY: f"first {early:,} steps"} if early else {})


def _over(finding: LandscapeFinding) -> str:
    if finding.seeds > 1:
        return f"95 % intervals over {finding.seeds} seeds (Student's t)."
    return "One seed: no interval and no verdict."


def _estimate(value: Estimate | None) -> Cell:
    if value is None:
        return Cell("not finite")
    return Cell(plain(value.mean), " to ".join(map(plain, value.span)) if value.n > 1 else "")


def _ratio(ratio: Estimate | None) -> Cell:
    if ratio is None:
        return Cell("unknown")
    return Cell(f"{ratio.mean:.2f}", ratio.ends() if ratio.n > 1 else "")

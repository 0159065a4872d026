"""The page of a loss landscape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from convoy.files import read_arrays
from convoy.reporting import figures_landscape as land_
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
    Section,
    Surface3D,
    Table,
    Turnable,
    clean,
)
from convoy.reporting.palette import Look
from convoy.reporting.quantities import listed, plain
from convoy.reporting.reading import Groups, every, of_study
from convoy.runs import Study
from convoy.stats import Estimate

Arrays = dict[str, dict[str, np.ndarray]]
MEASURES = {
    "loss": "Loss",
    "smoothed_loss": "Smoothed loss",
    "log_loss": "Logarithm of the smoothed loss",
}
SPANS = {"all": "all steps", "early": "first {:,} steps"}
SURFACE_HEIGHT = 4.1  # inches


def landscape_page(study: Study, folder: Path) -> Page:
    groups, finding = of_study(study), study.finding
    recipes = {clean(recipe["label"]): recipe for recipe in finding["recipes"]}
    arrays = _arrays(study, list(recipes))
    labels = _coloured(groups)
    look = Look(labels)
    readings = every(groups)
    first = [_widths_table(finding, recipes), *([_ratios_table(finding)] if finding["pairs"] else [])]
    shown: list[Section | None] = [
        _bands(finding, recipes, arrays, look, readings[0].seed),
        _along_the_step(recipes, arrays, look),
        _about_the_weights(finding, arrays, look),
        Section("Training", tuple(block for block in [sections.curves(_looked_at(groups, recipes), look)] if block)),
        sections.how_it_was_made(groups, folder, [clean(study.table["command"])]),
    ]
    return Page(
        kicker=sections.kicker("Landscape", study.name, readings),
        title=f"The loss landscape of {listed(list(recipes))} on {clean(readings[0].data['name'])}",
        sentence=clean(finding["sentence"]),
        caveats=tuple(clean(caveat) for caveat in finding["caveats"]),
        tables=tuple(first),
        sections=tuple(section for section in shown if section and section.blocks),
        labels=labels,
    )


def _arrays(study: Study, labels: Sequence[str]) -> Arrays:
    """What landscape.npz holds, by label."""
    kept: Arrays = {label: {} for label in labels}
    for name, values in read_arrays(study.path / "landscape.npz").items():
        number, _, rest = name.partition("_")
        kept[labels[int(number)]][rest] = values
    return kept


def _coloured(groups: Groups) -> tuple[str, ...]:
    """Labels in the order of their colours: VGG-A is green and its form with norms red, as in the published figure."""
    by_model = {group[0].recipe.model.name: label for label, group in groups.items()}
    if len(groups) == 2 and set(by_model) == {"vgg_a", "vgg_a_bn"}:
        return ("", by_model["vgg_a_bn"], by_model["vgg_a"])
    return tuple(groups)


def _looked_at(groups: Groups, recipes: Mapping[str, Any]) -> Groups:
    """The curves by epoch are of the runs at one rate: over all of them they would be a band as well."""
    return {
        label: [reading for reading in group if reading.recipe.optim.lr == recipes[label]["lr"]]
        for label, group in groups.items()
    }


def _bands(finding: Mapping[str, Any], recipes: Mapping[str, Any], arrays: Arrays, look: Look, seed: int) -> Section:
    early = finding["early_steps"]
    bands = land_.band_numbers(arrays, smooth=False)
    draw = partial(land_.draw_bands, look=look, title="training loss", early=early)
    smooth = partial(draw, bands=land_.band_numbers(arrays, smooth=True))
    told_seed = f"seed {seed}" if not finding.get("own_seeds") else "a seed for each training"
    panels = (
        Panel("As it is", partial(draw, bands=bands, linear=True), height=3.3),
        Panel("Smoothed", smooth, height=3.3),
    )
    caption = land_.band_caption(bands, finding["lrs"], told_seed, early, finding["window"])
    chart = Chart("loss_band", "Loss between the learning rates", panels, caption, key=tuple(recipes))
    return Section("The band over learning rates", (chart,))


def _along_the_step(recipes: Mapping[str, Any], arrays: Arrays, look: Look) -> Section | None:
    found = land_.look_numbers(arrays)
    if not found["loss"]:
        return None
    titles = {
        "loss": ("Loss", "loss along the step"),
        "gradient": ("Gradient predictiveness", "change of the gradient"),
        "beta": ("Effective beta-smoothness", "change by distance"),
    }
    panels = tuple(
        Panel(heading, partial(land_.draw_bands, bands=found[name], look=look, title=axis), height=3.0)
        for name, (heading, axis) in titles.items()
    )
    rates = {label: recipe["lr"] for label, recipe in recipes.items() if recipe["looks"]}
    caption = land_.look_caption(found, rates, _step_sizes(recipes))
    return Section(
        "Along the step",
        (
            Chart("along_the_step", "Loss and gradient along the step", panels, caption, key=tuple(rates)),
            _smoothness_table(recipes),
        ),
    )


def _step_sizes(recipes: Mapping[str, Any]) -> list[float]:
    return next(recipe["step_sizes"] for recipe in recipes.values() if recipe["looks"])


def _about_the_weights(finding: Mapping[str, Any], arrays: Arrays, look: Look) -> Section | None:
    images = finding["images"]
    lines, planes, paths = (
        {label: numbers for label, kept in arrays.items() if (numbers := land_.surface_numbers(kept, kind))}
        for kind in ("line", "plane", "path")
    )
    blocks: list[Block] = []
    if lines:
        panel = Panel("", partial(land_.draw_lines, lines=lines, look=look), height=3.2, top=0.15)
        caption = land_.line_caption(lines, images)
        blocks.append(Chart("line", "Loss along a line", (panel,), caption, key=tuple(lines)))
    for name, title, surfaces in (
        ("surface", "Loss about the weights", planes),
        ("path", "The training path", paths),
    ):
        if surfaces:
            blocks += _surface_blocks(name, title, surfaces, images)
    return Section("About the weights", tuple(blocks)) if blocks else None


def _surface_blocks(
    name: str, title: str, surfaces: Mapping[str, land_.SurfaceNumbers], images: int
) -> list[Chart | Turnable]:
    panels = tuple(
        Panel(label, partial(land_.draw_surface, numbers=numbers), height=SURFACE_HEIGHT, left=0.85)
        for label, numbers in surfaces.items()
    )
    blocks: list[Chart | Turnable] = [Chart(name, title, panels, land_.surface_caption(surfaces, images))]
    for number, (label, numbers) in enumerate(surfaces.items(), start=1):
        traces: tuple[Surface3D | Path3D | Points3D, ...] = (Surface3D(numbers.x, numbers.y, numbers.loss),)
        if len(numbers.path):
            traces += _path_traces(numbers)
        blocks.append(
            Turnable(
                f"{name}_{number}",
                f"{title}: {label}",
                f"The same in space: drag to turn it.{land_.capped({label: numbers})}",
                traces,
                (*land_.axis_names(numbers, short=True), "training loss"),
                (False, False, True),
            )
        )
    return blocks


def _path_traces(numbers: land_.SurfaceNumbers) -> tuple[Path3D, Points3D]:
    """A little above the surface, which would hide them."""
    way, path = numbers.way, numbers.path
    told = tuple(f"epoch {epoch:.0f}" for epoch in numbers.epochs)
    return (
        Path3D(way[:, 0], way[:, 1], land_.LIFT * numbers.heights(way)),
        Points3D(path[:, 0], path[:, 1], land_.LIFT * numbers.heights(path), told, "epochs, a little above"),
    )


def _widths_table(finding: Mapping[str, Any], recipes: Mapping[str, Any]) -> Table:
    spans = _spans(finding)
    columns = [Column("Model", numeric=False)]
    columns += [Column(f"{title}, {span}") for title in MEASURES.values() for span in spans.values()]
    rows = [
        (
            Cell(label, key=label),
            *(_estimate(recipe["widths"][measure][span]) for measure in MEASURES for span in spans),
        )
        for label, recipe in recipes.items()
    ]
    return Table(
        tuple(columns),
        tuple(rows),
        f"Mean over the steps of the greatest less the least loss over the learning rates. {_over(finding)} "
        f"Smoothed: each run's loss as its mean over {finding['window']} steps.",
        "Width of the band",
    )


def _ratios_table(finding: Mapping[str, Any]) -> Table:
    spans = _spans(finding)
    rows = []
    for pair in finding["pairs"]:
        for measure, title in MEASURES.items():
            cells = [_ratio(pair["ratios"][measure][span], finding) for span in spans]
            words = _verdict(pair["ratios"][measure]["all"], finding)
            rows.append((Cell(f"{clean(pair['b'])} over {clean(pair['a'])}"), Cell(title), *cells, Cell(words)))
    columns = (
        Column("Bands", numeric=False),
        Column("Of the", numeric=False),
        *(Column(span.capitalize()) for span in spans.values()),
        Column("The first is", numeric=False),
    )
    return Table(columns, tuple(rows), f"Ratio of the widths. {_over(finding)}", "One band against another")


def _verdict(ratio: Mapping[str, Any] | None, finding: Mapping[str, Any]) -> str:
    """Of one seed there is none, in findings of older versions too."""
    if finding["seeds"] == 1:
        return "one seed: no verdict"
    verdict = "inconclusive" if ratio is None else str(ratio["verdict"])
    return "fewer images: no verdict" if verdict in ("reduced", "quick_try") else verdict


def _smoothness_table(recipes: Mapping[str, Any]) -> Table:
    names = {
        "loss_variation": "Range of the loss",
        "gradient_change": "Greatest change of the gradient",
        "beta": "Effective beta-smoothness",
    }
    rows = [
        (
            Cell(label, key=label),
            *(_estimate(recipe["smoothness"][name]) for name in names),
            Cell(f"{recipe['looks']:,}"),
        )
        for label, recipe in recipes.items()
    ]
    columns = (Column("Model", numeric=False), *map(Column, names.values()), Column("Looks", "a run"))
    note = "Medians over the looks of a run; with several seeds their mean and its 95 % interval (Student's t)."
    return Table(columns, tuple(rows), note)


def _spans(finding: Mapping[str, Any]) -> dict[str, str]:
    early = finding["early_steps"]
    return {"all": SPANS["all"]} | ({"early": SPANS["early"].format(early)} if early else {})


def _over(finding: Mapping[str, Any]) -> str:
    if finding["seeds"] > 1:
        return f"95 % intervals over {finding['seeds']} seeds (Student's t)."
    return "One seed: there is no interval and no verdict."


def _estimate(table: Mapping[str, Any] | None) -> Cell:
    if table is None:
        return Cell("not finite")
    value = Estimate.from_json(table)
    if value.low is None or value.high is None or value.interval != "t":  # older findings: over blocks of steps
        return Cell(plain(value.mean))
    return Cell(plain(value.mean), f"{plain(value.low)} to {plain(value.high)}")


def _ratio(table: Mapping[str, Any] | None, finding: Mapping[str, Any]) -> Cell:
    if table is None:
        return Cell("unknown")
    known = table["low"] is not None and finding["seeds"] > 1
    return Cell(f"{table['ratio']:.2f}", f"{table['low']:.2f} to {table['high']:.2f}" if known else "")

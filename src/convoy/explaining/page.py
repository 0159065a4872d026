"""The page of a trained network: explain.html, with explain.json and explain.npz next to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np

from convoy.explaining import figures, words
from convoy.explaining.pictures import over_image, side_by_side, signed
from convoy.explaining.result import EXPLANATION, Arrays, ExplainedImage, Explanation
from convoy.files import write_arrays, write_json
from convoy.reporting import figures_images as images_
from convoy.reporting import render
from convoy.reporting.content import Block, Chart, Code, Gallery, Page, Panel, Prose, Section, Strip, Tile
from convoy.reporting.palette import Look
from convoy.reporting.tables import environment_table, properties_table
from convoy.run_contents import Environment
from convoy.text import gettext as _

FILTERS = 64
CHANNELS = 16  # shown maps of a layer


def write_explanation(explanation: Explanation, arrays: Arrays, environment: Environment, folder: Path) -> Path:
    """Writes explain.html, .md, .json and .npz, and figures/; returns the path of explain.html."""
    table = EXPLANATION.dump_python(explanation, mode="json")
    write_json(folder / "explain.json", {**table, "environment": asdict(environment)})
    write_arrays(folder / "explain.npz", _stored(explanation, arrays))
    return render.write(explanation_page(explanation, arrays, environment), folder, "explain")


def _stored(explanation: Explanation, arrays: Arrays) -> dict[str, np.ndarray]:
    names = ("images", "image_of", "attributions", "cams", "index", "labels", "predicted", "components", "tsne")
    return {name: getattr(arrays, name) for name in names}


def overview(explanation: Explanation) -> Page:
    """Returns the page without the sections that need the arrays."""
    return Page(
        kicker=_("Explanation"),
        title=_("{label} on {data}", label=explanation.label, data=explanation.data),
        sentence=words.sentence(explanation),
        caveats=tuple(words.caveats(explanation)),
        tables=(),
        sections=(Section(_("Layers"), (words.layers_table(explanation),)),),
        labels=(explanation.label,),
    )


def explanation_page(explanation: Explanation, arrays: Arrays, environment: Environment) -> Page:
    page = overview(explanation)
    sections = (
        Section(_("Attribution maps"), tuple(_attributions(explanation, arrays))),
        Section(_("Filters and feature maps"), tuple(_maps(explanation, arrays))),
        Section(_("Layers"), (*_layer_charts(explanation), words.layers_table(explanation))),
        Section(_("Map of the images"), tuple(_map(explanation, arrays))),
        Section(_("Most confused pairs"), tuple(_confused(explanation, arrays))),
        Section(_("How it was made"), tuple(_origin(explanation, environment))),
    )
    return Page(
        kicker=_("Explanation · {run} · {date}", run=explanation.run, date=environment.date[:10]),
        title=page.title,
        sentence=page.sentence,
        caveats=page.caveats,
        tables=(),
        sections=tuple(section for section in sections if section.blocks),
        labels=page.labels,
    )


def _attributions(explanation: Explanation, arrays: Arrays) -> Iterator[Block]:
    tiles: dict[bool, list[Tile]] = {True: [], False: []}
    for place, image in enumerate(explanation.examples):
        tiles[image.is_mistake].append(_explained_tile(explanation, arrays, place, image))
    if tiles[True]:
        caption = words.attribution_caption(explanation, mistakes=True)
        yield Gallery("mistakes", _("Confident mistakes"), (Strip("", tuple(tiles[True])),), caption)
    yield Prose(words.completeness(explanation))
    if tiles[False]:
        is_part = explanation.examples[0].index is not None
        title = _("Correct predictions") if is_part else _("Images")
        caption = words.attribution_caption(explanation, mistakes=False)
        yield Gallery("examples", title, (Strip("", tuple(tiles[False])),), caption)
    yield words.attribution_table(explanation)


def _explained_tile(explanation: Explanation, arrays: Arrays, place: int, image: ExplainedImage) -> Tile:
    """Returns the image next to Grad-CAM and integrated gradients for each of its classes."""
    picture = arrays.images[place]
    pictures = [picture]
    for row in np.flatnonzero(arrays.image_of == place):
        if arrays.cams.size:
            pictures.append(over_image(picture, arrays.cams[row]))
        pictures.append(signed(arrays.attributions[row].sum(axis=0)))
    percent = f"{100 * image.predicted.probability:.0f} %"
    name = words.name_of(image, explanation)
    alt = _("{image}: predicted {name}, confidence {percent}", image=name, name=image.predicted.name, percent=percent)
    true_class = image.true_class if image.is_mistake else ""
    return Tile(side_by_side(pictures), image.predicted.name, percent, true_class, alt)


def _maps(explanation: Explanation, arrays: Arrays) -> Iterator[Block]:
    filters = arrays.filters
    if filters is not None:
        caption = _(
            "Weights of the first convolution, {shown} of {n} filters of {height} × {width}. Grey: 0; white and black: "
            "plus and minus the largest absolute weight of the filter.",
            shown=min(FILTERS, len(filters)), n=len(filters), height=filters.shape[2], width=filters.shape[3],
        )  # fmt: skip
        yield Gallery(
            "filters", _("First-layer filters"), (Strip("", images_.filter_tiles(filters, FILTERS)),), caption
        )
    for number, (layer, maps) in enumerate(arrays.maps.items(), start=1):
        channels = maps.shape[1]
        chosen = np.sort(np.argsort(-np.abs(maps).mean(axis=(0, 2, 3)), kind="stable")[:CHANNELS])
        strips = []
        for image, own in zip(arrays.maps_of.tolist(), maps[:, chosen], strict=True):
            largest = float(np.abs(own).max())
            tiles = [Tile(arrays.images[image], alt=words.name_of(explanation.examples[image], explanation))]
            for channel, values in zip(chosen.tolist(), own, strict=True):
                tiles.append(Tile(signed(values, largest), alt=_("channel {number}", number=channel)))
            strips.append(Strip(_maps_title(explanation.examples[image]), tuple(tiles)))
        caption = words.maps_caption(explanation, layer, len(chosen), channels)
        yield Gallery(f"maps-{number}", _("Maps of {layer}", layer=layer), tuple(strips), caption)


def _maps_title(image: ExplainedImage) -> str:
    if image.is_mistake:
        return _("{true}, predicted {name}", true=image.true_class, name=image.predicted.name)
    return image.predicted.name


def _layer_charts(explanation: Explanation) -> tuple[Block, ...]:
    numbers = figures.layer_numbers(explanation.layers)
    panels = [Panel(_("Zeros and dead units"), partial(figures.draw_zeros, numbers=numbers), height=2.8)]
    if len(numbers.gradients):
        draw = partial(figures.draw_gradients, numbers=numbers)
        panels.append(Panel(_("Gradient relative to the weights"), draw, height=2.8))
    caption = _(
        "Layers in the order of a forward pass; the next table names them. Bars: outputs that are 0; crosses: dead "
        "units."
    )
    return (Chart("layers", _("Layers in order"), tuple(panels), caption),)


def _map(explanation: Explanation, arrays: Arrays) -> Iterator[Block]:
    summary = explanation.map
    if summary is None:
        return
    components, tsne = (figures.map_numbers(explanation, arrays, each) for each in (arrays.components, arrays.tsne))
    look = Look(components.classes)
    first, second = (_("{percent:.1f} % of the variance", percent=100 * share) for share in summary.explained)
    axes = ((_("first component, {share}", share=first), _("second component, {share}", share=second)), None)
    panels = tuple(
        Panel(title, partial(figures.draw_map, numbers=numbers, look=look, labels=labels), height=4.4, left=0.45)
        for title, numbers, labels in zip(
            (_("Principal components"), _("t-SNE")), (components, tsne), axes, strict=True
        )
    )
    caption = words.map_caption(explanation, summary, len(components.classes), rings=components.has_rings)
    yield Chart("map", _("Images by their features"), panels, caption, legend=components.classes, look=look)


def _confused(explanation: Explanation, arrays: Arrays) -> Iterator[Block]:
    strips = []
    for pair, images, confidence in zip(
        explanation.confused, arrays.confused_images, arrays.confused_confidence, strict=True
    ):
        tiles = tuple(
            Tile(image, pair.predicted, f"{100 * share:.0f} %", pair.true, alt=f"{pair.true} → {pair.predicted}")
            for image, share in zip(images, confidence.tolist(), strict=True)
        )
        strips.append(Strip(words.confused_title(pair.true, pair.predicted, pair.images, pair.of), tiles))
    if strips:
        caption = _("For each pair, up to {n} images, the most confident first.", n=max(len(s.tiles) for s in strips))
        yield Gallery("confused", _("Images of the most confused pairs"), tuple(strips), caption)


def _origin(explanation: Explanation, environment: Environment) -> Iterator[Block]:
    yield properties_table(_("Definitions"), words.definitions(explanation))
    yield environment_table([environment])
    yield Code(environment.command, _("Command"))

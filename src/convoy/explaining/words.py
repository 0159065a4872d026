"""Sentences, captions and tables of an explanation, for the page and the console."""

from __future__ import annotations

from collections.abc import Iterator

from convoy.explaining.result import Attribution, ExplainedImage, Explanation, LayerStatistics, MapSummary
from convoy.reporting.content import Cell, Field, Table, TextField, table_of
from convoy.run_contents import part_name
from convoy.text import gettext as _
from convoy.text import ngettext
from convoy.text.lists import listed
from convoy.text.numbers import fixed, plain

MANY_ROWS = 24  # longer tables are collapsed
LARGE_ERROR = 0.05  # completeness error as a fraction of the change of the output


def sentence(explanation: Explanation) -> str:
    """Describes the most confused pair and the dead units."""
    part, n = part_name(explanation.part), explanation.images_of_part
    if explanation.confused:
        pair = explanation.confused[0]
        first = _(
            "{label} classifies {correct:,} of {n:,} {part} images correctly; its most frequent mistake is to predict "
            "{predicted} for {true} ({images:,} of {of:,})",
            label=explanation.label, correct=explanation.correct, n=n, part=part,
            predicted=pair.predicted, true=pair.true, images=pair.images, of=pair.of,
        )  # fmt: skip
    else:
        first = _("{label} classifies all {n:,} {part} images correctly", label=explanation.label, n=n, part=part)
    dead, units = (sum(getattr(layer, name) for layer in explanation.layers) for name in ("dead_units", "units"))
    second = ngettext(
        "{n:,} of its {units:,} units is dead", "{n:,} of its {units:,} units are dead", dead, units=units
    )
    return f"{first}; {second}"


def caveats(explanation: Explanation) -> Iterator[str]:
    yield from explanation.flags
    if explanation.cam_layer is None:
        yield _("No convolution has feature maps larger than one pixel, so there are no class activation maps")
    elif explanation.cam_is_early:
        yield _(
            "The first convolution, {layer}, is the last layer with feature maps, so the class activation "
            "maps show only what small patches contribute",
            layer=explanation.cam_layer,
        )
    if explanation.map is None:
        yield _("No map of the images: it needs at least ten images with different features")
    inexact = [each for image in explanation.examples for each in image.attributions if is_inexact(each)]
    if inexact:
        yield ngettext(
            "The integrated gradients of {n} pair of image and class add up to the change of the output with an "
            "error of more than {percent:.0f} %: use more --steps",
            "The integrated gradients of {n} pairs of image and class add up to the change of the output with an error "
            "of more than {percent:.0f} %: use more --steps",
            len(inexact),
            percent=100 * LARGE_ERROR,
        )


def is_inexact(attribution: Attribution) -> bool:
    return abs(attribution.error) > LARGE_ERROR * max(1.0, abs(attribution.change))


def name_of(image: ExplainedImage, explanation: Explanation) -> str:
    if image.index is None:
        return image.source
    return _("{part} image {number}", part=part_name(explanation.part), number=image.index)


def attribution_caption(explanation: Explanation, *, mistakes: bool) -> str:
    pictures = (
        _(
            "From left: the image; Grad-CAM and integrated gradients for the predicted class; the same for the true "
            "class, named below."
        )
        if mistakes
        else _("From left: the image, Grad-CAM and integrated gradients for the predicted class.")
        if explanation.cam_layer
        else _("From left: the image; integrated gradients for the predicted class.")
    )
    if mistakes and not explanation.cam_layer:
        pictures = _(
            "From left: the image; integrated gradients for the predicted class, then for the true class, named below."
        )
    cam = _("Yellow: Grad-CAM at {layer}.", layer=explanation.cam_layer) if explanation.cam_layer else ""
    gradients = _(
        "Blue pixels raise the output of the class, orange ones lower it. Each picture has its own scale. Percentages: "
        "softmax of the outputs."
    )
    return " ".join(filter(None, [pictures, cam, gradients]))


def attribution_table(explanation: Explanation) -> Table:
    rows = [(image, each) for image in explanation.examples for each in image.attributions]
    fields: list[Field[tuple[ExplainedImage, Attribution]]] = [
        TextField(_("Image"), lambda row: name_of(row[0], explanation)),
        TextField(_("Class"), lambda row: Cell(row[1].name, _("true") if row[1] is not row[0].predicted else "")),
        Field(_("Probability"), lambda row: f"{100 * row[1].probability:.2f}", "%"),
        Field(_("Output"), lambda row: fixed(row[1].output, 3)),
        Field(_("Change of the output"), lambda row: fixed(row[1].change, 3), _("from black")),
        Field(_("Sum of the attributions"), lambda row: fixed(row[1].total, 3)),
        Field(_("Error"), lambda row: fixed(row[1].error, 3, signed=True)),
    ]
    note = _(
        "Change: output for the image minus output for a black image. The attributions of an image add up to it, "
        "except for the error of the integral over {steps} points.",
        steps=explanation.steps,
    )
    collapsed = _("All {n} attributions", n=len(rows))
    return table_of(fields, rows, note, _("Completeness of the integrated gradients"), collapsed)


def completeness(explanation: Explanation) -> str:
    changes = [abs(each.change) for image in explanation.examples for each in image.attributions]
    return _(
        "For {n} pairs of image and class, the sum of the attributions equals the difference between the outputs for "
        "the image and for a black image, with an error of at most {error}. The largest difference is {change}.",
        n=len(changes),
        error=plain(explanation.largest_error),
        change=plain(max(changes)),
    )


def layers_table(explanation: Explanation) -> Table:
    def norm(value: float | None) -> str:
        return "" if value is None else plain(value)

    fields: list[Field[tuple[int, LayerStatistics]]] = [
        Field(_("No."), lambda row: str(row[0])),
        TextField(_("Layer"), lambda row: row[1].name),
        TextField(_("Kind"), lambda row: row[1].kind),
        Field(_("Output"), lambda row: "×".join(map(str, row[1].output))),
        Field(_("Mean"), lambda row: fixed(row[1].mean, 3)),
        Field(_("Sd"), lambda row: fixed(row[1].sd, 3)),
        Field(_("Zeros"), lambda row: f"{100 * row[1].zeros:.1f}", "%"),
        Field(_("Dead"), lambda row: Cell(f"{row[1].dead_units:,}", _("of {n:,}", n=row[1].units)), _("units")),
        Field(_("Gradient"), lambda row: norm(row[1].gradient_norm), _("norm")),
        Field(_("Weights"), lambda row: norm(row[1].weight_norm), _("norm")),
    ]
    n = len(explanation.layers)
    return table_of(
        fields,
        enumerate(explanation.layers, start=1),
        layers_note(explanation),
        collapsed_title=_("All {n} layers", n=n) if n > MANY_ROWS else "",
    )


def layers_note(explanation: Explanation) -> str:
    return _(
        "Outputs for {images:,} {part} images. A unit is a channel of a convolution or an output of a linear layer; it "
        "is dead if its output is the same for all images. Gradient: norm of the gradient of the loss over {batch} "
        "training images, in evaluation mode, with respect to the layer's parameters.",
        images=explanation.images,
        part=part_name(explanation.part),
        batch=explanation.gradient_images,
    )


def maps_caption(explanation: Explanation, layer: str, shown: int, channels: int) -> str:
    limit = (
        _("The {shown} of {n} channels with the largest values.", shown=shown, n=channels)
        if shown < channels
        else _("All {n} channels.", n=channels)
    )
    return " ".join(
        [
            _("First the image, then the feature maps of {layer}.", layer=layer),
            limit,
            _("Blue: positive; orange: negative; white: 0. All maps of an image share one scale."),
        ]
    )


def map_caption(explanation: Explanation, summary: MapSummary, classes: int, *, rings: bool) -> str:
    mistakes = (
        _("rings: {n:,} mistakes", n=summary.mistakes) if rings else _("open marks: {n:,} mistakes", n=summary.mistakes)
    )
    texts = [
        _(
            "{n:,} {part} images, positioned by their {features:,} inputs to {layer}, the last layer. Colour and "
            "mark: true class; {mistakes}.",
            n=explanation.images,
            part=part_name(explanation.part),
            features=summary.features,
            layer=summary.layer,
            mistakes=mistakes,
        ),
        _(
            "Left: principal components. Right: t-SNE (perplexity {perplexity:.0f}, seed {seed}), which "
            "preserves neighbourhoods; the distances between clusters have no meaning.",
            perplexity=summary.perplexity,
            seed=explanation.seed,
        ),
    ]
    if classes < len(explanation.classes):
        texts.append(_("Grey: classes with fewer mistakes."))
    return " ".join(texts)


def confused_title(true: str, predicted: str, images: int, of: int) -> str:
    return _("{true} as {predicted}: {images:,} of {of:,}", true=true, predicted=predicted, images=images, of=of)


def definitions(explanation: Explanation) -> list[tuple[str, str]]:
    summary = explanation.map
    return [
        (
            _("Grad-CAM"),
            _(
                "Selvaraju et al. 2017, at {layer}: the channels of the layer, weighted by the mean gradient of the "
                "class's output; negative values are set to 0; enlarged by bilinear interpolation",
                layer=explanation.cam_layer,
            )
            if explanation.cam_layer
            else "",
        ),
        (
            _("Integrated gradients"),
            _(
                "Sundararajan et al. 2017, from a black image, Gauss-Legendre quadrature with {steps} points; the sum "
                "over the colours of a pixel",
                steps=explanation.steps,
            ),
        ),
        (
            _("Map"),
            _(
                "principal components explain {first:.1f} and {second:.1f} % of the variance; t-SNE of the first 30 "
                "(van der Maaten and Hinton 2008), Kullback-Leibler divergence {divergence:.3f}",
                first=100 * summary.explained[0],
                second=100 * summary.explained[1],
                divergence=summary.divergence,
            )
            if summary
            else "",
        ),
        (_("Layers with maps"), listed(explanation.map_layers)),
        (
            _("Test set"),
            _("images with stored predictions; nothing is scored again, so this does not count as an opening")
            if explanation.part == "test"
            else "",
        ),
    ]

"""Calibration in reports: the section of a run, and the table of several models."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes

from convoy.evaluation import calibration as numbers_of
from convoy.evaluation.calibration import Bin, Calibration, PartCalibration
from convoy.reporting.content import Cell, Chart, Field, Panel, Prose, Section, Table, TextField, table_of
from convoy.reporting.palette import INK, MODELS, MUTED, PAPER
from convoy.reporting.reading import Groups, RunView, with_score
from convoy.run_contents import part_name
from convoy.stats import Estimate, t_interval
from convoy.text import gettext as _
from convoy.text.labels import label_text
from convoy.text.numbers import fixed

OUTPUTS, SCALED = MODELS[0][0], MODELS[1][0]


class Reliability(NamedTuple):
    """The bins of a run, with and without temperature scaling."""

    raw: tuple[Bin, ...]
    scaled: tuple[Bin, ...]  # empty without a temperature

    @property
    def series(self) -> list[tuple[tuple[Bin, ...], str, str, float]]:
        """Bins with their colour, mark and horizontal offset (in bins)."""
        both = [(self.raw, OUTPUTS, "o", -0.12), (self.scaled, SCALED, "s", 0.12)]
        return [series for series in both if series[0]]


def run_section(view: RunView, part: str) -> Section | None:
    """The calibration of one run; None without stored outputs of the part."""
    result = numbers_of.of_run(view.run, part)
    if result is None:
        excluded = excluded_of([view], part)
        return Section(_("Calibration"), (Prose(" ".join(excluded)),)) if excluded else None
    reliability = Reliability(result.raw.bins, result.scaled.bins if result.scaled else ())
    panels = (
        Panel(_("Reliability"), partial(draw_reliability, numbers=reliability), height=3.2),
        Panel(_("Accuracy − confidence"), partial(draw_gaps, numbers=reliability), height=3.2),
    )
    chart = Chart("calibration", _("Reliability diagram"), panels, reliability_caption(reliability))
    return Section(_("Calibration"), (Prose(_("{sentence}.", sentence=sentence(result))), chart, table(result)))


def sentence(found: PartCalibration) -> str:
    """States whether the confidence matches the accuracy, and the effect of temperature scaling."""
    raw = found.raw
    if raw.n < numbers_of.MIN_IMAGES:
        return _(
            "Too few {part} images to assess the calibration: {n}, expected {least} or more",
            part=part_name(found.part),
            n=raw.n,
            least=numbers_of.MIN_IMAGES,
        )
    confidence, accuracy = f"{100 * raw.confidence:.2f}", f"{100 * raw.accuracy:.2f}"
    ece, part = f"{100 * raw.ece.mean:.2f}", part_name(found.part)
    if not raw.is_distinguishable:
        text = _(
            "On the {part} images, the mean confidence is {confidence} % and the accuracy {accuracy} %: "
                "with an ECE of {ece} % over {n:,} images, the network cannot be distinguished from a "
                "calibrated one",
            n=raw.n,
            confidence=confidence, accuracy=accuracy, ece=ece, part=part,
        )  # fmt: skip
    elif raw.confidence > raw.accuracy:
        text = _(
            "On the {part} images, the network is overconfident: the mean confidence is {confidence} %, "
                "the accuracy {accuracy} %, the ECE {ece} %",
            confidence=confidence, accuracy=accuracy, ece=ece, part=part,
        )  # fmt: skip
    else:
        text = _(
            "On the {part} images, the network is underconfident: the mean confidence is {confidence} %, "
                "the accuracy {accuracy} %, the ECE {ece} %",
            confidence=confidence, accuracy=accuracy, ece=ece, part=part,
        )  # fmt: skip
    if found.scaled is None or found.temperature is None:
        return text
    return _(
        "{text}; after temperature scaling (temperature {temperature}), the ECE is {scaled} %",
        text=text,
        temperature=f"{found.temperature.value:.3f}",
        scaled=f"{100 * found.scaled.ece.mean:.2f}",
    )


def excluded_of(views: Sequence[RunView], part: str) -> list[str]:
    """A sentence for each run with outputs that are not finite."""
    counts = [(view.run.name, *numbers_of.without_probabilities(view.run, part)) for view in views]
    return [excluded_images(name, part, count, images) for name, count, images in counts if count]


def excluded_images(name: str, part: str, count: int, images: int) -> str:
    if count == images:
        return _(
            "{name}: no calibration, because none of the {n:,} {part} images has finite outputs.",
            name=name,
            n=images,
            part=part_name(part),
        )
    return _(
        "{name}: the calibration leaves out {count:,} of the {n:,} images of the {part} set, because their "
        "outputs are not finite.",
        name=name,
        count=count,
        n=images,
        part=part_name(part),
    )


def table(found: PartCalibration) -> Table:
    rows = [(_("as trained"), found.raw)]
    if found.temperature is not None and found.scaled is not None:
        rows.append((_("temperature {value}", value=f"{found.temperature.value:.3f}"), found.scaled))
    fields: list[Field[tuple[str, Calibration]]] = [
        TextField(_("Outputs"), lambda row: row[0]),
        Field(_("ECE"), lambda row: Cell(*row[1].ece.parts(scale=100)), "%"),
        Field(_("ECE if calibrated"), lambda row: f"< {100 * row[1].chance_ece:.2f}", "%"),
        Field(_("Brier score"), lambda row: Cell(*row[1].brier.parts(digits=4))),
        Field(_("NLL"), lambda row: Cell(*row[1].nll.parts(digits=4)), _("nats")),
        Field(_("Mean confidence"), lambda row: f"{100 * row[1].confidence:.2f}", "%"),
        Field(_("Accuracy"), lambda row: f"{100 * row[1].accuracy:.2f}", "%"),
    ]
    return table_of(fields, rows, notes(found), _("Calibration errors"))


def notes(found: PartCalibration) -> str:
    raw, temperature = found.raw, found.temperature
    sentences = [
        _(
            "Images: {n:,} ({part}). ECE: {bins} bins with equal numbers of images. Ranges: 95 % bootstrap "
            "intervals over images ({resamples:,} resamples). ECE if calibrated: 95th percentile of the "
            "ECE of a perfectly calibrated network. Brier score: summed over the classes, 0 to 2.",
            n=raw.n,
            part=part_name(found.part),
            bins=len(raw.bins),
            resamples=numbers_of.RESAMPLES,
        )
    ]
    if raw.has_softmax:
        sentences.append(
            _("The network ends in a softmax: its outputs are probabilities, and a probability of 0 counts as 1.4e-45.")
        )
    if raw.excluded:
        sentences.append(_("Without {n:,} images with non-finite outputs.", n=raw.excluded))
    if temperature is not None:
        sentences.append(_("The temperature was fitted on the {n:,} images of the validation set.", n=temperature.n))
        if found.scaled is None:
            sentences.append(
                _(
                    "It is {value}; the scores with it are not shown, because no other set was scored.",
                    value=f"{temperature.value:.3f}",
                )
            )
    else:
        sentences.append(_("No temperature: fitting it needs a validation set on which the network makes errors."))
    return " ".join(sentences)


def draw_reliability(axes: Axes, numbers: Reliability) -> None:
    lowest = min(min(each.confidence, each.accuracy.span[0]) for bins, *_others in numbers.series for each in bins)
    low = max(0.0, 10 * math.floor(10 * lowest))
    axes.plot((low, 100), (low, 100), color=MUTED, linewidth=1)
    for bins, colour, mark, _offset in numbers.series:
        xs = [100 * each.confidence for each in bins]
        axes.vlines(xs, *_ends([each.accuracy for each in bins]), color=colour, alpha=0.45, linewidth=2)
        axes.plot(
            xs, [100 * each.accuracy.mean for each in bins], mark, color=colour, markersize=5, clip_on=False,
            markerfacecolor=colour if mark == "o" else PAPER,
        )  # fmt: skip
    axes.set_xlim(low, 100)
    axes.set_ylim(low, 100)
    axes.set_xlabel(_("confidence (%)"))
    axes.set_ylabel(_("accuracy (%)"))


def draw_gaps(axes: Axes, numbers: Reliability) -> None:
    """Draws accuracy minus confidence by bin, because in a reliability diagram of an accurate network all bins
    overlap."""
    axes.axhline(0, color=INK, linewidth=1)
    for bins, colour, mark, offset in numbers.series:
        xs = np.arange(1, len(bins) + 1) + offset
        shift = np.array([100 * each.confidence for each in bins])
        lows, highs = _ends([each.accuracy for each in bins])
        axes.vlines(xs, lows - shift, highs - shift, color=colour, alpha=0.45, linewidth=2)
        gaps = [100 * each.accuracy.mean for each in bins] - shift
        axes.plot(xs, gaps, mark, color=colour, markersize=5, markerfacecolor=colour if mark == "o" else PAPER)
    count = len(numbers.raw)
    axes.set_xlim(0.4, count + 0.6)
    axes.set_xticks(range(1, count + 1, 2))
    axes.set_xlabel(_("bin, from the lowest to the highest confidence"))
    axes.set_ylabel(_("points"))


def _ends(accuracies: Sequence[Estimate]) -> np.ndarray:
    """Ends of the intervals in percent, [2, bins]."""
    return 100 * np.array([each.span for each in accuracies]).T


def reliability_caption(numbers: Reliability) -> str:
    sentences = [_("Blue circles: outputs as trained.")]
    sentences += [_("Hollow squares: with temperature scaling.")] if numbers.scaled else []
    sentences.append(
        _(
            "{n} bins by confidence, with equal numbers of images. Vertical lines: 95 % intervals "
            "(Wilson). Below the diagonal, and below 0: overconfident.",
            n=len(numbers.raw),
        )
    )
    return " ".join(sentences)


class ModelCalibration(NamedTuple):
    """Means over the seeds of a model."""

    label: str
    ece: Estimate
    brier: Estimate
    nll: Estimate
    temperature: Estimate | None
    scaled_ece: Estimate | None


def models_section(groups: Groups, part: str) -> Section | None:
    """The calibration of several models, as means over seeds; None if no run has outputs of the part."""

    def cell(value: Estimate, scale: float, digits: int) -> Cell:
        return Cell(*value.parts(scale=scale, digits=digits))

    first: TextField[ModelCalibration] = TextField(_("Model"), lambda row: Cell(label_text(row.label), model=row.label))
    return _section(groups, part, first, cell, _("±: half the 95 % interval over seeds."))


def spread_section(groups: Groups, part: str, name: str) -> Section | None:
    """Like `models_section`, with standard deviations: for runs that are not independent, or vary in one source only.

    `name`: the title of the first column.
    """

    def cell(value: Estimate, scale: float, digits: int) -> Cell:
        return Cell(fixed(value.mean * scale, digits), "" if value.sd is None else fixed(value.sd * scale, digits))

    first: TextField[ModelCalibration] = TextField(name, lambda row: label_text(row.label))
    return _section(groups, part, first, cell, _("After each mean: the standard deviation over the runs."))


def _section(
    groups: Groups,
    part: str,
    first: TextField[ModelCalibration],
    cell: Callable[[Estimate, float, int], Cell],
    spread: str,
) -> Section | None:
    groups = with_score(groups, part)
    rows = [row for label, group in groups.items() if (row := model_calibration(label, group, part))]
    excluded = list(dict.fromkeys(each for group in groups.values() for each in excluded_of(group, part)))
    if not rows:
        return Section(_("Calibration"), (Prose(" ".join(excluded)),)) if excluded else None

    def column(value: Estimate | None, scale: float, digits: int) -> Cell:
        return Cell("") if value is None else cell(value, scale, digits)

    has_scaled = any(row.scaled_ece for row in rows)
    fields: list[Field[ModelCalibration]] = [
        first,
        Field(_("ECE"), lambda row: column(row.ece, 100, 2), "%"),
        Field(_("Brier score"), lambda row: column(row.brier, 1, 4)),
        Field(_("NLL"), lambda row: column(row.nll, 1, 4), _("nats")),
        *((Field(_("Temperature"), lambda row: column(row.temperature, 1, 3)),) if has_scaled else ()),
        *((Field(_("ECE after scaling"), lambda row: column(row.scaled_ece, 100, 2), "%"),) if has_scaled else ()),
        Field("n", lambda row: str(row.ece.n), _("runs")),
    ]
    note = _(
        "Computed on the {part} images. ECE: {bins} bins with equal numbers of images. {spread} Brier "
        "score: summed over the classes, 0 to 2. The temperatures were fitted on the validation set.",
        part=part_name(part),
        bins=numbers_of.BINS,
        spread=spread,
    )
    return Section(_("Calibration"), (table_of(fields, rows, " ".join([note, *excluded])),))


def model_calibration(label: str, group: Sequence[RunView], part: str) -> ModelCalibration | None:
    results = [each for view in group if (each := numbers_of.points_of_run(view.run, part))]
    if not results:
        return None
    temperatures = [each.temperature for each in results if each.temperature is not None]
    scaled = [each.scaled_ece for each in results if each.scaled_ece is not None]
    return ModelCalibration(
        label,
        t_interval([each.ece for each in results]),
        t_interval([each.brier for each in results]),
        t_interval([each.nll for each in results]),
        t_interval(temperatures) if temperatures else None,
        t_interval(scaled) if scaled else None,
    )

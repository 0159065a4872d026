"""The accuracy on corrupted images in reports and on the console."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

from matplotlib.axes import Axes

from convoy.evaluation import robustness
from convoy.evaluation.robustness import Robustness
from convoy.reporting.content import Cell, Chart, Field, Panel, Prose, Section, Table, TextField, table_of
from convoy.reporting.palette import INK, MODELS
from convoy.reporting.reading import Groups, RunView
from convoy.stats import Estimate, t_interval
from convoy.text import gettext as _
from convoy.text import ngettext
from convoy.text.labels import label_text
from convoy.text.lists import clauses, joined
from convoy.text.numbers import interval

ROW = 0.27  # inches
COLOUR = MODELS[0][0]


def run_section(view: RunView) -> Section | None:
    """The scores of a run on corrupted images; None if they were not computed."""
    result = robustness.of_run(view.run)
    if result is None:
        return None
    left = 0.3 + 0.085 * max(map(len, result.kinds))
    panel = Panel("", partial(draw, result=result), ROW * len(result.kinds) + 0.75, left=left, bottom=0.6, top=0.15)
    chart = Chart("corruptions", _("Accuracy on corrupted images"), (panel,), caption(result))
    scores = table(result, view.run.data.in_chans)
    return Section(_("Corruptions"), (Prose(_("{sentence}.", sentence=sentence(result))), chart, scores))


class ModelRobustness(NamedTuple):
    """Means over the seeds of a model that were tested with corruptions."""

    label: str
    error: Estimate
    clean: Estimate  # error without corruption
    hardest: str  # kind, of the first seed


def models_section(groups: Groups) -> Section | None:
    """The mean corruption errors of several models; None if no run was tested with corruptions."""
    stored = {
        label: [tested for view in group if (tested := robustness.of_run(view.run)) is not None]
        for label, group in groups.items()
    }
    images = Counter(_images_of(result) for found in stored.values() for result in found)
    if not images:
        return None
    most_common = max(images, key=lambda key: (images[key], key))
    results = {label: [each for each in found if _images_of(each) == most_common] for label, found in stored.items()}
    rows = [
        ModelRobustness(
            label,
            t_interval([each.mean_error.mean for each in found]),
            t_interval([1 - each.clean.mean for each in found]),
            found[0].hardest,
        )
        for label, found in results.items()
        if found
    ]
    fields: list[Field[ModelRobustness]] = [
        TextField(_("Model"), lambda row: Cell(label_text(row.label), model=row.label)),
        Field(_("Mean corruption error"), lambda row: Cell(*row.error.parts(scale=100)), "%"),
        Field(_("Error without corruption"), lambda row: Cell(*row.clean.parts(scale=100)), "%"),
        TextField(_("Hardest kind"), lambda row: row.hardest),
        Field(_("Seeds"), lambda row: str(row.error.n)),
    ]
    note = _("Runs that were tested with convoy test --corruptions. ±: half the 95 % interval over seeds.")
    if others := images.total() - images[most_common]:
        left_out = ngettext(
            "Left out: {n} result on other images or with earlier corruptions; test the run again.",
            "Left out: {n} results on other images or with earlier corruptions; test the runs again.",
            others,
        )
        note = f"{note} {left_out}"
    return Section(_("Corruptions"), (table_of(fields, rows, note),))


def _images_of(result: Robustness) -> tuple[int, int, str]:
    """Results with equal values have the same corrupted images, apart from the seed."""
    return result.revision, result.n, result.data


def sentence(result: Robustness) -> str:
    low, high = result.mean_error.span
    return _(
        "The mean corruption error is {error:.2f} % (95 % interval {interval} %; images of {data}: {n:,}); error "
        "without corruption {clean:.2f} %; hardest kind: {kind}",
        error=100 * result.mean_error.mean,
        n=result.n,
        data=result.data,
        interval=interval(100 * low, 100 * high, 2),
        clean=100 * (1 - result.clean.mean),
        kind=result.hardest,
    )


def lines(result: Robustness) -> Iterator[str]:
    """The accuracies in percent as text, one line per kind."""
    width = max(map(len, result.kinds))
    severities = [score.severity for score in result.of(result.kinds[0])]
    yield " ".join([" " * width, *(f"{severity:>6}" for severity in severities)])
    for kind in result.kinds:
        yield " ".join([f"{kind:<{width}}", *(f"{100 * score.accuracy.mean:6.2f}" for score in result.of(kind))])


def table(result: Robustness, channels: int) -> Table:
    severities = [score.severity for score in result.of(result.kinds[0])]

    def accuracy(kind: str, place: int) -> Cell:
        return Cell(*result.of(kind)[place].accuracy.parts(scale=100))

    fields: list[Field[str]] = [
        TextField(_("Corruption"), lambda kind: kind),
        *(
            Field(_("Severity {n}", n=severity), partial(accuracy, place=place), "%")
            for place, severity in enumerate(severities)
        ),
        Field(_("Mean error"), lambda kind: f"{100 * result.error_of(kind):.2f}", "%"),
    ]
    note = _(
        "Accuracy; ranges: 95 % intervals over the {n:,} images (Wilson). The mean corruption error is the mean over "
        "all cells, not relative to another network. Seed {seed}.",
        n=result.n,
        seed=result.seed,
    )
    if result.limit is not None:
        limit = _("Limited to {n:,} images.", n=result.limit)
        note = f"{note} {limit}"
    compared = _(
        "The images are similar to those of {published}, but not identical: compare results only with other results "
        "from Convoy. Differences: {differences}.",
        published="MNIST-C" if channels == 1 else "CIFAR-10-C",
        differences=clauses(
            _("{text} ({note})", text=joined(kinds), note=text) for kinds, text in differences(channels).items()
        ),
    )
    return table_of(fields, result.kinds, f"{note} {compared}", _("Accuracy by corruption and severity"))


def differences(channels: int) -> dict[tuple[str, ...], str]:
    """Returns how the corrupted images differ from the published ones, by the names of the kinds."""
    if channels == 1:
        return {
            ("stripe", "canny_edges"): _("published with only one severity, about severity 3 here"),
            ("dotted_line", "zigzag"): _("published with only one severity, about severity 1 here"),
            ("glass_blur",): _("blurred along both axes instead of one"),
            ("motion_blur",): _("directions in steps of 3 degrees"),
            ("fog",): _("octaves of noise over the image instead of a crop of a larger fractal"),
        }
    return {
        ("motion_blur", "snow"): _("directions in steps of 3 degrees"),
        ("fog",): _("octaves of noise instead of a diamond-square fractal"),
        ("frost",): _("generated crystals instead of crops of six photographs"),
        ("jpeg_compression",): _("blocks quantised without writing a file; colours upsampled without smoothing"),
    }


def draw(axes: Axes, result: Robustness) -> None:
    """One row per kind, the hardest last; a mark per severity, darker for a higher one."""
    kinds = sorted(result.kinds, key=result.error_of)
    axes.axvline(100 * result.clean.mean, color=INK, linewidth=1)
    for row, kind in enumerate(kinds):
        for score in result.of(kind):
            accuracy, alpha = score.accuracy, 0.2 + 0.16 * score.severity
            ends = [100 * end for end in accuracy.span]
            axes.plot(ends, (row, row), color=COLOUR, alpha=0.3, linewidth=6, solid_capstyle="butt")
            axes.plot(
                100 * accuracy.mean, row, "o", color=COLOUR, alpha=alpha, markersize=2.5 + score.severity,
                markeredgewidth=0, clip_on=False,
            )  # fmt: skip
    axes.set_yticks(range(len(kinds)), kinds)
    axes.set_ylim(len(kinds) - 0.4, -0.6)
    axes.set_xlim(0, 100)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(_("accuracy (%)"))


def caption(result: Robustness) -> str:
    return _(
        "One mark per severity; larger and darker marks are more severe; bands: 95 % intervals (Wilson). "
        "Vertical line: accuracy without corruption, {clean:.2f} %.",
        clean=100 * result.clean.mean,
    )

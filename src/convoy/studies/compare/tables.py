"""The tables of a comparison: models, differences between them, effects of an ablation."""

from __future__ import annotations

from collections.abc import Sequence

from convoy.prediction import Verdict
from convoy.reporting.content import Cell, Column, Table
from convoy.reporting.quantities import MIB, cost_parts, p_value, plain, quartile_range
from convoy.reporting.reading import Groups, Reading, every
from convoy.reporting.tables import flops_cell, flops_note
from convoy.studies.compare.ablation import Ablation, Interaction
from convoy.studies.compare.finding import CompareFinding, Row
from convoy.studies.compare.pair import Pair

MANY_PAIRS = 12
OVER_SEEDS = (
    "n: seeds. ±: half-width of the 95 % interval over seeds (Student's t), which does not cover the choice of images."
)
OVER_IMAGES = "For n = 1, the range is the 95 % interval over images (Wilson)."
BOLD = (
    "Bold: significantly different from every other model ({}, Holm's correction, 5 % level). "
    "Nothing bold: no such model."
)
NO_BOLD = "No best model: this needs a common seed or, better, several."
REDUCED = "Fewer images: no best model."
QUARTILES = "Inference: median and quartiles of up to 50 passes of one image on one thread, averaged over seeds."
THREADS = "Runs trained in parallel had one thread each."
EFFECTS = (
    "Difference between two values, averaged over all combinations of the other keys and paired by seed. "
    "n: seeds. ±: half-width of the 95 % interval over seeds (Student's t). p: paired t test; corrected for all "
    "effects (Holm)."
)
AVERAGES = (
    "Averaged over all combinations of the other keys. Values of one key share their seeds, so their difference is "
    "known more precisely than these intervals suggest."
)
INTERACTIONS = (
    "If this is not zero, the effect of one key depends on the value of the other, and its average hides this."
)
TESTED = (Column("p"), Column("p, corrected"), Column("Verdict", numeric=False))


def models(finding: CompareFinding, groups: Groups) -> Table:
    """One row per model, highest mean first."""
    columns = (
        Column("Model", numeric=False),
        Column(finding.metric.capitalize(), "%"),
        Column("n", "seeds"),
        Column("Training", "s"),
        Column("Training speed", "images/s"),
        Column("Parameters"),
        Column("FLOPs", "per image"),
        Column("Inference", "ms/image"),
        Column("Peak memory", "MiB"),
    )
    over_images = {row.accuracy.over_images for row in finding.rows}
    note = [OVER_SEEDS] if False in over_images else []
    note += [OVER_IMAGES] if True in over_images else []
    if len(finding.rows) > 1:
        test = "exact McNemar test over the images" if finding.single_seeds else "paired t test over common seeds"
        note.append(REDUCED if finding.reduced else BOLD.format(test) if finding.tests else NO_BOLD)
    note += [QUARTILES] if any(row.cost.ms_per_image_quartiles for row in finding.rows) else []
    note += [THREADS] if len(every(groups)) > 1 else []
    note.append(flops_note(every(groups)))
    rows = tuple(_model(row, groups[row.label][0], best=row.label == finding.best) for row in finding.ranked)
    return Table(columns, rows, " ".join(note))


def _model(row: Row, reading: Reading, *, best: bool) -> tuple[Cell, ...]:
    cost = row.cost
    latency, interval = cost_parts(cost.ms_per_image)
    if cost.ms_per_image is not None and cost.ms_per_image_quartiles is not None:
        interval = quartile_range(cost.ms_per_image.mean, cost.ms_per_image_quartiles)
    return (
        Cell(row.label, bold=best, model=row.label),
        Cell(*row.accuracy.parts(scale=100), bold=best),
        Cell(str(len(row.seeds))),
        Cell(*cost_parts(cost.train_seconds)),
        Cell(*cost_parts(cost.images_per_second)),
        Cell("" if cost.parameters is None else f"{cost.parameters:,}"),
        flops_cell(cost.flops_per_image, reading),
        Cell(latency, interval),
        Cell("" if cost.peak_memory_bytes is None else plain(cost.peak_memory_bytes / MIB)),
    )


def pairs(finding: CompareFinding) -> Table:
    columns = (Column("Pair", numeric=False), Column("Difference", "points"), Column("n", "seeds"), *TESTED)
    note = "Paired t test over the common seeds of two models; p corrected for all pairs (Holm)."
    shown = sorted(finding.pairs, key=lambda pair: pair.p_holm or 0)
    if len(shown) > MANY_PAIRS:
        leader = finding.ranked[0].label
        note += f" Shown: pairs with {leader}; all {len(shown)} are in finding.json."
        shown = [pair for pair in shown if leader in (pair.a, pair.b)]
    rows = [
        (
            Cell(f"{pair.a} − {pair.b}"),
            Cell(*pair.difference.parts(scale=100)),
            Cell(str(pair.difference.n)),
            *_tested(pair, finding),
        )
        for pair in (pair.upwards() for pair in shown)
    ]
    return Table(columns, tuple(rows), note, "Differences between models")


def mcnemar(finding: CompareFinding) -> Table:
    """One row per pair and seed; the model with more correct images is first."""
    shown = sorted(finding.mcnemar, key=lambda test: test.p_holm or 0)
    several = len({test.seed for test in shown}) > 1
    note = (
        "Exact McNemar test of two networks trained with the same seed, on the same "
        f"{shown[0].difference.n:,} images{_for_all(len(shown), 'tests')}. Ranges: 95 % intervals over images (Bonett "
        "and Price). They do not cover other seeds."
    )
    if len(shown) > MANY_PAIRS:
        leader = finding.ranked[0].label
        note += f" Shown: pairs with {leader}; all {len(shown)} tests are in finding.json."
        shown = [test for test in shown if leader in (test.a, test.b)]
    columns = (
        Column("Pair", numeric=False),
        *([Column("Seed")] if several else []),
        Column("Correct", "first only"),
        Column("Correct", "second only"),
        Column("Difference", "points"),
        *TESTED,
    )
    rows = [
        (
            Cell(f"{test.a} − {test.b}"),
            *([Cell(str(test.seed))] if several else []),
            Cell(f"{test.only_a:,}"),
            Cell(f"{test.only_b:,}"),
            Cell(*test.difference.parts(scale=100)),
            *_tested(test, finding),
        )
        for test in (test.upwards() for test in shown)
    ]
    folded = f"All {len(rows)} tests" if len(rows) > MANY_PAIRS else ""
    return Table(columns, tuple(rows), note, "Differences on the same images", folded)


def _for_all(count: int, what: str) -> str:
    return f"; p corrected for all {count} {what} (Holm)" if count > 1 else ""


def effects(finding: CompareFinding, ablation: Ablation) -> Table:
    columns = (
        Column("Key", numeric=False),
        Column("Difference between", numeric=False),
        Column("Difference", "points"),
        Column("n", "seeds"),
        *TESTED,
    )
    rows = [
        (
            Cell(effect.key),
            Cell(f"{effect.a} − {effect.b}"),
            Cell(*effect.difference.parts(scale=100)),
            Cell(str(effect.difference.n)),
            *_tested(effect, finding),
        )
        for effect in (effect.upwards() for effect in ablation.effects)
    ]
    return Table(columns, tuple(rows), EFFECTS, "Effects")


def averages(finding: CompareFinding, ablation: Ablation) -> Table:
    columns = (Column("Key", numeric=False), Column("Value", numeric=False), Column(finding.metric.capitalize(), "%"))
    rows = tuple(
        (Cell(each.key), Cell(each.value), Cell(*each.accuracy.parts(scale=100))) for each in ablation.averages
    )
    return Table(columns, rows, AVERAGES, "Mean accuracy of each value")


def interactions(finding: CompareFinding, ablation: Ablation) -> Table:
    columns = (
        Column("Difference between", numeric=False),
        Column("Depends on", numeric=False),
        Column("Difference of differences", "points"),
        Column("n", "seeds"),
        *TESTED,
    )
    rows = [
        (
            Cell(f"{each.key}: {each.between[0]} − {each.between[1]}"),
            Cell(_depends_on(each)),
            Cell(*each.difference.parts(scale=100)),
            Cell(str(each.difference.n)),
            *_tested(each, finding),
        )
        for each in ablation.interactions
    ]
    significant = sum(each.significant for each in ablation.interactions)
    title = f"{len(rows)} interactions" + ("" if finding.reduced else f", {significant or 'none'} significant")
    return Table(columns, tuple(rows), INTERACTIONS, "Interactions", collapsed_title=title)


def _depends_on(each: Interaction) -> str:
    at_a, at_b = (f"{100 * effect:+.2f}" for effect in each.effects)
    return f"{each.other}: {at_a} at {each.a}, {at_b} at {each.b}"


def _tested(pair: Pair, finding: CompareFinding) -> Sequence[Cell]:
    """The cells of TESTED."""
    ps = ["" if p is None else p_value(p) for p in (pair.p, pair.p_holm)]
    if pair.p is None:
        verdict = "one seed"
    elif finding.reduced:
        verdict = "none (fewer images)"
    else:
        verdict = "significant" if pair.significant else Verdict.INCONCLUSIVE.value
    return *map(Cell, ps), Cell(verdict)

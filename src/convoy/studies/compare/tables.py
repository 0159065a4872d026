"""The tables of a comparison: models, differences between them, effects of an ablation."""

from __future__ import annotations

from typing import Any

from convoy.prediction import Verdict
from convoy.reporting.content import Cell, Field, Table, table_of
from convoy.reporting.quantities import MIB, cost_parts, p_value, plain, quartile_range
from convoy.reporting.reading import Groups, every
from convoy.reporting.tables import flops_cell, flops_note
from convoy.studies.compare.ablation import Ablation, Average, Effect, Interaction
from convoy.studies.compare.finding import CompareFinding, Row
from convoy.studies.compare.images import ImagePair
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


def models(finding: CompareFinding, groups: Groups) -> Table:
    """One row per model, highest mean first."""
    best = finding.best
    fields: list[Field[Row]] = [
        Field("Model", lambda row: Cell(row.label, bold=row.label == best, model=row.label), numeric=False),
        Field(
            finding.metric.capitalize(),
            lambda row: Cell(*row.accuracy.parts(scale=100), bold=row.label == best),
            "%",
        ),
        Field("n", lambda row: str(len(row.seeds)), "seeds"),
        Field("Training", lambda row: Cell(*cost_parts(row.cost.train_seconds)), "s"),
        Field("Training speed", lambda row: Cell(*cost_parts(row.cost.images_per_second)), "images/s"),
        Field("Parameters", lambda row: "" if row.cost.parameters is None else f"{row.cost.parameters:,}"),
        Field("FLOPs", lambda row: flops_cell(row.cost.flops_per_image, groups[row.label][0]), "per image"),
        Field("Inference", _latency, "ms/image"),
        Field("Peak memory", _peak_memory, "MiB"),
    ]
    over_images = {row.accuracy.over_images for row in finding.rows}
    note = [OVER_SEEDS] if False in over_images else []
    note += [OVER_IMAGES] if True in over_images else []
    if len(finding.rows) > 1:
        test = "exact McNemar test over the images" if finding.single_seeds else "paired t test over common seeds"
        note.append(REDUCED if finding.reduced else BOLD.format(test) if finding.tests else NO_BOLD)
    note += [QUARTILES] if any(row.cost.ms_per_image_quartiles for row in finding.rows) else []
    note += [THREADS] if len(every(groups)) > 1 else []
    note.append(flops_note(every(groups)))
    return table_of(fields, finding.ranked, " ".join(note))


def _latency(row: Row) -> Cell:
    cost = row.cost
    latency, interval = cost_parts(cost.ms_per_image)
    if cost.ms_per_image is not None and cost.ms_per_image_quartiles is not None:
        interval = quartile_range(cost.ms_per_image.mean, cost.ms_per_image_quartiles)
    return Cell(latency, interval)


def _peak_memory(row: Row) -> str:
    peak = row.cost.peak_memory_bytes
    return "" if peak is None else plain(peak / MIB)


def pairs(finding: CompareFinding) -> Table:
    note = "Paired t test over the common seeds of two models; p corrected for all pairs (Holm)."
    shown = sorted(finding.pairs, key=lambda pair: pair.p_holm or 0)
    if len(shown) > MANY_PAIRS:
        leader = finding.ranked[0].label
        note += f" Shown: pairs with {leader}; all {len(shown)} are in finding.json."
        shown = [pair for pair in shown if leader in (pair.a, pair.b)]
    fields: list[Field[Pair]] = [
        Field("Pair", lambda pair: f"{pair.a} − {pair.b}", numeric=False),
        *_difference(),
        *_tested(finding),
    ]
    return table_of(fields, [pair.upwards() for pair in shown], note, "Differences between models")


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
    fields: list[Field[ImagePair]] = [
        Field("Pair", lambda test: f"{test.a} − {test.b}", numeric=False),
        *([Field("Seed", lambda test: str(test.seed))] if several else []),
        Field("Correct", lambda test: f"{test.only_a:,}", "first only"),
        Field("Correct", lambda test: f"{test.only_b:,}", "second only"),
        _difference()[0],
        *_tested(finding),
    ]
    folded = f"All {len(shown)} tests" if len(shown) > MANY_PAIRS else ""
    return table_of(fields, [test.upwards() for test in shown], note, "Differences on the same images", folded)


def _for_all(count: int, what: str) -> str:
    return f"; p corrected for all {count} {what} (Holm)" if count > 1 else ""


def effects(finding: CompareFinding, ablation: Ablation) -> Table:
    fields: list[Field[Effect]] = [
        Field("Key", lambda effect: effect.key, numeric=False),
        Field("Difference between", lambda effect: f"{effect.a} − {effect.b}", numeric=False),
        *_difference(),
        *_tested(finding),
    ]
    return table_of(fields, [effect.upwards() for effect in ablation.effects], EFFECTS, "Effects")


def averages(finding: CompareFinding, ablation: Ablation) -> Table:
    fields: list[Field[Average]] = [
        Field("Key", lambda each: each.key, numeric=False),
        Field("Value", lambda each: each.value, numeric=False),
        Field(finding.metric.capitalize(), lambda each: Cell(*each.accuracy.parts(scale=100)), "%"),
    ]
    return table_of(fields, ablation.averages, AVERAGES, "Mean accuracy of each value")


def interactions(finding: CompareFinding, ablation: Ablation) -> Table:
    fields: list[Field[Interaction]] = [
        Field("Difference between", lambda each: f"{each.key}: {each.between[0]} − {each.between[1]}", numeric=False),
        Field("Depends on", _depends_on, numeric=False),
        *_difference("Difference of differences"),
        *_tested(finding),
    ]
    significant = sum(each.significant for each in ablation.interactions)
    title = f"{len(ablation.interactions)} interaction{'s' * (len(ablation.interactions) != 1)}"
    title += "" if finding.reduced else f", {significant or 'none'} significant"
    return table_of(fields, ablation.interactions, INTERACTIONS, "Interactions", title)


def _depends_on(each: Interaction) -> str:
    at_a, at_b = (f"{100 * effect:+.2f}" for effect in each.effects)
    return f"{each.other}: {at_a} at {each.a}, {at_b} at {each.b}"


def _difference(title: str = "Difference") -> list[Field[Any]]:
    return [
        Field(title, lambda pair: Cell(*pair.difference.parts(scale=100)), "points"),
        Field("n", lambda pair: str(pair.difference.n), "seeds"),
    ]


def _tested(finding: CompareFinding) -> list[Field[Any]]:
    def verdict(pair: Pair) -> str:
        if pair.p is None:
            return "one seed"
        if finding.reduced:
            return "none (fewer images)"
        return "significant" if pair.significant else Verdict.INCONCLUSIVE.value

    return [
        Field("p", lambda pair: "" if pair.p is None else p_value(pair.p)),
        Field("p, corrected", lambda pair: "" if pair.p_holm is None else p_value(pair.p_holm)),
        Field("Verdict", verdict, numeric=False),
    ]

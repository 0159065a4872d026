"""The finding in words: its sentence and its caveats."""

from __future__ import annotations

from convoy.studies.seeds.finding import MOST_SEEDS, POWER, SeedsFinding, Source

NAMES = {
    Source.ALL: "all three",
    Source.INITIALISATION: "initial weights",
    Source.ORDER: "order, augmentation, dropout",
    Source.SPLIT: "split of the data",
}


def sentence(finding: SeedsFinding) -> str:
    spread = finding.of(Source.ALL)
    low, high = min(spread.accuracies), max(spread.accuracies)
    if low == high:
        return (
            f"All {len(spread.accuracies)} seeds of {finding.label} on {finding.data} reach {100 * low:.2f} % "
            f"{finding.part} accuracy: {finding.images:,} images show no difference between them"
        )
    return (
        f"With {len(spread.accuracies)} seeds, {finding.label} on {finding.data} reaches {100 * low:.2f} to "
        f"{100 * high:.2f} % {finding.part} accuracy: a standard deviation of {100 * spread.sd:.2f} points "
        f"(95 % interval {100 * spread.sd_low:.2f} to {100 * spread.sd_high:.2f})"
    )


def caveats(finding: SeedsFinding) -> list[str]:
    n = len(finding.of(Source.ALL).accuracies)
    texts = [
        f"A standard deviation from {n} seeds is uncertain: see its interval. The three sources need not add up to the "
        "total, because they act together",
        f"The needed seeds are for two independent models with this spread, a two-sided t test at 5 % and a power of "
        f"{100 * POWER:.0f} %. Runs that are paired seed by seed, as in convoy compare, can need fewer",
    ]
    if finding.part == "validation":
        texts.append("Validation accuracy: another split also changes the images that are scored")
    if finding.limit is not None:
        texts.append(f"Limited to {finding.limit:,} images: with more images the spread differs")
    return texts


def seeds_text(seeds: int | None) -> str:
    return f"over {MOST_SEEDS:,}" if seeds is None else f"{seeds:,}"

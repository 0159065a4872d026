"""The page of the profiles of one or several networks: profile.html, with profile.json next to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from convoy.files import write_json
from convoy.profiling import architecture
from convoy.profiling.outline import Box, outline, rows_of
from convoy.profiling.result import Latency, Profile
from convoy.reporting import cost_bars as bars_
from convoy.reporting import render
from convoy.reporting.content import Block, Cell, Chart, Column, Drawing, Field, Page, Section, Table, table_of
from convoy.reporting.palette import Look
from convoy.reporting.quantities import MIB, compact, listed, plain, quartile_range, with_unit
from convoy.reporting.tables import facts_table

MAX_LAYERS = 40  # with more, a table of blocks comes first
COUNTED = (
    "FLOPs count a multiply-add as two, MACs as one. Convolutions and matrix products count; norms, activations, "
    "pooling and resampling do not. Shared parameters are counted at their first use."
)
SAVED = (
    "Tensors that autograd saves for the backward pass, including the images, each storage counted once; without "
    "parameters, buffers and loss. Measured in training mode on the meta device of torch, as on a CPU in float32"
)
PEAK = (
    "Computed as the sum of parameters, gradients, optimizer state and activations; without workspace of kernels and "
    "allocator"
)
NUMBERS = (Column("Output"), Column("Parameters"), Column("", "%"), Column("FLOPs"), Column("", "%"))
LATENCY = (
    "Median (and quartiles for one image) of up to 50 passes in evaluation mode, none started after 2 s, after up to "
    "3 warm-up passes; from tensor to logits, without decoding and normalisation"
)
COSTS: dict[str, tuple[str, Callable[[Profile], float]]] = {
    "parameters": ("", lambda profile: profile.parameters),
    "FLOPs per image": ("", lambda profile: profile.flops_per_image),
    "latency of one image": ("ms", lambda profile: profile.latencies[0].ms),
}


def write_profile(profiles: Sequence[Profile], environment: Mapping[str, Any], folder: Path) -> Path:
    """Writes profile.html, profile.md, profile.json and figures/; returns the path of profile.html."""
    tables = [profile.as_json() for profile in profiles]
    write_json(folder / "profile.json", {"profiles": tables, "environment": dict(environment)})
    return render.write(profile_page(profiles, environment), folder, "profile")


def profile_page(profiles: Sequence[Profile], environment: Mapping[str, Any]) -> Page:
    labels = tuple(profile.label for profile in profiles)
    sections = [
        cost_comparison(profiles, Look(labels)) if len(profiles) > 1 else None,
        Section("Architecture", tuple(pictures(profiles))),
        Section("Layers", tuple(table for profile in profiles for table in layer_tables(profile, len(profiles) > 1))),
        Section("How it was measured", (_measures(profiles), _environment(profiles[0], environment))),
    ]
    return Page(
        kicker=f"Profile · {str(environment['date'])[:10]}",
        title=listed(labels) if len(labels) <= 4 else f"{len(labels)} networks",
        sentence=_sentence(profiles),
        caveats=tuple(_caveats(profiles)),
        tables=(_summary(profiles),),
        sections=tuple(section for section in sections if section),
        labels=labels,
    )


def _sentence(profiles: Sequence[Profile]) -> str:
    sentences = [
        f"{p.label} has {p.parameters:,} parameters and needs {with_unit(p.flops_per_image, 'FLOPs')}" for p in profiles
    ]
    if len(profiles) == 1:
        return f"{sentences[0]} for an image of {_by(profiles[0].input)}"
    low, high = (choose(profiles, key=lambda p: p.flops_per_image) for choose in (min, max))
    if not low.flops_per_image:
        return "; ".join(sentences)
    flops, parameters = plain(high.flops_per_image / low.flops_per_image), plain(high.parameters / low.parameters)
    return (
        f"{high.label} needs {flops} times the FLOPs per image of {low.label} and has {parameters} times its parameters"
    )


def _caveats(profiles: Sequence[Profile]) -> list[str]:
    named = len(profiles) > 1
    caveats = []
    if len({profile.input for profile in profiles}) > 1:
        caveats.append("The networks have different input sizes: FLOPs, memory and times are not directly comparable")
    for profile in profiles:
        who = f"{profile.label}: " if named else ""
        caveats += [f"{who}published flaw: {flaw}" for flaw in profile.flaws]
        if profile.unreached:
            count, names = sum(profile.unreached.values()), listed([*profile.unreached][:4])
            caveats.append(f"{who}{count:,} parameters are not used in a forward pass in evaluation mode ({names})")
    return caveats


def _summary(profiles: Sequence[Profile]) -> Table:
    fields: list[Field[Profile]] = [
        Field("Model", lambda p: Cell(p.label, model=p.label), numeric=False),
        Field("Images", lambda p: _by(p.input)),
        Field("Parameters", lambda p: f"{p.parameters:,}"),
        Field("FLOPs", lambda p: compact(p.flops_per_image), "per image"),
        Field("MACs", lambda p: compact(p.macs_per_image), "per image"),
        Field("Activations", lambda p: plain(p.activations.per_image / MIB), "MiB per image"),
        Field(
            "Training", lambda p: Cell(plain(p.training.total / MIB), f"batch {p.training.batch_size}"), "MiB, computed"
        ),
        Field("Latency", lambda p: _latency(p.latencies[0]), "ms, one image"),
        Field("Throughput", lambda p: _throughput(p.latencies[1]), "images/s"),
    ]
    return table_of(fields, profiles, COUNTED)


def _latency(single: Latency) -> Cell:
    return Cell(plain(single.ms), quartile_range(single.ms, (single.lower_ms, single.upper_ms)))


def _throughput(many: Latency) -> Cell:
    return Cell(plain(many.images_per_second), f"batch {many.batch_size}")


def cost_comparison(profiles: Sequence[Profile], look: Look) -> Section:
    labels = tuple(profile.label for profile in profiles)
    panels = [
        bars_.CostBars(cost, unit, labels, tuple(float(value(profile)) for profile in profiles))
        for cost, (unit, value) in COSTS.items()
    ]
    axes_panels = tuple(bars_.cost_rows(numbers, look).panel() for numbers in panels)
    return Section("Comparison", (Chart("cost", "Cost", axes_panels, bars_.cost_bars_caption(panels)),))


def pictures(profiles: Sequence[Profile]) -> list[Block]:
    """How to read them is explained once, below the first picture that needs the explanation."""
    blocks: list[Block] = []
    explained: set[str] = set()
    for number, profile in enumerate(profiles, start=1):
        unreached = sum(profile.unreached.values())
        picture = architecture.draw(
            profile.label, profile.input, profile.calls, parameters=profile.parameters, unreached=unreached
        )
        name = f"architecture-{number}" if len(profiles) > 1 else "architecture"
        caption = " ".join([picture.finding, *(sentence for sentence in picture.reading if sentence not in explained)])
        blocks.append(Drawing(name, profile.label, picture.svg, picture.width, caption))
        explained |= set(picture.reading)
    return blocks


def layer_tables(profile: Profile, named: bool) -> list[Table]:
    """One table of all layers; for a deep network a table of blocks and a collapsed table of all layers."""
    title, rows = profile.label if named else "", profile.layers
    has_notes = any(row.note for row in rows)
    columns = (Column("Layer", numeric=False), Column("Kind", numeric=False), *NUMBERS)
    lines = [
        (
            Cell(row.name),
            Cell(row.kind),
            *_numbers(row.output, row.parameters, row.flops, profile),
            *((Cell(row.note),) if has_notes else ()),
        )
        for row in rows
    ]
    total = (
        *(Cell(text, bold=True) for text in ("total", "", "", f"{profile.parameters:,}", "")),
        *(Cell(text, bold=True) for text in (f"{profile.flops_per_image:,}", "")),
    )
    all_layers = Table(
        (*columns, *((Column("Note", numeric=False),) if has_notes else ())),
        (*lines, (*total, *((Cell(""),) if has_notes else ()))),
        note=f"{profile.sizes.text}.",
        title=title,
    )
    if len(rows) <= MAX_LAYERS:
        return [all_layers]
    blocks = Table(
        columns,
        (*(_block_row(box, profile) for box in rows_of(outline(profile.calls))), total),
        all_layers.note,
        title,
    )
    return [blocks, replace(all_layers, title="", note="", collapsed_title=f"All {len(rows)} layers")]


def _numbers(output: Sequence[int], parameters: int, flops: int, profile: Profile) -> tuple[Cell, ...]:
    shares = [
        Cell(f"{100 * part / total:.1f}" if part and total else "")
        for part, total in ((parameters, profile.parameters), (flops, profile.flops_per_image))
    ]
    counts = [Cell(f"{count:,}" if count else "") for count in (parameters, flops)]
    return Cell(_by(output)), counts[0], shares[0], counts[1], shares[1]


def _block_row(box: Box, profile: Profile) -> tuple[Cell, ...]:
    title = f"{box.title} ×{box.repeats}" if box.repeats > 1 else box.title
    numbers = _numbers(box.output, box.parameters, box.flops, profile)
    return Cell(box.name), Cell(title, " · ".join(box.notes)), *numbers


def _measures(profiles: Sequence[Profile]) -> Table:
    inputs = dict.fromkeys(f"{_by(p.input)}, {p.classes} classes" for p in profiles)
    passes = dict.fromkeys(f"{each.passes} of batch {each.batch_size}" for p in profiles for each in p.latencies)
    optimizers = dict.fromkeys(p.optimizer for p in profiles)
    facts = [
        ("Images", "; ".join(inputs)),
        ("Activations", SAVED),
        ("Training memory", f"{PEAK}. Optimizer: {', '.join(optimizers)}"),
        ("Latency, throughput", f"{LATENCY}. Passes: {', '.join(passes)}"),
    ]
    return facts_table("Definitions", facts)


def _environment(profile: Profile, environment: Mapping[str, Any]) -> Table:
    facts = [
        ("Device", str(environment["device"])),
        ("Processor", f"{environment['cpu']}, {environment['cores']} cores"),
        ("Threads", str(profile.threads)),
        ("PyTorch", str(environment["torch"])),
        ("Python", str(environment["python"])),
        ("Platform", str(environment["platform"])),
        ("Date", str(environment["date"])),
        ("Command", environment["command"]),
    ]
    return facts_table("Environment", facts)


def _by(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))

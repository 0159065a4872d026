"""The page of the profiles of one or several networks: profile.html, with profile.json next to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

from convoy.files import write_json
from convoy.profiling import architecture, words
from convoy.profiling.outline import outline, rows_of
from convoy.profiling.result import PROFILES, Profile, Shape
from convoy.reporting import render
from convoy.reporting import rows as rows_
from convoy.reporting.content import Block, Cell, Chart, Code, Drawing, Field, Page, Section, Table, TextField, table_of
from convoy.reporting.palette import Look
from convoy.reporting.quantities import MIB, quartile_range
from convoy.reporting.tables import environment_table, properties_table
from convoy.run_contents import Environment
from convoy.text import gettext as _
from convoy.text.lists import joined, listed
from convoy.text.numbers import compact, plain, with_unit

MAX_LAYERS = 40  # if there are more, a table of blocks is shown first


def write_profile(profiles: list[Profile], environment: Environment, folder: Path) -> Path:
    """Writes profile.html, profile.md, profile.json and figures/; returns the path of profile.html."""
    tables = PROFILES.dump_python(profiles, mode="json", by_alias=True)
    write_json(folder / "profile.json", {"profiles": tables, "environment": asdict(environment)})
    return render.write(profile_page(profiles, environment), folder, "profile")


def overview(profiles: Sequence[Profile]) -> Page:
    """Returns the page without the comparison of costs and the description of the measurements."""
    labels = tuple(profile.label for profile in profiles)
    tables = tuple(table for profile in profiles for table in layer_tables(profile, named=len(profiles) > 1))
    return Page(
        kicker=_("Profile"),
        title=listed(labels) if len(labels) <= 4 else _("{n} networks", n=len(labels)),
        sentence=_sentence(profiles),
        caveats=tuple(_caveats(profiles)),
        tables=(summary(profiles),),
        sections=(Section(_("Architecture"), tuple(pictures(profiles))), Section(_("Layers"), tables)),
        labels=labels,
    )


def profile_page(profiles: Sequence[Profile], environment: Environment) -> Page:
    page = overview(profiles)
    measured = (
        _definitions(profiles),
        environment_table([replace(environment, threads=profiles[0].threads, training_revision=None)]),
        Code(environment.command, _("Command")),
    )
    costs = (cost_comparison(profiles, Look(page.labels)),) if len(profiles) > 1 else ()
    return replace(
        page,
        kicker=_("Profile · {date}", date=environment.date[:10]),
        sections=(*costs, *page.sections, Section(_("How it was measured"), measured)),
    )


def _sentence(profiles: Sequence[Profile]) -> str:
    low, high = (choose(profiles, key=lambda p: p.flops_per_image) for choose in (min, max))
    if len(profiles) > 1 and low.flops_per_image:
        return _(
            "{high} needs {flops} times the FLOPs per image of {low} and has {parameters} times its parameters",
            high=high.label,
            low=low.label,
            flops=plain(high.flops_per_image / low.flops_per_image),
            parameters=plain(high.parameters / low.parameters),
        )
    return _(
        "{label} has {parameters:,} parameters and needs {flops} for an image of {shape}",
        label=high.label,
        parameters=high.parameters,
        flops=with_unit(high.flops_per_image, "FLOPs"),
        shape=words.size(high.input),
    )


def _caveats(profiles: Sequence[Profile]) -> Iterator[str]:
    if len({profile.input for profile in profiles}) > 1:
        yield _("The networks have different input sizes: FLOPs, memory and times are not directly comparable")
    for profile in profiles:
        yield from words.flaws(profile)
        if profile.unreached:
            yield _(
                "{label}: {count:,} parameters are not used in a forward pass in evaluation mode ({names})",
                label=profile.label,
                count=sum(profile.unreached.values()),
                names=listed([*profile.unreached][:4]),
            )


def summary(profiles: Sequence[Profile]) -> Table:
    fields: list[Field[Profile]] = [
        TextField(_("Model"), lambda p: Cell(p.label, model=p.label)),
        Field(_("Images"), lambda p: words.size(p.input)),
        Field(_("Parameters"), lambda p: f"{p.parameters:,}"),
        Field(_("FLOPs"), lambda p: compact(p.flops_per_image), _("per image")),
        Field(_("MACs"), lambda p: compact(p.macs_per_image), _("per image")),
        Field(_("Activations"), lambda p: plain(p.activations.per_image / MIB), _("MiB per image")),
        Field(
            _("Training"),
            lambda p: Cell(plain(p.training.total / MIB), _("batch {n}", n=p.training.batch_size)),
            _("MiB, computed"),
        ),
        Field(
            _("Latency"),
            lambda p: Cell(plain(p.single.ms), quartile_range(p.single.ms, (p.single.lower_ms, p.single.upper_ms))),
            _("ms, one image"),
        ),
        Field(
            _("Throughput"),
            lambda p: Cell(plain(p.batch.images_per_second), _("batch {n}", n=p.batch.batch_size)),
            _("images/s"),
        ),
    ]
    counted = _(
        "FLOPs count a multiply-add as two, MACs as one. Convolutions and matrix products are counted; norms, "
        "activations, pooling and resampling are not. Shared parameters are counted at their first use."
    )
    return table_of(fields, profiles, counted)


def cost_comparison(profiles: Sequence[Profile], look: Look) -> Section:
    labels = tuple(profile.label for profile in profiles)
    costs = (
        (_("parameters"), "", [profile.parameters for profile in profiles]),
        (_("FLOPs per image"), "", [profile.flops_per_image for profile in profiles]),
        (_("latency of one image"), _("ms"), [profile.single.ms for profile in profiles]),
    )
    panels = [rows_.CostBars(name, unit, labels, tuple(map(float, values))) for name, unit, values in costs]
    axes_panels = tuple(rows_.cost_rows(numbers, look).panel() for numbers in panels)
    return Section(_("Comparison"), (Chart("cost", _("Cost"), axes_panels, rows_.cost_bars_caption(panels)),))


def pictures(profiles: Sequence[Profile]) -> list[Block]:
    """Returns the pictures. A sentence of their legends is only in the first caption that needs it."""
    blocks: list[Block] = []
    used: set[str] = set()
    for number, profile in enumerate(profiles, start=1):
        picture = architecture.draw(
            profile.label,
            profile.input,
            profile.calls,
            parameters=profile.parameters,
            unreached=sum(profile.unreached.values()),
        )
        name = f"architecture-{number}" if len(profiles) > 1 else "architecture"
        size = _(
            "For images of {shape} and {classes} classes.", shape=words.size(profile.input), classes=profile.classes
        )
        caption = [size, *(sentence for sentence in picture.legend if sentence not in used)]
        drawing = Drawing(name, profile.label, picture.svg, picture.width, " ".join(caption), picture.narrow_svg)
        blocks.append(drawing)
        used |= set(picture.legend)
    return blocks


class _Line(NamedTuple):
    """A row of a table of layers."""

    name: str
    kind: Cell
    output: Shape
    parameters: int
    flops: int
    note: str = ""


def layer_tables(profile: Profile, named: bool) -> list[Table]:
    """Returns a table of all layers; for a deep network, a table of blocks and a collapsed table of all layers."""
    layers = [
        _Line(layer.name, Cell(words.kind(layer)), layer.output, layer.parameters, layer.flops, words.note(layer))
        for layer in profile.layers
    ]
    title, note = profile.label if named else "", _("{sentence}.", sentence=words.sizes(profile))
    if len(layers) <= MAX_LAYERS:
        return [replace(_layer_table(layers, profile), title=title, note=note)]
    boxes = [
        _Line(box.name, Cell(box.text, " · ".join(box.notes)), box.output, box.parameters, box.flops)
        for box in rows_of(outline(profile.calls))
    ]
    return [
        replace(_layer_table(boxes, profile), title=title, note=note),
        replace(_layer_table(layers, profile), collapsed_title=_("All {n} layers", n=len(layers))),
    ]


def _layer_table(lines: Sequence[_Line], profile: Profile) -> Table:
    def share(count: int, total: int) -> str:
        return f"{100 * count / total:.1f}" if count else ""

    fields: list[Field[_Line]] = [
        TextField(_("Layer"), lambda line: line.name),
        TextField(_("Kind"), lambda line: line.kind),
        Field(_("Output"), lambda line: words.size(line.output)),
        Field(_("Parameters"), lambda line: f"{line.parameters:,}" if line.parameters else ""),
        Field("", lambda line: share(line.parameters, profile.parameters), "%"),
        Field(_("FLOPs"), lambda line: f"{line.flops:,}" if line.flops else ""),
        Field("", lambda line: share(line.flops, profile.flops_per_image), "%"),
    ]
    if any(line.note for line in lines):
        fields.append(TextField(_("Note"), lambda line: line.note))
    total = _Line(_("total"), Cell(""), (), profile.parameters, profile.flops_per_image)
    table = table_of(fields, [*lines, total])
    *rows, last = table.rows
    return replace(table, rows=(*rows, tuple(replace(cell, bold=True) for cell in last)))


def _definitions(profiles: Sequence[Profile]) -> Table:
    passes = [
        _("{passes} with batch size {batch}", passes=latency.passes, batch=latency.batch_size)
        for profile in profiles
        for latency in profile.latencies
    ]
    definitions = [
        (_("Input"), "; ".join(dict.fromkeys(map(words.images, profiles)))),
        (
            _("Activations"),
            _(
                "Tensors that autograd saves for the backward pass, including the images but not parameters, buffers "
                "and loss. Each storage is counted once. Measured in training mode on torch's meta device, with the "
                "sizes of float32 on a CPU"
            ),
        ),
        (
            _("Training memory"),
            _(
                "Computed as the sum of parameters, gradients, optimizer state and activations; without the workspace "
                "of kernels and the overhead of the allocator. Optimizer: {optimizers}",
                optimizers=joined(dict.fromkeys(profile.optimizer for profile in profiles)),
            ),
        ),
        (
            _("Latency, throughput"),
            _(
                "Median of up to 50 passes in evaluation mode (for one image also the quartiles), after up to 3 "
                "warm-up passes; no pass starts after 2 s. A pass is from tensor to logits, without decoding and "
                "normalisation. Passes: {passes}",
                passes=joined(dict.fromkeys(passes)),
            ),
        ),
    ]
    return properties_table(_("Definitions"), definitions)

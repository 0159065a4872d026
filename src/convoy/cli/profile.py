"""convoy profile: the cost of a network, layer by layer."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from convoy import api
from convoy.cli.app import Call, command, print_json

if TYPE_CHECKING:
    from convoy.profiling.result import Profile

MAX_CONSOLE_LAYERS = 60  # of a deeper network, the console lists blocks instead


@command(api.profile)
def profile(call: Call, as_json: bool) -> None:
    profiled = call() if as_json else call(each=_show)
    if as_json:
        profiles = [profile.as_json() for profile in profiled.profiles]
        for table in profiles:
            del table["calls"]
        print_json({"page": str(profiled.page), "profiles": profiles})
        return
    if len(call.args) > 1:
        print_table([_summary(profile) for profile in profiled.profiles])
    print(profiled.page)


def _show(profile: Profile) -> None:
    """Layers and totals of one network."""
    from convoy.reporting.quantities import MIB, plain, quartile_range, with_unit

    memory, (single, many) = profile.training, profile.latencies
    quartiles = quartile_range(single.ms, (single.lower_ms, single.upper_ms))
    parts = [f"parameters {plain(memory.parameters / MIB)}", f"gradients {plain(memory.gradients / MIB)}"]
    parts += [
        f"{profile.optimizer} {plain(memory.kept / MIB)}",
        f"activations {plain(memory.activations / MIB)}",
    ]
    threads = "1 thread" if profile.threads == 1 else f"{profile.threads} threads"
    where = f"the CPU, {threads}" if profile.device == "cpu" else profile.device
    print(f"{profile.label}: images {_by(profile.input)}, {profile.classes} classes")
    print_table(_layers(profile))
    print(profile.sizes.text)
    print(
        f"{profile.parameters:,} parameters, {profile.flops_per_image:,} FLOPs per image "
        f"(2 per multiply-add: {with_unit(profile.macs_per_image, 'MACs')}; no norms, activations, pooling)"
    )
    print(
        f"training memory, computed: {plain(memory.total / MIB)} MiB at batch {memory.batch_size} = "
        + " + ".join(parts)
    )
    print(
        f"latency: {plain(single.ms)} ms per image (quartiles {quartiles}); "
        f"{plain(many.images_per_second)} images/s at batch {many.batch_size} "
        f"(medians of {single.passes} and {many.passes} passes on {where})"
    )
    for flaw in profile.flaws:
        print(f"published flaw: {flaw}")
    print()


def _layers(profile: Profile) -> list[dict[str, str]]:
    if len(profile.layers) <= MAX_CONSOLE_LAYERS:
        return [
            {
                "layer": row.name,
                "kind": row.kind + (f" ({row.note})" if row.note else ""),
                "output": _by(row.output),
                "parameters": f"{row.parameters:,}" if row.parameters else "",
                "FLOPs": f"{row.flops:,}" if row.flops else "",
            }
            for row in profile.layers
        ]
    from convoy.profiling.outline import outline, rows_of

    print(f"{len(profile.layers)} layers, listed by block; the page lists each layer")
    return [
        {
            "from": box.name,
            "layers": " · ".join((f"{box.title} ×{box.repeats}" if box.repeats > 1 else box.title, *box.notes)),
            "output": _by(box.output),
            "parameters": f"{box.parameters:,}" if box.parameters else "",
            "FLOPs": f"{box.flops:,}" if box.flops else "",
        }
        for box in rows_of(outline(profile.calls))
    ]


def _summary(profile: Profile) -> dict[str, str]:
    from convoy.reporting.quantities import MIB, compact, plain

    single, many = profile.latencies
    return {
        "model": profile.label,
        "images": _by(profile.input),
        "parameters": f"{profile.parameters:,}",
        "FLOPs": compact(profile.flops_per_image),
        "training MiB": plain(profile.training.total / MIB),
        "ms": plain(single.ms),
        "images/s": plain(many.images_per_second),
    }


def _by(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def print_table(rows: Sequence[Mapping[str, str]]) -> None:
    """A rich table on a terminal, aligned text elsewhere."""
    words = ("layer", "kind", "from", "layers", "model", "images")
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table

        table = Table(box=None, header_style="bold", pad_edge=False)
        for name in rows[0]:
            table.add_column(name, justify="left" if name in words else "right", overflow="fold")
        for row in rows:
            table.add_row(*row.values())
        Console(markup=False, emoji=False, highlight=False).print(table)
        return
    lines = [dict(zip(rows[0], rows[0], strict=True)), *rows]
    widths = {name: max(len(line[name]) for line in lines) for name in rows[0]}
    for line in lines:
        cells = (f"{text:{'<' if name in words else '>'}{widths[name]}}" for name, text in line.items())
        print("  ".join(cells).rstrip())

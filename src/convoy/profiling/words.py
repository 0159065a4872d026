"""What the console shows of a profile."""

from __future__ import annotations

from collections.abc import Sequence

from convoy.profiling.outline import outline, rows_of
from convoy.profiling.result import Profile
from convoy.reporting.quantities import MIB, compact, plain, quartile_range, with_unit

MAX_LAYERS = 60  # of a deeper network, the console lists blocks instead


def heading(profile: Profile) -> str:
    return f"{profile.label}: images {_by(profile.input)}, {profile.classes} classes"


def layers(profile: Profile) -> list[dict[str, str]]:
    """A row per layer; of a deep network a row per block."""
    if len(profile.layers) <= MAX_LAYERS:
        return [
            {
                "layer": row.name,
                "kind": row.kind + (f" ({row.note})" if row.note else ""),
                **_numbers(row.output, row.parameters, row.flops),
            }
            for row in profile.layers
        ]
    return [
        {
            "from": box.name,
            "layers": " · ".join((f"{box.title} ×{box.repeats}" if box.repeats > 1 else box.title, *box.notes)),
            **_numbers(box.output, box.parameters, box.flops),
        }
        for box in rows_of(outline(profile.calls))
    ]


def _numbers(output: Sequence[int], parameters: int, flops: int) -> dict[str, str]:
    counts = {"parameters": parameters, "FLOPs": flops}
    return {"output": _by(output), **{name: f"{count:,}" if count else "" for name, count in counts.items()}}


def totals(profile: Profile) -> list[str]:
    memory, (single, many) = profile.training, profile.latencies
    quartiles = quartile_range(single.ms, (single.lower_ms, single.upper_ms))
    parts = {
        "parameters": memory.parameters,
        "gradients": memory.gradients,
        profile.optimizer: memory.kept,
        "activations": memory.activations,
    }
    summed = " + ".join(f"{name} {plain(size / MIB)}" for name, size in parts.items())
    threads = "1 thread" if profile.threads == 1 else f"{profile.threads} threads"
    where = f"the CPU, {threads}" if profile.device == "cpu" else profile.device
    return [
        profile.sizes.text,
        f"{profile.parameters:,} parameters, {profile.flops_per_image:,} FLOPs per image "
        f"(2 per multiply-add: {with_unit(profile.macs_per_image, 'MACs')}; no norms, activations, pooling)",
        f"training memory, computed: {plain(memory.total / MIB)} MiB at batch {memory.batch_size} = {summed}",
        f"latency: {plain(single.ms)} ms per image (quartiles {quartiles}); "
        f"{plain(many.images_per_second)} images/s at batch {many.batch_size} "
        f"(medians of {single.passes} and {many.passes} passes on {where})",
        *(f"published flaw: {flaw}" for flaw in profile.flaws),
    ]


def summary(profile: Profile) -> dict[str, str]:
    """Its row in the table of several networks."""
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

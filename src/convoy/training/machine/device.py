"""Resolves the device of a recipe, and its precision if `compute.precision` is "auto"."""

from __future__ import annotations

import torch

from convoy import cpu
from convoy.recipe import Recipe
from convoy.text import gettext as _


def device_of(recipe: Recipe) -> torch.device:
    """Raises ValueError if the device is unknown or missing."""
    name = recipe.compute.device
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device: torch.device | None = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda", "mps"):
        raise ValueError(_("compute.device = {name!r}: expected auto, cpu, cuda, cuda:N or mps", name=name))
    if device.type == "mps":
        if not torch.backends.mps.is_available():
            raise ValueError(_("compute.device = 'mps': needs a Mac with Apple silicon; expected auto, cpu or cuda"))
        if recipe.compute.precision not in ("float32", "auto"):
            raise ValueError(
                _("compute.precision = {precision!r} with mps: expected float32", precision=recipe.compute.precision)
            )
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            _(
                "compute.device = {name!r}: this machine has {device_count} CUDA devices",
                name=name,
                device_count=torch.cuda.device_count(),
            )
        )
    return device


def with_precision(recipe: Recipe) -> Recipe:
    """Replaces "auto" by the precision for this machine, which becomes part of the fingerprint."""
    if recipe.compute.precision != "auto":
        return recipe
    return recipe.override({"compute.precision": "bfloat16" if has_fast_bfloat16(recipe) else "float32"})


def has_fast_bfloat16(recipe: Recipe) -> bool:
    device = device_of(recipe)
    if device.type == "cuda":
        with torch.cuda.device(device):
            return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and cpu.has_fast_bfloat16()


def precision_notes(recipe: Recipe) -> list[str]:
    """Warnings: bfloat16 on a device where it is slow; mps, which is not tested."""
    if device_of(recipe).type == "mps":
        return [_("compute.device = mps is not tested: results may differ from run to run")]
    if recipe.compute.precision != "bfloat16" or has_fast_bfloat16(recipe):
        return []
    return [
        _(
            'compute.precision = "bfloat16": this device has no hardware support (a CPU needs AMX or AVX512-BF16), so '
            'training may be many times slower than in float32; "auto" chooses the faster one'
        )
    ]

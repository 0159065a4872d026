"""The environment of a run: everything besides its recipe that its weights and its speed depend on."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import torch

from convoy import cpu
from convoy.models import external
from convoy.process import command_line, cores
from convoy.recipe import Recipe
from convoy.training.machine.device import with_precision

# The keys that the exact weights of a run depend on, with their names in a sentence.
BITS_DEPEND_ON = {"torch": "version of torch", "cpu": "processor", "threads": "thread count"}


def describe(device: torch.device, recipe: Recipe, before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """`before` is the previous environment of a resumed run; `resumed_with` lists the changes since."""
    environment = {
        "convoy": version("convoy-ml"),
        "torch": torch.__version__,
        **external.versions(recipe.model.name),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": cpu.name(),
        "cpu_flags": cpu.flags(),
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "precision": with_precision(recipe).compute.precision,
        "date": time.strftime("%Y-%m-%d %H:%M:%S"),
        "command": command_line(),
    }
    changes = [
        {"key": key, "before": before[key], "after": environment[key]}
        for key in BITS_DEPEND_ON
        if before and key in before and before[key] != environment[key]
    ]
    return environment | {"resumed_with": [*(before or {}).get("resumed_with", ()), *changes]}

"""Where and with what a run was trained: the facts that its bits and its seconds depend on."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import torch

from convoy import cpu
from convoy.models import external
from convoy.process import cores
from convoy.recipe import Recipe
from convoy.runs import command_line
from convoy.training.device import with_precision
from convoy.training.revisions import TRAINING_REVISION

# What the bits of a run depend on besides its recipe: the key here, and its name in a sentence.
BITS_DEPEND_ON = {"torch": "version of torch", "cpu": "processor", "threads": "thread count"}


def describe(device: torch.device, recipe: Recipe, before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """`before` is the environment that a resumed run was last trained in; `resumed_with` lists each change since."""
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
        "training_revision": TRAINING_REVISION,
    }
    changes = [
        {"key": key, "before": before[key], "after": environment[key]}
        for key in BITS_DEPEND_ON
        if before and key in before and before[key] != environment[key]
    ]
    return environment | {"resumed_with": [*(before or {}).get("resumed_with", ()), *changes]}

"""Where and with what a run was trained: the facts that its bits and its seconds depend on."""

from __future__ import annotations

import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from convoy.models import external
from convoy.process import cores
from convoy.recipe import Recipe
from convoy.runs import command_line
from convoy.training.revisions import TRAINING_REVISION


def describe(device: torch.device, recipe: Recipe) -> dict[str, Any]:
    return {
        "convoy": version("convoy-ml"),
        "torch": torch.__version__,
        **external.versions(recipe.model.name),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _cpu_name(),
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "precision": recipe.compute.precision,
        "date": time.strftime("%Y-%m-%d %H:%M:%S"),
        "command": command_line(),
        "training_revision": TRAINING_REVISION,
    }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()

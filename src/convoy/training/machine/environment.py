"""The environment of a run: everything except the recipe that affects its weights and speed."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import replace
from importlib.metadata import version

import torch

from convoy import cpu
from convoy.models import external
from convoy.process import command_line, cores
from convoy.recipe import Recipe
from convoy.run_contents import Change, Environment
from convoy.training.machine.device import with_precision

CONVOY = version("convoy-ml")  # read once, because that takes 8 ms
KERNEL_VARIABLES = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "MKL_CBWR")  # select instruction sets of oneDNN and MKL
BITS_DEPEND_ON = ("torch", "cpu", "kernels", "threads", "ranks")  # what the last bits of the weights depend on


def describe(device: torch.device, recipe: Recipe, before: Environment | None = None, *, ranks: int = 1) -> Environment:
    """`before` is the previous environment of a resumed run; `resumed_with` lists the differences from it."""
    now = Environment(
        convoy=CONVOY,
        torch=torch.__version__,
        libraries=external.versions(recipe.model.name),
        python=platform.python_version(),
        platform=platform.platform(),
        cpu=cpu.name(),
        cpu_flags=cpu.flags(),
        kernels=_kernels(),
        cores=cores(),
        threads=torch.get_num_threads(),
        ranks=ranks,
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        precision=with_precision(recipe).compute.precision,
        date=time.strftime("%Y-%m-%d %H:%M:%S"),
        command=command_line(),
    )
    if before is None:
        return now
    changes = [Change(key, getattr(before, key), getattr(now, key)) for key in BITS_DEPEND_ON]
    new = [change for change in changes if change.before not in (change.after, "")]  # "": of an older version
    return replace(now, resumed_with=[*before.resumed_with, *new])


def _kernels() -> str:
    """Returns the instruction set of torch's own kernels, and what limits oneDNN and MKL: "AVX2, MKL_CBWR=AVX"."""
    variables = [f"{name}={value.upper()}" for name in KERNEL_VARIABLES if (value := os.environ.get(name))]
    switched_off = [] if torch.backends.mkldnn.enabled else ["oneDNN off"]
    return ", ".join([torch.backends.cpu.get_cpu_capability(), *variables, *switched_off])

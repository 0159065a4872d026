"""The subject of the environment checks: properties of this machine."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from convoy import cpu
from convoy.process import cores
from convoy.run_contents import Environment
from convoy.runs import Run

NVIDIA = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True)
class Gpu:
    name: str
    capability: tuple[int, int]


@dataclass(frozen=True)
class Machine:
    torch: str  # version
    cuda: str | None  # version of CUDA that torch was built for
    architectures: tuple[str, ...]  # GPU architectures that torch was built for: "sm_90"
    has_nvidia_driver: bool
    gpus: tuple[Gpu, ...]
    has_mps: bool
    workspace: Path  # the workspace, or its nearest existing parent
    file_system: str  # file system of the workspace, such as "ext4"; "": unknown
    free_disk_bytes: int
    free_memory_bytes: int | None
    cores: int
    busy_cores: float  # load average of the last minute
    threads: str | None  # OMP_NUM_THREADS
    cpu: str
    cpu_flags: tuple[str, ...]
    earlier: tuple[Environment, ...] = ()  # environments of finished runs in the workspace, newest first
    checkpoint_bytes: int | None = None  # checkpoint size of the network that is to be trained


def this_machine(out: Path, runs: Sequence[Run] = (), checkpoint_bytes: int | None = None) -> Machine:
    import torch

    workspace = out.resolve()
    while not workspace.exists():
        workspace = workspace.parent
    gpus = [
        Gpu(torch.cuda.get_device_name(i), torch.cuda.get_device_capability(i))
        for i in range(torch.cuda.device_count())
    ]
    return Machine(
        torch=torch.__version__,
        cuda=torch.version.cuda,
        architectures=tuple(torch.cuda.get_arch_list()),
        has_nvidia_driver=NVIDIA.exists() or shutil.which("nvidia-smi") is not None,
        gpus=tuple(gpus) if torch.cuda.is_available() else (),
        has_mps=torch.backends.mps.is_available(),
        workspace=workspace,
        file_system=file_system_of(workspace),
        free_disk_bytes=shutil.disk_usage(workspace).free,
        free_memory_bytes=_free_memory(),
        cores=cores(),
        busy_cores=os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0,
        threads=os.environ.get("OMP_NUM_THREADS"),
        cpu=cpu.name() or platform.machine(),
        cpu_flags=cpu.flags(),
        earlier=tuple(_environments(runs)),
        checkpoint_bytes=checkpoint_bytes,
    )


def file_system_of(folder: Path, mounts: Path = Path("/proc/mounts")) -> str:
    """Returns the type of the file system that contains a folder; "" if unknown."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    rows = [line.split()[1:3] for line in lines if len(line.split()) > 2]
    fitting = [(Path(point), kind) for point, kind in rows if folder.is_relative_to(point.replace("\\040", " "))]
    return max(fitting, key=lambda row: len(row[0].parts))[1] if fitting else ""


def _free_memory() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    values = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    return values[0] if values else None


def _environments(runs: Sequence[Run]) -> list[Environment]:
    environments = []
    for run in runs:
        try:
            environments.append(run.environment)
        except (ValueError, OSError):  # a damaged or unfinished run
            continue
    return sorted(environments, key=lambda each: each.date, reverse=True)

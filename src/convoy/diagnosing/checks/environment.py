"""Checks of torch, devices, disk and processor. Subject: a `Machine`."""

from __future__ import annotations

from collections.abc import Iterator

from convoy.diagnosing.finding import Finding, Severity
from convoy.diagnosing.machine import Machine
from convoy.text import gettext as _
from convoy.text.lists import joined

GIB = 2**30
CHECKPOINTS = 3  # the last two, and the best weights
NETWORK_FILE_SYSTEMS = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "9p", "afs", "lustre", "beegfs", "ceph"}
INSTALL = "uv pip install --reinstall torch --torch-backend=auto"


def torch_build(machine: Machine) -> Iterator[Finding]:
    if not machine.has_nvidia_driver or machine.gpus:
        return
    if machine.cuda is None:
        yield Finding(
            Severity.WARNING,
            _("This machine has an NVIDIA driver, but torch {version} is built for CPUs only", version=machine.torch),
            _("Install the build for its driver: {command}", command=INSTALL),
            {"torch": machine.torch},
        )
    else:
        yield Finding(
            Severity.WARNING,
            _(
                "torch {version} is built for CUDA {cuda} but finds no GPU, although there is an NVIDIA driver: the "
                "driver is older than this CUDA, or no GPU is visible",
                version=machine.torch,
                cuda=machine.cuda,
            ),
            _(
                "Look at nvidia-smi and CUDA_VISIBLE_DEVICES; install the build for this driver: {command}",
                command=INSTALL,
            ),
            {"torch": machine.torch, "cuda": machine.cuda},
        )


def gpu_capability(machine: Machine) -> Iterator[Finding]:
    """Kernels for sm_80 also run on 8.6; those for compute_90 (PTX) are compiled for newer GPUs."""
    binaries = [_version(name) for name in machine.architectures if name.startswith("sm_")]
    sources = [_version(name) for name in machine.architectures if name.startswith("compute_")]
    for gpu in machine.gpus:
        major, minor = gpu.capability
        runs = any(built[0] == major and built[1] <= minor for built in binaries)
        if machine.architectures and not runs and not any(built <= gpu.capability for built in sources):
            yield Finding(
                Severity.ERROR,
                _(
                    "{gpu} has compute capability {capability}, but torch {version} is built for {architectures}",
                    gpu=gpu.name,
                    capability=f"{major}.{minor}",
                    version=machine.torch,
                    architectures=joined(machine.architectures),
                ),
                _("Install another build: {command}", command=INSTALL),
                {"gpu": gpu.name, "capability": f"{major}.{minor}"},
            )


def _version(architecture: str) -> tuple[int, int]:
    digits = "".join(letter for letter in architecture.partition("_")[2] if letter.isdigit())
    return int(digits[:-1] or 0), int(digits[-1:] or 0)


def untested_device(machine: Machine) -> Iterator[Finding]:
    if machine.has_mps:
        yield Finding(
            Severity.HINT,
            _("This Mac has a GPU (mps), which Convoy does not use by default and does not test"),
            _("--device mps tries it; compare the scores of a few epochs with those of --device cpu"),
        )


def free_disk(machine: Machine) -> Iterator[Finding]:
    needed = GIB if machine.checkpoint_bytes is None else CHECKPOINTS * machine.checkpoint_bytes
    if machine.free_disk_bytes < needed:
        yield Finding(
            Severity.ERROR if machine.checkpoint_bytes else Severity.WARNING,
            _(
                "{free:.2f} GiB are free in {folder}; a run needs about {needed:.2f} GiB for weights and checkpoints",
                free=machine.free_disk_bytes / GIB,
                folder=machine.workspace,
                needed=needed / GIB,
            ),
            _("Free some space, or choose another folder with --out"),
            {"free_bytes": machine.free_disk_bytes, "needed_bytes": needed},
        )


def free_memory(machine: Machine) -> Iterator[Finding]:
    if machine.free_memory_bytes is not None and machine.free_memory_bytes < GIB:
        yield Finding(
            Severity.WARNING,
            _("Only {free:.2f} GiB of memory are available", free=machine.free_memory_bytes / GIB),
            _("Close other programs; --data.limit and smaller batches need less memory"),
            {"free_bytes": machine.free_memory_bytes},
        )


def network_file_system(machine: Machine) -> Iterator[Finding]:
    if machine.file_system in NETWORK_FILE_SYSTEMS:
        yield Finding(
            Severity.WARNING,
            _(
                "The folder of runs, {folder}, is on a network file system ({kind}), where locks may not work and each "
                "small file is slow",
                folder=machine.workspace,
                kind=machine.file_system,
            ),
            _("Choose a local folder with --out, and copy finished runs to it"),
            {"file_system": machine.file_system},
        )


def busy_cores(machine: Machine) -> Iterator[Finding]:
    if machine.busy_cores >= machine.cores / 2:
        yield Finding(
            Severity.HINT,
            _(
                "The load average is {load:.1f} on {cores} cores: training is slower, and measured times are too long",
                load=machine.busy_cores,
                cores=machine.cores,
            ),
            _("Measure times when the machine is idle"),
            {"busy_cores": machine.busy_cores, "cores": machine.cores},
        )


def limited_threads(machine: Machine) -> Iterator[Finding]:
    if machine.threads is not None and machine.threads.isdigit() and int(machine.threads) > machine.cores:
        yield Finding(
            Severity.WARNING,
            _(
                "OMP_NUM_THREADS = {threads}, but this process may use {cores} cores",
                threads=machine.threads,
                cores=machine.cores,
            ),
            _("Unset OMP_NUM_THREADS"),
            {"threads": int(machine.threads), "cores": machine.cores},
        )


def trained_elsewhere(machine: Machine) -> Iterator[Finding]:
    """Finds runs that were trained with another torch or processor. If they are retrained here, the last bits of their
    weights change."""
    others = [each for each in machine.earlier if (each.torch, each.cpu) != (machine.torch, machine.cpu)]
    if others:
        lost = sorted({flag for each in others for flag in each.cpu_flags} - set(machine.cpu_flags))
        yield Finding(
            Severity.HINT,
            _(
                "{count:,} of {total:,} runs here were trained elsewhere, the newest with torch {torch} on {cpu}: the "
                "same recipe now gives weights that differ in the last bits",
                count=len(others),
                total=len(machine.earlier),
                torch=others[0].torch,
                cpu=others[0].cpu,
            ),
            _("Allow for the spread over seeds when you compare scores of old and new runs"),
            {"runs": len(others), "missing_cpu_flags": joined(lost)},
        )

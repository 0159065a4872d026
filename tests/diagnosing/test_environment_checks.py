"""Planted problems of a machine are found by their checks; an ordinary machine has no finding."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from convoy.diagnosing.finding import Severity
from convoy.diagnosing.machine import Gpu, Machine, file_system_of, this_machine
from convoy.diagnosing.table import CHECKS, Topic, examine
from convoy.run_contents import Environment

ERROR, WARNING, HINT = Severity
GIB = 2**30
CHECKS_HERE = [check for check in CHECKS if check.topic is Topic.ENVIRONMENT]
ORDINARY = Machine(
    torch="2.13.0+cu128",
    cuda="12.8",
    architectures=("sm_80", "sm_90", "compute_90"),
    has_nvidia_driver=True,
    gpus=(Gpu("H200", (9, 0)),),
    has_mps=False,
    workspace=Path("/home/user/convoy-runs"),
    file_system="ext4",
    free_disk_bytes=100 * GIB,
    free_memory_bytes=8 * GIB,
    cores=8,
    busy_cores=0.3,
    threads=None,
    cpu="EPYC",
    cpu_flags=("avx2",),
)
ELSEWHERE = Environment(
    torch="2.9.0", cpu="Xeon", threads=2, date="2026-01-01 10:00:00", command="", cpu_flags=["avx512f"]
)
PLANTED: list[tuple[str, Severity, dict[str, Any]]] = [
    ("torch_build", WARNING, {"cuda": None, "gpus": (), "architectures": ()}),
    ("torch_build", WARNING, {"gpus": ()}),
    ("gpu_capability", ERROR, {"gpus": (Gpu("GTX 1080", (6, 1)),)}),
    ("untested_device", HINT, {"has_mps": True}),
    ("free_disk", WARNING, {"free_disk_bytes": GIB // 2}),
    ("free_disk", ERROR, {"free_disk_bytes": 5 * GIB, "checkpoint_bytes": 2 * GIB}),
    ("free_memory", WARNING, {"free_memory_bytes": GIB // 2}),
    ("network_file_system", WARNING, {"file_system": "nfs4"}),
    ("busy_cores", HINT, {"busy_cores": 6.0}),
    ("limited_threads", WARNING, {"threads": "64"}),
    ("trained_elsewhere", HINT, {"earlier": (ELSEWHERE,)}),
]


@pytest.mark.parametrize(("check", "severity", "facts"), PLANTED)
def test_planted_problem_is_found(check: str, severity: Severity, facts: dict[str, Any]) -> None:
    findings = list(examine(replace(ORDINARY, **facts), CHECKS_HERE))
    assert [(finding.check, finding.severity) for finding in findings] == [(check, severity)]


def test_each_check_has_a_planted_problem() -> None:
    assert {check for check, *_ in PLANTED} == {check.name for check in CHECKS_HERE}


@pytest.mark.parametrize("gpu", [(9, 0), (8, 6), (12, 0)])
def test_ordinary_machine_has_no_finding(gpu: tuple[int, int]) -> None:
    assert list(examine(replace(ORDINARY, gpus=(Gpu("", gpu),)), CHECKS_HERE)) == []


def test_properties_of_this_machine_are_read(tmp_path: Path) -> None:
    machine = this_machine(tmp_path / "not" / "there")
    assert machine.workspace == tmp_path.resolve()
    assert machine.free_disk_bytes > 0
    assert machine.cores > 0


def test_file_system_of_the_longest_mount_point_is_returned(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text("/dev/sda / ext4 rw 0 0\nserver:/x /data\\040set nfs4 rw 0 0\n")
    assert file_system_of(Path("/data set/runs"), mounts) == "nfs4"
    assert file_system_of(Path("/home"), mounts) == "ext4"
    assert file_system_of(Path("/home"), tmp_path / "missing") == ""

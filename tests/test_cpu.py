from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from convoy import cpu

XEON = "processor : 0\nmodel name : Intel(R) Xeon(R)\nflags : fpu avx2 avx512f avx512_bf16 amx_bf16\n"
EPYC = "processor : 0\nmodel name : AMD EPYC 7B13\nflags : fpu sse2 avx2 fma\n"
ARM = "processor : 0\nFeatures : fp asimd bf16\n"


@pytest.fixture(autouse=True)
def _empty_cache() -> Iterator[None]:
    yield
    cpu.name.cache_clear()
    cpu.flags.cache_clear()


@pytest.mark.parametrize(
    ("text", "flags", "fast"),
    [
        (XEON, ("amx_bf16", "avx512_bf16", "avx512f", "avx2"), True),
        (EPYC, ("avx2",), False),
        (ARM, ("bf16", "asimd"), False),
        ("", (), False),
    ],
)
def test_flags_of_the_processor_determine_fast_bfloat16(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, flags: tuple[str, ...], fast: bool
) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(cpu, "CPUINFO", tmp_path / "cpuinfo")
    cpu.name.cache_clear()
    cpu.flags.cache_clear()
    assert cpu.flags() == flags
    assert cpu.has_fast_bfloat16() == fast
    assert cpu.name()


def test_a_system_without_cpuinfo_has_a_name_and_no_flags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "CPUINFO", tmp_path / "none")
    cpu.name.cache_clear()
    cpu.flags.cache_clear()
    assert cpu.flags() == ()
    assert cpu.name()

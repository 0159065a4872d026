from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.training.test_run_one import finish

from convoy import cpu
from convoy.recipe import Recipe
from convoy.training.machine.device import precision_notes
from convoy.training.run.plan import plan_one

Make = Callable[..., Recipe]
CPU = ("compute.device", "cpu")
AUTO = ("compute.precision", "auto")


@pytest.mark.parametrize(("fast", "precision"), [(True, "bfloat16"), (False, "float32")])
def test_auto_is_the_fastest_precision_of_the_processor(
    tiny: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fast: bool, precision: str
) -> None:
    monkeypatch.setattr(cpu, "has_fast_bfloat16", lambda: fast)
    run = finish(tiny(CPU, AUTO), tmp_path)
    assert run.recipe.compute.precision == run.environment.precision == precision
    assert plan_one(tiny(CPU, AUTO)).fingerprint == plan_one(tiny(CPU, ("compute.precision", precision))).fingerprint


def test_bfloat16_has_a_warning_only_if_it_is_slow(tiny: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = tiny(CPU, ("compute.precision", "bfloat16"))
    monkeypatch.setattr(cpu, "has_fast_bfloat16", lambda: False)
    assert len(precision_notes(recipe)) == 1
    assert precision_notes(tiny(CPU)) == []
    monkeypatch.setattr(cpu, "has_fast_bfloat16", lambda: True)
    assert precision_notes(recipe) == []

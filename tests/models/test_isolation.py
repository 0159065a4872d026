"""A user's code cannot change settings of the process that also affect other networks."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from convoy.models import create

CHANGES = (
    "import os, sys, torch; os.chdir('..'); sys.setrecursionlimit(500); torch.set_grad_enabled(False); "
    "torch.set_default_dtype(torch.float64); torch.set_default_device('meta')"
)
FACTORY = """\
from torch import nn

def make(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))
"""


def settings() -> tuple[object, ...]:
    defaults = torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_default_device()
    modes = torch.overrides._get_current_function_mode_stack()  # a default device is one, which slows all calls
    return Path.cwd(), sys.getrecursionlimit(), *defaults, modes


@pytest.mark.parametrize("device", ["meta", "cpu"])
@pytest.mark.parametrize("text", [f"{CHANGES}\n{FACTORY}", FACTORY.replace("    return", f"    {CHANGES}\n    return")])
def test_settings_that_a_file_or_function_changes_are_restored(tmp_path: Path, text: str, device: str) -> None:
    before = settings()
    (tmp_path / "net.py").write_text(text.replace("'meta'", f"'{device}'"))
    with suppress(ValueError):  # a network on the meta device
        create(f"{tmp_path / 'net.py'}:make", in_chans=1, num_classes=5, image_size=8)
    assert settings() == before


@pytest.mark.parametrize("seeding", ["torch.manual_seed(0)", "torch.rand(3)"])
def test_the_initial_weights_depend_on_the_seed_of_the_run_and_not_on_that_of_the_file(
    tmp_path: Path, seeding: str
) -> None:
    def bias(text: str, seed: int) -> torch.Tensor:
        (tmp_path / "net.py").write_text(text)
        torch.manual_seed(seed)
        return create(f"{tmp_path / 'net.py'}:make", in_chans=1, num_classes=5, image_size=8).state_dict()["1.bias"]

    text = f"import torch\n{seeding}\n{FACTORY}"
    assert torch.equal(bias(text, 1), bias(FACTORY, 1))
    assert not torch.equal(bias(text, 1), bias(text, 2))


def test_a_file_may_remove_its_folder_from_the_search_path(tmp_path: Path) -> None:
    before = [*sys.path]
    (tmp_path / "net.py").write_text(f"import sys\nsys.path.pop(0)\n{FACTORY}")
    create(f"{tmp_path / 'net.py'}:make", in_chans=1, num_classes=5, image_size=8)
    assert sys.path == before

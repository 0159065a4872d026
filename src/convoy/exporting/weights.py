"""The best weights as torch.save writes them: a state dict of plain tensors, which weights_only=True loads."""

from __future__ import annotations

from io import BytesIO

import torch

from convoy.checkpoint import load_weights
from convoy.runs import Run


def contents(run: Run, files: int) -> list[bytes]:
    if run.is_archived:
        raise ValueError(f"{run.path} was archived without its weights; train its recipe.toml again to have them")
    path = run.file("best.safetensors")
    if not path.is_file():
        raise ValueError(f"{run.path} has no weights yet: its first epoch has not ended")
    buffer = BytesIO()
    torch.save(load_weights(path), buffer)
    return [buffer.getvalue()]

"""The best weights as a state dict saved by torch.save, which torch.load reads with weights_only=True."""

from __future__ import annotations

from io import BytesIO

import torch

from convoy.checkpoint import load_weights
from convoy.runs import Run


def contents(run: Run, files: int) -> list[bytes]:
    if run.is_archived:
        raise ValueError(f"{run.path} was archived without weights; train its recipe.toml to get them")
    path = run.file("best.safetensors")
    if not path.is_file():
        raise ValueError(f"{run.path} has no weights yet; its first epoch is not finished")
    buffer = BytesIO()
    torch.save(load_weights(path), buffer)
    return [buffer.getvalue()]

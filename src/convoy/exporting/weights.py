"""The best weights: as a state dict saved by torch.save, or as safetensors with metadata on how to use them."""

from __future__ import annotations

import json
from io import BytesIO

import torch

from convoy.checkpoint import load_weights, pack
from convoy.evaluation.load import best_weights
from convoy.exporting.content import Contents, Settings
from convoy.runs import Run


def pth(run: Run, settings: Settings) -> Contents:
    """Exports a state dict for torch.load with weights_only=True."""
    buffer = BytesIO()
    torch.save(load_weights(best_weights(run)), buffer)
    return Contents([buffer.getvalue()])


def safetensors(run: Run, settings: Settings) -> Contents:
    """The file has the entries of `metadata` and, for tied weights, `aliases`: {name: name of the stored tensor}."""
    return Contents([pack(load_weights(best_weights(run)), metadata(run))])


def metadata(run: Run) -> dict[str, str]:
    """Returns the properties of the network that are needed to use it. Lists and tables are JSON."""
    data, model = run.data, run.recipe.model
    return {
        "run": run.name,
        "model": run.label,
        "model_options": json.dumps(model.options, sort_keys=True),
        "data": data.name,
        "classes": json.dumps(list(data.classes)),
        "in_chans": str(data.in_chans),
        "image_size": str(data.image_size),
        "mean": json.dumps(list(data.mean)),
        "std": json.dumps(list(data.std)),
    }

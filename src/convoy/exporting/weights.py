"""The best weights: as a state dict saved by torch.save, or as safetensors with the facts that a user of them needs."""

from __future__ import annotations

import json
from io import BytesIO

import torch

from convoy.checkpoint import load_weights, pack
from convoy.evaluation.load import best_weights
from convoy.exporting.content import Contents, Settings
from convoy.runs import Run


def pth(run: Run, settings: Settings) -> Contents:
    """torch.load reads it with weights_only=True."""
    buffer = BytesIO()
    torch.save(load_weights(best_weights(run)), buffer)
    return Contents([buffer.getvalue()])


def safetensors(run: Run, settings: Settings) -> Contents:
    """As metadata, the entries of `facts`, and `aliases`: the JSON of {name: name of the stored tensor}, if tied."""
    return Contents([pack(load_weights(best_weights(run)), facts(run))])


def facts(run: Run) -> dict[str, str]:
    """What one needs to know to use the network. Lists and tables are JSON."""
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

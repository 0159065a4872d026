"""Run folders of networks with random weights and the batch statistics of their images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn

from convoy.checkpoint import save_weights
from convoy.data.prepare import channel_statistics
from convoy.evaluation.loaded import normaliser_of
from convoy.files import write_arrays, write_bytes, write_json
from convoy.models import create
from convoy.recipe import Recipe
from convoy.run_contents import RunData
from convoy.runs import Run


def random_run(
    folder: Path, model: str, images: np.ndarray, *, options: Mapping[str, object] | None = None, classes: int = 10
) -> Run:
    """An interrupted run whose data no longer exist. Its samples are `images`, uint8 [N, C, H, H]."""
    overrides = [("model.name", model), ("data.name", "missing.npz"), ("model.options", dict(options or {}))]
    recipe = Recipe.load("defaults/images", overrides)
    folder.mkdir(parents=True)
    write_bytes(folder / "recipe.toml", recipe.to_toml().encode())
    write_json(folder / "status.json", {"state": "interrupted", "fingerprint": "0" * 64})
    mean, std = channel_statistics(images)
    names = [f"class {number}" for number in range(classes)]
    facts = {"name": "missing", "classes": names, "in_chans": images.shape[1], "image_size": images.shape[2]}
    hashes = {"counts": {}, "per_class": {}, "data_hash": "", "split_hash": ""}
    write_json(folder / "data.json", {**facts, **hashes, "mean": mean, "std": std})
    write_arrays(folder / "gallery.npz", {"samples_images": images})
    torch.manual_seed(0)
    geometry = {"in_chans": images.shape[1], "num_classes": classes, "image_size": images.shape[2]}
    network = create(model, **geometry, options=recipe.model.options)
    for part in network.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.momentum = None  # the mean of all batches
    data = RunData(**facts, **hashes, mean=mean, std=std)
    with torch.no_grad():
        network.train()(normaliser_of(data)(torch.from_numpy(images[:64].copy())))
    save_weights(folder / "best.safetensors", network.state_dict())
    return Run(folder)

"""Scores of weights that were saved earlier, by a run or by any other training loop."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from convoy import models
from convoy.checkpoint import load_into
from convoy.data import Prepared, prepare
from convoy.data.batches import Normaliser
from convoy.evaluation import losses
from convoy.evaluation.load import network_of
from convoy.evaluation.predict import predict
from convoy.evaluation.scores import predicted_classes, probabilities, score
from convoy.recipe import Override, Recipe, resolve
from convoy.runs import Run, Workspace

FOR_A_RUN = ("data.name", "data.size", "data.limit", "data.split")  # what may differ from the run's recipe in a test


class Saved(NamedTuple):
    scores: dict[str, Any]
    images: np.ndarray  # uint8 [N, C, H, W]
    labels: np.ndarray  # int64 [N]
    logits: np.ndarray  # float32 [N, classes]
    classes: tuple[str, ...]

    def gallery(self, samples: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, tuple[str, ...]]:
        """Images drawn by a fixed seed, with labels, predictions and confidences: what `draw_gallery` takes."""
        count = min(samples, len(self.labels))
        chosen = np.sort(np.random.default_rng(0).choice(len(self.labels), size=count, replace=False))
        predicted, likely = predicted_classes(self.logits[chosen]), np.nan_to_num(probabilities(self.logits[chosen]))
        return self.images[chosen], self.labels[chosen], predicted, likely.max(1), self.classes


def score_saved(
    target: Run | Path,
    *,
    model: str | None,
    data: str | None,
    overrides: Sequence[Override],
    out: Path,
    trust_code: bool = False,
) -> Saved:
    """Opens the test set of `data` (for a run: of its own data) and scores the network on it.

    Saved weights bring no normalisation: it comes from the recipe that `model` and `data` resolve to. A run keeps its
    own. The opening is counted in the workspace that a run is in, else in `out`.
    Raises ValueError: weights of another network, no test set, no `model` for a weights file, an override that does not
    go with a run.
    """
    if isinstance(target, Run):
        for path, _ in overrides:
            if not path.startswith(FOR_A_RUN):
                raise ValueError(f"{path}: a run is tested as it was trained; only {', '.join(FOR_A_RUN)} can be set")
        recipe, module = target.recipe, network_of(target, trust_code=trust_code)
        if model is not None and model != recipe.model.name:
            raise ValueError(f"{target.path} is a run of {recipe.model.name}: --model {model} does not go with it")
        named = [("data.name", data)] if data is not None else []
        prepared = prepare(recipe.override([*named, *overrides]).data)
        if data is None and prepared.test_is_cut:
            _check_same_cut(target, prepared, overrides)
        _check_fit(target, prepared)
        mean, std = tuple(target.data["mean"]), tuple(target.data["std"])
    else:
        if not target.is_file():
            raise ValueError(f"weights file {str(target)!r} does not exist")
        if model is None:
            raise ValueError(f"{target}: saved weights do not say which network they are of; name it with --model")
        recipe = resolve(model, data=data, overrides=overrides)
        prepared = prepare(recipe.data)
        module = _network(recipe, prepared)
        load_into(module, target)
        mean, std = prepared.mean, prepared.std
    if prepared.test is None:
        raise ValueError(f"{prepared.name} has no test set")
    openings: list[int] = []
    workspace, name = Workspace(out), str(target)
    if isinstance(target, Run):
        folder, name = target.path.resolve(), target.name
        workspace = Workspace(folder.parents[1] if folder.parent.name == "runs" else out)
    images = prepared.test.open(lambda digest: openings.append(workspace.record_opening(digest, name)))
    logits = predict(module.eval(), images.images, Normaliser(mean, std, torch.device("cpu"), torch.float32))
    scores = score(logits, images.labels, prepared.classes, losses.build(recipe.train.loss))
    about = {"weights": str(target.path if isinstance(target, Run) else target), "data": prepared.name}
    return Saved(
        {**about, **scores, "openings": openings[0], "limit": prepared.limit},
        images.images,
        images.labels,
        logits,
        prepared.classes,
    )


def _network(recipe: Recipe, prepared: Prepared) -> torch.nn.Module:
    return models.create(
        recipe.model.name,
        in_chans=prepared.in_chans,
        num_classes=len(prepared.classes),
        image_size=prepared.image_size,
        options=recipe.model.options,
    )


def _check_same_cut(run: Run, prepared: Prepared, overrides: Sequence[Override]) -> None:
    """A test part that is cut from the training images is a run's own only by the same cut of the same images."""
    why = f"the split is another than that of {run.path}"
    if prepared.data_hash != run.data["data_hash"]:
        why = f"{prepared.name} has changed since {run.path} was trained"
    elif not any(path.startswith("data.split") for path, _ in overrides):
        return
    raise ValueError(f"{why}: the test part may hold images of that training; --data names others to test on")


def _check_fit(run: Run, prepared: Prepared) -> None:
    own = (run.data["in_chans"], run.data["image_size"], tuple(run.data["classes"]))
    theirs = (prepared.in_chans, prepared.image_size, tuple(prepared.classes))
    if own != theirs:
        raise ValueError(f"{prepared.name} holds {_shape(*theirs)}; {run.path} was trained on {_shape(*own)}")


def _shape(in_chans: int, image_size: int, classes: tuple[str, ...]) -> str:
    return f"{in_chans}x{image_size}x{image_size} images of {len(classes)} classes ({', '.join(classes[:3])}, ...)"

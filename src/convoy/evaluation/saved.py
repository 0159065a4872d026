"""Scores saved weights of a run or of another training loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from convoy.checkpoint import load_into
from convoy.data import Prepared, prepare
from convoy.data.batches import Normaliser
from convoy.evaluation import losses
from convoy.evaluation.load import network_of, untrained
from convoy.evaluation.predict import predict
from convoy.evaluation.scores import predicted_classes, probabilities, score
from convoy.recipe import resolve
from convoy.recipe.files import Override
from convoy.run_contents import Score
from convoy.runs import Run, Workspace

TEST_KEYS = ("data.name", "data.size", "data.limit", "data.split")  # keys that a test of a run may change


@dataclass(frozen=True)
class Tested:
    """The score of saved weights on a test set."""

    weights: str  # a path
    data: str  # name of the data set
    score: Score  # accuracy, confusion and more
    openings: int  # of the test set in the workspace so far
    limit: int | None = None  # images; a number is not evidence

    def as_table(self) -> dict[str, object]:
        """The score as in scores.json, with the other values."""
        about = {name: value for name, value in asdict(self).items() if name != "score"}
        return about | self.score.as_table()


class Saved(NamedTuple):
    tested: Tested
    images: np.ndarray  # uint8 [N, C, H, W]
    labels: np.ndarray  # int64 [N]
    logits: np.ndarray  # float32 [N, classes]
    classes: tuple[str, ...]

    def gallery(self, samples: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, tuple[str, ...]]:
        """Random images with labels, predictions and confidences, for `prediction_tiles`."""
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
    """Opens the test set of `data` (default for a run: its own data) and scores the network on it.

    A run has its own normalisation; for a file of weights it comes from the recipe that `model` and `data` resolve to.
    The opening is counted in the workspace of the run, else in `out`.
    Raises ValueError: weights of another network, no test set, no `model` for a file of weights, an override that a run
    does not allow.
    """
    if isinstance(target, Run):
        for path, _ in overrides:
            if not path.startswith(TEST_KEYS):
                raise ValueError(f"{path}: cannot be set for a test of a run; expected one of {', '.join(TEST_KEYS)}")
        recipe, module = target.recipe, network_of(target, trust_code=trust_code)
        if model is not None and model != recipe.model.name:
            raise ValueError(f"--model {model}: {target.path} is a run of {recipe.model.name}")
        named = [("data.name", data)] if data is not None else []
        prepared = prepare(recipe.override([*named, *overrides]).data)
        if data is None and prepared.test_is_cut:
            _check_same_cut(target, prepared, overrides)
        _check_fit(target, prepared)
        mean, std = tuple(target.data.mean), tuple(target.data.std)
    else:
        if not target.is_file():
            raise ValueError(f"weights file {str(target)!r} does not exist")
        if model is None:
            raise ValueError(f"{target}: a file of weights needs the name of its network; use --model")
        recipe = resolve(model, data=data, overrides=overrides)
        prepared = prepare(recipe.data)
        module = untrained(recipe, prepared)
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
    result = score(logits, images.labels, prepared.classes, losses.build(recipe.train.loss))
    path = str(target.path if isinstance(target, Run) else target)
    tested = Tested(path, prepared.name, result, openings[0], prepared.limit)
    return Saved(tested, images.images, images.labels, logits, prepared.classes)


def _check_same_cut(run: Run, prepared: Prepared, overrides: Sequence[Override]) -> None:
    """Checks that a test part cut from the training images is that of the run."""
    why = f"the split differs from that of {run.path}"
    if prepared.data_hash != run.data.data_hash:
        why = f"{prepared.name} has changed since {run.path} was trained"
    elif not any(path.startswith("data.split") for path, _ in overrides):
        return
    raise ValueError(f"{why}: the test part may contain training images of that run; test on other data with --data")


def _check_fit(run: Run, prepared: Prepared) -> None:
    expected = (run.data.in_chans, run.data.image_size, tuple(run.data.classes))
    actual = (prepared.in_chans, prepared.image_size, tuple(prepared.classes))
    if actual != expected:
        raise ValueError(f"{prepared.name} has {_shape(*actual)}; {run.path} was trained on {_shape(*expected)}")


def _shape(in_chans: int, image_size: int, classes: tuple[str, ...]) -> str:
    return f"{in_chans}x{image_size}x{image_size} images of {len(classes)} classes ({', '.join(classes[:3])}, ...)"

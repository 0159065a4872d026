"""The loss around trained weights: along a line, in a plane of two directions, and in the plane of the training path.

H. Li, Z. Xu, G. Taylor, C. Studer, T. Goldstein, "Visualizing the Loss Landscape of Neural Nets", 2018, sections 4
to 7. https://arxiv.org/abs/1712.09913
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors import safe_open
from torch import nn

from convoy.evaluation import losses
from convoy.evaluation.predict import predict
from convoy.files import read_arrays, write_arrays
from convoy.randomness import derive_seed
from convoy.run_contents import from_table
from convoy.runs import Run
from convoy.studies.landscape.arrays import Kind, Surface, arrays_of
from convoy.studies.landscape.design import Spec
from convoy.text import gettext as _
from convoy.training.run.plan import Plan

LINE_POINTS = 51
REACH = 1.0  # maximum distance along a random direction; its filters have the norms of the network's filters
MARGIN = 0.2  # around the training path, as a fraction of its extent
MAX_EPOCHS = 50  # on the training path; each parameter is loaded for all epochs at once
REPORT_SECONDS = 5.0  # between two progress messages

Direction = list[torch.Tensor]


class Path2D(NamedTuple):
    """The training path in the plane of its first two principal directions; the kept weights are the origin."""

    directions: tuple[Direction, Direction]  # orthonormal
    at: np.ndarray  # float64 [epochs, 2]
    epochs: np.ndarray  # int64 [epochs]; 0: before training
    explained: np.ndarray  # float64 [2], explained fractions of the path's variance


class Scene:
    """A network with its saved weights, in evaluation mode, and the images on which the loss is computed."""

    def __init__(self, run: Run, plan: Plan, images: int) -> None:
        prepared = plan.prepared
        self.module = plan.network_with(run.file("best.safetensors"))
        self.kept = [parameter.detach().clone() for parameter in self.module.parameters()]
        draw = np.random.default_rng(derive_seed(0, "surface"))
        chosen = np.sort(draw.permutation(len(prepared.train))[:images])
        self._images = prepared.train.images[chosen]
        self._labels = torch.from_numpy(prepared.train.labels[chosen])
        self._normaliser = plan.normaliser
        self._loss = losses.build(plan.recipe.train.loss, faults=plan.recipe.protocol.faults)

    def loss_at(self, directions: Sequence[Direction], places: Sequence[float]) -> float:
        """Returns the mean loss with the weights moved by `places` along `directions`; infinity if the loss is not
        finite.
        """
        with torch.no_grad():
            for number, (parameter, kept) in enumerate(zip(self.module.parameters(), self.kept, strict=True)):
                moved = kept.clone()
                for direction, place in zip(directions, places, strict=True):
                    moved.add_(direction[number], alpha=place)
                parameter.copy_(moved)
            logits = predict(self.module, self._images, self._normaliser, batch_size=500)
            loss = float(self._loss(torch.from_numpy(logits).double(), self._labels))
        return loss if np.isfinite(loss) else float("inf")


def filter_normalised(module: nn.Module, seed: int) -> Direction:
    """Draws a random direction whose filters have the norms of the network's filters (section 4).

    A filter computes one channel or unit, such as a row of a linear layer. Biases and parameters of normalisation
    layers are not moved: their scale would dominate the loss.
    """
    generator = torch.Generator().manual_seed(seed)
    direction = []
    for parameter in module.parameters():
        random = torch.randn(parameter.shape, generator=generator).to(parameter)
        if parameter.ndim < 2:
            direction.append(torch.zeros_like(parameter))
            continue
        dims = tuple(range(1, parameter.ndim))
        length, own = (torch.linalg.vector_norm(t.detach(), dim=dims, keepdim=True) for t in (random, parameter))
        direction.append(random * (own / length))
    return direction


def training_path(run: Run, scene: Scene) -> Path2D | None:
    """Returns the first two principal directions of the saved epochs (section 7); None if they do not span a plane.

    There are many weights and few epochs, so the directions come from the Gram matrix of the epochs.
    """
    files = sorted((run.path / "weights").glob("epoch-*.safetensors"))
    files = [
        run.file(f"weights/{files[place].name}")
        for place in np.unique(np.linspace(0, len(files) - 1, min(len(files), MAX_EPOCHS)).astype(int))
    ]
    if len(files) < 3:
        return None
    names = [name for name, _parameter in scene.module.named_parameters()]

    def stacks() -> Iterator[torch.Tensor]:
        return (_stack(files, name, kept) for name, kept in zip(names, scene.kept, strict=True))

    gram = sum((stack @ stack.T for stack in stacks()), torch.zeros(len(files), len(files), dtype=torch.float64))
    centring = torch.eye(len(files), dtype=torch.float64) - 1 / len(files)
    values, vectors = torch.linalg.eigh(centring @ gram @ centring)
    values, vectors = values.flip(0).clamp(min=0), vectors.flip(1)
    if not values[1] > 1e-12 * values[0]:
        return None
    # Column k contains the coefficients of the centred epochs for the k-th direction of length 1.
    shares = centring @ vectors[:, :2] / values[:2].sqrt()
    at = gram @ shares
    # The sign of an eigenvector is arbitrary. Chosen so that training moves towards greater x and y: in 3D, towards the
    # viewer.
    signs = -torch.sign(at[at.abs().argmax(0), [0, 1]])
    shares, at = shares * signs, at * signs
    directions: tuple[Direction, Direction] = ([], [])
    for stack, kept in zip(stacks(), scene.kept, strict=True):
        for direction, share in zip(directions, shares.T, strict=True):
            direction.append((share @ stack).reshape(kept.shape).to(kept))
    epochs = np.array([int(file.stem.removeprefix("epoch-")) for file in files])
    return Path2D(directions, at.numpy(), epochs, (values[:2] / values.sum()).numpy())


def _stack(files: Sequence[Path], name: str, kept: torch.Tensor) -> torch.Tensor:
    """Returns a parameter's values in each epoch minus the saved ones, float64 [epochs, numbers]."""
    rows = []
    for file in files:
        with safe_open(file, framework="pt") as weights:
            rows.append(weights.get_tensor(name).double().flatten())
    return torch.stack(rows) - kept.double().cpu().flatten()


def surface(
    kind: Kind,
    run: Run,
    scene: Callable[[], Scene],
    folder: Path,
    spec: Spec,
    interrupted: Callable[[], bool],
    report: Callable[[str], None],
) -> Surface | None:
    """Computes a surface row by row, resuming from a file in `folder`. The result is incomplete if interrupted.

    Returns None for a path that does not span a plane.
    """
    settings = f"{kind} {spec.images} {LINE_POINTS if kind == 'line' else spec.resolution} "
    weights = run.file("best.safetensors").read_bytes()
    path = folder / f"{kind}-{hashlib.sha256(settings.encode() + weights).hexdigest()[:12]}.npz"
    result = from_table(Surface, stored) if (stored := read_arrays(path)) else None
    if result is not None and result.is_complete:
        return result
    evaluated = scene()
    path_2d = training_path(run, evaluated) if kind == "path" else None
    if kind == "path" and path_2d is None:
        return None
    random = (filter_normalised(evaluated.module, derive_seed(seed, "surface")) for seed in (1, 2))
    directions = path_2d.directions if path_2d else tuple(random)
    result = result or _empty(kind, spec, path_2d)
    started, rows = time.monotonic(), np.flatnonzero(np.isnan(result.loss).any(1))
    reported = started
    for done, row in enumerate(rows.tolist(), start=1):
        losses = result.loss[row]
        for column in np.flatnonzero(np.isnan(losses)):
            if interrupted():
                write_arrays(path, arrays_of(result))
                return result
            losses[column] = evaluated.loss_at(directions, (result.x[column], result.y[row]))
        write_arrays(path, arrays_of(result))
        if (now := time.monotonic()) - reported > REPORT_SECONDS and done < len(rows):
            reported, left = now, (now - started) / done * (len(rows) - done)
            names = {"line": _("loss along a line"), "plane": _("loss in a plane"), "path": _("loss around the path")}
            report(
                _(
                    "{kind}: {done} of {n} rows, about {left:,.0f} s left",
                    kind=names[kind],
                    done=done,
                    n=len(rows),
                    left=left,
                )
            )
    return result


def _empty(kind: Kind, spec: Spec, path_2d: Path2D | None) -> Surface:
    if path_2d is None:
        x = np.linspace(-REACH, REACH, LINE_POINTS if kind == "line" else spec.resolution)
        y = np.zeros(1) if kind == "line" else x
        return Surface(x, y, np.full((len(y), len(x)), np.nan))
    low, high = np.minimum(path_2d.at.min(0), 0), np.maximum(path_2d.at.max(0), 0)
    margin = MARGIN * (high - low)
    x, y = (np.linspace(a, b, spec.resolution) for a, b in zip(low - margin, high + margin, strict=True))
    return Surface(x, y, np.full((len(y), len(x)), np.nan), path_2d.at, path_2d.epochs, path_2d.explained)

"""Measures how loss and gradient change along the direction of gradient descent.

S. Santurkar, D. Tsipras, A. Ilyas, A. Madry, "How Does Batch Normalization Help Optimization?", 2018, section 3.1 and
figure 4. https://arxiv.org/abs/1805.11604
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from convoy.randomness import derive_seed
from convoy.training.step.generators import seed_generators
from convoy.training.step.learner import Learner

# Multiples of the gradient. The paper's largest is 0.4, where the loss of a VGG without norm layers already rises.
STEP_SIZES = (0.05, 0.1, 0.2, 0.4)

Arrays = dict[str, np.ndarray]


class StepProbe:
    """Measures loss and gradient after every `every_steps`-th step.

    Uses the batch of that step, the weights after it, training mode, and the same dropout at every point. Restores
    weights, buffers, gradients, optimizer and generators, so that training is bit-identical with and without it.
    """

    def __init__(self, every_steps: int, seed: int) -> None:
        self.step = 0  # steps of the run so far
        self._every_steps = every_steps
        self._seed = seed
        self._rows: dict[str, list[np.ndarray]] = {}
        self._before: list[torch.Tensor] = []  # the weights before the step that is measured next

    def __call__(self, learner: Learner, x: torch.Tensor, y: torch.Tensor) -> None:
        self.step += 1
        if self.step % self._every_steps == 0:
            seed = derive_seed(self._seed, "probe", 0, self.step)
            measured = measure(learner, x, y, seed, self._before)
            for name, value in {"probe_step": np.int64(self.step), **measured}.items():
                self._rows.setdefault(name, []).append(np.asarray(value))
            self._before = []
        if (self.step + 1) % self._every_steps == 0:
            self._before = [parameter.detach().clone() for parameter in learner.parameters]

    @property
    def arrays(self) -> Arrays:
        """The stacked results of `measure`, and `probe_step`: the number of steps before each."""
        return {name: np.stack(rows) for name, rows in self._rows.items()}

    def state(self) -> dict[str, object]:
        rows = {name: torch.from_numpy(rows) for name, rows in self.arrays.items()}
        return {"step": self.step, "rows": rows, "before": self._before}

    def load(self, step: int, rows: Mapping[str, torch.Tensor], before: Sequence[torch.Tensor] = ()) -> None:
        self.step, self._before = step, [*before]
        self._rows = {name: list(values.numpy()) for name, values in rows.items()}


def measure(
    learner: Learner, x: torch.Tensor, y: torch.Tensor, seed: int, before: Sequence[torch.Tensor] = ()
) -> Arrays:
    """Measures loss and gradient at the weights and at each of STEP_SIZES along the negative gradient.

    `before`: the weights before the last step of the optimizer, if known.

    Returns `probe_loss` float32 [1 + sizes]: the loss, first at the weights; its range is the paper's loss variation.
    `probe_gradient_change` float32 [sizes]: l2 distance of the gradient from the first one (predictiveness).
    `probe_beta` float32: the maximum of gradient change / distance moved (effective beta-smoothness).
    `probe_own_beta` float32: this quotient for the optimizer's last step, from `before` to the weights; NaN without it.
    """
    parameters = learner.parameters
    # fork_rng restores the training's generators; the same seed gives every point the same dropout.
    with _restored(learner), torch.random.fork_rng(devices=[x.device] if x.is_cuda else []):
        seed_generators(seed)
        loss, gradient = learner.gradient(x, y)
        start = [parameter.detach().clone() for parameter in parameters]
        losses, changes = [loss], []
        for size in STEP_SIZES:
            with torch.no_grad():
                for parameter, origin, slope in zip(parameters, start, gradient, strict=True):
                    parameter.copy_(origin - size * slope)
            seed_generators(seed)
            loss, moved_gradient = learner.gradient(x, y)
            losses.append(loss)
            changes.append(_length([b - a for a, b in zip(gradient, moved_gradient, strict=True)]))
        distances = _length(gradient) * torch.tensor(STEP_SIZES, device=x.device)
        own_beta = torch.tensor(torch.nan)
        if before:
            with torch.no_grad():
                for parameter, values in zip(parameters, before, strict=True):
                    parameter.copy_(values)
            seed_generators(seed)
            _, gradient_before = learner.gradient(x, y)
            moved = _length([b - a for a, b in zip(before, start, strict=True)])
            own_beta = _length([b - a for a, b in zip(gradient_before, gradient, strict=True)]) / moved
    change = torch.stack(changes)
    arrays = {"loss": torch.stack(losses), "gradient_change": change, "beta": (change / distances).max()}
    arrays["own_beta"] = own_beta
    return {f"probe_{name}": value.float().cpu().numpy() for name, value in arrays.items()}


def _length(vectors: list[torch.Tensor]) -> torch.Tensor:
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(vectors)))


@contextmanager
def _restored(learner: Learner) -> Iterator[None]:
    """Restores weights and buffers; gradients and the optimizer are not changed."""
    tensors = [*learner.parameters, *learner.module.buffers()]
    values = [tensor.detach().clone() for tensor in tensors]
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, value in zip(tensors, values, strict=True):
                tensor.copy_(value)

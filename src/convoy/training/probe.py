"""A look along the step: how loss and gradient change in the direction in which gradient descent would go.

S. Santurkar, D. Tsipras, A. Ilyas, A. Madry, "How Does Batch Normalization Help Optimization?", 2018, section 3.1 and
figure 4. https://arxiv.org/abs/1805.11604
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from convoy.randomness import derive_seed
from convoy.training.members import Members, Solo

# Of the gradient. The paper goes no further than 0.4, where a VGG without norms already does worse.
STEP_SIZES = (0.05, 0.1, 0.2, 0.4)

Arrays = dict[str, np.ndarray]


class StepProbe:
    """The loop's probe: after every `every_steps`-th update it walks along the gradient and back.

    The gradient is that of the batch just seen, at the weights after its update, the network in training mode; every
    point of the walk sees the same batch and the same dropout. Whatever training goes on from (weights, buffers,
    gradients, optimizer, generators) is left as it was, so that a probed run is the same run to the bit.
    """

    def __init__(self, every_steps: int, seed: int) -> None:
        self.step = 0  # updates done in the whole run
        self._every_steps = every_steps
        self._seed = seed
        self._rows: dict[str, list[np.ndarray]] = {}

    def __call__(self, members: Members, x: torch.Tensor, y: torch.Tensor) -> None:
        self.step += 1
        if self.step % self._every_steps == 0:
            assert isinstance(members, Solo), "the walk is one network's"
            seed = derive_seed(self._seed, "probe", 0, self.step)
            for name, value in {"probe_step": np.int64(self.step), **look(members, x, y, seed)}.items():
                self._rows.setdefault(name, []).append(np.asarray(value))

    @property
    def arrays(self) -> Arrays:
        """Stacked over the looks, as `look` has them, with `probe_step`: the updates done before each."""
        return {name: np.stack(rows) for name, rows in self._rows.items()}

    def state(self) -> dict[str, Any]:
        return {"step": self.step, "rows": {name: torch.from_numpy(rows) for name, rows in self.arrays.items()}}

    def load(self, state: Mapping[str, Any]) -> None:
        self.step = state["step"]
        self._rows = {name: list(rows.numpy()) for name, rows in state["rows"].items()}


def look(members: Solo, x: torch.Tensor, y: torch.Tensor, seed: int) -> Arrays:
    """Loss and gradient at the weights and at each of STEP_SIZES from them, against the gradient.

    `probe_loss` float32 [1 + sizes]: the loss, first where it stands; its range is the paper's variation of the loss.
    `probe_gradient_change` float32 [sizes]: the l2 distance of the gradient there from the first one (predictiveness).
    `probe_beta` float32: the greatest such change over the distance walked (the effective beta-smoothness).
    """
    parameters = members.trained
    # Forked, the generators are the training's again at the end; seeded alike, every point has the same dropout.
    with _put_back(members), torch.random.fork_rng(devices=[x.device] if x.is_cuda else []):
        torch.manual_seed(seed)
        loss, gradient = members.gradient(x, y)
        start = [parameter.detach().clone() for parameter in parameters]
        losses, changes = [loss], []
        for size in STEP_SIZES:
            with torch.no_grad():
                for parameter, origin, slope in zip(parameters, start, gradient, strict=True):
                    parameter.copy_(origin - size * slope)
            torch.manual_seed(seed)
            loss, there = members.gradient(x, y)
            losses.append(loss)
            changes.append(_length([b - a for a, b in zip(gradient, there, strict=True)]))
        distances = _length(gradient) * torch.tensor(STEP_SIZES, device=x.device)
    change = torch.stack(changes)
    found = {"loss": torch.stack(losses), "gradient_change": change, "beta": (change / distances).max()}
    return {f"probe_{name}": value.float().cpu().numpy() for name, value in found.items()}


def _length(vectors: list[torch.Tensor]) -> torch.Tensor:
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(vectors)))


@contextmanager
def _put_back(members: Solo) -> Iterator[None]:
    """Weights, and what batch norms count, as they were; gradients and the optimizer are never touched."""
    kept = [*members.trained, *members.module.buffers()]
    values = [tensor.detach().clone() for tensor in kept]
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, value in zip(kept, values, strict=True):
                tensor.copy_(value)

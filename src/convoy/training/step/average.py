"""Exponential moving average of a network's weights.

Averaging: Polyak & Juditsky 1992; exponential: Tan & Le 2019 (arXiv 1905.11946). Early in training the decay is
(1 + steps) / (10 + steps), so that the influence of the random initial weights fades quickly.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy

import torch
from torch import nn


class WeightAverage:
    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module = deepcopy(module).eval().requires_grad_(False)
        self._decay = decay
        self._updates = 0
        pairs = zip(self.module.state_dict().values(), module.state_dict().values(), strict=True)
        tensors = list({own.data_ptr(): (own, source) for own, source in pairs}.values())  # shared tensors once
        self._averages = [own for own, _ in tensors if own.is_floating_point()]
        self._sources = [source for own, source in tensors if own.is_floating_point()]
        self._counters = [pair for pair in tensors if not pair[0].is_floating_point()]

    def update(self) -> None:
        """Moves the average towards the current weights and running statistics."""
        self._updates += 1
        decay = min(self._decay, (1 + self._updates) / (10 + self._updates))
        torch._foreach_lerp_(self._averages, self._sources, 1 - decay)
        for own, source in self._counters:
            own.copy_(source)

    def state(self) -> dict[str, object]:
        return {"module": self.module.state_dict(), "updates": self._updates}

    def load(self, module: Mapping[str, torch.Tensor], updates: int) -> None:
        self.module.load_state_dict(module)
        self._updates = updates

"""What the loop trains: one network, or later many, behind the same few verbs.

Shapes: K members, B images. `step` takes x [B, C, H, W] and labels [B], and everything it gives back is [K], on the
device, so that the loop never waits for it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any, NamedTuple, Protocol

import torch
from torch import nn
from torch.nn.utils import clip_grads_with_norm_

from convoy.evaluation.losses import Loss
from convoy.recipe import OptimBase
from convoy.training import optimizers


class StepOutcome(NamedTuple):
    """Tensors on the device. What can be told from them later (accuracy, what was not finite) is told once a record."""

    loss: torch.Tensor  # [K]
    grad_norm: torch.Tensor  # [K], before clipping
    logits: torch.Tensor  # [K, B, classes], before the update
    labels: torch.Tensor  # [B]


class Members(Protocol):
    def step(self, x: torch.Tensor, y: torch.Tensor) -> StepOutcome: ...
    def predict(self, x: torch.Tensor) -> torch.Tensor: ...
    def schedule(self, factor: float) -> None: ...
    def state(self) -> dict[str, Any]: ...
    def load(self, state: Mapping[str, Any]) -> None: ...
    def keep(self, mask: torch.Tensor) -> None: ...


class Solo:
    """K = 1: the plain module with nothing in between."""

    def __init__(self, module: nn.Module, optim: OptimBase, loss: Loss, *, clip_norm: float, autocast: bool) -> None:
        self.module = module
        self.optimizer = optimizers.build(optim, module)
        self._loss = loss
        self._clip_norm = clip_norm
        device = next(module.parameters()).device
        self._on_host = device.type == "cpu"  # where looking at a number waits for nothing
        self._precision = partial(torch.autocast, device.type, torch.bfloat16) if autocast else nullcontext
        self._lr = optim.lr
        self._parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        self._statistics = [buffer for buffer in module.buffers() if buffer.is_floating_point()]
        # RMSprop has no fused form that could leave an update out by itself.
        self._fused = not isinstance(self.optimizer, torch.optim.RMSprop)
        module.train()

    def step(self, x: torch.Tensor, y: torch.Tensor) -> StepOutcome:
        before = [buffer.clone() for buffer in self._statistics]
        with self._precision():
            logits = self.module(x)  # (B, classes)
            loss = self._loss(logits, y)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = _norm([parameter.grad for parameter in self._parameters if parameter.grad is not None])
        if self._clip_norm:
            clip_grads_with_norm_(self._parameters, self._clip_norm, norm)
        loss = loss.detach()
        self._update(loss + norm, before)
        return StepOutcome(loss[None], norm[None], logits.detach()[None], y)

    def _update(self, total: torch.Tensor, statistics: list[torch.Tensor]) -> None:
        """The optimizer's step, left out where `total` is not finite; running statistics go back with it."""
        if not self._on_host:
            self._update_on_device(total, statistics)
        elif math.isfinite(total.item()):
            self.optimizer.step()
        else:
            for buffer, old in zip(self._statistics, statistics, strict=True):
                buffer.copy_(old)

    def _update_on_device(self, total: torch.Tensor, statistics: list[torch.Tensor]) -> None:
        """The same without the host knowing what happened."""
        skipped = (~torch.isfinite(total)).float()
        for buffer, old in zip(self._statistics, statistics, strict=True):
            torch.where(skipped > 0, old, buffer, out=buffer)
        if self._fused:
            self.optimizer.found_inf = skipped  # type: ignore[attr-defined]
            self.optimizer.step()
            return
        kept = [tensor for state in self.optimizer.state.values() for tensor in state.values()] + self._parameters
        values = [tensor.detach().clone() for tensor in kept]
        fresh = not self.optimizer.state
        self.optimizer.step()
        with torch.no_grad():
            for tensor, value in zip(kept, values, strict=True):
                tensor.copy_(torch.where(skipped > 0, value, tensor))
            if fresh:  # the first step made the state: zeros are what it starts from
                for state in self.optimizer.state.values():
                    for tensor in state.values():
                        tensor.copy_(torch.where(skipped > 0, torch.zeros_like(tensor), tensor))

    def predict(self, x: torch.Tensor) -> torch.Tensor:
        """Logits [1, B, classes] in evaluation mode."""
        self.module.eval()
        with torch.inference_mode(), self._precision():
            logits = self.module(x)
        self.module.train()
        return logits[None]

    def schedule(self, factor: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self._lr * factor

    def state(self) -> dict[str, Any]:
        return {"module": self.module.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load(self, state: Mapping[str, Any]) -> None:
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])

    def keep(self, mask: torch.Tensor) -> None:
        assert mask.all(), "a single member is kept or the run is stopped"


def _norm(gradients: list[torch.Tensor]) -> torch.Tensor:
    """Of all gradients as one vector. torch's get_total_norm takes 34 microseconds for LeNet's, this 20."""
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))

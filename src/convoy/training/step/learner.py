"""The training step, from a batch to the optimizer's update.

B is the number of images. `step` returns tensors on the device, so that the loop does not synchronise.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.utils import clip_grads_with_norm_

from convoy.evaluation.losses import Loss
from convoy.recipe.sections import Optim, Train
from convoy.training.step import optimizers
from convoy.training.step.average import WeightAverage
from convoy.training.step.batch_norm import replace_batch_norms
from convoy.training.step.ranks import Part, Ranks


class StepOutcome(NamedTuple):
    """Tensors on the device. Accuracy and skipped steps are computed from them once per record."""

    loss: torch.Tensor  # scalar
    grad_norm: torch.Tensor  # scalar, before clipping
    logits: torch.Tensor  # [B, classes], before the optimizer step
    labels: torch.Tensor  # [B]


class Learner:
    """A network with its loss, its optimizer and the moving average of its weights."""

    def __init__(
        self,
        module: nn.Module,
        optim: Optim,
        loss: Loss,
        train: Train = Train(),  # noqa: B008 (frozen)
        *,
        autocast: bool = False,
        ranks: Ranks | None = None,
    ) -> None:
        """`ranks`: the processes that train this network together; each has its own learner."""
        if ranks is not None:
            replace_batch_norms(module, ranks)
        self.module, self._ranks = module, ranks
        self.optimizer = optimizers.build(optim, module)
        self._loss, self._train = loss, train
        device = next(module.parameters()).device
        self._on_host = device.type == "cpu"  # where reading a scalar needs no synchronisation
        self._precision = partial(torch.autocast, device.type, torch.bfloat16) if autocast else nullcontext
        self._lr = optim.lr
        self.parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        self._statistics = [buffer for buffer in module.buffers() if buffer.is_floating_point()]
        self._average = WeightAverage(module, train.ema_decay) if train.ema_decay else None
        module.train()
        for norm in frozen_norms(module):
            norm.eval()

    @property
    def network(self) -> nn.Module:
        """The network to score and to save: the moving average of the weights if there is one."""
        return self.module if self._average is None else self._average.module

    @property
    def is_shared(self) -> bool:
        """Whether several processes take each step together."""
        return self._ranks is not None

    def set_lr_factor(self, factor: float) -> None:
        self.optimizer.lr = self._lr * factor

    def step(self, x: torch.Tensor, y: torch.Tensor) -> StepOutcome:
        """Takes one optimizer step, or skips it and restores running statistics if loss or gradient is not finite."""
        statistics = [buffer.clone() for buffer in self._statistics]
        for parameter in self.parameters:
            parameter.grad = None  # like zero_grad, but without its hooks
        losses, outputs, rows = [], [], []
        for part in self._parts(x, y):
            with self._precision():
                logits = self.module(part.x)
                loss = self._loss(logits, part.y)
            if part.weight != 1:
                loss = loss * part.weight
            loss.backward()
            losses.append(loss.detach())
            outputs.append(logits.detach())
            rows.append(part.rows)
        loss = torch.stack(losses).sum() if len(losses) > 1 else losses[0]
        logits = torch.cat(outputs) if len(outputs) > 1 else outputs[0]
        if self._ranks is not None:
            loss, logits = self._ranks.all_reduce(self.parameters, loss, logits, rows, len(x))
        norm = _norm([parameter.grad for parameter in self.parameters if parameter.grad is not None])
        if self._train.clip_norm:
            clip_grads_with_norm_(self.parameters, self._train.clip_norm, norm)
        total = loss + norm
        if not self._on_host:
            self._update_on_device(total, statistics)
        elif math.isfinite(total.item()):
            self.optimizer.step()
            if self._average is not None:
                self._average.update()
        else:
            for buffer, old in zip(self._statistics, statistics, strict=True):
                buffer.copy_(old)
        labels = y if y.ndim == 1 else y.argmax(1)  # the class with the largest weight in a mixed image
        return StepOutcome(loss, norm, logits, labels)

    def _parts(self, x: torch.Tensor, y: torch.Tensor) -> Iterator[Part]:
        """Splits a batch into `accumulate` micro-batches, or fewer: BatchNorm cannot train on a single image.

        With ranks, yields this rank's part of each. The caller must run the forward pass of a part before it takes the
        next, because batch norm uses `ranks.images_ratio` of the current part.
        """
        count = min(self._train.accumulate, max(1, len(x) // 2))
        start = 0
        for micro_x, micro_y in zip(x.tensor_split(count), y.tensor_split(count), strict=True):
            part = Part(micro_x, micro_y, slice(start, start + len(micro_x)), len(micro_x) / len(x))
            yield part if self._ranks is None else self._ranks.part_of(part)
            start += len(micro_x)

    def _update_on_device(self, total: torch.Tensor, statistics: list[torch.Tensor]) -> None:
        """Updates without waiting for the device. The moving average also moves after a skipped step."""
        skipped = (~torch.isfinite(total)).float()
        for buffer, old in zip(self._statistics, statistics, strict=True):
            torch.where(skipped > 0, old, buffer, out=buffer)
        self.optimizer.step(skipped)
        if self._average is not None:
            self._average.update()

    def gradient(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Returns the training loss of a batch and its gradients for `parameters`. Does not change `.grad`."""
        total = torch.zeros((), device=x.device)
        sums = [torch.zeros_like(parameter) for parameter in self.parameters]
        for part in self._parts(x, y):
            with self._precision():
                loss = self._loss(self.module(part.x), part.y) * part.weight
            gradients = torch.autograd.grad(loss, self.parameters, allow_unused=True)
            total = total + loss.detach()
            sums = [old if new is None else old + new for old, new in zip(sums, gradients, strict=True)]
        return total, sums

    def state(self) -> dict[str, object]:
        state: dict[str, object] = {"module": self.module.state_dict(), "optimizer": self.optimizer.state_dict()}
        return state if self._average is None else state | {"average": self._average.state()}

    def load(
        self,
        module: Mapping[str, torch.Tensor],
        optimizer: optimizers.OptimizerState,
        average: Mapping[str, Any] | None = None,
    ) -> None:
        self.module.load_state_dict(module)
        self.optimizer.load_state_dict(optimizer)
        if self._average is not None:
            self._average.load(**average or {})


def frozen_norms(module: nn.Module) -> list[nn.Module]:
    """Returns the layers whose parameters are all frozen; their running statistics are then frozen too."""
    return [
        part
        for part in module.modules()
        if any(True for _ in part.buffers(recurse=False))
        and [parameter.requires_grad for parameter in part.parameters(recurse=False)]
        and not any(parameter.requires_grad for parameter in part.parameters(recurse=False))
    ]


def _norm(gradients: list[torch.Tensor]) -> torch.Tensor:
    """Returns the norm of all gradients, in 20 microseconds for LeNet; torch's get_total_norm takes 34."""
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))

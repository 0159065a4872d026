"""Chooses the number of images of the first step, so that the quick checks take less than a second of CPU time.

The number is computed from the operations of the network, so that findings do not depend on how busy the machine is.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import nn

from convoy.evaluation.cost import DispatchMode, flops_of_call, parameters
from convoy.evaluation.interruption import Interrupted

# One core of an AMD EPYC with AVX2, float32, fitted to the registered models.
FLOPS_PER_SECOND = 45e9
VALUES_PER_SECOND = 0.4e9  # outputs of operations
WEIGHTS_PER_SECOND = 0.6e9
SECONDS_PER_OPERATION = 2e-4
WANTED_SECONDS = 0.6  # time of all passes, from which the number of images is chosen
MAX_SECONDS = 0.8  # quick checks are skipped if all passes with the fewest images take longer
BACKWARD = 3  # cost of a training pass, in forward passes: forward, gradients of weights, gradients of inputs


class Cost(NamedTuple):
    """Estimated CPU seconds of a forward pass."""

    fixed: float
    per_image: float

    def of(self, images: int) -> float:
        return self.fixed + images * self.per_image


class Workload(NamedTuple):
    """What the quick checks compute."""

    images: int  # images of the training step; 0: it is skipped
    evaluates_again: bool
    has_backward: bool

    @classmethod
    def within(cls, cost: Cost, most: int, *, may_skip: bool) -> Workload:
        """Without `may_skip`, the smallest step includes a backward pass, however long it takes."""
        for evaluations, fewest in ((2, 2), (1, 2)):
            left = WANTED_SECONDS - evaluations * cost.of(1) - BACKWARD * cost.fixed
            fitting = int(left / (BACKWARD * cost.per_image)) if cost.per_image else most
            if min(fitting, most) >= min(fewest, most):
                return cls(min(fitting, most), evaluations == 2 or not may_skip, has_backward=True)
        for images in (min(2, most), 1):
            if cost.of(1) + BACKWARD * cost.of(images) <= MAX_SECONDS:
                return cls(images, evaluates_again=False, has_backward=True)
        if not may_skip:
            return cls(min(2, most), evaluates_again=True, has_backward=True)
        images = next((images for images in (min(2, most), 1) if cost.of(1) + cost.of(images) <= MAX_SECONDS), 0)
        return cls(images, evaluates_again=False, has_backward=False)


class CostCounter(DispatchMode):
    """Counts the operations of a forward pass of one image, their FLOPs and outputs.

    With `may_skip`, raises Interrupted if an evaluation and a training pass of one image would take too long.
    """

    def __init__(self, module: nn.Module, *, may_skip: bool) -> None:
        super().__init__()
        self.flops = 0
        self._module, self._operations, self._values = module, 0, 0
        self._max_seconds = MAX_SECONDS / 2 if may_skip else math.inf

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self._operations += 1
        self.flops += flops_of_call(func.overloadpacket, args, kwargs or {}, result)
        if isinstance(result, torch.Tensor) and not func.is_view:
            self._values += result.numel()
        if self._per_image > self._max_seconds:
            raise Interrupted
        return result

    @property
    def cost(self) -> Cost:
        fixed = self._operations * SECONDS_PER_OPERATION + parameters(self._module) / WEIGHTS_PER_SECOND
        return Cost(fixed, self._per_image)

    @property
    def _per_image(self) -> float:
        return self.flops / FLOPS_PER_SECOND + self._values / VALUES_PER_SECOND

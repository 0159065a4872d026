"""The subject of the network checks: a network with images, and how to build and train another one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from torch import nn

from convoy.data import PreparedData
from convoy.data.batches import Normaliser
from convoy.diagnosing.first_step import FirstStep, first_step
from convoy.recipe import Recipe

IMAGES = 16


class StepOutcome(Protocol):
    """The interface of training.step.learner.StepOutcome."""

    @property
    def loss(self) -> torch.Tensor: ...


class Learner(Protocol):
    """The interface of training.step.learner.Learner, which this package must not import."""

    @property
    def parameters(self) -> Sequence[nn.Parameter]: ...

    def set_lr_factor(self, factor: float) -> None: ...

    def step(self, x: torch.Tensor, y: torch.Tensor) -> StepOutcome: ...


@dataclass(frozen=True, eq=False)
class Network:
    """`module` has its initial weights, on the CPU. Checks do not change it."""

    module: nn.Module
    recipe: Recipe
    images: torch.Tensor  # [B, C, H, H], normalised, float32
    labels: torch.Tensor  # int64 [B]
    classes: int
    build: Callable[[], nn.Module]  # builds the same network again, with the same initial weights
    starts_from_weights: bool = False
    learner: Callable[[], Learner] | None = None  # builds it again to train it with the recipe's optimizer and loss
    tried: FirstStep | None = None  # the first step of a network with the same weights
    may_skip: bool = False  # whether checks that take more than a second may be skipped

    @property
    def first_step(self) -> FirstStep:
        """Raises the exceptions of the network, and TooSlowError."""
        if isinstance(self._first_step, Exception):
            raise self._first_step
        return self._first_step

    @cached_property
    def _first_step(self) -> FirstStep | Exception:
        try:
            return self.tried or first_step(self.module, self.images, self.labels, self.recipe, may_skip=self.may_skip)
        except Exception as error:  # raised once, not for each check
            return error

    @property
    def declared_flaws(self) -> tuple[str, ...]:
        return tuple(getattr(self.module, "flaws", ()))


def first_images(recipe: Recipe, prepared: PreparedData, count: int = IMAGES) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns up to `count` evenly spaced training images, normalised, float32 [B, C, H, W] on the CPU, and labels."""
    count = min(count, recipe.train.batch_size, len(prepared.train))
    images = prepared.train.take(np.linspace(0, len(prepared.train) - 1, count).astype(np.int64))
    normaliser = Normaliser(prepared.mean, prepared.std, torch.device("cpu"), torch.float32)
    return normaliser(torch.tensor(images.images)), torch.tensor(images.labels)

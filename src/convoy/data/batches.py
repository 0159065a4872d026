"""Batches from uint8 tensors on the device, without DataLoader, worker processes or Python code per image."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from convoy.data.augment import Augmentation
from convoy.data.imageset import ImageSet
from convoy.data.splits import Resplit
from convoy.randomness import derive_seed


class Normaliser:
    """(x - mean) / std per channel. A uint8 batch is first scaled to 0..1; a float batch must be in 0..1."""

    def __init__(self, mean: Sequence[float], std: Sequence[float], device: torch.device, dtype: torch.dtype) -> None:
        self.device, self.dtype = device, dtype
        scale = 1 / torch.tensor(std, dtype=torch.float64)
        offset = -torch.tensor(mean, dtype=torch.float64) * scale
        self._scale = scale[:, None, None].to(device, dtype)  # (C, 1, 1)
        self._scale_of_levels = (scale / 255)[:, None, None].to(device, dtype)
        self._offset = offset[:, None, None].to(device, dtype)

    def __call__(self, x: Tensor) -> Tensor:
        """Normalises x [B, C, H, W], uint8 or float in 0..1, on any device; returns a new tensor on `device`."""
        x = x.to(self.device)
        if x.dtype == torch.uint8:
            # uint8 times float gives the float's type. A single torch.addcmul takes twice as long.
            return torch.mul(x, self._scale_of_levels).add_(self._offset)
        return torch.mul(x.to(self.dtype), self._scale).add_(self._offset)


def augmented(normaliser: Normaliser, augmentation: Augmentation, seed: int) -> Callable[[Tensor], Tensor]:
    """Returns a function that augments uint8 batches, without mixing, and normalises them (fault augmented_test)."""
    generator = torch.Generator().manual_seed(seed)
    return lambda x: normaliser(augmentation(_fractions(x.to(normaliser.device), normaliser.dtype), generator))


def _fractions(x: Tensor, dtype: torch.dtype) -> Tensor:
    """uint8 to 0..1, in float32 or float64."""
    return x.to(torch.float64 if dtype == torch.float64 else torch.float32).mul_(1 / 255)


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Number of batches; the last one may be smaller.

    A single remaining image is added to the previous batch, because BatchNorm1d cannot train on one image.
    """
    full_batches, remaining = divmod(images, batch_size)
    return max(1, full_batches + (remaining > 1))


class Batches:
    """The batches of every epoch. `at(epoch, step)` depends only on its arguments and the seed, so any step can resume.

    A batch of 128 x 28 x 28 without augmentation takes 30 microseconds.
    """

    def __init__(
        self,
        images: ImageSet | Resplit,
        *,
        batch_size: int,
        seed: int,
        normaliser: Normaliser,
        augmentation: Augmentation,
        sampling: Literal["shuffle", "balanced"] = "shuffle",
    ) -> None:
        """A `Resplit` selects the training images of each epoch from a pool."""
        self._resplit = images if isinstance(images, Resplit) else None
        self.images_per_epoch = images.n_train if isinstance(images, Resplit) else len(images)
        images = images.pool if isinstance(images, Resplit) else images
        with warnings.catch_warnings(
            action="ignore"
        ):  # torch warns about read-only arrays; this one is never written to
            self._images = torch.from_numpy(images.images).to(normaliser.device)
            labels = torch.from_numpy(images.labels)
        self._labels = labels.to(normaliser.device)
        self._labels_on_host = labels
        self._classes = len(images.classes)
        self._sampling = sampling
        self.batch_size = batch_size
        self._seed = seed
        self._normaliser, self._augmentation = normaliser, augmentation
        self._generator = torch.Generator()
        self._ordered_epoch: int | None = None
        self._order = torch.empty(0, dtype=torch.int64)

    @property
    def steps_per_epoch(self) -> int:
        return steps_per_epoch(self.images_per_epoch, self.batch_size)

    def at(self, epoch: int, step: int) -> tuple[Tensor, Tensor]:
        """Returns normalised images [B, C, H, W] and labels, on the device.

        Labels are int64 [B], or probabilities [B, classes] if the augmentation mixes images.
        """
        start = step * self.batch_size
        end = self.images_per_epoch if step + 1 == self.steps_per_epoch else start + self.batch_size
        indices = self._order_of(epoch)[start:end]
        x = self._images.index_select(0, indices)  # seven times as fast as self._images[indices]
        y = self._labels.index_select(0, indices)
        if not self._augmentation.is_identity:
            self._generator.manual_seed(derive_seed(self._seed, "augment", epoch, step))
            x = self._augmentation(_fractions(x, self._normaliser.dtype), self._generator)
            x, y = self._augmentation.mix(x, y, self._classes, self._generator)
        return self._normaliser(x), y

    def _order_of(self, epoch: int) -> Tensor:
        if epoch != self._ordered_epoch:
            self._generator.manual_seed(derive_seed(self._seed, "order", epoch))
            part = None if self._resplit is None else torch.from_numpy(self._resplit.train(epoch))
            if self._sampling == "balanced":
                labels = self._labels_on_host if part is None else self._labels_on_host[part]
                order = _balanced(labels, self.images_per_epoch, self._generator)
            else:
                order = torch.randperm(self.images_per_epoch, generator=self._generator)
            self._order = (order if part is None else part[order]).to(self._images.device)
            self._ordered_epoch = epoch
        return self._order


def _balanced(labels: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draws `count` indices with replacement: first a non-empty class, then one of its images, each equally likely."""
    counts = labels.bincount()
    counts = counts[counts > 0]
    first = counts.cumsum(0) - counts  # position of each class's first image, if sorted by class
    classes = torch.randint(len(counts), (count,), generator=generator)
    within = torch.rand(count, generator=generator, dtype=torch.float64) * counts[classes]
    return labels.argsort(stable=True)[first[classes] + within.long()]

"""The fault resplit_every_epoch: validation images of one epoch are training images of another."""

from __future__ import annotations

import numpy as np

from convoy.data.imageset import ImageSet
from convoy.data.splits import stratified_sample
from convoy.randomness import derive_seed
from convoy.recipe.sections import SplitSpec


class Resplit:
    """Training and validation images in one pool, split again in each epoch with the same counts.

    A pure function of the split's seed and the epoch, so that a resumed run has the parts of an uninterrupted one. The
    first epoch has the run's own split.
    """

    def __init__(self, train: ImageSet, validation: ImageSet, spec: SplitSpec) -> None:
        self.pool = ImageSet(
            np.concatenate([train.images, validation.images]),
            np.concatenate([train.labels, validation.labels]),
            train.classes,
        )
        self.n_train = len(train)
        self._spec = spec

    def train(self, epoch: int) -> np.ndarray:
        """Indices into the pool, int64 [n_train], sorted; epochs from 0."""
        return np.setdiff1d(np.arange(len(self.pool)), self._validation(epoch))

    def validation(self, epoch: int) -> ImageSet:
        return self.pool.take(self._validation(epoch))

    def _validation(self, epoch: int) -> np.ndarray:
        everything = np.arange(len(self.pool))
        if epoch == 0:
            return everything[self.n_train :]
        seed, count = derive_seed(self._spec.seed, "resplit", epoch), len(self.pool) - self.n_train
        if self._spec.stratified:
            return stratified_sample(everything, self.pool.labels, count, seed)
        return np.sort(np.random.RandomState(seed).permutation(everything)[:count])

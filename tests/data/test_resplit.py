from __future__ import annotations

import numpy as np
import pytest
import torch

from convoy.data.augment import build
from convoy.data.batches import Batches, Normaliser
from convoy.data.imageset import ImageSet
from convoy.data.splits import Resplit
from convoy.recipe.sections import SplitSpec


def numbered(first: int, count: int) -> ImageSet:
    """Images whose pixels are their index; every third one is of class 1."""
    images = np.arange(first, first + count, dtype=np.uint8).reshape(count, 1, 1, 1)
    return ImageSet(images, (np.arange(count) % 3 == 0).astype(np.int64), ("a", "b"))


def resplit(**spec: object) -> Resplit:
    return Resplit(numbered(0, 90), numbered(90, 30), SplitSpec(**spec))


def numbers(images: ImageSet) -> set[int]:
    return {int(number) for number in images.images.ravel()}


def test_the_first_epoch_has_the_split_of_the_run() -> None:
    parts = resplit()
    assert parts.train(0).tolist() == list(range(90))
    assert numbers(parts.validation(0)) == set(range(90, 120))


def test_parts_of_an_epoch_are_disjoint_cover_all_images_and_keep_their_sizes() -> None:
    parts = resplit()
    for epoch in range(5):
        held_out = numbers(parts.validation(epoch))
        assert len(held_out) == 30
        assert held_out | set(parts.train(epoch).tolist()) == set(range(120))
        assert len(parts.train(epoch)) == 90


def test_validation_images_of_one_epoch_are_trained_on_in_another() -> None:
    parts = resplit()
    assert numbers(parts.validation(3)) & set(parts.train(2).tolist())
    assert numbers(parts.validation(3)) != numbers(parts.validation(4))


def test_parts_depend_only_on_split_seed_and_epoch() -> None:
    later, other = resplit(), resplit()
    for epoch in range(3):
        later.validation(epoch)
    assert np.array_equal(later.train(7), other.train(7))
    assert not np.array_equal(other.train(7), resplit(seed=43).train(7))


@pytest.mark.parametrize("epoch", range(1, 4))
def test_stratified_parts_have_the_class_shares_of_the_pool(epoch: int) -> None:
    assert resplit().validation(epoch).class_counts == [20, 10]


def test_parts_are_drawn_uniformly_without_stratification() -> None:
    counts = {tuple(resplit(stratified=False).validation(epoch).class_counts) for epoch in range(1, 12)}
    assert len(counts) > 1


@pytest.mark.parametrize("sampling", ["shuffle", "balanced"])
def test_batches_of_an_epoch_have_no_image_of_its_validation_part(sampling: str) -> None:
    parts = resplit()
    batches = Batches(
        parts,
        batch_size=16,
        seed=1,
        normaliser=Normaliser([0.0], [1 / 255], torch.device("cpu"), torch.float32),
        augmentation=build([]),
        sampling=sampling,  # type: ignore[arg-type]
    )
    for epoch in (0, 1, 5):
        pixels = (
            torch.cat([batches.at(epoch, step)[0].ravel() for step in range(batches.steps_per_epoch)]).round().int()
        )
        assert len(pixels) == 90
        assert not set(pixels.tolist()) & numbers(parts.validation(epoch))

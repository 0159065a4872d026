from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from convoy.data.augment import build
from convoy.data.batches import Batches, Normaliser
from convoy.data.imageset import ImageSet

CPU = torch.device("cpu")
COUNTS = {0: 900, 2: 80, 3: 20}  # class 1 has no image


@pytest.fixture
def skewed() -> ImageSet:
    labels = np.repeat(list(COUNTS), list(COUNTS.values()))
    np.random.default_rng(0).shuffle(labels)
    pixels = np.zeros((1000, 1, 8, 8), dtype=np.uint8)
    pixels[:, 0, 0, 0], pixels[:, 0, 0, 1] = np.divmod(np.arange(1000), 256)  # the index of the image
    return ImageSet(pixels, labels, tuple("abcd"))


def batches(images: ImageSet, **named: object) -> Batches:
    normaliser = Normaliser((0.0,), (1 / 255,), CPU, torch.float32)
    options = {"batch_size": 64, "seed": 1, "sampling": "balanced"} | named
    return Batches(images, normaliser=normaliser, augmentation=build([]), **options)  # type: ignore[arg-type]


def epoch(loader: Batches, number: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The indices of the images, in order, and their labels."""
    parts = [loader.at(number, step) for step in range(loader.steps_per_epoch)]
    x, y = torch.cat([x for x, _ in parts]), torch.cat([y for _, y in parts])
    return (x[:, 0, 0, 0] * 256 + x[:, 0, 0, 1]).round().long(), y


def test_a_balanced_epoch_has_the_usual_length_and_every_class_equally_often(skewed: ImageSet) -> None:
    labels = torch.cat([epoch(batches(skewed), number)[1] for number in range(10)])
    counts = labels.bincount(minlength=4)

    assert counts.sum() == 10 * len(skewed)
    assert counts[1] == 0
    assert (counts[[0, 2, 3]] - 10_000 / 3).abs().max() < 190  # 4 standard deviations


def test_images_of_a_class_are_drawn_equally_often_with_replacement(skewed: ImageSet) -> None:
    indices, labels = (torch.cat(parts) for parts in zip(*(epoch(batches(skewed), n) for n in range(30)), strict=True))
    counts = indices[labels == 3].bincount(minlength=1000)
    rare = torch.from_numpy(np.flatnonzero(skewed.labels == 3))

    assert (counts[rare] - 500).abs().max() < 95  # 4 standard deviations
    assert counts.sum() == counts[rare].sum()
    assert len(epoch(batches(skewed), 0)[0].unique()) < len(skewed)


def test_labels_match_their_images(skewed: ImageSet) -> None:
    indices, labels = epoch(batches(skewed), 2)
    assert torch.equal(torch.from_numpy(skewed.labels)[indices], labels)


@pytest.mark.parametrize("sampling", ["shuffle", "balanced"])
def test_the_order_depends_only_on_seed_and_epoch(skewed: ImageSet, sampling: str) -> None:
    def order(number: int, **named: object) -> list[int]:
        return epoch(batches(skewed, sampling=sampling, **named), number)[0].tolist()

    used = batches(skewed, sampling=sampling)
    used.at(0, 3)
    used.at(5, 0)
    assert epoch(used, 2)[0].tolist() == order(2)
    for other in (order(3), order(2, seed=2)):
        assert other != order(2)


def test_balanced_draws_stay_within_their_class() -> None:
    labels = np.array([0, 1, 1, 1, 1, 1, 1])
    images = ImageSet(np.zeros((7, 1, 8, 8), np.uint8), labels, ("a", "b"))
    loader = batches(images, batch_size=7)

    counts: Callable[[int], torch.Tensor] = lambda number: loader.at(number, 0)[1].bincount(minlength=2)  # noqa: E731
    assert sum(counts(number) for number in range(300))[0] == pytest.approx(1050, abs=92)  # 4 standard deviations

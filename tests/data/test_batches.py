from __future__ import annotations

from hashlib import sha256
from itertools import product

import numpy as np
import pytest
import torch

from convoy.data.augment import build
from convoy.data.batches import Batches, Normaliser
from convoy.data.imageset import ImageSet

CPU = torch.device("cpu")
N = 50


@pytest.fixture
def images() -> ImageSet:
    pixels = np.random.default_rng(0).integers(0, 256, (N, 3, 8, 8), dtype=np.uint8)
    pixels[:, 0, 0, 0] = np.arange(N)  # the index of the image
    return ImageSet(pixels, np.arange(N) % 5, tuple("abcde"))


def batches(images: ImageSet, *, seed: int = 1, augment: bool = False, plain: bool = False) -> Batches:
    mean, std = ((0.0,) * 3, (1 / 255,) * 3) if plain else ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    return Batches(
        images,
        batch_size=16,
        seed=seed,
        normaliser=Normaliser(mean, std, CPU, torch.float32),
        augmentation=build([{"name": "rotate"}, {"name": "cutout"}] if augment else []),
    )


def order(loader: Batches, epoch: int) -> list[int]:
    """The order of the images, read from their index pixel."""
    return [
        int(index) for step in range(loader.steps_per_epoch) for index in loader.at(epoch, step)[0][:, 0, 0, 0].round()
    ]


def test_an_epoch_has_every_image_once_in_a_new_order(images: ImageSet) -> None:
    loader = batches(images, plain=True)

    assert sorted(order(loader, 0)) == sorted(order(loader, 1)) == list(range(N))
    assert order(loader, 0) != order(loader, 1)
    assert (loader.images_per_epoch, loader.steps_per_epoch) == (N, 4)


def test_the_last_batch_is_kept_and_smaller(images: ImageSet) -> None:
    assert [len(batches(images).at(0, step)[1]) for step in range(4)] == [16, 16, 16, 2]


def test_a_single_remaining_image_is_added_to_the_previous_batch(images: ImageSet) -> None:
    loader = batches(images.take(np.arange(33)))
    assert [len(loader.at(0, step)[1]) for step in range(loader.steps_per_epoch)] == [16, 17]


def test_labels_match_their_images(images: ImageSet) -> None:
    x, y = batches(images, plain=True).at(3, 1)
    assert torch.equal(x[:, 0, 0, 0].round().long() % 5, y)
    assert y.dtype == torch.int64


@pytest.mark.parametrize("augment", [False, True])
def test_a_batch_depends_only_on_seed_epoch_and_step(images: ImageSet, augment: bool) -> None:
    used = batches(images, augment=augment)
    for epoch, step in ((0, 0), (2, 3), (1, 1)):
        used.at(epoch, step)
    x, y = used.at(2, 1)

    assert torch.equal(x, batches(images, augment=augment).at(2, 1)[0])
    assert torch.equal(y, batches(images, augment=augment).at(2, 1)[1])
    assert not torch.equal(x, batches(images, augment=augment, seed=2).at(2, 1)[0])


def test_augmentation_differs_in_each_epoch(images: ImageSet) -> None:
    one = ImageSet(images.images[:1], images.labels[:1], images.classes)
    loader = batches(one, augment=True)
    assert not torch.equal(loader.at(0, 0)[0], loader.at(1, 0)[0])


def test_images_are_normalised_after_augmentation(images: ImageSet) -> None:
    x, _ = batches(images, augment=True).at(0, 0)
    black = torch.tensor([-0.1 / 0.4, -0.2 / 0.5, -0.3 / 0.6])
    assert torch.allclose(x.amin(dim=(0, 2, 3)), black, atol=1e-5)


@pytest.mark.parametrize(
    ("augment", "digest"),
    [
        ([], "e707abf8b4fce441"),
        ([{"name": "crop"}, {"name": "flip"}, {"name": "cutout", "size": 3}], "4a47977702e69cca"),
    ],
    ids=["plain", "augmented"],
)
def test_batches_of_a_seed_have_not_changed_since_the_first_version(augment: list[dict[str, str]], digest: str) -> None:
    """A change here changes the results of recipes: TRAINING_REVISION must rise with it."""
    pixels = np.arange(N * 3 * 8 * 8).reshape(N, 3, 8, 8).astype(np.uint8)
    loader = Batches(
        ImageSet(pixels, np.arange(N) % 5, tuple("abcde")),
        batch_size=16,
        seed=1,
        normaliser=Normaliser((0.0,) * 3, (1 / 255,) * 3, CPU, torch.float32),
        augmentation=build(augment),
    )
    hasher = sha256()
    for epoch, step in product(range(2), range(loader.steps_per_epoch)):
        x, y = loader.at(epoch, step)
        hasher.update(x.round().byte().numpy().tobytes() + y.numpy().tobytes())
    assert hasher.hexdigest()[:16] == digest


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_mixed_labels_are_probabilities_of_the_training_dtype(images: ImageSet, dtype: torch.dtype) -> None:
    loader = Batches(
        images,
        batch_size=16,
        seed=1,
        normaliser=Normaliser((0.0,) * 3, (1.0,) * 3, CPU, dtype),
        augmentation=build([{"name": "mixup", "alpha": 1.0}]),
    )
    x, y = loader.at(0, 1)
    repeated_x, repeated_y = loader.at(0, 1)
    assert (x.dtype, y.dtype, y.shape) == (dtype, dtype, (16, 5))
    assert torch.equal(x, repeated_x)
    assert torch.equal(y, repeated_y)
    assert not torch.equal(y, loader.at(1, 1)[1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_normaliser_accepts_levels_and_fractions(dtype: torch.dtype) -> None:
    levels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    normalise = Normaliser((0.25,), (0.5,), CPU, dtype)
    tolerance = {torch.float32: 1e-6, torch.float64: 1e-14, torch.bfloat16: 0.02}[dtype]
    expected = (levels.double() / 255 - 0.25) / 0.5

    for x in (normalise(levels), normalise(levels.double() / 255)):
        assert x.dtype == dtype
        assert torch.allclose(x.double(), expected, atol=tolerance, rtol=0)


def test_the_normaliser_does_not_change_its_argument() -> None:
    x = torch.full((1, 1, 2, 2), 0.5)
    Normaliser((0.25,), (0.5,), CPU, torch.float32)(x)
    assert (x == 0.5).all()


def test_read_only_images_give_no_warning(images: ImageSet, recwarn: pytest.WarningsRecorder) -> None:
    images.images.flags.writeable = False
    batches(images).at(0, 0)
    assert len(recwarn) == 0

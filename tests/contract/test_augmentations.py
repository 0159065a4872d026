"""The contract of all augmentations. The tests run over the registry, so that a new augmentation needs no new test."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from convoy.data.augment import AUGMENTATIONS, build

CLASSES = 4
MIXING = [name for name in AUGMENTATIONS if build([{"name": name}]).mixers]
NOT_MIXING = [name for name in AUGMENTATIONS if name not in MIXING]

every_augmentation = pytest.mark.parametrize("name", list(AUGMENTATIONS))


def images(count: int = 16, channels: int = 3, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    levels = torch.randint(256, (count, channels, 12, 12), generator=torch.Generator().manual_seed(seed))
    return (levels / 255).to(dtype)


def augmented(name: str, x: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Augmented images and their labels, which are 0, 1, ... CLASSES - 1, 0, 1, ..."""
    augmentation, generator = build([{"name": name}]), torch.Generator().manual_seed(seed)
    return augmentation.mix(augmentation(x, generator), torch.arange(len(x)) % CLASSES, CLASSES, generator)


@every_augmentation
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("count", [1, 16])
def test_shape_dtype_and_range_are_kept(name: str, channels: int, dtype: torch.dtype, count: int) -> None:
    for seed in range(8):
        x, y = augmented(name, images(count, channels, dtype), seed)
        assert (x.shape, x.dtype) == ((count, channels, 12, 12), dtype)
        assert x.min() >= 0
        assert x.max() <= 1 + 1e-5
        assert len(y) == count


@every_augmentation
def test_the_input_is_not_changed(name: str) -> None:
    x = images()
    augmented(name, x)
    assert torch.equal(x, images())


@every_augmentation
def test_result_depends_only_on_the_generators_state(name: str) -> None:
    (x, y), (repeated_x, repeated_y) = augmented(name, images(), seed=5), augmented(name, images(), seed=5)
    assert torch.equal(x, repeated_x)
    assert torch.equal(y, repeated_y)
    assert not torch.equal(x, augmented(name, images(), seed=6)[0])


@pytest.mark.parametrize("name", [name for name in AUGMENTATIONS if name != "erase"])  # its noise is coloured
def test_grey_images_with_three_channels_are_augmented_like_images_with_one(name: str) -> None:
    x = images(channels=1)
    assert torch.allclose(augmented(name, x.expand(-1, 3, -1, -1))[0], augmented(name, x)[0], atol=2e-3)


@pytest.mark.parametrize("name", NOT_MIXING)
def test_an_image_does_not_depend_on_the_others_of_its_batch(name: str) -> None:
    x, others = images(), images(seed=1)
    others[::2] = x[::2]
    assert torch.equal(augmented(name, x)[0][::2], augmented(name, others)[0][::2])


@pytest.mark.parametrize("name", NOT_MIXING)
def test_labels_are_integers_without_mixing(name: str) -> None:
    assert augmented(name, images())[1].tolist() == [0, 1, 2, 3] * 4


@pytest.mark.parametrize("name", MIXING)
def test_labels_are_probabilities_with_mixing(name: str) -> None:
    for dtype in (torch.float32, torch.float64):
        _, y = augmented(name, images(dtype=dtype))
        assert (y.shape, y.dtype) == ((16, CLASSES), dtype)
        assert y.min() >= 0
        assert torch.allclose(y.sum(dim=1), torch.ones(16, dtype=dtype))


@pytest.mark.parametrize("name", MIXING)
def test_a_batch_of_one_image_is_not_mixed(name: str) -> None:
    x, y = augmented(name, images(1))
    assert torch.equal(x, images(1))
    assert y.tolist() == [[1, 0, 0, 0]]


@every_augmentation
def test_an_unknown_key_is_an_error(name: str) -> None:
    with pytest.raises(ValueError, match=f"unknown key 'colour' in the augmentation {name}"):
        build([{"name": name, "colour": 1}])

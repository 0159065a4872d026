"""The search for duplicates."""

from __future__ import annotations

from functools import cache
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from convoy.data import duplicates, load
from convoy.data.duplicates import MIN_IMAGES, Duplicates, find_duplicates


def pictures(count: int, channels: int = 3, side: int = 32, seed: int = 0) -> np.ndarray:
    """Random images, uint8 [N, C, H, H]. Their power falls with the square of the frequency, as in photographs."""
    return _pictures(count, channels, side, seed).copy()


@cache
def _pictures(count: int, channels: int, side: int, seed: int) -> np.ndarray:
    draw = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side))
    frequency[0, 0] = np.inf
    waves = np.fft.fft2(draw.normal(size=(count, channels, side, side))) / frequency
    values = np.fft.ifft2(waves).real
    values += values.mean(axis=1, keepdims=True)  # the colours of a photograph are correlated
    values /= values.std(axis=(1, 2, 3), keepdims=True)
    return np.clip(128 + 50 * values, 0, 255).astype(np.uint8)


def find(*parts: np.ndarray) -> Duplicates:
    return find_duplicates(parts, lambda share: None)


def jpeg(image: np.ndarray) -> np.ndarray:
    file = BytesIO()
    Image.fromarray(image.transpose(1, 2, 0)).save(file, "JPEG", quality=30)
    return np.asarray(Image.open(file)).transpose(2, 0, 1)


def half_size_and_back(image: np.ndarray) -> np.ndarray:
    picture = Image.fromarray(image.transpose(1, 2, 0))
    return np.asarray(picture.resize((16, 16)).resize((32, 32))).transpose(2, 0, 1)


VERSIONS = {
    "brighter": lambda image: np.clip(image.astype(int) + 30, 0, 255),
    "half the contrast": lambda image: image // 2 + 64,
    "noise": lambda image: np.clip(image + np.random.default_rng(1).normal(0, 10, image.shape), 0, 255),
    "one pixel to the right": lambda image: np.roll(image, 1, axis=2),
    "JPEG": jpeg,
    "half the size and back": half_size_and_back,
    "grey": lambda image: np.broadcast_to(image.mean(axis=0, keepdims=True), image.shape),
}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_version_of_a_picture_is_found_in_another_part(version: str) -> None:
    train = pictures(600)
    test = pictures(100, seed=1)
    test[7] = VERSIONS[version](train[5])

    result = find(train, test)

    assert result.same_picture.tolist() == [[5, 607]]
    assert len(result.same_pixels) == 0


@pytest.mark.parametrize(("channels", "side"), [(1, 8), (1, 28), (3, 32), (3, 48)])
@pytest.mark.parametrize("count", [MIN_IMAGES, 1200])
def test_unrelated_pictures_are_not_duplicates(count: int, channels: int, side: int) -> None:
    result = find(pictures(count, channels, side))
    assert len(result.same_picture) == len(result.same_pixels) == 0


def test_similar_images_of_the_digit_1_are_not_duplicates() -> None:
    """Thousands of these pairs correlate by more than 0.97, pixel by pixel."""
    train = load("mnist").train
    assert len(find(train.images[train.labels == 1][:3000]).same_picture) <= 3


def test_each_copy_of_the_same_pixels_is_paired_with_the_first_in_each_part() -> None:
    train, test = pictures(60), pictures(60, seed=1)
    train[9] = train[4]
    test[3] = test[2] = train[4]

    result = find(train, test)

    assert result.same_pixels.tolist() == [[4, 9], [4, 62], [4, 63], [62, 63]]
    assert len(result.same_picture) == 0


def test_a_copy_of_a_version_is_paired_in_each_part() -> None:
    train, validation, test = pictures(300), pictures(60, seed=1), pictures(60, seed=2)
    validation[5] = test[7] = VERSIONS["brighter"](train[4])

    result = find(train, validation, test)

    assert result.same_pixels.tolist() == [[305, 367]]
    assert result.same_picture.tolist() == [[4, 305], [4, 367]]


def test_closer_pairs_come_first() -> None:
    images = pictures(300)
    images[10] = VERSIONS["noise"](images[11])
    images[20] = VERSIONS["brighter"](images[21])

    result = find(images)

    assert result.same_picture.tolist() == [[20, 21], [10, 11]]
    assert 0 < result.distances[0] < result.distances[1] < 0.6


@pytest.mark.parametrize("versions", [2, 5, 12, 25])
def test_versions_of_a_few_pictures_are_found(versions: int) -> None:
    originals, draw = pictures(1000 // versions).astype(float), np.random.default_rng(2)
    noise = draw.normal(0, 8, (versions, *originals.shape))
    brightness = draw.uniform(0.7, 1.2, (versions, 1, 1, 1, 1))
    images = np.clip(originals * brightness + noise, 0, 255).astype(np.uint8).reshape(-1, *originals.shape[1:])

    pairs = find(images).same_picture

    assert (pairs[:, 0] % len(originals) == pairs[:, 1] % len(originals)).all()
    assert len(pairs) > 0.9 * len(originals) * versions * (versions - 1) / 2


def test_blank_images_are_not_duplicates() -> None:
    images = pictures(100)
    for level in range(20):
        images[level] = 10 * level
    assert len(find(images).same_picture) == 0


def test_in_a_small_data_set_only_the_same_pixels_are_found() -> None:
    images = pictures(MIN_IMAGES - 1)
    images[3] = images[1]
    images[5] = VERSIONS["brighter"](images[4])

    result = find(images)

    assert result.same_pixels.tolist() == [[1, 3]]
    assert len(result.same_picture) == 0


def test_the_block_size_does_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.concatenate([pictures(150), pictures(150, seed=1)])
    images[200:220] = VERSIONS["noise"](images[100:120])
    expected = find(images)

    monkeypatch.setattr(duplicates, "_BLOCK", 64)
    monkeypatch.setattr(duplicates, "_CHUNK", 37)

    assert find(images[:130], images[130:]).same_picture.tolist() == expected.same_picture.tolist()
    assert len(expected.same_picture) == 20


def test_progress_rises_to_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "_BLOCK", 64)
    shares: list[float] = []
    find_duplicates([pictures(300)], shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert len(shares) == 5


@pytest.mark.parametrize("side", [1, 2, 7, 32])
def test_copies_are_counted_once_per_copy_and_to_the_pixel(side: int) -> None:
    train = np.arange(40 * side * side, dtype=np.int64).reshape(40, 1, side, side).astype(np.uint8)
    train[20:] += 100
    almost = train[:5].copy()
    almost[..., -1, -1] += 3  # in the last pixel, which no complete word may contain
    part = np.concatenate([train[3:7], train[3:4], almost])

    is_copy = [any(np.array_equal(image, other) for other in train) for image in part]
    assert duplicates.count_copies(train, part) == sum(is_copy)

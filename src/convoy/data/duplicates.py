"""Finds duplicates in a data set: equal pixels, or the same picture compressed, cropped or exposed differently.

Equal pixels are found by hash, the same picture by a distance that is too small to be due to chance:

1. An image is described by a vector of 96 numbers: the low frequencies of brightness and colour, without means and
   normalised for contrast, projected on the leading principal components of the data set and whitened. Features that
   the images share then have little weight. Distances are Euclidean distances of the vectors at unit length.
2. The distances from an image to others follow a power law. Its exponent is estimated from the nearest 30 images of a
   random sample (Levina and Bickel 2004, Maximum likelihood estimation of intrinsic dimension).
3. Two images are the same picture if, by the power law of either image, fewer than 0.1 pairs this close are expected in
   the data set (as in Desolneux, Moisan and Morel 2000, Meaningful alignments), and if their distance is at most 0.6
   times the distance of either to the 30th image of its sample.

docs/guides/data-sheet.md has measured results and explains why a fixed threshold does not work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from typing import NamedTuple

import numpy as np

REVISION = 1  # revision of the cached pairs; increase it if a change finds different pairs
MIN_IMAGES = 50  # different images needed to estimate the distances
_SAMPLE = 5000  # images, for the principal components and the distances to neighbours
_NEIGHBOURS = 30
_EXPECTED_FALSE_PAIRS = 0.1
_MAX_RATIO = 0.6  # ratio of a distance to the distance of the last neighbour
_COMPONENTS = 96
_BRIGHTNESS, _COLOUR = 16, 8  # frequencies in each direction
# Brightness, red against blue, green against both: orthonormal.
_OPPONENTS = np.array([[1, 1, 1], [1, 0, -1], [-0.5, 1, -0.5]], np.float32)
_OPPONENTS /= np.linalg.norm(_OPPONENTS, axis=1, keepdims=True)
_CHUNK = 1000  # images
_BLOCK = 2048  # images per side of a block of distances, which fits into the processor's cache


class Duplicates(NamedTuple):
    """Pairs of image indices, counted over all parts; the smaller index is first."""

    same_pixels: np.ndarray  # int64 [P, 2]: in each part, the first image with these pixels, and each later image
    same_picture: np.ndarray  # int64 [Q, 2], closest pair first; of images with the same pixels, the first in each part
    distances: np.ndarray  # float32 [Q], of same_picture, divided by the distance to the last neighbour


def find_duplicates(parts: Sequence[np.ndarray], progress: Callable[[float], None]) -> Duplicates:
    """Compares all images of all parts, uint8 [N, C, H, H], with each other.

    `progress` is called with the completed fraction. Memory is linear in the number of images, time quadratic.
    """
    first = first_with_same_pixels(parts)
    first_in_part = _first_in_each_part(first, parts)
    earlier, later = first_in_part[first], np.arange(len(first))[:, None]  # (N, parts), (N, 1)
    image, part = np.nonzero((earlier >= 0) & (earlier < later))
    same_pixels = np.stack([earlier[image, part], image], axis=1)
    indices = np.unique(first)
    if len(indices) < MIN_IMAGES:
        return Duplicates(same_pixels, np.empty((0, 2), np.int64), np.empty(0, np.float32))
    sample = np.sort(np.random.RandomState(0).permutation(len(indices))[:_SAMPLE])
    whitening = _whitening(np.concatenate(list(_spectra(parts, indices[sample]))), *parts[0].shape[1:3])
    vectors = np.concatenate([_normalised(spectra @ whitening) for spectra in _spectra(parts, indices)])
    last_neighbour, radii = _neighbourhoods(vectors, sample)
    pairs, distances = _pairs_within(vectors, radii, progress)
    distances /= last_neighbour[pairs].min(axis=1)
    order = np.argsort(distances, kind="stable")
    one, other = first_in_part[indices[pairs[order]]].swapaxes(0, 1)  # (Q, parts)
    pair, part, part_of_other = np.nonzero((one[:, :, None] >= 0) & (other[:, None] >= 0))
    same_picture = np.sort(np.stack([one[pair, part], other[pair, part_of_other]], axis=1), axis=1)
    return Duplicates(same_pixels, same_picture, distances[order][pair])


def first_with_same_pixels(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Returns, for each image, the index of the first image with the same pixels, int64 [N]."""
    digests = (blake2b(np.ascontiguousarray(image).data, digest_size=16).digest() for part in parts for image in part)
    first: dict[bytes, int] = {}
    return np.array([first.setdefault(digest, index) for index, digest in enumerate(digests)], np.int64)


def count_copies(train: np.ndarray, part: np.ndarray) -> int:
    """Returns how many images of a part have the pixels of a training image. 60,000 and 10,000 MNIST images: 50 ms."""
    of_train, of_part = _sums(train), _sums(part)
    in_train = np.isin(of_part, of_train)
    if not in_train.any():
        return 0
    similar = train[np.isin(of_train, of_part)]
    return int((first_with_same_pixels([similar, part[in_train]])[len(similar) :] < len(similar)).sum())


def _sums(images: np.ndarray) -> np.ndarray:
    """Returns a weighted sum of the pixels of each image, in words of 8 pixels, modulo 2^64, uint64 [N]."""
    pixels = np.ascontiguousarray(images).reshape(len(images), -1)
    words = pixels[:, : pixels.shape[1] // 8 * 8].view(np.uint64)
    return words @ np.random.RandomState(0).randint(0, 2**63 - 1, words.shape[1], np.int64).astype(np.uint64)


def _first_in_each_part(first: np.ndarray, parts: Sequence[np.ndarray]) -> np.ndarray:
    """Returns, for each first image, the first image with the same pixels in each part, int64 [N, parts]; -1: none."""
    result = np.full((len(first), len(parts)), -1)
    starts = np.cumsum([0, *map(len, parts)])
    for part in range(len(parts)):
        indices = np.arange(starts[part], starts[part + 1])[::-1]  # the last assignment is that of the first image
        result[first[indices], part] = indices
    return result


def _spectra(parts: Sequence[np.ndarray], indices: np.ndarray) -> Iterator[np.ndarray]:
    """Yields the spectra of the images at the sorted indices in chunks, float32 [n, F] of unit length, 0 if blank."""
    channels, side = parts[0].shape[1:3]
    basis, frequencies = _cosines(side), _frequencies(channels, side)
    for chunk in np.split(indices, range(_CHUNK, len(indices), _CHUNK)):
        spectra = basis @ _take(parts, chunk).astype(np.float32) @ basis.T  # (n, C, k, k)
        if channels == 3:
            spectra = np.einsum("oc,ncuv->nouv", _OPPONENTS, spectra)
        selected = spectra[:, frequencies]
        selected[np.linalg.norm(selected, axis=1) < side / 2] = 0  # less than half a level of contrast
        yield _normalised(selected)


def _take(parts: Sequence[np.ndarray], indices: np.ndarray) -> np.ndarray:
    starts = np.cumsum([0, *map(len, parts[:-1])])
    return np.concatenate(
        [
            part[indices[(indices >= start) & (indices < start + len(part))] - start]
            for part, start in zip(parts, starts, strict=True)
        ]
    )


def _cosines(side: int) -> np.ndarray:
    """The lowest frequencies of the discrete cosine transform, orthonormal, float32 [k, side]."""
    count = min(_BRIGHTNESS, side)
    cosines = np.cos(np.pi * np.outer(np.arange(count), np.arange(side) + 0.5) / side) * np.sqrt(2 / side)
    cosines[0] /= np.sqrt(2)
    return cosines.astype(np.float32)


def _frequencies(channels: int, side: int) -> np.ndarray:
    """Returns the selected frequencies, bool [C, k, k], without means; fewer for colour, which JPEG blurs."""
    count = min(_BRIGHTNESS, side)
    selected = np.zeros((channels, count, count), bool)
    selected[0] = True
    selected[1:, :_COLOUR, :_COLOUR] = True
    selected[:, 0, 0] = False
    return selected


def _whitening(spectra: np.ndarray, channels: int, side: int) -> np.ndarray:
    """Returns the leading principal components of the spectra, divided by their standard deviations, float32 [F, D].

    With few images, duplicates dominate the covariance. It is therefore shrunk, more strongly for fewer images, towards
    the spectrum of natural images, whose power falls with the square of the frequency (Field 1987, Relations between
    the statistics of natural images and the response properties of cortical cells).
    """
    general = 1 / np.square(np.argwhere(_frequencies(channels, side))[:, 1:]).sum(axis=1)
    count = min(_COMPONENTS, len(general))
    weight = count / (count + len(spectra))
    measured = spectra.T @ spectra / len(spectra)
    power, vectors = np.linalg.eigh((1 - weight) * measured + weight * np.diag(general / general.sum()))
    return (vectors[:, -count:] / np.sqrt(power[-count:])).astype(np.float32)


def _neighbourhoods(vectors: np.ndarray, sample: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns two distances float32 [N]: to the last neighbour, and the radius without images expected by chance."""
    count = min(_NEIGHBOURS, len(sample) // 5)
    nearest = np.empty((len(vectors), count), np.float32)
    for start in range(0, len(vectors), _BLOCK):
        similarity = vectors[start : start + _BLOCK] @ vectors[sample].T
        own = np.flatnonzero((sample >= start) & (sample < start + _BLOCK))
        similarity[sample[own] - start, own] = -1  # an image is not its own neighbour
        similarity.partition(len(sample) - count, axis=1)
        nearest[start : start + _BLOCK] = np.sort(_distance(similarity[:, -count:]), axis=1)
    # The nearest third may be duplicates. They are treated as censored: nearer than the others, at unknown distances.
    # Larger clusters of versions of one picture are excluded. They end with a jump of the distances, which a power law
    # does not have.
    last, censored = nearest[:, -1], count // 3
    jumps = nearest[:, :-1] < _MAX_RATIO * nearest[:, 1:]
    cluster_size = np.where(jumps, np.arange(1, count), 0).max(axis=1)
    has_cluster = cluster_size > censored
    distances = np.where(has_cluster[:, None], nearest, np.maximum(nearest, nearest[:, censored, None]))
    ratios = np.log(last[:, None] / distances)
    ratios[has_cluster[:, None] & (np.arange(count) < cluster_size[:, None])] = 0
    observed = count - 2 - np.where(has_cluster, cluster_size, censored)
    exponent = np.maximum(observed, 1) / np.maximum(ratios.sum(axis=1), 1e-9)
    expected = count * len(vectors) / len(sample)  # images within the distance of the last neighbour
    chance = (_EXPECTED_FALSE_PAIRS / len(vectors) / expected) ** (1 / exponent)
    return last, last * np.minimum(chance, _MAX_RATIO).astype(np.float32)


def _pairs_within(
    vectors: np.ndarray, radii: np.ndarray, progress: Callable[[float], None]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the pairs whose distance is within the radii of both images, int64 [Q, 2], and their distances."""
    thresholds = 1 - np.square(radii) / 2  # similarity
    pairs: list[np.ndarray] = [np.empty((0, 2), np.int64)]
    distances: list[np.ndarray] = [np.empty(0, np.float32)]
    for start in range(0, len(vectors), _BLOCK):
        rows = slice(start, start + _BLOCK)
        for begin in range(start, len(vectors), _BLOCK):
            columns = slice(begin, begin + _BLOCK)
            similarity = vectors[rows] @ vectors[columns].T
            near = np.flatnonzero(similarity.max(axis=1) >= thresholds[rows])  # few rows
            row, column = np.nonzero(similarity[near] >= thresholds[rows][near, None])
            similarity, row, column = similarity[near[row], column], near[row] + start, column + begin
            is_pair = (similarity >= thresholds[column]) & (row < column)
            pairs.append(np.stack([row, column], axis=1)[is_pair])
            distances.append(_distance(similarity[is_pair]))
        progress(1 - (1 - (start + _BLOCK) / len(vectors)) ** 2 if start + _BLOCK < len(vectors) else 1.0)
    return np.concatenate(pairs), np.concatenate(distances)


def _normalised(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-9))


def _distance(similarity: np.ndarray) -> np.ndarray:
    """Returns the distance of unit vectors, at least the resolution of float32."""
    return np.sqrt(np.maximum(2 - 2 * similarity, np.float32(1e-6)))

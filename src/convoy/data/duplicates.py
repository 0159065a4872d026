"""Finds duplicates in a data set: the same pixels, or the same picture saved, cropped or lit differently.

The same pixels are found by their hash, the same picture by a distance that is too small to be chance:

1. An image becomes a vector of 96 numbers: the low frequencies of brightness and colour, without means and normalised
   for contrast, projected on the leading principal directions of the data set, each divided by its spread (whitening).
   Features that the images share then have little weight. The distance is that of the vectors at unit length.
2. The distances from an image to others follow a power law, whose exponent is estimated from the nearest 30 images of a
   random sample (Levina and Bickel 2004, Maximum likelihood estimation of intrinsic dimension).
3. Two images are the same picture if, by the power law of either of them, less than one pair this close is expected in
   ten such data sets (as in Desolneux, Moisan and Morel 2000, Meaningful alignments), and if their distance is at most
   0.6 times the distance of either to the 30th image of its sample.

docs/guides/data-sheet.md has the results, and why a fixed threshold does not work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from typing import NamedTuple

import numpy as np

REVISION = 1  # raise when the search finds other pairs: they are cached
FEWEST = 50  # different images needed to estimate the distances
_SAMPLE = 5000  # images, for the principal directions and the distances to neighbours
_NEIGHBOURS = 30
_PAIRS_BY_CHANCE = 0.1
_FARTHEST = 0.6  # of the distance to the last neighbour
_DIRECTIONS = 96
_BRIGHTNESS, _COLOUR = 16, 8  # frequencies in each direction
# Brightness, red against blue, green against both: orthonormal.
_OPPONENTS = np.array([[1, 1, 1], [1, 0, -1], [-0.5, 1, -0.5]], np.float32)
_OPPONENTS /= np.linalg.norm(_OPPONENTS, axis=1, keepdims=True)
_CHUNK = 1000  # images
_BLOCK = 2048  # images per side of a block of distances, which fits into the processor's cache


class Duplicates(NamedTuple):
    """Pairs of image indices, counted over all parts; the smaller index first."""

    same_pixels: np.ndarray  # int64 [P, 2]: the first image with these pixels, and each later one
    same_picture: np.ndarray  # int64 [Q, 2], the closest pair first; only the first of images with the same pixels
    distances: np.ndarray  # float32 [Q], of same_picture: fractions of the distance to the last neighbour


def find_duplicates(parts: Sequence[np.ndarray], progress: Callable[[float], None]) -> Duplicates:
    """Compares all images of all parts, uint8 [N, C, H, H], with each other.

    `progress` is called with the finished share. Memory is linear in the number of images, time quadratic.
    """
    first = _first_with_its_pixels(parts)
    copies = np.flatnonzero(first != np.arange(len(first)))
    same_pixels = np.stack([first[copies], copies], axis=1)
    places = np.unique(first)
    if len(places) < FEWEST:
        return Duplicates(same_pixels, np.empty((0, 2), np.int64), np.empty(0, np.float32))
    sample = np.sort(np.random.RandomState(0).permutation(len(places))[:_SAMPLE])
    whiten = _whitening(np.concatenate(list(_spectra(parts, places[sample]))), *parts[0].shape[1:3])
    vectors = np.concatenate([_normalised(spectra @ whiten) for spectra in _spectra(parts, places)])
    last_neighbour, reach = _neighbourhoods(vectors, sample)
    pairs, distances = _pairs_within(vectors, reach, progress)
    distances /= last_neighbour[pairs].min(axis=1)
    order = np.argsort(distances, kind="stable")
    return Duplicates(same_pixels, places[pairs[order]], distances[order])


def _first_with_its_pixels(parts: Sequence[np.ndarray]) -> np.ndarray:
    """int64 [N]: for each image the index of the first one with the same pixels."""
    digests = (blake2b(np.ascontiguousarray(image).data, digest_size=16).digest() for part in parts for image in part)
    places: dict[bytes, int] = {}
    return np.array([places.setdefault(digest, place) for place, digest in enumerate(digests)], np.int64)


def _spectra(parts: Sequence[np.ndarray], places: np.ndarray) -> Iterator[np.ndarray]:
    """float32 [n, F] of unit length, 0 for blank images, of the images at the sorted indices `places`, in chunks."""
    channels, side = parts[0].shape[1:3]
    waves, frequencies = _waves(side), _frequencies(channels, side)
    for chunk in np.split(places, range(_CHUNK, len(places), _CHUNK)):
        spectra = waves @ _take(parts, chunk).astype(np.float32) @ waves.T  # (n, C, k, k)
        if channels == 3:
            spectra = np.einsum("oc,ncuv->nouv", _OPPONENTS, spectra)
        chosen = spectra[:, frequencies]
        chosen[np.linalg.norm(chosen, axis=1) < side / 2] = 0  # less than half a level of contrast
        yield _normalised(chosen)


def _take(parts: Sequence[np.ndarray], places: np.ndarray) -> np.ndarray:
    ends = np.cumsum([len(part) for part in parts])
    return np.concatenate(
        [
            part[places[(places >= end - len(part)) & (places < end)] - (end - len(part))]
            for part, end in zip(parts, ends, strict=True)
        ]
    )


def _waves(side: int) -> np.ndarray:
    """float32 [k, side]: the lowest frequencies of the discrete cosine transform, orthonormal."""
    count = min(_BRIGHTNESS, side)
    waves = np.cos(np.pi * np.outer(np.arange(count), np.arange(side) + 0.5) / side) * np.sqrt(2 / side)
    waves[0] /= np.sqrt(2)
    return waves.astype(np.float32)


def _frequencies(channels: int, side: int) -> np.ndarray:
    """bool [C, k, k]: the selected frequencies, without the means; only the lower ones for colour, which JPEG blurs."""
    count = min(_BRIGHTNESS, side)
    selected = np.zeros((channels, count, count), bool)
    selected[0] = True
    selected[1:, :_COLOUR, :_COLOUR] = True
    selected[:, 0, 0] = False
    return selected


def _whitening(spectra: np.ndarray, channels: int, side: int) -> np.ndarray:
    """float32 [F, D]: the leading principal directions of the spectra, each divided by its spread.

    With few images, duplicates among them dominate the spread. The fewer images, the more weight has the general
    spectrum of images, whose power falls with the square of the frequency (Field 1987, Relations between the statistics
    of natural images and the response properties of cortical cells).
    """
    general = 1 / np.square(np.argwhere(_frequencies(channels, side))[:, 1:]).sum(axis=1)
    directions = min(_DIRECTIONS, len(general))
    weight = directions / (directions + len(spectra))
    measured = spectra.T @ spectra / len(spectra)
    power, vectors = np.linalg.eigh((1 - weight) * measured + weight * np.diag(general / general.sum()))
    return (vectors[:, -directions:] / np.sqrt(power[-directions:])).astype(np.float32)


def _neighbourhoods(vectors: np.ndarray, sample: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """float32 [N] each: the distance to the last neighbour, and the distance within which chance would put no image."""
    count = min(_NEIGHBOURS, len(sample) // 5)
    near = np.empty((len(vectors), count), np.float32)
    for start in range(0, len(vectors), _BLOCK):
        similar = vectors[start : start + _BLOCK] @ vectors[sample].T
        own = np.flatnonzero((sample >= start) & (sample < start + _BLOCK))
        similar[sample[own] - start, own] = -1  # an image is not its own neighbour
        similar.partition(len(sample) - count, axis=1)
        near[start : start + _BLOCK] = np.sort(_distance(similar[:, -count:]), axis=1)
    # The nearest third may be duplicates, so it is treated as censored: nearer than the others, at unknown distances.
    # A larger crowd of versions of one picture ends with a jump in distance that the power law excludes; it is omitted.
    last, censored = near[:, -1], count // 3
    jumps = near[:, :-1] < _FARTHEST * near[:, 1:]
    crowd = np.where(jumps, np.arange(1, count), 0).max(axis=1)
    is_crowd = crowd > censored
    ratios = np.log(last[:, None] / np.where(is_crowd[:, None], near, np.maximum(near, near[:, censored, None])))
    ratios[is_crowd[:, None] & (np.arange(count) < crowd[:, None])] = 0
    observed = count - 2 - np.where(is_crowd, crowd, censored)
    exponent = np.maximum(observed, 1) / np.maximum(ratios.sum(axis=1), 1e-9)
    expected = count * len(vectors) / len(sample)  # images within the distance of the last
    chance = (_PAIRS_BY_CHANCE / len(vectors) / expected) ** (1 / exponent)
    return last, last * np.minimum(chance, _FARTHEST).astype(np.float32)


def _pairs_within(
    vectors: np.ndarray, reach: np.ndarray, progress: Callable[[float], None]
) -> tuple[np.ndarray, np.ndarray]:
    """int64 [Q, 2] and their distances: the pairs within the reach of both images."""
    least = 1 - np.square(reach) / 2  # similarity
    found: list[np.ndarray] = [np.empty((0, 2), np.int64)]
    distances: list[np.ndarray] = [np.empty(0, np.float32)]
    for start in range(0, len(vectors), _BLOCK):
        rows = slice(start, start + _BLOCK)
        for begin in range(start, len(vectors), _BLOCK):
            columns = slice(begin, begin + _BLOCK)
            similar = vectors[rows] @ vectors[columns].T
            near = np.flatnonzero(similar.max(axis=1) >= least[rows])  # few rows
            row, column = np.nonzero(similar[near] >= least[rows][near, None])
            similar, row, column = similar[near[row], column], near[row] + start, column + begin
            is_pair = (similar >= least[column]) & (row < column)
            found.append(np.stack([row, column], axis=1)[is_pair])
            distances.append(_distance(similar[is_pair]))
        progress(1 - (1 - (start + _BLOCK) / len(vectors)) ** 2 if start + _BLOCK < len(vectors) else 1.0)
    return np.concatenate(found), np.concatenate(distances)


def _normalised(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-9))


def _distance(similarity: np.ndarray) -> np.ndarray:
    """Distance of unit vectors, at least the resolution of float32."""
    return np.sqrt(np.maximum(2 - 2 * similarity, np.float32(1e-6)))

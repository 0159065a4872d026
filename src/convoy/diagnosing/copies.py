"""Finds images of a part that are training images: equal, similar, mirrored, rotated or shifted.

Rotated and shifted copies are searched among nearest neighbours in invariant features: means of pixels that rotations
exchange, and magnitudes of the Fourier transform.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from convoy.data.duplicates import find_duplicates, first_with_same_pixels
from convoy.diagnosing.images import Images
from convoy.text import gettext as _

MIN_COPIES = 3  # one or two similar pairs may be due to chance
MAX_COMPARED = 20_000  # images; the search for the same picture is quadratic
SAME_SHAPE, SAME_PICTURE = 0.95, 0.99  # correlation
# Correlation after a shift. At most 0.93 for CIFAR-10 and 0.977 for MNIST, 400 images in 4,000 others; 1.0 for copies.
SHIFTED_PICTURE = 0.98
MAX_SHIFT = 0.25  # fraction of the side
THUMBNAIL, FREQUENCIES = 32, 8  # pixels at most; of the Fourier transform, in each direction
CHUNK = 500  # images
# Correlation of the finest detail of two images: at least 0.97 for nine of ten CIFAR-10 images that were saved again as
# JPEG (quality 70); for pictures rendered with separate noise, at most 0.1 for shapes and 0.7 for stripes.
SAME_DETAIL = 0.8
MIN_DETAIL, SIMILAR_DETAIL = 1.0, 0.5  # standard deviation in grey levels; ratio of two standard deviations
REGULAR = 0.6  # variance of the number of copies relative to their mean: 1 by chance (Poisson), 0.4 for versions of
# which 64 % are in the training set

Search = Callable[[np.ndarray, np.ndarray], np.ndarray]  # training images and a part -> copies of each image of it


def symmetries() -> dict[str, tuple[int, bool]]:
    """Returns, by name, the number of quarter turns and whether the image is then mirrored. Omits the identity."""
    return {
        _("transposed"): (3, True),
        _("rotated by 90 degrees"): (1, False),
        _("rotated by 180 degrees"): (2, False),
        _("rotated by 270 degrees"): (3, False),
        _("mirrored"): (0, True),
        _("upside down"): (2, True),
        _("transposed along the other diagonal"): (1, True),
    }


def turned(images: np.ndarray, turns: int, is_mirrored: bool) -> np.ndarray:
    rotated = np.rot90(images, turns, (2, 3))
    return np.ascontiguousarray(rotated[..., ::-1] if is_mirrored else rotated)


def copies_in_training(images: Images, name: str) -> tuple[np.ndarray, np.ndarray, bool]:
    """Finds a part's images that are also in training. Returns the indices of exact copies, and of all copies.

    "All copies" includes near duplicates (possibly mirrored), which are searched only in sets of at most MAX_COMPARED
    images. The third value states whether they were searched.
    """
    same, alike, searched = copies_of_each(images, name)
    return np.flatnonzero(same), np.flatnonzero(alike), searched


def copies_of_each(images: Images, name: str) -> tuple[np.ndarray, np.ndarray, bool]:
    """Returns the number of exact copies, and of all copies, of each image of the part."""
    train, part = images.train.images, images.parts[name].images
    same = exact_copies(train, part)
    if len(train) + len(part) > MAX_COMPARED:
        return same, same, False
    return same, similar_copies(train, part), True


def exact_copies(train: np.ndarray, part: np.ndarray) -> np.ndarray:
    first = first_with_same_pixels([train, part])
    counts = np.bincount(first[: len(train)], minlength=len(first))
    return counts[first[len(train) :]]


def similar_copies(train: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Counts copies with the same pixels and near duplicates, possibly mirrored."""
    across = np.unique(np.concatenate(_similar_pairs(train, part)), axis=0)[:, 1]
    mirrored = exact_copies(train, np.ascontiguousarray(part[..., ::-1]))
    return np.bincount(across, minlength=len(part)) + np.maximum(exact_copies(train, part), mirrored)


def _similar_pairs(train: np.ndarray, part: np.ndarray) -> list[np.ndarray]:
    """Returns the indices of near duplicates in `train` and in `part`, [P, 2]; then those of the mirrored part."""
    pairs = (find_duplicates([train, each], _ignore).same_picture for each in (part, part[..., ::-1]))
    return [each[(each[:, 0] < len(train)) & (each[:, 1] >= len(train))] - [0, len(train)] for each in pairs]


def _ignore(share: float) -> None:
    pass


def same_in_detail(train: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Whether each image has a copy, possibly mirrored, that is the same image and not just the same picture."""
    is_copy = np.zeros(len(part), bool)
    versions = (part, np.ascontiguousarray(part[..., ::-1]))
    for version, pairs in zip(versions, _similar_pairs(train, part), strict=True):
        is_copy |= exact_copies(train, version) > 0
        is_copy[pairs[have_same_detail(train[pairs[:, 0]], version[pairs[:, 1]]), 1]] = True
    return is_copy


def have_same_detail(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Compares the finest detail of each image with that of its counterpart, where both are uniform. bool [N].

    Similar pictures also have similar edges; therefore the half of the pixels with the most varied surroundings is left
    out. Images without such detail, or of which only one is blurred, count as equal.
    """
    if not len(images):
        return np.zeros(0, bool)
    grey = [each.mean(1, dtype=np.float32) for each in (images, others)]
    smooth = [_smoothed(each) for each in grey]
    both = grey[0] + grey[1]
    variance = _smoothed(_smoothed(both**2) - _smoothed(both) ** 2).reshape(len(images), -1)
    plain = variance <= np.median(variance, axis=1, keepdims=True)
    detail = [np.where(plain, (a - b).reshape(plain.shape), 0) for a, b in zip(grey, smooth, strict=True)]
    size = [np.sqrt((each**2).sum(1) / np.maximum(plain.sum(1), 1)) for each in detail]
    is_comparable = np.minimum(*size) >= np.maximum(MIN_DETAIL, SIMILAR_DETAIL * np.maximum(*size))
    correlation = (unit(detail[0]) * unit(detail[1])).sum(1)
    return ~is_comparable | (correlation >= SAME_DETAIL)


def _smoothed(images: np.ndarray) -> np.ndarray:
    """Means of 3 x 3 pixels."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)), mode="edge")
    height, width = images.shape[1:]
    return np.mean([padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)], axis=0)


def turned_or_shifted(train: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Returns whether each image is a rotated, transposed or shifted training image, but not an unchanged one.

    It must also share the finest detail: images that are rendered with separate noise can be similar by chance.
    """
    is_copy = np.zeros(len(part), bool)
    for features, is_version in ((_invariants, _is_turned), (_magnitudes, _is_shifted)):
        vectors = features(train)
        center, scale = vectors.mean(0), vectors.std(0) + 1e-6
        vectors = unit((vectors - center) / scale)
        targets = unit((features(part) - center) / scale)
        for rows in np.array_split(np.arange(len(part)), -(-len(part) // CHUNK)):
            nearest = (targets[rows] @ vectors.T).argmax(1)
            is_copy[rows] |= is_version(part[rows], train[nearest])
    return is_copy


def repeats_by_chance(images: Images, copies: np.ndarray, search: Search) -> bool:
    """Whether copies are as frequent within the training set: rendered images with few variations often repeat.

    A random third of the training images is compared with the others. If an image was augmented before the split, its
    versions are as frequent among them, but their number per image is regular.
    """
    if not images.is_drawing or copies.mean() == 0:
        return False
    train = images.train.images
    order, count = np.random.RandomState(0).permutation(len(train)), len(train) // 3
    if not count:
        return False
    found = float((search(train[order[count:]], train[order[:count]]) > 0).mean())
    # Chance copies of an image are proportional to the number of images that it is compared with.
    within = 1 - (1 - found) ** (len(train) / (len(train) - count))
    share, error = float((copies > 0).mean()), np.sqrt(within * (1 - within) * (1 / count + 1 / len(copies)))
    return within > 0 and share <= within + 3 * error and not is_regular(copies)


def is_regular(copies: np.ndarray) -> bool:
    """Whether most images have about the same number of copies, as versions that were made before the split do."""
    return copies.dtype != bool and bool((copies > 0).mean() >= 0.5 and copies.var() < REGULAR * copies.mean())


def few_variations() -> str:
    return _(
        "Copies are as frequent within the training set, as is usual for rendered images with few variations. If they "
        "were augmented before the split, keep the copies together with data.split.group_by = 'duplicates'"
    )


def _is_turned(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Whether each image is a rotated or mirrored copy of its counterpart, except unchanged and left-right mirrored
    ones."""
    wanted, is_copy = unit(_flat(others)), np.zeros(len(images), bool)
    for turns, is_mirrored in symmetries().values():
        if turns:
            version = turned(images, turns, is_mirrored)
            alike = np.flatnonzero((unit(_flat(version)) * wanted).sum(1) > SAME_PICTURE)
            is_copy[alike] |= have_same_detail(version[alike], others[alike])
    return is_copy & ((unit(_flat(images)) * wanted).sum(1) < SAME_SHAPE)


def _is_shifted(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Whether each image shows the same picture as its counterpart, at the shift with the highest correlation."""
    one, other = images.mean(1, dtype=np.float32), others.mean(1, dtype=np.float32)
    side = one.shape[1]
    window = np.outer(np.hanning(side + 2)[1:-1], np.hanning(side + 2)[1:-1])
    spectra = [np.fft.rfft2((each - each.mean((1, 2), keepdims=True)) * window) for each in (one, other)]
    cross = spectra[0] * spectra[1].conj()
    correlation = np.fft.irfft2(cross / (np.abs(cross) + 1e-3), s=(side, side))
    down, right = np.unravel_index(correlation.reshape(len(one), -1).argmax(1), (side, side))
    is_copy = np.zeros(len(one), bool)
    for index, (dy, dx) in enumerate(zip(_signed(down, side), _signed(right, side), strict=True)):
        if 0 < max(abs(dy), abs(dx)) <= MAX_SHIFT * side:
            a = one[None, None, index, max(0, dy) : side + min(0, dy), max(0, dx) : side + min(0, dx)]
            b = other[None, None, index, max(0, -dy) : side + min(0, -dy), max(0, -dx) : side + min(0, -dx)]
            is_same = float(unit(_flat(a))[0] @ unit(_flat(b))[0]) > SHIFTED_PICTURE
            is_copy[index] = is_same and bool(have_same_detail(a, b)[0])
    return is_copy & ((unit(_flat(images)) * unit(_flat(others))).sum(1) < SAME_SHAPE)


def _signed(places: np.ndarray, side: int) -> list[int]:
    return [int(place) - side if place > side // 2 else int(place) for place in places]


def _magnitudes(images: np.ndarray) -> np.ndarray:
    """Returns log magnitudes of low frequencies, which do not depend on shifts, float32 [N, F]."""
    step = -(-images.shape[2] // THUMBNAIL)
    side = images.shape[2] // step
    window = np.outer(np.hanning(side + 2)[1:-1], np.hanning(side + 2)[1:-1]).astype(np.float32)
    count, parts = min(FREQUENCIES, side // 2), []
    for chunk in np.array_split(images[:, :, : side * step, : side * step], max(1, len(images) // CHUNK)):
        grey = chunk.mean(1, dtype=np.float32).reshape(len(chunk), side, step, side, step).mean((2, 4))
        power = np.abs(np.fft.rfft2((grey - grey.mean((1, 2), keepdims=True)) * window))
        low = np.concatenate([power[:, :count, : count + 1], power[:, -count:, : count + 1]], 1)
        parts.append(np.log(low.reshape(len(low), -1) + 1).astype(np.float32))
    return np.concatenate(parts)


def _invariants(images: np.ndarray) -> np.ndarray:
    """Returns means of pixels that rotations and reflections exchange with each other, float32 [N, F]."""
    step = max(1, images.shape[2] // 14)
    half = images.shape[2] // step // 2
    side, start = 2 * half * step, (images.shape[2] - 2 * half * step) // 2
    cut = images[:, :, start : start + side, start : start + side]
    rows, columns = np.triu_indices(half)
    parts = []
    for chunk in np.array_split(cut, max(1, len(cut) // 1000)):
        grey = chunk.mean(1, dtype=np.float32).reshape(len(chunk), 2 * half, step, 2 * half, step).mean((2, 4))
        quarter = (grey + grey[:, ::-1] + grey[:, :, ::-1] + grey[:, ::-1, ::-1])[:, :half, :half]
        parts.append((quarter + quarter.transpose(0, 2, 1))[:, rows, columns])
    return np.concatenate(parts)


def _flat(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), int(np.prod(images.shape[1:]))).astype(np.float32)


def unit(vectors: np.ndarray) -> np.ndarray:
    centred = vectors - vectors.mean(1, keepdims=True)
    normalised: np.ndarray = centred / (np.linalg.norm(centred, axis=1, keepdims=True) + 1e-3)
    return normalised

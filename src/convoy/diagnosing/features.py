"""Simple features of images and files, and a linear classifier on them, for the checks of shortcuts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from convoy.diagnosing.pixel_classifier import halves
from convoy.text import gettext as _

MAX_PIXELS = 400  # pixels of the border
MAX_BORDER = 0.25  # fraction of the pixels; below 15 pixels per side, the content of an image reaches its border
LEVELS, MOST = (0.02, 0.98), (0.25, 0.5)  # quantiles of the pixels of an image
PLAINEST, JPEG_BLOCK = (0.05, 0.25), 8  # quantiles of the local noise of an image; pixels
# Standard deviation of the logarithm of the noise of images: at most 0.08 for drawings to which the same noise was
# added (10 sets), at least 0.49 for each class of CIFAR-10.
SAME_NOISE = 0.3
RIDGE = 10.0
MAX_WORDS = 30  # words of file names


class Features(NamedTuple):
    values: np.ndarray  # float32 [N, F]
    is_content: bool = False  # may follow from the content, as the size of a compressed file does
    # float32 [N, F], the same kind of features; content changes the first two, and processing changes the third:
    coarse: np.ndarray | None = None  # features of images of half the size
    centre: np.ndarray | None = None  # features of the centre of photos
    # features of most pixels, or of the plainest areas, of drawings with the same noise
    plain: np.ndarray | None = None


def of_pixels(images: np.ndarray, is_photo: bool = False) -> dict[str, Features]:
    """Returns features of images, uint8 [N, C, H, H], by display name. In photos, the sharpness includes noise."""
    pixels = images.astype(np.float32) / 255
    colours, grey = np.concatenate([pixels.mean((2, 3)), pixels.std((2, 3))], 1), pixels.mean(1)
    traces = _traces(grey) if is_photo else None
    has_same_noise = traces is not None and float(traces[:, 0].std()) < SAME_NOISE
    features = {
        _("border pixels"): Features(
            _lines(pixels, (0, -1)),
            is_content=4 * (images.shape[2] - 1) > MAX_BORDER * images.shape[2] ** 2,
            centre=_lines(_centre(pixels), (1 / 3, 2 / 3)) if is_photo else None,
        ),
        _("the darkest and lightest colours"): Features(_with_squares(_levels(images, LEVELS))),
        # Less ink, as in a 1 compared with a 0, changes the mean brightness, but not the levels.
        _("mean and standard deviation of the colours"): Features(_with_squares(colours), is_content=True),
        _("the sharpness"): Features(
            _with_squares(_sharpness(grey) if traces is None else np.concatenate([_sharpness(grey), traces], 1)),
            coarse=_with_squares(_sharpness(_halved(grey))),
            plain=_with_squares(traces) if traces is not None and has_same_noise else None,
        ),
    }
    if pixels.shape[1] == 3:
        differences = np.abs(images[:, [0, 1, 0]].astype(np.int16) - images[:, [1, 2, 2]])
        features[_("the saturation of the colours")] = Features(
            _with_logarithms(differences.mean((2, 3), dtype=np.float32) / 255),
            plain=_with_logarithms(_levels(differences, MOST)) if has_same_noise else None,
        )
    return features


def _lines(pixels: np.ndarray, places: tuple[float, float]) -> np.ndarray:
    """Returns two rows and two columns, as shares of the side or (0, -1), with their squares."""
    lines = [int(place * pixels.shape[2]) if 0 < place < 1 else int(place) for place in places]
    rows, columns = pixels[:, :, lines, :], pixels[:, :, :, lines]
    values = np.concatenate([each.reshape(len(pixels), -1) for each in (rows, columns)], 1)
    return _with_squares(values[:, :: -(-values.shape[1] // MAX_PIXELS)])


def _centre(pixels: np.ndarray) -> np.ndarray:
    quarter = pixels.shape[2] // 4
    return pixels[:, :, quarter : pixels.shape[2] - quarter, quarter : pixels.shape[2] - quarter]


def _with_logarithms(values: np.ndarray) -> np.ndarray:
    return np.concatenate([values, _with_squares(np.log(values + 1e-3))], 1)


def _with_squares(values: np.ndarray) -> np.ndarray:
    return np.concatenate([values, values**2], 1)


def _levels(images: np.ndarray, levels: tuple[float, float]) -> np.ndarray:
    """Returns two quantiles of each channel, float32 [N, C * 2], from 0 to 1. Exposure and colour cast change them."""
    flat = images.reshape(*images.shape[:2], -1)
    places = [int(level * (flat.shape[2] - 1)) for level in levels]
    return np.partition(flat, places, axis=2)[:, :, places].reshape(len(images), -1).astype(np.float32) / 255


def _sharpness(grey: np.ndarray) -> np.ndarray:
    """Returns ratios of fine to coarse detail, float32 [N, 2]. Blur, noise, scaling and compression change them."""
    laplacian = 4 * grey[:, 1:-1, 1:-1] - grey[:, :-2, 1:-1] - grey[:, 2:, 1:-1]
    laplacian -= grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:]
    fine, slopes, coarse = np.abs(laplacian).mean((1, 2)), _slopes(grey), _slopes(_halved(grey))
    logarithms = np.log(np.stack([fine, slopes, coarse], 1) + 1e-4)
    return logarithms[:, :2] - logarithms[:, 1:]


def _traces(grey: np.ndarray) -> np.ndarray:
    """Returns traces of noise and JPEG compression, float32 [N, 2 or 4].

    Noise is measured where an image is most uniform, so that its content has little effect. Images that were resized or
    cropped do not have the blocks of their JPEG files.
    """
    steps = np.abs(grey[:, 1:, 1:] - grey[:, 1:, :-1] - grey[:, :-1, 1:] + grey[:, :-1, :-1])
    stride = -(-steps.shape[1] // 64)  # samples large images
    count = steps.shape[1] - 2
    around = sum(steps[:, i : i + count : stride, j : j + count : stride] for i in range(3) for j in range(3)) / 9
    flat = np.asarray(around).reshape(len(grey), -1)
    places = [int(level * (flat.shape[1] - 1)) for level in PLAINEST]
    logarithms = np.log(np.partition(flat, places, axis=1)[:, places] + 0.5 / 255)
    edges = []
    for axis in (1, 2):
        differences = np.abs(np.diff(grey, axis=axis)).mean(3 - axis)
        is_edge = np.arange(differences.shape[1]) % JPEG_BLOCK == JPEG_BLOCK - 1
        if is_edge.sum() > 1:
            inside = differences[:, ~is_edge].mean(1)
            edges.append(np.log((differences[:, is_edge].mean(1) + 1e-3) / (inside + 1e-3))[:, None])
    return np.concatenate([logarithms, *edges], 1)


def _halved(grey: np.ndarray) -> np.ndarray:
    even = grey[:, : grey.shape[1] // 2 * 2, : grey.shape[2] // 2 * 2]
    halved: np.ndarray = (even[:, ::2, ::2] + even[:, 1::2, ::2] + even[:, ::2, 1::2] + even[:, 1::2, 1::2]) / 4
    return halved


def _slopes(grey: np.ndarray) -> np.ndarray:
    slopes: np.ndarray = np.abs(np.diff(grey, axis=1)).mean((1, 2)) + np.abs(np.diff(grey, axis=2)).mean((1, 2))
    return slopes


def of_files(files: list[Path]) -> dict[str, Features]:
    """Returns the features of image files that differ between the files."""
    from PIL import Image

    rows = []
    for file in files:
        with Image.open(file) as image:
            tables = getattr(image, "quantization", None) or {}
            table = float(sum(sum(values) for values in tables.values()))
            rows.append((np.log(file.stat().st_size), table, *image.size, len(image.getbands())))
    values = np.array(rows, np.float32)
    columns = {
        _("the size of the file"): Features(values[:, :1], is_content=True),
        _("the JPEG quantisation tables"): Features(values[:, 1:2]),
        _("the size of the image before resizing"): Features(values[:, 2:4]),
        _("the number of channels of the file"): Features(values[:, 4:5]),
        _("the pattern of the file name"): Features(_of_names(files), is_content=True),
    }
    # With squares and the rank, the linear probe can separate a class in the middle of the range.
    return {
        name: each._replace(
            values=np.concatenate([_with_squares(each.values), np.argsort(np.argsort(each.values, 0), 0)], 1)
        )
        for name, each in columns.items()
        if each.values.shape[1] and each.values.std(0).max() > 0
    }


def _of_names(files: list[Path]) -> np.ndarray:
    """Returns the number of digits, the ending and the words of file names, without names of classes."""
    forms, classes = [], {file.parent.name.lower() for file in files}
    for file in files:
        words = {word for word in re.findall(r"[a-z]+", file.stem.lower()) if not _is_of_class(word, classes)}
        digits = sum(character.isdigit() for character in file.stem)
        is_random = len(re.findall(r"\d+", file.stem)) > 2  # a hash, not a number
        forms.append({file.suffix.lower()} if is_random else {file.suffix.lower(), f"{digits} digits", *words})
    every, counts = np.unique([form for each in forms for form in sorted(each)], return_counts=True)
    most = every[np.argsort(-counts, kind="stable")][:MAX_WORDS]
    common = [form for form in most if sum(form in each for each in forms) < len(forms)]
    return np.array([[form in each for form in common] for each in forms], np.float32).reshape(len(files), -1)


def _is_of_class(word: str, classes: set[str]) -> bool:
    return len(word) > 2 and any(word in name or name in word for name in classes)


def scores(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns outputs [N, classes] of a ridge regression on one-hot labels; each half is predicted from the other."""
    scaled = (features - features.mean(0)) / (features.std(0) + 1e-6)
    scaled = np.concatenate([scaled, np.ones((len(scaled), 1), scaled.dtype)], 1).astype(np.float64)
    targets = np.eye(labels.max() + 1)[labels]
    outputs = np.zeros_like(targets)
    for train in halves(len(labels)):
        x = scaled[train]
        weights = np.linalg.solve(x.T @ x + RIDGE * np.eye(x.shape[1]), x.T @ targets[train])
        outputs[~train] = scaled[~train] @ weights
    return outputs


def roc_aucs(outputs: np.ndarray, labels: np.ndarray, min_images: int) -> Mapping[int, float]:
    """Returns the one-vs-rest area under the ROC curve of each class with at least `min_images` images and others."""
    result = {}
    for index in range(outputs.shape[1]):
        of_class = labels == index
        count, others = int(of_class.sum()), int((~of_class).sum())
        if min(count, others) >= min_images:
            _values, place, ties = np.unique(outputs[:, index].round(9), return_inverse=True, return_counts=True)
            ranks = (np.cumsum(ties) - (ties - 1) / 2)[place]  # equal values share the mean of their ranks
            above = ranks[of_class].sum() - count * (count + 1) / 2
            result[index] = float(above / (count * others))
    return result

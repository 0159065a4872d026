"""Checks of the pixels of the images that a recipe trains on. Subject: `Images`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from convoy.diagnosing.finding import Finding, Severity
from convoy.diagnosing.images import Images, sample
from convoy.run_contents import part_name
from convoy.text import gettext as _
from convoy.text.numbers import fixed

SAMPLE, FEWEST = 2000, 50  # images
MAX_VALUES, FEW_VALUES = 40_000_000, 4_000_000  # values in a sample, and in a sample for a slow check
MIN_IMAGES = 100  # for comparing the means of two sets
FEW_LEVELS = 8  # levels of 256
SPARSE = 0.03  # share of the pixels: 13 % in black and white MNIST; without fractions 0.6 % in MNIST, 1.1 % in CIFAR-10
FAINT, RARE = 3, 0.01  # levels; share of the images
SCRAMBLED_SAMPLE, SMOOTHER = 200, 0.7  # images; 2.1 in CIFAR-10 as it is, and 0.47 if it is scrambled
MEDIUM_GREY, MISSING = 128, 0.1  # level; share of the rows


def normalisation(images: Images) -> Iterator[Finding]:
    """Only checks a mean and standard deviation set by the recipe. Values computed from the training images are always
    correct.
    """
    if images.recipe.data.normalise == "train":
        return
    mean, std = (np.array(values) for values in images.statistics)
    center, spread = (mean - images.mean) / images.std, std / np.array(images.std)
    worst = int(np.argmax(np.abs(np.log(spread)) + np.abs(center)))
    is_far = spread.min() < 0.05 or spread.max() > 10 or np.abs(center).max() > 5
    if is_far or spread.min() < 0.28:
        yield Finding(
            Severity.WARNING if is_far else Severity.HINT,
            _(
                "After data.normalise, the training pixels have mean {mean} and standard deviation "
                "{deviation:.3f}, not about 0 and 1",
                mean=fixed(center[worst], 2),
                deviation=spread[worst],
            ),
            _(
                "Pixels are in 0 to 1 before normalisation; data.normalise = 'train' computes both from the "
                "training images"
            ),
            {"mean": float(center[worst]), "deviation": float(spread[worst])},
        )


def pixel_range(images: Images) -> Iterator[Finding]:
    """Finds a set in 0..1 and another in 0..255."""
    largest = {name: int(_sampled(part.images).max()) for name, part in images.parts.items()}
    train = largest["train"]
    for name, value in largest.items():
        if min(value, train) * 8 < max(value, train):
            yield Finding(
                Severity.ERROR,
                _(
                    "The largest pixel value is {value} in the {part} images and {train} in the training images: "
                    "their scales differ",
                    part=part_name(name),
                    value=value,
                    train=train,
                ),
                _("Convert both sets in the same way"),
                {"part": name, "largest": value, "largest_in_training": train},
            )


def parts_differ(images: Images) -> Iterator[Finding]:
    """Compares the mean of each channel with the training set, to find inverted images, a different order of channels,
    or a different brightness."""
    for name, part in images.parts.items():
        if name == "train" or len(part) < MIN_IMAGES:
            continue
        distances, explanation, is_real = _difference_of_means(images, name)
        if not is_real or not (explanation or distances["as it is"] > 1):
            continue
        if explanation == "inverted":
            problem = _("The {part} images match the training images only if they are inverted", part=part_name(name))
        elif explanation:
            problem = _(
                "The {part} images match the training images only with their channels in reverse order",
                part=part_name(name),
            )
        else:
            problem = _(
                "The brightness of the {part} images differs from that of the training images by "
                "{distance:.1f} standard deviations of an image",
                part=part_name(name),
                distance=distances["as it is"],
            )
        yield Finding(
            Severity.ERROR if explanation else Severity.WARNING,
            problem,
            _("Read both sets in the same way: channel order, range, inversion, source"),
            {"part": name} | {f"distance_{key.replace(' ', '_')}": value for key, value in distances.items()},
        )


def means_show_reversed_channels(images: Images, name: str) -> bool:
    """Whether parts_differ reports reversed channels of a part, by its name."""
    if len(images.parts[name]) < MIN_IMAGES:
        return False
    _distances, explanation, is_real = _difference_of_means(images, name)
    return is_real and explanation == "other channel order"


def _difference_of_means(images: Images, name: str) -> tuple[dict[str, float], str, bool]:
    """Returns the distances to the training set after each change, the change that explains the difference (or ""), and
    whether chance does not.
    """
    train, part = (_sampled(images.parts[each].images).mean((2, 3)) for each in ("train", name))  # (n, C) each
    spread = train.std(0) + 1e-9  # over images
    error = spread * np.sqrt(1 / len(part) + 1 / len(train))  # standard error of a difference of means
    distances = {
        "as it is": _distance(part.mean(0), train.mean(0), spread),
        "inverted": _distance(255 - part.mean(0), train.mean(0), spread),
        "other channel order": _distance(part.mean(0)[::-1], train.mean(0), spread),
    }
    best = min(distances, key=lambda key: distances[key])
    is_real = bool(np.abs(part.mean(0) - train.mean(0)).max() > 6 * error.max())
    return distances, best if distances[best] < distances["as it is"] / 4 else "", is_real


def _distance(a: np.ndarray, b: np.ndarray, spread: np.ndarray) -> float:
    return float((np.abs(a - b) / spread).max())


def grey_as_colour(images: Images) -> Iterator[Finding]:
    pixels = _sampled(images.train.images)
    if pixels.shape[1] == 3 and (pixels == pixels[:, :1]).all():
        yield Finding(
            Severity.HINT,
            _("The images have three equal channels: grey images stored as colour"),
            _("One channel needs less memory and time in the first layer"),
            {"channels": 3},
        )


def blank_images(images: Images) -> Iterator[Finding]:
    for name, part in images.parts.items():
        pixels = _sampled(part.images)
        count = int((pixels.max((1, 2, 3)) == pixels.min((1, 2, 3))).sum())
        if count:
            yield Finding(
                Severity.WARNING if count > 0.01 * len(pixels) else Severity.HINT,
                _(
                    "{count:,} of {n:,} {part} images have only one colour",
                    count=count,
                    n=len(pixels),
                    part=part_name(name),
                ),
                _("Look for files that could not be decoded"),
                {"part": name, "blank": count, "images": len(pixels)},
            )


def few_levels(images: Images) -> Iterator[Finding]:
    """Finds images that were converted to integers before multiplication by 255 or after standardisation."""
    pixels = _sampled(images.train.images, values=FEW_VALUES)
    counts = np.bincount(pixels.reshape(-1), minlength=256)
    levels = np.flatnonzero(counts)
    span = int(levels[-1] - levels[0])
    if len(levels) > 2:  # more than black and white; -1 is stored as 255, so the levels form a circle
        span = 256 - int(np.diff(np.append(levels, levels[0] + 256)).max())
    rare = float(1 - counts.max() / counts.sum())
    is_colour = pixels.shape[1] == 3 and bool((pixels != pixels[:, :1]).any())
    evidence = {"levels": len(levels), "share": rare}
    if len(levels) <= FEW_LEVELS and span <= FEW_LEVELS:
        is_cut = len(levels) <= 2 and rare < SPARSE
        yield Finding(
            Severity.WARNING if is_cut else Severity.HINT,
            _(
                "The training images have only {n} of 256 levels, all within a range of {span}, and "
                "{share:.1%} of the pixels have the most frequent level",
                n=len(levels),
                span=span,
                share=1 - rare,
            ),
            _("Images with values from 0 to 1 lose nearly everything as integers: multiply them by 255 first"),
            evidence,
        )
    elif len(levels) <= FEW_LEVELS and is_colour:
        yield Finding(
            Severity.HINT,
            _("The colour images have only {n} different levels", n=len(levels)),
            _("If they are photographs, store them with 256 levels per channel"),
            evidence,
        )


def faint_images(images: Images) -> Iterator[Finding]:
    """Images that differ from a single colour by a few levels have lost nearly all of their content."""
    for name, part in images.parts.items():
        pixels = _sampled(part.images)
        contrast = pixels.max((2, 3)).astype(int) - pixels.min((2, 3))
        is_faint = (contrast.max(1) <= FAINT) & (pixels.max((1, 2, 3)) > pixels.min((1, 2, 3)))
        share = float(is_faint.mean())
        if share >= RARE:
            yield Finding(
                Severity.WARNING if share >= 0.5 else Severity.HINT,
                _(
                    "In {share:.1%} of {n:,} {part} images, the levels of a channel differ by at most {levels} of 255",
                    share=share,
                    n=len(pixels),
                    part=part_name(name),
                    levels=FAINT,
                ),
                _("Look for a second division by 255, or for images that were converted to integers too early"),
                {"part": name, "share": share, "images": len(pixels)},
            )


def scrambled_pixels(images: Images) -> Iterator[Finding]:
    """Finds images stored as three planes that were read as pixels of three values, or vice versa. Neighbouring pixels
    are similar, so images are smoother in the right order.
    """
    for name, part in images.parts.items():
        pixels = _sampled(part.images, SCRAMBLED_SAMPLE, FEW_VALUES)
        if pixels.shape[1] != 3 or (pixels == pixels[:, :1]).all():
            continue
        shape = pixels.shape
        as_pixels = np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))
        orders = (as_pixels.reshape(shape), pixels.reshape(as_pixels.shape).transpose(0, 3, 1, 2))
        before, after = _roughness(pixels), min(map(_roughness, orders))
        if after < SMOOTHER * before:
            yield Finding(
                Severity.WARNING,
                _(
                    "The pixels of the {part} images are in the wrong order: if rows, columns and channels are read in "
                    "another order, neighbouring pixels differ by {after:.1f} levels instead of {before:.1f}",
                    part=part_name(name),
                    after=after,
                    before=before,
                ),
                _(
                    "For images that are stored as planes, use reshape(n, 3, height, width), then transpose: "
                    "reshape alone never swaps axes"
                ),
                {"part": name, "ratio": after / before, "images": len(pixels)},
            )


def _roughness(pixels: np.ndarray) -> float:
    """Returns the mean difference between neighbouring pixels of [N, C, H, W]."""
    values = pixels.astype(np.int16)
    return float((np.abs(np.diff(values, axis=2)).mean() + np.abs(np.diff(values, axis=3)).mean()) / 2)


def cut_off_images(images: Images) -> Iterator[Finding]:
    """Decoders fill the missing rows of an incomplete JPEG file with medium grey."""
    for name, part in images.parts.items():
        pixels = _sampled(part.images)
        columns = pixels[..., ::4]
        is_grey = np.asarray((np.abs(columns.astype(np.int16) - MEDIUM_GREY) <= 2).all((1, 3)))  # (n, rows)
        missing = np.logical_and.accumulate(is_grey[:, ::-1], 1).mean(1)
        count = int(((missing >= MISSING) & ~is_grey[:, 0]).sum())
        if count:
            yield Finding(
                Severity.WARNING if count > RARE * len(pixels) else Severity.HINT,
                _(
                    "{count:,} of {n:,} {part} images end in rows of medium grey, as incomplete JPEG files do",
                    count=count,
                    n=len(pixels),
                    part=part_name(name),
                ),
                _("Download or copy these files again, or remove them"),
                {"part": name, "images": count, "share": count / len(pixels)},
            )


def _sampled(images: np.ndarray, most: int = SAMPLE, values: int = MAX_VALUES) -> np.ndarray:
    """Returns at most `most` images with at most `values` values in total, but at least FEWEST images."""
    return images[sample(len(images), min(most, max(FEWEST, values // images[0].size)))]

"""Planted mistakes in data are found by their checks; correct data have no finding."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import convoy
from convoy.data import load
from convoy.data.imageset import ImageSet
from convoy.diagnosing import words
from convoy.diagnosing.checks import pixels as pixel_checks
from convoy.diagnosing.features import of_pixels
from convoy.diagnosing.finding import Severity
from convoy.diagnosing.images import Images
from convoy.diagnosing.table import CHECKS, Topic, examine
from convoy.recipe import Recipe
from convoy.text import in_language

ERROR, WARNING, HINT = Severity
TOPICS = (Topic.PIXELS, Topic.DATA, Topic.SHORTCUTS, Topic.LABELS, Topic.TRAINING)
DATA_CHECKS = [check for check in CHECKS if check.topic in TOPICS]
CLASSES = ("a", "b", "c")


def part(count: int, seed: int) -> ImageSet:
    """Colour images of 16 x 16 pixels: smooth random pictures in which the class is the position of a square."""
    draw = np.random.default_rng(seed)
    labels = draw.permutation(np.arange(count) % 3)
    images = np.kron(draw.integers(0, 160, (count, 3, 4, 4)), np.ones((4, 4), int))
    for image, label in zip(images, labels, strict=True):
        image[:, 6:10, 4 * label + 2 : 4 * label + 6] += 90
    images[:, 0] += 5  # red is the brightest channel, blue the darkest
    images[:, 2] //= 2
    return ImageSet(images.astype(np.uint8), labels.astype(np.int64), CLASSES)


def sound() -> Images:
    images = Images(Recipe(), {"train": part(600, 0), "test": part(150, 1)}, (), ())
    mean, std = images.statistics
    return replace(images, mean=mean, std=std)


def with_part(images: Images, name: str, changed: ImageSet) -> Images:
    return replace(images, parts={**images.parts, name: changed})


def edited(images: Images, name: str, change: Callable[[np.ndarray], np.ndarray]) -> Images:
    old = images.parts[name]
    return with_part(images, name, replace(old, images=change(old.images.copy()).astype(np.uint8)))


def chosen(images: Images, name: str, indices: np.ndarray) -> Images:
    return with_part(images, name, images.parts[name].take(indices))


def with_recipe(images: Images, **overrides: object) -> Images:
    return replace(
        images, recipe=Recipe().override({key.replace("__", "."): value for key, value in overrides.items()})
    )


def normalised_as_levels(images: Images) -> Images:
    return replace(with_recipe(images, data__normalise=[100.0, 60.0]), mean=(100.0,) * 3, std=(60.0,) * 3)


def not_normalised(images: Images) -> Images:
    return replace(with_recipe(images, data__normalise=[0.0, 1.0]), mean=(0.0,) * 3, std=(1.0,) * 3)


def blank(pixels: np.ndarray) -> np.ndarray:
    pixels[:30] = 0
    return pixels


def copied_from_training(images: Images) -> Images:
    train, test = images.train, images.parts["test"]
    pixels = test.images.copy()
    pixels[:20] = train.images[:20]
    return with_part(images, "test", replace(test, images=pixels))


def brighter_copies(images: Images) -> Images:
    test = images.parts["test"]
    pixels = test.images.copy()
    pixels[:20] = np.clip(images.train.images[:20] * 0.9 + 8, 0, 255)
    return with_part(images, "test", replace(test, images=pixels))


def relabelled_copies(images: Images) -> Images:
    pixels = images.train.images.copy()
    labels = images.train.labels
    for index in range(0, 40, 2):
        other = np.flatnonzero(labels != labels[index])[index]
        pixels[other] = pixels[index]
    return with_part(images, "train", replace(images.train, images=pixels))


def with_noise(pixels: np.ndarray) -> np.ndarray:
    return np.clip(pixels + np.random.default_rng(4).integers(-3, 4, pixels.shape), 0, 255)


def marked_border(images: Images) -> Images:
    pixels = images.train.images.copy()
    pixels[:, :, 0, 0] = 80 * images.train.labels[:, None]
    return with_part(images, "train", replace(images.train, images=pixels))


def tinted(images: Images) -> Images:
    pixels = images.train.images.astype(int)
    pixels[np.arange(len(pixels)), images.train.labels] += 60
    return with_part(images, "train", replace(images.train, images=np.clip(pixels, 0, 255).astype(np.uint8)))


def video(images: Images) -> Images:
    """Consecutive frames of a video: four of each scene, with noise."""
    keep = np.repeat(np.arange(0, 600, 4), 4)
    noise = np.random.default_rng(2).integers(0, 12, (600, *images.train.images.shape[1:]))
    still = images.train.take(keep)
    return with_part(images, "train", replace(still, images=np.clip(still.images + noise, 0, 255).astype(np.uint8)))


def persons(images: Images) -> Images:
    frames = video(images)
    order = np.random.default_rng(3).permutation(600)
    names = tuple(f"{CLASSES[frames.train.labels[index]]}/person{index // 4}_{index % 4}.png" for index in order)
    return replace(chosen(frames, "train", order), group_names=names)


def mirrored_copies(images: Images) -> Images:
    def copy(pixels: np.ndarray) -> np.ndarray:
        pixels[:30] = images.train.images[:30, :, :, ::-1]
        return pixels

    return edited(images, "test", copy)


def of_class(images: Images, change: Callable[[np.ndarray], np.ndarray]) -> Images:
    def only(pixels: np.ndarray) -> np.ndarray:
        chosen_class = images.train.labels == 1
        pixels[chosen_class] = change(pixels[chosen_class])
        return pixels

    return edited(images, "train", only)


def one_class_marked(images: Images) -> Images:
    def mark(pixels: np.ndarray) -> np.ndarray:
        pixels[:, :, -1, -2:] = 255
        return pixels

    return of_class(images, mark)


def one_class_grey(images: Images) -> Images:
    return of_class(images, lambda pixels: pixels.mean(1, keepdims=True).repeat(3, 1))


def blurred(pixels: np.ndarray) -> np.ndarray:
    neighbours = [np.roll(pixels.astype(int), shift, (2, 3)) for shift in ((0, 0), (0, 1), (1, 0), (1, 1))]
    return np.stack(neighbours).mean(0)


def one_class_blurred(images: Images) -> Images:
    return of_class(images, blurred)


def detailed(images: Images) -> Images:
    """Images with spectra of natural images, which vary (Field 1987). The class is the position of a square."""
    draw, side = np.random.default_rng(9), 32
    frequencies = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side))
    powers = draw.uniform(0.2, 2.0, (600, 1, 1, 1))
    spectra = np.fft.rfft2(draw.normal(0, 1, (600, 3, side, side))) / np.maximum(frequencies, 1 / side) ** powers
    pixels = np.fft.irfft2(spectra)
    pixels = 110 + 50 * pixels / pixels.std((1, 2, 3), keepdims=True)
    for image, label in zip(pixels, images.train.labels, strict=True):
        image[:, 12:20, 8 * label + 4 : 8 * label + 12] += 60
    return with_part(images, "train", replace(images.train, images=pixels.clip(0, 255).astype(np.uint8)))


def pictures(images: Images) -> Images:
    """Images with spectra of natural images, a plain sky and a little noise; nothing has a fixed place."""
    draw, side = np.random.default_rng(9), 32
    frequencies = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side))
    powers = draw.uniform(1.0, 2.2, (600, 1, 1, 1))
    spectra = np.fft.rfft2(draw.normal(0, 1, (600, 3, side, side))) / np.maximum(frequencies, 1 / side) ** powers
    pixels = np.fft.irfft2(spectra)
    pixels = 110 + 50 * pixels / pixels.std((1, 2, 3), keepdims=True)
    pixels[:, :, :12] = 100 + np.linspace(0, 20, side)
    pixels += draw.uniform(0.5, 4, (600, 1, 1, 1)) * draw.normal(0, 1, pixels.shape)
    return with_part(images, "train", replace(images.train, images=pixels.clip(0, 255).astype(np.uint8)))


def marked_in_the_middle(images: Images) -> Images:
    """A class has a mark of 3 x 3 pixels in 9 of 10 of its images, with the noise of a JPEG file."""

    def mark(pixels: np.ndarray) -> np.ndarray:
        noise = np.random.default_rng(8).integers(-5, 6, (*pixels[::10].shape[:2], 3, 3))
        for start in range(9):
            pixels[start::10, :, 7:10, 7:10] = 200 + noise[: len(pixels[start::10])]
        return pixels

    return of_class(images, mark)


def textures(images: Images) -> Images:
    """Noise of grains of 1, 2 or 4 pixels, which is the class."""
    draw, side = np.random.default_rng(7), 32
    pixels = np.stack(
        [
            np.kron(draw.normal(128, 40, (1, side >> label, side >> label)), np.ones((1, 1 << label, 1 << label)))
            for label in images.train.labels
        ]
    )
    return with_part(images, "train", replace(images.train, images=pixels.clip(0, 255).astype(np.uint8)))


def rotated_copies(images: Images) -> Images:
    def copy(pixels: np.ndarray) -> np.ndarray:
        pixels[:30] = np.rot90(images.train.images[:30], 1, (2, 3))
        return pixels

    return edited(images, "test", copy)


def shifted_copies(images: Images) -> Images:
    """Of pictures of 32 pixels, by 2 pixels down and 3 to the left."""
    copies = pictures(images).train.take(np.arange(30))
    shifted = np.zeros_like(copies.images)
    shifted[:, :, 2:, :-3] = copies.images[:, :, :-2, 3:]
    return with_part(pictures(images), "test", replace(copies, images=shifted))


def faintly_marked(images: Images) -> Images:
    """A white square of 7 x 7 pixels at 15 % opacity."""

    def mark(pixels: np.ndarray) -> np.ndarray:
        pixels[:, :, 3:10, 20:27] = 0.85 * pixels[:, :, 3:10, 20:27] + 0.15 * 255
        return pixels

    return of_class(images, mark)


def one_class_noisy(images: Images) -> Images:
    noise = np.random.default_rng(3)
    return of_class(images, lambda pixels: np.clip(pixels + noise.normal(0, 8, pixels.shape), 0, 255))


def blue(images: Images) -> Images:
    """Half of the images have more blue than red, so that the means are equal and the order of channels is not seen."""

    def tint(pixels: np.ndarray) -> np.ndarray:
        pixels[:, 2] = pixels[:, 0] // 2 + 40
        return pixels

    return edited(edited(images, "train", tint), "test", lambda pixels: tint(pixels)[:, ::-1])


def rendered(count: int, seed: int) -> ImageSet:
    """One of three shapes of one size at one of 49 places, so that images are equal by chance."""
    draw = np.random.default_rng(seed)
    labels = draw.permutation(np.arange(count) % 3)
    images = np.zeros((count, 1, 24, 24), np.uint8)
    square = np.ones((12, 12), bool)
    for image, label in zip(images, labels, strict=True):
        down, right = draw.integers(2, 9, 2)
        shape = (square, np.tri(12, dtype=bool), np.tri(12, dtype=bool)[::-1] & np.tri(12, dtype=bool))[label]
        image[0, down : down + 12, right : right + 12][shape] = draw.integers(150, 256)
    return ImageSet(images, labels.astype(np.int64), CLASSES)


def swapped_classes(images: Images) -> Images:
    test = images.parts["test"]
    return with_part(images, "test", replace(test, labels=np.array([1, 0, 2])[test.labels]))


def relabelled(images: Images, order: list[int]) -> Images:
    test = images.parts["test"]
    return with_part(images, "test", replace(test, labels=np.array(order)[test.labels]))


def plain(images: Images) -> Images:
    """Images whose class is easy to see: darker pictures with the same squares."""

    def change(pixels: np.ndarray) -> np.ndarray:
        for image, label in zip(pixels := pixels // 8, images.train.labels, strict=True):
            image[:, 6:10, 4 * label + 2 : 4 * label + 6] += 90
        return pixels

    return edited(images, "train", change)


def shuffled_labels(images: Images) -> Images:
    labels = images.train.labels.copy()
    fifth = np.random.default_rng(0).permutation(600)[:120]
    labels[fifth] = np.random.default_rng(1).permutation(labels[fifth])
    return with_part(images, "train", replace(plain(images).train, labels=labels))


def only_shuffled_labels(images: Images, count: int) -> Images:
    train = part(count, 5)
    return with_part(images, "train", replace(train, labels=np.random.default_rng(6).permutation(train.labels)))


def standardised_as_integers(images: Images) -> Images:
    """-1 becomes 255."""
    return edited(images, "train", lambda pixels: np.floor((pixels - pixels.mean()) / pixels.std()).astype(int) % 256)


def planes_read_as_pixels(pixels: np.ndarray) -> np.ndarray:
    count, channels, height, width = pixels.shape
    return pixels.reshape(count, height, width, channels).transpose(0, 3, 1, 2)


def pixels_read_as_planes(pixels: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(pixels.transpose(0, 2, 3, 1)).reshape(pixels.shape)


def cut_off(images: Images) -> Images:
    def cut(pixels: np.ndarray) -> np.ndarray:
        pixels[:60, :, 10:] = 128
        return pixels

    return edited(images, "train", cut)


def rare_class(images: Images) -> Images:
    return chosen(images, "train", np.flatnonzero((images.train.labels > 0) | (np.arange(600) < 45)))


TWICE = {"data__sampling": "balanced", "train__class_weights": "balanced"}
PLANTED: list[tuple[str, Severity, Callable[[Images], Images]]] = [
    ("normalisation", WARNING, normalised_as_levels),
    ("normalisation", HINT, not_normalised),
    ("pixel_range", ERROR, lambda images: edited(images, "test", lambda pixels: pixels // 250)),
    ("few_levels", HINT, lambda images: edited(images, "train", lambda pixels: pixels // 130)),
    ("few_levels", WARNING, lambda images: edited(images, "train", lambda pixels: pixels // 225)),
    ("few_levels", HINT, standardised_as_integers),
    ("few_levels", HINT, lambda images: edited(images, "train", lambda pixels: pixels // 80 * 80)),
    ("faint_images", WARNING, lambda images: edited(images, "train", lambda pixels: pixels // 80 + 90)),
    ("scrambled_pixels", WARNING, lambda images: edited(images, "train", planes_read_as_pixels)),
    ("scrambled_pixels", WARNING, lambda images: edited(images, "train", pixels_read_as_planes)),
    ("cut_off_images", WARNING, cut_off),
    ("one_step_per_epoch", WARNING, lambda images: with_recipe(images, train__batch_size=1024)),
    ("one_step_per_epoch", HINT, lambda images: with_recipe(images, train__batch_size=1024, train__epochs=500)),
    ("one_step_per_epoch", HINT, lambda images: with_recipe(images, train__batch_size=1024, data__limit=600)),
    ("unequal_class_weights", WARNING, lambda images: with_recipe(images, train__class_weights=[1000, 1, 1])),
    ("unequal_class_weights", HINT, lambda images: with_recipe(images, train__class_weights=[20, 1, 1])),
    ("balanced_twice", WARNING, lambda images: with_recipe(rare_class(images), **TWICE)),
    ("parts_differ", ERROR, lambda images: edited(images, "test", lambda pixels: pixels[:, ::-1])),
    ("parts_differ", ERROR, lambda images: edited(images, "test", lambda pixels: 255 - pixels)),
    ("parts_differ", WARNING, lambda images: edited(images, "test", lambda pixels: pixels // 2)),
    ("grey_as_colour", HINT, lambda images: edited(images, "train", lambda pixels: pixels[:, :1].repeat(3, 1))),
    ("blank_images", WARNING, lambda images: edited(images, "train", blank)),
    (
        "class_balance",
        HINT,
        lambda images: chosen(images, "train", np.flatnonzero((images.train.labels > 0) | (np.arange(600) < 300))),
    ),
    ("class_balance", WARNING, lambda images: chosen(images, "train", np.flatnonzero(images.train.labels > 0))),
    (
        "class_balance",
        WARNING,
        lambda images: chosen(images, "train", np.flatnonzero((images.train.labels > 0) | (np.arange(600) < 12))),
    ),
    (
        "parts_have_other_classes",
        WARNING,
        lambda images: with_part(images, "test", part(900, 4).take(np.flatnonzero(part(900, 4).labels == 2))),
    ),
    (
        "labels_in_file_order",
        HINT,
        lambda images: chosen(images, "train", np.argsort(images.train.labels, kind="stable")),
    ),
    ("few_scored_images", HINT, lambda images: chosen(images, "test", np.arange(30))),
    (
        "target_below_chance",
        WARNING,
        lambda images: with_part(with_recipe(images, stop__target_accuracy=0.3), "validation", part(120, 7)),
    ),
    ("images_in_two_parts", WARNING, copied_from_training),
    ("images_in_two_parts", WARNING, brighter_copies),
    ("images_in_two_parts", WARNING, mirrored_copies),
    ("images_in_two_parts", WARNING, lambda images: with_part(images, "validation", images.parts["test"])),
    ("labels_disagree", WARNING, relabelled_copies),
    ("labels_disagree", WARNING, lambda images: edited(relabelled_copies(images), "train", with_noise)),
    ("part_is_turned", ERROR, lambda images: edited(images, "test", lambda pixels: pixels.swapaxes(2, 3))),
    ("classes_swapped", ERROR, swapped_classes),
    ("classes_swapped", ERROR, lambda images: relabelled(images, [1, 2, 0])),
    ("random_labels", WARNING, shuffled_labels),
    ("random_labels", HINT, lambda images: only_shuffled_labels(images, 192)),  # 10 classes of 30, without test images
    ("random_labels", WARNING, lambda images: only_shuffled_labels(images, 2400)),
    ("turned_copies", WARNING, rotated_copies),
    ("turned_copies", WARNING, shifted_copies),
    ("part_is_turned", ERROR, blue),
    ("predictable_without_content", WARNING, one_class_marked),
    ("predictable_without_content", WARNING, one_class_grey),
    ("predictable_without_content", WARNING, lambda images: one_class_blurred(detailed(images))),
    ("predictable_without_content", WARNING, lambda images: one_class_noisy(pictures(images))),
    ("repeated_mark", WARNING, lambda images: marked_in_the_middle(detailed(images))),
    ("repeated_mark", WARNING, lambda images: faintly_marked(pictures(images))),
    ("parts_are_distinguishable", WARNING, lambda images: edited(images, "test", blurred)),
    (
        "parts_have_other_classes",
        WARNING,
        lambda images: chosen(images, "test", np.flatnonzero(images.parts["test"].labels > 0)),
    ),
    (
        "class_balance",
        WARNING,
        lambda images: with_part(images, "train", replace(images.train, classes=("cat", "Cat", "dog"))),
    ),
    (
        "class_balance",
        WARNING,
        lambda images: with_part(images, "train", replace(images.train, classes=("old car", "old_car", "dog"))),
    ),
    (
        "class_balance",
        HINT,
        lambda images: with_part(images, "train", replace(images.train, classes=("cat", "cats", "dog"))),
    ),
    ("predictable_without_content", WARNING, marked_border),
    ("predictable_without_content", WARNING, tinted),
    ("related_images", WARNING, video),
    ("related_images", WARNING, persons),
]


@pytest.mark.parametrize(("check", "severity", "plant"), PLANTED)
def test_planted_mistake_is_found(check: str, severity: Severity, plant: Callable[[Images], Images]) -> None:
    with in_language("zh_CN"):
        findings = list(examine(plant(sound()), [row for row in DATA_CHECKS if row.name == check]))
        texts = [line for finding in findings for line in words.lines(finding)[:2]]
    assert severity in [finding.severity for finding in findings]
    assert all(finding.evidence for finding in findings)
    assert not re.search(r"(?<![\w.])(train|validation|test)(?![\w.])", " ".join(texts), re.ASCII)


def test_sound_data_have_no_finding() -> None:
    assert list(examine(sound(), DATA_CHECKS)) == []


def without_hints(images: Images) -> list[str]:
    return [finding.problem for finding in examine(images, DATA_CHECKS) if finding.severity is not HINT]


def test_rendered_images_of_few_variations_have_only_hints() -> None:
    images = replace(
        sound(), parts={"train": rendered(300, 0), "validation": rendered(80, 1), "test": rendered(100, 2)}
    )
    assert without_hints(images) == []


def test_rendered_images_that_were_mirrored_before_the_split_have_a_warning() -> None:
    """Of each image there are two versions, unlike in images that are equal by chance."""
    originals = part(400, 3)
    both = np.concatenate([originals.images, originals.images[..., ::-1]])
    labels = np.concatenate([originals.labels, originals.labels])
    order = np.random.default_rng(0).permutation(800)
    parts = {"train": order[:600], "test": order[600:]}
    images = replace(sound(), parts={name: ImageSet(both[rows], labels[rows], CLASSES) for name, rows in parts.items()})
    assert images.is_drawing
    assert any("training images" in problem for problem in without_hints(images))


def test_mirrored_copies_are_not_taken_for_a_mirrored_set() -> None:
    train = part(600, 0)
    half = replace(part(150, 1), images=part(150, 1).images)
    half.images[:120] = train.images[:120, :, :, ::-1]
    half.labels[:120] = train.labels[:120]
    images = with_part(sound(), "test", half)
    assert list(examine(images, [row for row in DATA_CHECKS if row.name == "part_is_turned"])) == []


def test_reversed_channels_are_reported_once() -> None:
    images = edited(sound(), "test", lambda pixels: pixels[:, ::-1])
    findings = examine(images, [row for row in DATA_CHECKS if row.topic in (Topic.PIXELS, Topic.LABELS)])
    assert [(finding.check, finding.severity) for finding in findings] == [("parts_differ", ERROR)]


def test_unequal_classes_are_a_hint() -> None:
    counts = (300, 60, 30)
    labels = np.repeat(np.arange(3), counts)
    train = part(3 * 400, 0)
    rows = np.concatenate([np.flatnonzero(train.labels == index)[:count] for index, count in enumerate(counts)])
    images = with_part(sound(), "train", train.take(rows))
    assert (images.train.labels == labels).all()
    assert {f.severity for f in examine(images, [row for row in DATA_CHECKS if row.name == "class_balance"])} == {HINT}


def test_border_pixels_of_tiny_images_are_content() -> None:
    """In images of 8 x 8 pixels, the border is 44 % of the pixels."""
    digits = load("digits").train
    images = replace(sound(), parts={"train": digits.take(np.arange(800)), "test": digits.take(np.arange(800, 1000))})
    assert without_hints(images) == []


@pytest.mark.parametrize("weights", [[13.3, 1, 1], "balanced"])
def test_class_weights_that_balance_rare_classes_have_no_finding(weights: list[float] | str) -> None:
    images = with_recipe(rare_class(sound()), train__class_weights=weights)
    assert list(examine(images, [row for row in DATA_CHECKS if row.topic is Topic.TRAINING])) == []


def test_black_and_white_images_have_no_finding() -> None:
    images = load("mnist").train.take(np.arange(2000))
    binary = replace(images, images=np.where(images.images > 127, 255, 0).astype(np.uint8))
    findings = examine(with_part(sound(), "train", binary), [row for row in DATA_CHECKS if row.name == "few_levels"])
    assert list(findings) == []


def test_images_on_medium_grey_are_not_cut_off() -> None:
    def frame(pixels: np.ndarray) -> np.ndarray:
        pixels[:, :, :3] = pixels[:, :, -3:] = 128
        return pixels

    images = edited(sound(), "train", frame)
    assert list(examine(images, [row for row in DATA_CHECKS if row.name == "cut_off_images"])) == []


def test_sharpness_that_is_the_content_of_textures_is_a_hint() -> None:
    findings = list(
        examine(textures(sound()), [row for row in DATA_CHECKS if row.name == "predictable_without_content"])
    )
    assert "the sharpness" in [finding.evidence["features"] for finding in findings]
    assert {finding.severity for finding in findings} == {HINT}


def test_centred_digits_and_pictures_have_no_mark() -> None:
    digits = with_part(sound(), "train", load("mnist").train.take(np.arange(3000)))
    for images in (digits, detailed(sound()), pictures(sound())):
        assert list(examine(images, [row for row in DATA_CHECKS if row.name == "repeated_mark"])) == []


def test_samples_of_large_images_have_fewer_images() -> None:
    images = np.zeros((200, 3, 8, 8), np.uint8)
    assert [len(pixel_checks._sampled(images, values=192 * count)) for count in (500, 90, 10)] == [
        200,
        90,
        pixel_checks.FEWEST,
    ]


def test_easy_images_with_correct_labels_have_no_random_labels() -> None:
    assert list(examine(plain(sound()), [row for row in DATA_CHECKS if row.name == "random_labels"])) == []


def test_few_images_with_correct_labels_have_no_random_labels() -> None:
    images = with_part(sound(), "train", part(192, 5))
    assert list(examine(images, [row for row in DATA_CHECKS if row.name == "random_labels"])) == []


@pytest.mark.parametrize(("wrong", "severities"), [(0.0, []), (0.15, [WARNING])])
def test_wrong_labels_among_a_few_hundred_digits_are_found(wrong: float, severities: list[Severity]) -> None:
    train, draw = load("mnist").train.take(np.arange(2000, 2616)), np.random.default_rng(0)
    labels = np.where(draw.random(616) < wrong, (train.labels + draw.integers(1, 10, 616)) % 10, train.labels)
    images = with_part(sound(), "train", replace(train, labels=labels))
    findings = list(examine(images, [row for row in DATA_CHECKS if row.name == "random_labels"]))
    assert [finding.severity for finding in findings] == severities


def test_errors_of_a_weak_classifier_are_not_random_labels() -> None:
    """The classes differ by a faint shape: the classifier is right on 61 %, and hardly more often if it is sure."""
    draw = np.random.default_rng(0)
    labels = draw.permutation(np.arange(600) % 2)
    pixels = np.kron(draw.integers(0, 160, (600, 1, 4, 4)), np.ones((4, 4), int))
    pixels[labels == 1, :, 4:12, 4:12] += 12
    pixels[labels == 0, :, :4] += 12
    images = with_part(sound(), "train", ImageSet(pixels.astype(np.uint8), labels.astype(np.int64), ("a", "b")))
    assert list(examine(images, [row for row in DATA_CHECKS if row.name == "random_labels"])) == []


def test_the_amount_of_ink_is_content_of_a_drawing() -> None:
    """0 and 1 differ in their mean brightness, but not in the brightness of paper and ink."""
    mnist = load("mnist").train
    indices = np.flatnonzero(mnist.labels < 2)[:3000]
    digits = ImageSet(mnist.images[indices], mnist.labels[indices], mnist.classes[:2])
    images = with_part(sound(), "train", digits)
    findings = list(examine(images, [row for row in DATA_CHECKS if row.name == "predictable_without_content"]))
    assert {finding.severity for finding in findings} == {HINT}


def test_the_exposure_of_a_class_is_a_shortcut() -> None:
    images = of_class(sound(), lambda pixels: pixels // 3 + 30)
    findings = list(examine(images, [row for row in DATA_CHECKS if row.name == "predictable_without_content"]))
    levels = [finding for finding in findings if "darkest" in str(finding.evidence["features"])]
    assert [finding.severity for finding in levels] == [WARNING]


def test_renamed_classes_have_one_error() -> None:
    findings = examine(relabelled(sound(), [1, 2, 0]), [row for row in DATA_CHECKS if row.topic is Topic.LABELS])
    assert [(finding.check, finding.severity) for finding in findings] == [("classes_swapped", ERROR)]


def test_classes_of_other_proportions_are_a_hint_if_the_training_balances_them() -> None:
    rare = chosen(sound(), "train", np.flatnonzero((sound().train.labels > 0) | (np.arange(600) < 45)))
    images = with_part(rare, "test", part(900, 4).take(np.flatnonzero(part(900, 4).labels < 2)))
    checks = [row for row in DATA_CHECKS if row.name == "parts_have_other_classes"]
    for weights, severities in (("none", set()), ("balanced", {HINT})):
        findings = examine(with_recipe(images, train__class_weights=weights), checks)
        assert {finding.severity for finding in findings} - {WARNING} == severities


def test_turned_part_has_one_error() -> None:
    images = edited(sound(), "test", lambda pixels: pixels.swapaxes(2, 3))
    findings = examine(images, [row for row in DATA_CHECKS if row.topic is Topic.LABELS])
    assert [(finding.check, finding.severity) for finding in findings] == [("part_is_turned", ERROR)]


def test_each_check_of_data_has_a_planted_mistake() -> None:
    assert {check for check, *_ in PLANTED} == {check.name for check in DATA_CHECKS}


def test_group_by_silences_the_check_of_related_images() -> None:
    images = with_recipe(video(sound()), data__split__group_by="duplicates")
    assert list(examine(images, [row for row in DATA_CHECKS if row.name == "related_images"])) == []


def test_quality_of_the_files_predicts_the_class(tmp_path: Path) -> None:
    train = part(120, 0)
    for index, (image, label) in enumerate(zip(train.images, train.labels, strict=True)):
        file = tmp_path / "train" / CLASSES[label] / f"{index:03}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.transpose(1, 2, 0)).save(file, quality=40 + 20 * int(label))
    diagnosis = convoy.doctor(tmp_path, only="shortcuts", out=tmp_path / "runs")
    names = [finding.evidence["features"] for finding in diagnosis.findings]
    assert any("JPEG" in name for name in names)


def test_data_that_cannot_be_read_are_a_finding(tmp_path: Path) -> None:
    np.savez(tmp_path / "broken.npz", x_train=np.zeros((4, 8, 8)), y_train=np.zeros(3))
    [finding] = convoy.doctor(tmp_path / "broken.npz", out=tmp_path / "runs").findings
    assert (finding.check, finding.severity) == ("cannot_train", ERROR)


def test_packaged_digits_have_no_finding_above_a_hint(tmp_path: Path) -> None:
    findings = convoy.doctor("digits", out=tmp_path).findings
    assert {finding.severity for finding in findings} <= {HINT}


@pytest.mark.parametrize(("is_copied", "severities"), [(False, {HINT}), (True, {WARNING})])
def test_pictures_rendered_with_separate_noise_are_no_copies(is_copied: bool, severities: set[Severity]) -> None:
    draw = np.random.default_rng(0)
    colours = draw.uniform(40, 210, (400, 2, 3))  # of the background and of a square at one of nine places
    images = np.tile(colours[:, 0, :, None, None], (1, 1, 24, 24))
    for image, colour, place in zip(images, colours[:, 1], draw.integers(0, 9, 400), strict=True):
        top, left = 3 + 5 * (place // 3), 3 + 5 * (place % 3)
        image[:, top : top + 8, left : left + 8] = colour[:, None, None]
    pixels = (images + draw.normal(0, 8, images.shape)).clip(0, 255).astype(np.uint8)
    test = pixels[300:]
    if is_copied:
        test[:40] = 0.9 * pixels[:40]
    parts = {
        name: ImageSet(each, np.arange(len(each)) % 3, CLASSES)
        for name, each in {"train": pixels[:300], "test": test}.items()
    }
    both = replace(sound(), parts=parts)
    findings = examine(both, [row for row in DATA_CHECKS if row.name == "images_in_two_parts"])
    assert {finding.severity for finding in findings if finding.evidence["part"] == "test"} == severities


def with_noise_in_training(train: np.ndarray, test: np.ndarray, labels: np.ndarray) -> Images:
    """Drawn images with separate noise of 8 levels, so that they count as photographs."""
    draw = np.random.default_rng(0)
    parts = {}
    for name, pixels in {"train": train, "test": test}.items():
        noisy = (pixels + draw.normal(0, 8, pixels.shape)).clip(0, 255).astype(np.uint8)
        parts[name] = ImageSet(noisy, labels[: len(noisy)], CLASSES)
    return replace(sound(), parts=parts)


@pytest.mark.parametrize("is_copied", [False, True])
def test_shifted_drawings_with_separate_noise_are_no_copies(is_copied: bool) -> None:
    draw = np.random.default_rng(1)
    images = np.full((360, 3, 24, 24), 60.0)
    for image, (top, left) in zip(images, draw.integers(4, 12, (360, 2)), strict=True):
        image[:, top : top + 8, left : left + 8] = 200
    both = with_noise_in_training(images[:300], images[300:], np.arange(300) % 3)
    if is_copied:
        shifted = np.roll(both.train.images[:60], 2, axis=3)
        both = with_part(both, "test", replace(both.parts["test"], images=shifted))
    findings = examine(both, [row for row in DATA_CHECKS if row.name == "turned_copies"])
    assert [finding.severity for finding in findings] == ([WARNING] if is_copied else [])


def test_colour_and_edges_of_drawn_objects_are_content_in_spite_of_noise() -> None:
    """The class is the width of a red line, which changes the mean saturation and sharpness, but not most pixels."""
    draw = np.random.default_rng(1)
    labels, images = np.arange(300) % 3, np.full((300, 3, 24, 24), 120.0)
    for image, label, place in zip(images, labels, draw.integers(4, 17, 300), strict=True):
        image[0, place : place + 1 + label, 4:20], image[1:, place : place + 1 + label, 4:20] = 220, 20
    both = with_noise_in_training(images, images[:3], labels)
    findings = list(examine(both, [row for row in DATA_CHECKS if row.name == "predictable_without_content"]))
    assert {"the sharpness", "the saturation of the colours"} <= {each.evidence["features"] for each in findings}
    assert {finding.severity for finding in findings} == {HINT}


def test_border_of_a_texture_is_content() -> None:
    draw = np.random.default_rng(1)
    labels, images = np.arange(300) % 3, np.zeros((300, 1, 32, 32))
    for image, label in zip(images, labels, strict=True):
        period = (4, 6, 9)[label]
        down, right = draw.integers(0, period, 2)
        rows, columns = (np.arange(32)[:, None] + down) // period, (np.arange(32) + right) // period
        image[0] = 60 + 100 * ((rows + columns) % 2)
    both = with_noise_in_training(images, images[:3], labels)
    findings = examine(both, [row for row in DATA_CHECKS if row.name == "predictable_without_content"])
    assert [each.severity for each in findings if each.evidence["features"] == "border pixels"] == [HINT]


@pytest.mark.parametrize("share", [0.0, 1 / 3])
def test_part_of_one_class_with_the_label_of_another_is_found(share: float) -> None:
    digits = load("mnist").train.take(np.arange(1500))
    labels, of_fours = digits.labels.copy(), np.flatnonzero(digits.labels == 4)
    labels[of_fours[: int(share * len(of_fours))]] = 9
    images = with_part(sound(), "train", replace(digits, labels=labels))
    findings = list(examine(images, [row for row in DATA_CHECKS if row.name == "random_labels"]))
    assert [finding.severity for finding in findings] == [WARNING] * (share > 0)
    assert all("labels 9 look like 4" in finding.problem for finding in findings)


def test_sharpness_of_photographs_is_compared_in_all_areas() -> None:
    """The strength of the noise differs between photographs."""
    draw = np.random.default_rng(0)
    images = 128 + draw.normal(0, 1, (300, 3, 32, 32)) * np.exp(draw.normal(2.5, 0.7, (300, 1, 1, 1)))
    features = of_pixels(images.clip(0, 255).astype(np.uint8), is_photo=True)
    assert features
    assert all(each.plain is None for each in features.values())

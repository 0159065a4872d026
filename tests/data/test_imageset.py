from __future__ import annotations

import numpy as np

from convoy.data.imageset import DataSet, ImageSet


def images(n: int = 6, classes: tuple[str, ...] = ("a", "b")) -> ImageSet:
    return ImageSet(np.arange(n * 4, dtype=np.uint8).reshape(n, 1, 2, 2), np.arange(n) % 2, classes)


def test_the_hash_covers_shape_pixels_labels_and_class_names() -> None:
    one = images()
    brighter = ImageSet(one.images + np.uint8(1), one.labels, one.classes)
    relabelled = ImageSet(one.images, 1 - one.labels, one.classes)

    variants = [images(), images(5), images(classes=("a", "c")), brighter, relabelled]

    assert len({images.content_hash for images in variants}) == 5
    assert one.content_hash == images().content_hash


def test_the_hash_does_not_depend_on_the_layout_in_memory() -> None:
    one = images()
    assert ImageSet(np.asfortranarray(one.images), one.labels, one.classes).content_hash == one.content_hash


def test_take_keeps_the_order_of_the_indices() -> None:
    taken = images().take(np.array([3, 0]))
    assert taken.images[:, 0, 0, 0].tolist() == [12, 0]
    assert taken.labels.tolist() == [1, 0]


def test_take_of_all_images_does_not_copy() -> None:
    one = images()
    assert one.take(np.arange(6)) is one
    assert one.take(np.arange(6)[::-1]) is not one


def test_the_content_hash_covers_every_part() -> None:
    dataset = DataSet("d", images(), np.array([1]), images(4))
    others = [DataSet("d", images(), np.array([2]), images(4)), DataSet("d", images(), None, images(4))]
    others += [DataSet("d", images(), np.array([1]), None), DataSet("d", images(5), np.array([1]), images(4))]

    assert dataset.content_hash not in {other.content_hash for other in others}
    assert dataset.content_hash == DataSet("renamed", images(), np.array([1]), images(4)).content_hash

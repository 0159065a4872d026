from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps
from scipy import ndimage
from tests.data.photographed_digits import photograph, photographs

from convoy.data import DataError, load
from convoy.data.photo import character_pixels, find_ink, read_characters


@pytest.fixture(scope="module")
def five() -> Image.Image:
    return photograph(5, np.random.default_rng(4))


def test_digits_in_photographs_resemble_mnist_digits() -> None:
    mnist = load("mnist").train
    references = mnist.images[::6].reshape(-1, 28 * 28).astype(np.float32)
    references /= np.linalg.norm(references, axis=1, keepdims=True)
    digits, images = zip(*photographs(40, seed=0), strict=True)
    characters = np.stack([find_ink(image)[0] for image in images]).reshape(40, -1).astype(np.float32)

    nearest = mnist.labels[::6][np.argmax(characters @ references.T, axis=1)]

    assert np.sum(nearest == digits) >= 36


def test_a_digit_has_the_size_and_centre_of_mass_of_mnist() -> None:
    for _, image in photographs(20, seed=1):
        pixels, ink = find_ink(image)
        rows, columns = np.nonzero(pixels)

        assert max(np.ptp(rows), np.ptp(columns)) + 1 in (19, 20)
        assert np.allclose(ndimage.center_of_mass(pixels), 13.5, atol=0.6)
        assert pixels.max() > 200
        assert ink.dark


def test_light_ink_on_dark_paper_gives_the_same_image(five: Image.Image) -> None:
    expected, dark_ink = find_ink(five)

    pixels, ink = find_ink(ImageOps.invert(five))

    assert dark_ink.dark
    assert ink == dark_ink._replace(dark=False)
    assert np.abs(pixels.astype(int) - expected).max() <= 1


def test_dirt_and_the_edge_of_the_table_are_not_ink(five: Image.Image) -> None:
    expected = find_ink(five)[1]
    dirty = five.copy()
    draw = ImageDraw.Draw(dirty)
    draw.rectangle((0, 0, 8, dirty.height), fill=10)
    draw.ellipse((dirty.width - 20, 10, dirty.width - 16, 14), fill=20)

    ink = find_ink(dirty)[1]

    assert np.abs(np.array(ink[1:5]) - expected[1:5]).max() <= 4


def test_an_image_of_mnist_is_not_changed(tmp_path: Path) -> None:
    digit = load("mnist").test.images[0, 0]
    Image.fromarray(digit).save(tmp_path / "prepared.png")
    Image.fromarray(255 - digit).save(tmp_path / "inverted.png")

    files, pixels, inks = read_characters([tmp_path], 28)

    assert [file.name for file in files] == ["inverted.png", "prepared.png"]
    assert inks[1] is None
    assert np.array_equal(pixels[1, 0], digit)
    assert inks[0] is not None
    assert inks[0].dark
    rows, columns = np.nonzero(digit > 127)
    box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert np.abs(np.subtract(inks[0][1:5], box)).max() <= 1


def test_characters_are_resized_to_the_image_size_of_the_network(tmp_path: Path, five: Image.Image) -> None:
    five.save(tmp_path / "five.jpg", quality=95)

    _, pixels, inks = read_characters([tmp_path / "five.jpg"], 56)

    assert pixels.shape == (1, 1, 56, 56)
    assert inks[0] is not None
    assert np.abs(np.array(inks[0][1:5]) - find_ink(five)[1][1:5]).max() <= 8


def test_a_photograph_is_rotated_according_to_exif(tmp_path: Path, five: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: shown rotated by 270 degrees
    five.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "phone.jpg", exif=exif, quality=95)

    pixels = read_characters([tmp_path], 28)[1][0, 0]

    assert np.corrcoef(pixels.ravel(), find_ink(five)[0].ravel())[0, 1] > 0.97


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (300, 200)])
def test_blank_paper_is_an_error(tmp_path: Path, size: tuple[int, int]) -> None:
    Image.new("L", size, 200).save(tmp_path / "blank.png")

    with pytest.raises(DataError, match=r"blank\.png: no ink found"):
        read_characters([tmp_path], 28)


def test_characters_next_to_each_other_are_counted() -> None:
    draw = np.random.default_rng(5)
    written = [[int(digit) for digit in draw.integers(0, 10, count)] for count in (1, 2, 3) * 10]

    counted = [find_ink(photograph(digits[0], draw, *digits[1:]))[1].characters for digits in written]

    right = [count == len(digits) for digits, count in zip(written, counted, strict=True)]
    assert all(right[::3])  # one digit
    assert sum(right) >= 27


def test_stacked_characters_are_counted_and_a_detached_bar_belongs_to_its_character() -> None:
    paper = Image.new("L", (200, 300), 220)
    draw = ImageDraw.Draw(paper)
    draw.rectangle((60, 60, 130, 68), fill=30)
    draw.rectangle((60, 80, 70, 150), fill=30)
    assert find_ink(paper)[1].characters == 1
    draw.rectangle((60, 170, 130, 250), fill=30)
    assert find_ink(paper)[1].characters == 2


def test_a_loaded_image_gives_the_pixels_of_its_file_and_a_warning_about_two_characters(tmp_path: Path) -> None:
    image = photograph(4, np.random.default_rng(2), 7)
    image.save(tmp_path / "two.png")
    pixels = read_characters([tmp_path], 28)[1]
    with pytest.warns(UserWarning, match="expected one character, found 2"):
        assert np.array_equal(character_pixels(image, 28), pixels)


@pytest.mark.parametrize("size", [28, 32])
def test_images_of_the_networks_size_on_black_are_not_changed(size: int) -> None:
    images = np.zeros((2, size, size), np.uint8)
    images[:, 5:20, 8:12] = 200
    assert np.array_equal(character_pixels(images, size)[:, 0], images)

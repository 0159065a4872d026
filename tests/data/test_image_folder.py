from __future__ import annotations

import io
import os
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from convoy.data import decode
from convoy.data.decode_images import decode_contents
from convoy.data.image_folder import list_folder, read_folder, read_images
from convoy.data.imageset import DataError, DataSet

RED, GREEN = (255, 0, 0), (0, 255, 0)


def image(path: Path, colour: object = RED, size: tuple[int, int] = (10, 10), mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for class_name, colour in (("cat", RED), ("dog", GREEN)):
        for number in range(3):
            image(tmp_path / "images" / class_name / f"{number}.png", colour)
    return tmp_path / "images"


def read(folder: Path, size: int | None = None) -> DataSet:
    return read_folder(list_folder(folder), "d", size)


def test_class_folders_become_classes(folder: Path) -> None:
    dataset = read(folder)

    assert dataset.train.classes == ("cat", "dog")
    assert dataset.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert dataset.train.images.shape == (6, 3, 10, 10)
    assert dataset.train.images[:, :, 0, 0].tolist() == [list(RED)] * 3 + [list(GREEN)] * 3
    assert dataset.notes == ()


def test_hidden_folders_and_metadata_of_macos_are_no_classes(folder: Path) -> None:
    for name in (".hidden", "__MACOSX"):
        image(folder / name / "._0.png")
    assert list_folder(folder).classes == ("cat", "dog")


def test_error_names_the_folder_in_it_that_has_class_folders(folder: Path) -> None:
    (folder.parent / "wrapped").mkdir()
    folder.rename(inner := folder.parent / "wrapped" / "images")
    with pytest.raises(DataError, match=f"got only images; if the folders in it are the classes, use {inner}$"):
        list_folder(inner.parent)


def test_part_folders_become_parts(folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "parts"
    for part in ("train", "val", "test"):
        shutil.copytree(folder, root / part)
    image(root / "train" / "cat" / "3.png")
    (root / "test" / "cat" / "0.png").unlink()

    dataset = read(root)

    assert dataset.train.class_counts == [7, 6]
    assert dataset.validation_indices is not None
    assert dataset.validation_indices.tolist() == list(range(7, 13))
    assert dataset.test is not None
    assert dataset.test.class_counts == [2, 3]


def test_two_folders_of_one_part_are_an_error_and_other_folders_a_note(folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "parts"
    for part in ("train", "val", "extra"):
        shutil.copytree(folder, root / part)
    assert list_folder(root).notes[0].endswith("1 other folders")

    shutil.copytree(folder, root / "valid")
    with pytest.raises(DataError, match="validation set, val and valid"):
        list_folder(root)


def test_a_class_may_be_called_train(folder: Path) -> None:
    image(folder / "train" / "0.png")
    assert read(folder).train.classes == ("cat", "dog", "train")


def test_classes_named_by_numbers_are_in_the_order_of_the_numbers(tmp_path: Path) -> None:
    for name in ("10", "9", "0"):
        image(tmp_path / name / "a.png")
    assert list_folder(tmp_path).classes == ("0", "9", "10")


def test_hidden_files_are_skipped_and_other_files_noted(folder: Path) -> None:
    (folder / "cat" / ".DS_Store").write_bytes(b"")
    (folder / "cat" / "notes.txt").write_text("")
    (folder / "cat" / "film.gif").write_bytes(b"")
    (folder / ".git").mkdir()
    listing = list_folder(folder)

    assert len(listing.paths) == 6
    assert listing.notes[0].startswith("ignored")
    assert "1 .txt" in listing.notes[0]
    assert "1 .gif" in listing.notes[0]


def test_a_replaced_image_of_the_same_size_and_time_changes_the_cache_key(folder: Path) -> None:
    path = folder / "dog" / "1.png"
    before, times = list_folder(folder).stamps, path.stat()
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    assert list_folder(folder).stamps != before


def test_a_large_folder_is_sampled_at_both_ends_and_in_between(folder: Path) -> None:
    for number in range(200):
        (folder / "cat" / f"x{number:03}.png").write_bytes(b"%d" % number)
    paths, before = list_folder(folder).paths, list_folder(folder).stamps
    changed = []
    for path in map(Path, paths):
        content, times = path.read_bytes(), path.stat()
        path.write_bytes(content[::-1])
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        changed.append(list_folder(folder).stamps != before and content != content[::-1])
        path.write_bytes(content)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert changed[0]
    assert changed[-1]
    assert 50 < sum(changed) <= 66


def test_links_to_images_and_to_class_folders_are_followed(folder: Path, tmp_path: Path) -> None:
    (folder / "cow").symlink_to(folder / "cat")
    (folder / "dog" / "link.png").symlink_to(image(tmp_path / "elsewhere.png"))
    assert read(folder).train.class_counts == [3, 3, 4]


@pytest.mark.parametrize("suffix", ["png", "JPG", "jpeg", "bmp", "webp"])
def test_every_format_is_read(folder: Path, suffix: str) -> None:
    image(folder / "cat" / f"x.{suffix}")
    pixels = read(folder).train.images[3]
    assert np.abs(pixels[:, 5, 5].astype(int) - RED).max() <= 3


@pytest.mark.parametrize("mode", ["L", "LA", "1"])
def test_images_that_are_all_grey_have_one_channel(tmp_path: Path, mode: str) -> None:
    for name in "ab":
        image(tmp_path / name / "x.png", 0 if mode != "LA" else (0, 255), mode=mode)
        image(tmp_path / name / "y.png", (7, 7, 7))
    assert read(tmp_path).train.images.shape == (4, 1, 10, 10)


def test_one_colour_image_gives_all_three_channels(tmp_path: Path) -> None:
    image(tmp_path / "a" / "x.png", 9, mode="L")
    image(tmp_path / "b" / "x.png", RED)
    assert read(tmp_path).train.images[0, :, 0, 0].tolist() == [9, 9, 9]


def test_transparent_images_get_a_white_background(folder: Path) -> None:
    image(folder / "cat" / "a.png", (0, 0, 255, 0), mode="RGBA")
    palette = Image.new("P", (10, 10), 0)
    palette.putpalette([0, 0, 255, 255, 0, 0])
    palette.save(folder / "cat" / "b.png", transparency=0)
    palette.save(folder / "cat" / "c.png")

    pixels = read(folder).train.images[3:6, :, 5, 5]

    assert pixels.tolist() == [[255, 255, 255], [255, 255, 255], [0, 0, 255]]


def test_half_transparent_red_over_white_is_pink(folder: Path) -> None:
    image(folder / "cat" / "a.webp", (255, 0, 0, 128), mode="RGBA")
    assert np.abs(read(folder).train.images[3, :, 5, 5].astype(int) - (255, 127, 127)).max() <= 3


def test_cmyk_becomes_rgb(folder: Path) -> None:
    image(folder / "cat" / "a.jpg", (0, 255, 255, 0), mode="CMYK")
    assert np.abs(read(folder).train.images[3, :, 5, 5].astype(int) - RED).max() <= 3


def test_an_image_is_rotated_according_to_exif(folder: Path) -> None:
    picture = Image.new("RGB", (10, 10), RED)
    picture.paste(GREEN, (0, 0, 10, 5))  # the upper half
    exif = picture.getexif()
    exif[0x0112] = 6  # rotate by 90 degrees clockwise: top becomes right
    picture.save(folder / "cat" / "a.png", exif=exif)

    rotated = read(folder).train.images[3]

    assert rotated[:, 5, 1].tolist() == list(RED)
    assert rotated[:, 5, 8].tolist() == list(GREEN)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "RGBA", "P", "1"])
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_tiff_has_the_pixels_of_png(folder: Path, mode: str, compression: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (10, 10, 3), dtype=np.uint8)
    picture = Image.fromarray(noise).convert(mode)
    for path in (folder / "cat").iterdir():
        path.unlink()
    (picture if mode != "CMYK" else picture.convert("RGB")).save(folder / "cat" / "0.png")
    picture.save(folder / "cat" / "1.tif", compression=compression)
    picture.save(folder / "cat" / "2.TIFF", compression=compression)

    png, *tiffs = read(folder).train.images[:3]

    assert np.ptp(png) > 100
    assert all((tiff == png).all() for tiff in tiffs)


def test_several_images_in_a_tiff_are_an_error_with_code_that_separates_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / "cat" / "stack.tif"
    Image.new("RGB", (10, 10)).save(path, save_all=True, append_images=[Image.new("RGB", (10, 10), (9, 9, 9))])
    with pytest.raises(DataError, match=f"^{path}: .*TIFF file of several") as caught:
        read(folder)
    monkeypatch.chdir(folder)
    code = str(caught.value).partition("separate file: ")[2]
    exec(code, {"Image": Image, "ImageSequence": ImageSequence, "path": path})
    assert [Image.open(folder / f"{page}.png").getpixel((0, 0)) for page in range(2)] == [(0, 0, 0), (9, 9, 9)]


def tiff_of_sixteen_bits() -> bytes:
    """An RGB image of 2 x 2 pixels with 16 bits per channel, which Pillow cannot write."""
    pixels, bits = 8 + 2 + 8 * 12 + 4, 8 + 2 + 8 * 12 + 4 + 24
    entries = (
        (256, 3, 1, 2), (257, 3, 1, 2), (258, 3, 3, bits), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, pixels),
        (277, 3, 1, 3), (279, 4, 1, 24),
    )  # fmt: skip
    table = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    header = b"II*\0" + struct.pack("<IH", 8, len(entries))
    return header + table + bytes(4) + bytes(range(24)) + struct.pack("<3H", 16, 16, 16)


@pytest.mark.parametrize("mode", ["I;16", "RGB;16", "TIFF"])
def test_sixteen_bits_per_channel_are_an_error(folder: Path, mode: str) -> None:
    path = folder / "cat" / "a.png"
    if mode == "TIFF":
        path.write_bytes(tiff_of_sixteen_bits())
    elif mode == "I;16":
        Image.fromarray(np.full((10, 10), 40_000, np.uint16)).save(path)
    else:
        raw = bytearray((folder / "cat" / "0.png").read_bytes())
        raw[24] = 16
        raw[29:33] = zlib.crc32(raw[12:29]).to_bytes(4, "big")
        path.write_bytes(raw)
    with pytest.raises(DataError, match=f"^{path}: .*16 or more bits") as caught:
        read(folder)
    if mode == "I;16":
        converted = eval(str(caught.value).partition("65535: ")[2], {"Image": Image, "np": np, "path": path})
        assert (converted.mode, converted.getpixel((0, 0))) == ("L", 40_000 // 257)


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"II*\0\x08\0\0\0"])
def test_a_file_that_is_not_an_image_is_an_error(folder: Path, content: bytes) -> None:
    path = folder / "dog" / "bad.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"^{path}: cannot be read as an image"):
        read(folder)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "webp", "tiff"])
def test_a_truncated_image_is_an_error(folder: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, {"jpg": "jpeg"}.get(suffix, suffix))
    path = folder / "dog" / f"bad.{suffix}"
    path.write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    with pytest.raises(DataError, match=f"^{path}: cannot be read as an image"):
        read(folder)


def test_a_small_file_that_claims_many_pixels_is_an_error_before_it_is_decoded() -> None:
    side = (11_500).to_bytes(2, "little")
    content = b"RIFF\x36\0\0\0WEBPVP8 \x2a\0\0\0\xb0\x01\0\x9d\x01\x2a" + 2 * side + bytes(170)
    with pytest.raises(DataError, match="11500 x 11500"):
        decode_contents([("a.webp", content)], 1, 28)


def test_a_broken_link_is_an_error(folder: Path) -> None:
    path = folder / "dog" / "gone.png"
    path.symlink_to(folder / "nowhere.png")
    with pytest.raises(DataError, match=f"^{path}: cannot be read: No such file"):
        list_folder(folder)


def test_a_class_without_images_is_an_error(folder: Path) -> None:
    (folder / "eel" / "deeper").mkdir(parents=True)
    with pytest.raises(DataError, match=f"^{folder / 'eel'}: no .* images"):
        list_folder(folder)


def test_a_single_class_is_an_error(folder: Path) -> None:
    shutil.rmtree(folder / "dog")
    with pytest.raises(DataError, match=r"only cat"):
        list_folder(folder)


def test_a_folder_without_classes_is_an_error(tmp_path: Path) -> None:
    image(tmp_path / "0.png")
    with pytest.raises(DataError, match="no class folders; .*<class>/<image>"):
        list_folder(tmp_path)


def test_a_test_class_without_a_training_folder_is_an_error(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "parts" / "train")
    shutil.copytree(folder, tmp_path / "parts" / "test")
    image(tmp_path / "parts" / "test" / "eel" / "0.png")
    with pytest.raises(DataError, match="test/eel: this class has no folder in .*train"):
        list_folder(tmp_path / "parts")


def test_images_are_resized_to_the_most_frequent_size_with_a_note(folder: Path) -> None:
    image(folder / "cat" / "wide.png", size=(40, 20))

    dataset = read(folder)

    assert dataset.train.images.shape == (7, 3, 10, 10)
    assert "10 x 10 pixels" in dataset.notes[0]
    assert "6 of the 7 images" in dataset.notes[0]
    assert "data.size" in dataset.notes[0]


def test_a_wrong_guess_of_the_most_frequent_size_is_corrected(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guesses = decode.Counter({(14, 14): 1})
    monkeypatch.setattr(decode, "sizes_of", lambda paths: guesses)
    assert read(folder).train.size == 10


def test_size_resizes_the_shorter_side_and_keeps_the_centre(folder: Path) -> None:
    wide = Image.new("RGB", (60, 20), RED)
    wide.paste(GREEN, (20, 0, 40, 20))
    wide.save(folder / "cat" / "wide.png")

    dataset = read(folder, size=8)

    assert dataset.train.images.shape == (7, 3, 8, 8)
    assert (dataset.train.images[3].transpose(1, 2, 0)[:, 1:-1] == GREEN).all()
    assert dataset.notes == ()


def test_photos_need_a_size(tmp_path: Path) -> None:
    for name in "ab":
        image(tmp_path / name / "x.jpg", size=(800, 600))
    with pytest.raises(DataError, match=r"600 pixels or larger: set data\.size to at most 512"):
        read(tmp_path)
    assert read(tmp_path, size=16).train.size == 16


def test_several_processes_decode_the_same_pixels_as_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "_CHUNK", 2)
    expected = read(folder, size=8)
    monkeypatch.setattr(decode, "_expected_seconds", lambda paths: 1.0)
    assert read(folder, size=8).content_hash == expected.content_hash


def test_several_processes_report_the_first_unreadable_image(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "_CHUNK", 2)
    monkeypatch.setattr(decode, "_expected_seconds", lambda paths: 1.0)
    for name in ("cat/1.png", "dog/2.png"):
        (folder / name).write_bytes(b"")
    with pytest.raises(DataError, match=f"^{folder / 'cat' / '1.png'}: cannot be read as an image"):
        read(folder)


def test_a_crashed_decoding_process_is_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "_expected_seconds", lambda paths: 1.0)
    monkeypatch.setattr(sys, "executable", shutil.which("true"))
    with pytest.raises(DataError, match="crashed the decoding process"):
        read(folder)


def test_processes_do_not_import_an_unguarded_script_again(folder: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "print('imported')\n"
        "from convoy.data import decode, load\n"
        "decode._expected_seconds = lambda paths: 1.0\n"
        f"print(len(load({str(folder)!r}).train))\n"
    )
    environment = {**os.environ, "CONVOY_CACHE": str(tmp_path / "cache")}
    answer = subprocess.run([sys.executable, script], capture_output=True, text=True, env=environment, check=False)
    assert (answer.stdout, answer.stderr) == ("imported\n6\n", "")


def test_files_and_folders_are_read_in_the_given_order(folder: Path, tmp_path: Path) -> None:
    single = image(tmp_path / "one.jpg", (128, 128, 128), size=(30, 20))

    files, pixels = read_images([str(single), folder / "dog"], size=8, in_chans=3)

    assert files == [single, *(folder / "dog" / f"{number}.png" for number in range(3))]
    assert pixels.shape == (4, 3, 8, 8)
    assert pixels[1:, :, 0, 0].tolist() == [list(GREEN)] * 3


def test_colour_images_are_converted_to_grey_for_one_channel(folder: Path) -> None:
    _, pixels = read_images([folder / "dog"], size=10, in_chans=1)
    assert pixels.shape == (3, 1, 10, 10)
    assert set(pixels.ravel().tolist()) == {round(0.587 * 255)}


@pytest.mark.parametrize("paths", [[], ["missing.png"], ["empty"]])
def test_paths_without_images_are_an_error(tmp_path: Path, paths: list[str]) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no .*images|does not exist"):
        read_images([tmp_path / path for path in paths], size=8, in_chans=1)

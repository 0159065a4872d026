"""Members are read by name from archives and folders; archives are not trusted."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import pytest
from tests.data.published import md5, tar_gz

from convoy.data import DataError
from convoy.data.archives import Layout

CONTENTS = {"a.bin": b"first", "b.bin": b"second"}
HASHES = {name: md5(content) for name, content in CONTENTS.items()}
TAR = Layout(HASHES, {}, "set.tar.gz", "inner", max_bytes=10)
ZIP = Layout(HASHES, {}, "set.zip", "inner", max_bytes=10)


def tar(folder: Path, **others: bytes) -> Path:
    members = {f"inner/{name}": content for name, content in CONTENTS.items()}
    return tar_gz(folder / "set.tar.gz", {f"inner/{name}": content for name, content in others.items()} | members)


def zip_file(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "set.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner/", "")
        for name, content in CONTENTS.items():
            archive.writestr(f"inner/{name}", content)
    return folder / "set.zip"


def test_members_are_read_from_a_tar_file_without_extracting_it(tmp_path: Path) -> None:
    tar(tmp_path, other=b"not read" * 1000)
    source = TAR.find(tmp_path)
    assert source == tmp_path / "set.tar.gz"
    assert TAR.read(source) == CONTENTS
    assert [path.name for path in tmp_path.iterdir()] == ["set.tar.gz"]


def test_an_archive_is_also_found_by_its_own_path(tmp_path: Path) -> None:
    path = tar(tmp_path)
    assert TAR.find(path) == path


def test_members_are_read_from_a_zip_file(tmp_path: Path) -> None:
    assert ZIP.read(zip_file(tmp_path)) == CONTENTS


@pytest.mark.parametrize("inner", ["", "inner"])
def test_extracted_members_are_read_from_their_folder(tmp_path: Path, inner: str) -> None:
    folder = tmp_path / inner
    folder.mkdir(exist_ok=True)
    for name, content in CONTENTS.items():
        (folder / name).write_bytes(content)

    assert TAR.find(tmp_path) == folder
    assert TAR.read(folder) == CONTENTS
    assert TAR.files(folder) == [folder / name for name in CONTENTS]


def test_a_folder_without_all_members_is_not_found(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"first")
    assert TAR.find(tmp_path) is None


def test_error_names_a_member_that_is_missing_in_the_archive(tmp_path: Path) -> None:
    path = tar_gz(tmp_path / "set.tar.gz", {"inner/a.bin": b"first", "elsewhere/b.bin": b"second"})
    with pytest.raises(DataError, match=r"set\.tar\.gz: b\.bin is missing$"):
        TAR.read(path)


def test_error_names_a_member_that_is_not_the_published_file(tmp_path: Path) -> None:
    path = tar_gz(tmp_path / "set.tar.gz", {"inner/a.bin": b"first", "inner/b.bin": b"Second"})
    with pytest.raises(DataError, match=r"set\.tar\.gz: b\.bin is not the published file \(expected MD5"):
        TAR.read(path)


def test_a_member_above_the_size_limit_is_not_read(tmp_path: Path) -> None:
    path = tar_gz(tmp_path / "set.tar.gz", {"inner/a.bin": bytes(11), "inner/b.bin": b"second"})
    with pytest.raises(DataError, match=r"set\.tar\.gz: a\.bin: expected 10 bytes or less, got 11"):
        TAR.read(path)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"first")
    with tarfile.open(tmp_path / "set.tar.gz", "w:gz") as archive:
        link = tarfile.TarInfo("inner/a.bin")
        link.type, link.linkname = tarfile.SYMTYPE, str(secret)
        archive.addfile(link)
    with pytest.raises(DataError, match=r"a\.bin is missing"):
        TAR.read(tmp_path / "set.tar.gz")


def test_a_header_of_gigabytes_is_rejected_before_it_is_read(tmp_path: Path) -> None:
    header = tarfile.TarInfo("inner/a.bin")
    header.type, header.size = tarfile.XHDTYPE, 1 << 32
    (tmp_path / "set.tar.gz").write_bytes(gzip.compress(header.tobuf(tarfile.USTAR_FORMAT) + bytes(5000)))
    with pytest.raises(DataError, match="a header claims 4,294,967,296 bytes"):
        TAR.read(tmp_path / "set.tar.gz")


@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.6, 0.9])
def test_a_truncated_tar_file_is_an_error(tmp_path: Path, fraction: float) -> None:
    path = tar_gz(tmp_path / "set.tar.gz", {f"inner/{name}": bytes(range(9)) for name in ("x", *CONTENTS)})
    content = path.read_bytes()
    path.write_bytes(content[: int(fraction * len(content))])
    with pytest.raises(DataError, match=r"^\S+set\.tar\.gz: .*(damaged or truncated|is missing)"):
        TAR.read(path)


def test_a_file_that_is_not_an_archive_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "set.tar.gz").write_bytes(b"<!DOCTYPE html>")
    with pytest.raises(DataError, match=r"set\.tar\.gz: cannot be read: Not a gzipped file"):
        TAR.read(tmp_path / "set.tar.gz")


def test_a_gzip_file_without_a_tar_file_in_it_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "set.tar.gz").write_bytes(gzip.compress(b"hello" * 1000))
    with pytest.raises(DataError, match=r"set\.tar\.gz: damaged or truncated"):
        TAR.read(tmp_path / "set.tar.gz")


def test_a_truncated_zip_file_is_an_error(tmp_path: Path) -> None:
    path = zip_file(tmp_path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"set\.zip: damaged or truncated: File is not a zip file"):
        ZIP.read(path)


def test_a_damaged_member_of_a_zip_file_is_an_error(tmp_path: Path) -> None:
    path = zip_file(tmp_path)
    content = bytearray(path.read_bytes())
    content[content.index(b"inner/a.bin") + len("inner/a.bin") + 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"set\.zip: damaged or truncated"):
        ZIP.read(path)


def test_an_encrypted_zip_file_is_an_error(tmp_path: Path) -> None:
    path = zip_file(tmp_path)
    content = path.read_bytes()
    stream = io.BytesIO(content)
    for signature, flags_at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        for offset in [n for n in range(len(content)) if content.startswith(signature, n)]:
            stream.seek(offset + flags_at)
            stream.write(b"\x01")
    path.write_bytes(stream.getvalue())
    with pytest.raises(DataError, match=r"set\.zip: damaged or truncated: .*encrypted"):
        ZIP.read(path)

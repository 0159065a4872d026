"""The contract of all named data sets. The tests run over the registry, so that a new data set needs no new test."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest

from convoy.data import DATA_SETS, DataError, availability, load
from convoy.data.named import Download

every_set = pytest.mark.parametrize("name", list(DATA_SETS))
every_download = pytest.mark.parametrize(
    ("name", "download"),
    [(name, DATA_SETS[name].origin) for name in DATA_SETS if isinstance(DATA_SETS[name].origin, Download)],
)


@every_set
def test_a_name_can_be_used_in_name_equals_path(name: str) -> None:
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]*", name)


@every_set
def test_texts_are_one_line(name: str) -> None:
    entry = DATA_SETS[name]
    for text in (entry.summary, entry.licence, entry.citation):
        assert text == " ".join(text.split())
        assert 0 < len(text) <= 110
    assert urlsplit(entry.homepage).scheme in ("http", "https")


@every_set
def test_the_content_hash_covers_class_names(name: str) -> None:
    entry = DATA_SETS[name]
    assert len(set(entry.classes)) == len(entry.classes) >= 2
    assert set(entry.spellings.values()) <= set(entry.classes)
    assert not set(entry.spellings) & set(entry.classes)


@every_set
def test_there_is_a_training_part_and_at_most_one_test_part(name: str) -> None:
    counts = DATA_SETS[name].counts
    assert len(counts) in (1, 2)
    assert min(counts) >= len(DATA_SETS[name].classes)


@every_set
def test_content_hash_is_a_sha256_or_none(name: str) -> None:
    content_hash = DATA_SETS[name].content_hash
    assert content_hash is None or re.fullmatch(r"[0-9a-f]{64}", content_hash)


@every_set
def test_files_have_a_size_limit_and_an_md5_or_none(name: str) -> None:
    for file_format in DATA_SETS[name].formats:
        assert file_format.max_bytes > 0
        for member, md5 in file_format.hashes.items():
            assert md5 is None or re.fullmatch(r"[0-9a-f]{32}", md5)
            assert "/" not in member


@every_download
def test_every_file_has_a_mirror_and_a_hash(name: str, download: Download) -> None:
    assert download.files
    assert len({file.name for file in download.files}) == len(download.files)
    for file in download.files:
        assert re.fullmatch(r"[\w.-]+", file.name)
        assert re.fullmatch(r"[0-9a-f]{64}", file.sha256)
        assert file.size_bytes is None or file.size_bytes > 0
        assert len(set(file.urls)) == len(file.urls) >= 1
        for url in file.urls:
            assert urlsplit(url).scheme in ("http", "https")
            assert urlsplit(url).path.endswith(f"/{file.name}")


@every_download
def test_downloads_are_in_a_supported_format(name: str, download: Download) -> None:
    files = {file.name for file in download.files}
    formats = DATA_SETS[name].formats
    published = [{archived.archive} if archived.archive else set(archived.hashes) for archived in formats]
    idx = {f"{part}-{kind}-ubyte.gz" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")}
    assert files in (published or [idx])


@every_download
def test_error_for_a_missing_data_set_names_the_download_command(name: str, download: Download) -> None:
    assert availability(name) == "download"
    with pytest.raises(DataError, match=f"^{name}: .*`convoy data get {name}`"):
        load(name)


@pytest.mark.parametrize("name", [n for n in DATA_SETS if not isinstance(DATA_SETS[n].origin, Download)])
def test_included_data_sets_match_the_catalogue(name: str) -> None:
    entry = DATA_SETS[name]

    dataset = load(name)

    assert availability(name) == "packaged"
    assert tuple(len(part) for part in (dataset.train, dataset.test) if part is not None) == entry.counts
    assert dataset.train.classes == entry.classes
    assert dataset.content_hash == entry.content_hash

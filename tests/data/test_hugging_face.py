"""Data sets of the Hugging Face Hub, with a fake `datasets` package."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from convoy.data import DataError, load


@dataclass
class ImageFeature:
    decode: bool = True


@dataclass
class ClassLabel:
    names: list[str]


class Value:
    pass


@dataclass
class Split:
    """A fake of datasets.Dataset."""

    columns: dict[str, list[Any]]
    features: dict[str, Any]
    _fingerprint: str = "f"

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, key: str | slice) -> Any:
        if isinstance(key, str):
            return self.columns[key]
        assert not any(isinstance(feature, ImageFeature) and feature.decode for feature in self.features.values())
        return {name: values[key] for name, values in self.columns.items()}

    def select_columns(self, names: list[str]) -> Split:
        return replace(self, columns={n: self.columns[n] for n in names}, features={n: self.features[n] for n in names})

    def rename_columns(self, names: dict[str, str]) -> Split:
        columns = {names.get(name, name): values for name, values in self.columns.items()}
        return replace(self, columns=columns, features={names.get(n, n): f for n, f in self.features.items()})

    def cast_column(self, name: str, feature: Any) -> Split:
        return replace(self, features=self.features | {name: feature})


FEATURES = {"img": ImageFeature(), "label": ClassLabel(["cat", "dog"]), "caption": Value()}
Install = Callable[..., list[tuple[str, str | None]]]


def png(pixels: np.ndarray) -> dict[str, Any]:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return {"bytes": stream.getvalue(), "path": None}


def images(count: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, *shape), dtype=np.uint8)


def split(pixels: np.ndarray, features: dict[str, Any] = FEATURES, **columns: list[Any]) -> Split:
    labels = {"label": [index % 2 for index in range(len(pixels))]}
    filled = {"img": [png(image) for image in pixels]} | labels | {"caption": [""] * len(pixels)} | columns
    return Split(filled, features)


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs a fake `datasets` whose `load_dataset` returns these splits; returns the list of its calls."""

    def make(answer: Any) -> list[tuple[str, str | None]]:
        calls: list[tuple[str, str | None]] = []

        def load_dataset(path: str, name: str | None = None) -> Any:
            calls.append((path, name))
            if isinstance(answer, Exception):
                raise answer
            return answer

        module = ModuleType("datasets")
        module.__version__ = "5.2.0"
        vars(module).update(load_dataset=load_dataset, Image=ImageFeature, ClassLabel=ClassLabel, Value=Value)
        monkeypatch.setitem(sys.modules, "datasets", module)
        return calls

    return make


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CONVOY_CACHE", str(tmp_path / "cache"))


def test_columns_are_found_by_type_and_splits_by_name(install: Install) -> None:
    pixels = images(20, 8, 8, 3)
    parts = {"train": split(pixels[:10]), "validation": split(pixels[10:14]), "test": split(pixels[14:])}
    calls = install({part: parts[part] for part in ("test", "train", "validation")})

    pets = load("hf:owner/pets")

    assert calls == [("owner/pets", None)]
    assert pets.name == "owner/pets"
    assert pets.train.classes == ("cat", "dog")
    assert pets.validation_indices is not None
    assert pets.validation_indices.tolist() == [10, 11, 12, 13]
    assert pets.test is not None
    assert np.array_equal(np.concatenate([pets.train.images, pets.test.images]), pixels.transpose(0, 3, 1, 2))
    assert pets.test.labels.tolist() == [0, 1, 0, 1, 0, 1]


def test_a_configuration_follows_the_name(install: Install) -> None:
    calls = install({"train": split(images(4, 8, 8))})
    small = load("hf:owner/pets/small")
    assert small.test is None
    assert calls == [("owner/pets", "small")]


def test_images_are_resized_to_the_most_frequent_size(install: Install) -> None:
    features = {"img": ImageFeature(), "label": ClassLabel(["cat", "dog"])}
    rows = [png(image) for shape in ((5, 9, 9), (2, 20, 12)) for image in images(*shape)]
    install({"train": Split({"img": rows, "label": [0, 1] * 3 + [0]}, features)})

    assert load("hf:owner/pets").train.images.shape == (7, 1, 9, 9)
    assert "5 of the 7 images" in load("hf:owner/pets").notes[0]
    assert load("hf:owner/pets", size=16).train.size == 16


def test_images_stored_by_path_are_read(install: Install, tmp_path: Path) -> None:
    pixels = images(4, 8, 8)
    rows = []
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
        rows.append({"bytes": None, "path": str(tmp_path / f"{number}.png")})
    install({"train": split(pixels, img=rows)})
    assert np.array_equal(load("hf:owner/pets").train.images[:, 0], pixels)


def test_the_cache_is_used_until_the_fingerprint_changes(install: Install) -> None:
    install({"train": split(images(4, 8, 8))})
    first = load("hf:owner/pets")
    install({"train": split(images(6, 8, 8))})
    assert load("hf:owner/pets").content_hash == first.content_hash
    install({"train": replace(split(images(6, 8, 8)), _fingerprint="g")})
    assert len(load("hf:owner/pets").train) == 6


def test_ignored_splits_are_noted(install: Install) -> None:
    features = FEATURES | {"coarse": ClassLabel(["animal", "thing"])}
    parts = {
        "train": split(images(4, 8, 8), features, coarse=[0] * 4),
        "extra": split(images(4, 8, 8), features),
        "test": split(images(4, 8, 8), features, label=[-1] * 4),
    }
    install(parts)

    pets = load("hf:owner/pets")

    assert pets.test is None
    assert [note.split()[-1] for note in pets.notes] == ["coarse", "extra", "labels"]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (RuntimeError("Couldn't reach 'owner/pets' on the Hub\nmore"), "cannot be loaded by datasets: Couldn't reach"),
        ({"all": split(images(4, 8, 8))}, "split 'train', got all"),
        ({"train": Split({"label": [0]}, {"label": ClassLabel(["a"])})}, "expected one Image column and a ClassLabel"),
        (
            {"train": Split({"img": []}, {"img": ImageFeature(), "text": Value()})},
            r"got img \(ImageFeature\), te",
        ),
        ({"train": split(images(4, 8, 8), label=[0, 1, -1, 0])}, "the split 'train' has images without labels"),
        ({"train": split(images(4, 8, 8), label=[0, 1, None, 0])}, "the split 'train' has images without labels"),
        ({"train": split(images(4, 8, 8), FEATURES | {"label": ClassLabel(["a"])})}, "at least two classes"),
        (
            {"train": split(images(4, 8, 8), img=[{"bytes": b"?", "path": None}] * 4)},
            "train, image 0: cannot be read as",
        ),
        (
            {"train": split(images(4, 8, 8), img=[{"bytes": None, "path": "none.png"}] * 4)},
            "train, image 0: none.png: cannot be read: No such file",
        ),
        ({"train": split(images(4, 8, 8), img=[None] * 4)}, "train, image 0: expected an image, got None"),
    ],
)
def test_unreadable_data_give_a_one_line_error(install: Install, answer: Any, message: str) -> None:
    install(answer)
    with pytest.raises(DataError, match=f"^hf:owner/pets: .*{message}") as error:
        load("hf:owner/pets")
    assert "\n" not in str(error.value)


def test_without_the_package_the_error_names_the_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match="^hf:owner/pets: .*: pip install datasets$"):
        load("hf:owner/pets")


def test_a_hub_data_set_needs_a_name() -> None:
    with pytest.raises(DataError, match="hf:owner/name"):
        load("hf:")

"""A loaded network: its images from paths, Pillow images and arrays, its classes, and the logits of the run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.data.photographed_digits import photograph
from torch import nn

import convoy
from convoy.data import load
from convoy.evaluation.loaded import LoadedModel
from convoy.recipe import Recipe
from convoy.run_contents import RunData
from convoy.runs import Run


@pytest.fixture
def run(tiny: Callable[..., Recipe], tmp_path: Path) -> Run:
    return convoy.train(tiny(("train.epochs", 1)), out=tmp_path / "out", show=False)


def model_of(in_chans: int, size: int, name: str = "mine") -> LoadedModel:
    mean, std = (0.25,) * in_chans, (0.5,) * in_chans
    return LoadedModel(nn.Linear(1, 1), RunData(name, ("a", "b"), in_chans, size, {}, {}, "", "", mean, std))


def test_logits_agree_with_the_run(run: Run, stripes: Path) -> None:
    model = convoy.load(run)
    assert model.classes == tuple(run.data.classes)
    assert not any(part.training for part in model.modules())
    test = load(str(stripes)).test
    assert test is not None
    with torch.no_grad():
        logits = model(model.preprocess(test.images[:, 0]))
    assert torch.equal(logits, torch.from_numpy(run.predictions["test_logits"]))


def test_normalised_pixels_are_float32_of_the_networks_shape(run: Run) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 12, 12), np.uint8)
    x = convoy.load(run).preprocess(images)
    assert x.dtype == torch.float32
    expected = (images[:, None] / 255 - run.data.mean[0]) / run.data.std[0]
    np.testing.assert_allclose(x.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("in_chans", [1, 3])
@pytest.mark.parametrize("shape", [(12, 12), (20, 16), (9, 30)])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_path_pillow_image_and_array_give_the_same_pixels(
    in_chans: int, shape: tuple[int, int], channels: int, tmp_path: Path
) -> None:
    model = model_of(in_chans, 12)
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, channels), np.uint8)
    image = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
    image.save(tmp_path / "a.png")
    expected = model.preprocess(tmp_path / "a.png")
    assert expected.shape == (1, in_chans, 12, 12)
    sources = [str(tmp_path), [str(tmp_path / "a.png")], image, [image], pixels, pixels[None], [pixels]]
    for source in [*sources, *([pixels[..., 0], pixels[None, ..., 0]] if channels == 1 else [])]:
        assert torch.equal(model.preprocess(source), expected)
    both = model.preprocess([image, str(tmp_path / "a.png"), pixels])
    assert torch.equal(both, expected.expand(3, -1, -1, -1))


def test_an_upright_pillow_image_is_as_its_file(tmp_path: Path) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 20, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.png", exif=exif)
    model = model_of(3, 12)
    with Image.open(tmp_path / "a.png") as opened:
        assert torch.equal(model.preprocess(opened), model.preprocess(tmp_path / "a.png"))
        assert opened.size == (20, 12)


def test_photographs_of_digits_are_read_as_predict_reads_them(tmp_path: Path) -> None:
    photo = photograph(3, np.random.default_rng(0))
    photo.save(tmp_path / "a.png")
    model = model_of(1, 28, "mnist")
    expected = model.preprocess(tmp_path / "a.png")
    assert torch.equal(model.preprocess(photo), expected)
    assert torch.equal(model.preprocess(np.asarray(photo)), expected)
    raw = model.preprocess(photo, raw=True)
    assert torch.equal(raw, model.preprocess(tmp_path / "a.png", raw=True))
    assert not torch.equal(raw, expected)
    digits = np.zeros((2, 28, 28), np.uint8)
    digits[:, 5:20, 12:16] = 200
    assert torch.equal(model.preprocess(digits), model.preprocess(digits, raw=True))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((12, 12)), "uint8.*float64"),
        (np.zeros((2, 5, 6, 7), np.uint8), r"\[2, 5, 6, 7\]"),
        (np.zeros(12, np.uint8), r"\[12\]"),
        (3, "int"),
        ([], "no images"),
    ],
)
def test_other_images_are_an_error(images: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model_of(1, 12).preprocess(images)  # type: ignore[arg-type]


def test_code_from_elsewhere_needs_trust_and_an_archived_run_has_no_network(run: Run) -> None:
    (run.path / "code" / "net.py").write_text((run.path / "code" / "net.py").read_text() + "\n")
    with pytest.raises(ValueError, match="trust-code"):
        convoy.load(run)
    assert convoy.load(run, trust_code=True).classes
    (run.path / "best.safetensors").unlink()
    run.write_status(files={})
    (run.path / "doctor.json").unlink()
    with pytest.raises(ValueError, match="archived without weights"):
        convoy.load(run)

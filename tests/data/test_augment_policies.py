from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

from convoy.data import load
from convoy.data.augment import build
from convoy.data.augment_colours import COLOUR_OPS, equalize, solarize
from convoy.data.augment_policies import GEOMETRIC, OPERATIONS, RAND_AUGMENT_AMOUNTS, TRIVIAL_AUGMENT_AMOUNTS, apply

SIDE = 32
AMOUNTS = RAND_AUGMENT_AMOUNTS | {"translate_x": 8.0, "translate_y": 8.0}


def photographs(channels: int, count: int = 6) -> np.ndarray:
    """Soft shapes, uint8 [N, C, H, H]; some are dark, clipped or have low contrast, as photographs."""
    generator = torch.Generator().manual_seed(channels)
    coarse = torch.rand(count, channels, 5, 5, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=SIDE, mode="bicubic")
    spread = torch.linspace(0.2, 1.6, count)[:, None, None, None]
    noise = 0.05 * torch.randn(smooth.shape, generator=generator)
    return ((smooth + noise) * spread * 255).clamp(0, 255).byte().numpy()


def pillow(image: np.ndarray) -> Image.Image:
    return Image.fromarray(image[0]) if len(image) == 1 else Image.fromarray(image.transpose(1, 2, 0))


def levels_of(image: Image.Image) -> np.ndarray:
    return np.atleast_3d(np.asarray(image)).transpose(2, 0, 1).astype(float)


def ours(name: str, images: np.ndarray, amount: float) -> np.ndarray:
    return COLOUR_OPS[name](torch.from_numpy(images) / 255, torch.full((len(images), 1, 1, 1), amount)).numpy() * 255


def forced(x: Tensor, name: str, sign: float = 0.9, strength: float = 1.0) -> Tensor:
    """x after the operation `name`, applied to all images."""
    uniform = torch.full((len(x),), (OPERATIONS.index(name) + 0.5) / len(OPERATIONS))
    return apply(x, uniform, torch.full((len(x),), sign), torch.full((len(x),), strength), AMOUNTS)


PILLOW: dict[str, tuple[float, Callable[[Image.Image], Image.Image]]] = {
    "autocontrast": (0, ImageOps.autocontrast),
    "equalize": (0, ImageOps.equalize),
    "posterize": (3, lambda image: ImageOps.posterize(image, 5)),
    "solarize": (96, lambda image: ImageOps.solarize(image, 160)),
    "brightness": (0.7, lambda image: ImageEnhance.Brightness(image).enhance(1.7)),
    "colour": (-0.6, lambda image: ImageEnhance.Color(image).enhance(0.4)),
    "contrast": (0.8, lambda image: ImageEnhance.Contrast(image).enhance(1.8)),
    "sharpness": (0.9, lambda image: ImageEnhance.Sharpness(image).enhance(1.9)),
}


@pytest.mark.parametrize("kind", ["photographs", "grey photographs", "digits"])
@pytest.mark.parametrize("name", PILLOW)
def test_colour_operations_equal_pillows_to_a_level(name: str, kind: str) -> None:
    amount, operation = PILLOW[name]
    images = load("mnist").train.images[:6] if kind == "digits" else photographs(3 if kind == "photographs" else 1)

    difference = ours(name, images, amount) - np.stack([levels_of(operation(pillow(image))) for image in images])

    exact = ("equalize", "posterize", "solarize")
    # Pillow rounds the smoothed image and then multiplies the difference by 1.9.
    allowed = 1e-3 if name in exact else 1.5
    assert np.abs(difference).max() <= allowed


@pytest.mark.parametrize("amount", [-0.9, -0.3, 0.4])
@pytest.mark.parametrize("name", ["brightness", "colour", "contrast", "sharpness"])
def test_enhancements_of_any_amount_equal_pillows(name: str, amount: float) -> None:
    enhance = {"colour": "Color"}.get(name, name.capitalize())
    images = photographs(3)
    theirs = [getattr(ImageEnhance, enhance)(pillow(image)).enhance(1 + amount) for image in images]
    assert np.abs(ours(name, images, amount) - np.stack([levels_of(image) for image in theirs])).max() <= 1.5


@pytest.mark.parametrize("name", ["rotate", "shear_x", "shear_y", "translate_x"])
def test_geometric_operations_equal_pillows_inside_the_border(name: str) -> None:
    image = photographs(1, 1)
    theirs = {
        "rotate": lambda image: image.rotate(-30, Image.Resampling.BILINEAR),
        "shear_x": lambda image: _transformed(image, (1, 0.3, 0, 0, 1, 0)),
        "shear_y": lambda image: _transformed(image, (1, 0, 0, 0.3, 1, 0)),
        "translate_x": lambda image: _transformed(image, (1, 0, 8, 0, 1, 0)),
    }[name](pillow(image[0]))
    moved = forced(torch.from_numpy(image) / 255, name)[0].numpy() * 255
    inside = forced(torch.ones(1, 1, SIDE, SIDE), name)[0].numpy() > 0.999  # all four neighbours are in the image

    assert inside.mean() > 0.6
    assert np.abs(moved - levels_of(theirs))[inside].max() <= 2


def _transformed(image: Image.Image, data: tuple[float, ...]) -> Image.Image:
    return image.transform(image.size, Image.Transform.AFFINE, data, Image.Resampling.BILINEAR)


def test_solarize_inverts_more_levels_for_a_larger_amount() -> None:
    x = torch.tensor([0.0, 100 / 255, 200 / 255, 1.0]).view(1, 1, 2, 2)

    def after(amount: float) -> list[int]:
        return (solarize(x, torch.full((1, 1, 1, 1), amount)) * 255).round().int().flatten().tolist()

    assert after(0.0) == [0, 100, 200, 255]
    assert after(1.0) == [0, 100, 200, 0]
    assert after(128.0) == [0, 100, 55, 0]
    assert after(256.0) == [255, 155, 55, 0]


def test_contrast_operations_do_not_change_a_constant_image() -> None:
    x = torch.full((2, 3, 16, 16), 0.3)
    for name in ("autocontrast", "equalize", "contrast", "sharpness"):
        assert torch.allclose(forced(x, name), x), name


def test_equalize_does_not_change_a_flat_histogram() -> None:
    x = (torch.arange(1024) // 4 / 255).view(1, 1, 32, 32)  # four pixels of each level
    assert (equalize(x, torch.zeros(1, 1, 1, 1)) - x).abs().max() < 1.01 / 255


def test_colour_does_not_change_a_grey_image() -> None:
    x = torch.rand(4, 1, 8, 8)
    assert torch.equal(forced(x, "colour"), x)


@pytest.mark.parametrize("name", OPERATIONS)
def test_strength_0_changes_nothing_except_for_operations_without_strength(name: str) -> None:
    x = torch.from_numpy(photographs(3)) / 255
    unchanged = torch.allclose(forced(x, name, strength=0.0), x, atol=2e-6)
    assert unchanged == (name not in ("autocontrast", "equalize"))


@pytest.mark.parametrize("name", ["brightness", "colour", "contrast", "sharpness", *GEOMETRIC])
def test_the_sign_reverses_an_operation(name: str) -> None:
    x = torch.from_numpy(photographs(3)) / 255
    more, less = forced(x, name, sign=0.9), forced(x, name, sign=0.1)
    assert (more - less).abs().max() > 0.1


@pytest.mark.parametrize("spec", [{"name": "rand_augment", "operations": 1}, {"name": "trivial_augment"}])
def test_every_operation_is_equally_likely(spec: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    counts: dict[str, int] = dict.fromkeys(COLOUR_OPS, 0)
    for name in COLOUR_OPS:

        def counted(x: Tensor, amount: Tensor, name: str = name) -> Tensor:
            counts[name] += len(x)
            return x

        monkeypatch.setitem(COLOUR_OPS, name, counted)

    build([spec])(torch.zeros(14_000, 1, 4, 4), torch.Generator().manual_seed(0))

    assert max(abs(count - 1000) for count in counts.values()) < 130  # 4 standard deviations


def test_rand_augment_has_one_magnitude_and_trivial_augment_draws_it_per_image(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    amounts: list[float] = []
    monkeypatch.setitem(COLOUR_OPS, "brightness", lambda x, amount: amounts.extend(amount.flatten().tolist()) or x)
    x = torch.zeros(3000, 1, 4, 4)

    build([{"name": "rand_augment", "magnitude": 15}])(x, torch.Generator().manual_seed(0))
    assert {round(amount, 6) for amount in amounts} == {-0.45, 0.45}

    amounts.clear()
    build([{"name": "trivial_augment"}])(x, torch.Generator().manual_seed(0))
    assert {round(abs(amount) / TRIVIAL_AUGMENT_AMOUNTS["brightness"] * 30, 3) for amount in amounts} <= set(range(31))
    assert min(amounts) < -0.9 < 0.9 < max(amounts)


def test_images_keep_their_order_in_the_batch() -> None:
    x = torch.arange(1, 201).view(200, 1, 1, 1).expand(200, 1, 6, 6) / 256
    keeping_the_centre = "identity", "autocontrast", "equalize", "sharpness", "rotate"  # of a constant image
    uniform = torch.rand(200, generator=torch.Generator().manual_seed(0))
    result = apply(x, uniform, torch.ones(200), torch.full((200,), 0.3), AMOUNTS)
    for index, draw in enumerate(uniform.tolist()):
        name = OPERATIONS[int(draw * len(OPERATIONS))]
        if name in keeping_the_centre:
            assert result[index, 0, 3, 3].item() == pytest.approx(x[index, 0, 3, 3].item(), abs=1e-5), name


def test_trivial_augment_translates_by_up_to_32_pixels_and_rand_augment_by_a_fraction_of_the_side() -> None:
    x = torch.ones(4000, 1, 48, 48)
    trivial = build([{"name": "trivial_augment"}])(x, torch.Generator().manual_seed(0))
    rand = build([{"name": "rand_augment", "operations": 1, "magnitude": 30}])(x, torch.Generator().manual_seed(0))

    def widest(images: Tensor) -> int:
        """The largest number of black columns, over images in which only complete columns are black."""
        columns = (images[:, 0] > 1e-4).any(dim=1)
        has_no_black_row = (images[:, 0] > 1e-4).any(dim=2).all(dim=1)
        return int((~columns[has_no_black_row & columns.any(dim=1)]).sum(dim=1).max())

    assert widest(trivial) == 32
    assert widest(rand) == int(48 * 150 / 331)

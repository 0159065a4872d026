from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from convoy.data.augment import AUGMENTATIONS, build
from convoy.data.augment_affine import resample, rotation, translation

ALL: list[dict[str, Any]] = [{"name": name} for name in AUGMENTATIONS]
GEOMETRIC: list[dict[str, Any]] = [{"name": name} for name in ("crop", "flip", "rotate", "scale", "shift")]
with_settings = settings(max_examples=30)
seeds = st.integers(0, 2**32 - 1)
shapes = st.tuples(st.integers(1, 9), st.sampled_from([1, 3]), st.integers(4, 20)).map(lambda s: (*s, s[2]))


def batch(shape: tuple[int, ...], seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def augmented(x: Tensor, *specs: dict[str, Any], seed: int = 0) -> Tensor:
    return build(specs)(x, torch.Generator().manual_seed(seed))


@with_settings
@given(shapes, seeds, st.sampled_from([torch.float32, torch.float64, torch.bfloat16]), st.permutations(ALL))
def test_shape_dtype_and_range_are_kept(
    shape: tuple[int, ...], seed: int, dtype: torch.dtype, specs: list[dict[str, Any]]
) -> None:
    x = augmented(batch(shape, seed, dtype), *specs, seed=seed)

    assert (x.shape, x.dtype) == (shape, dtype)
    assert x.min() >= 0
    assert x.max() <= 1 + 1e-5


@with_settings
@given(shapes, seeds)
def test_zero_strength_changes_nothing(shape: tuple[int, ...], seed: int) -> None:
    x = batch(shape, seed)
    exact = [{"name": "crop", "padding": 0}, {"name": "flip", "probability": 0.0}, {"name": "cutout", "size": 0}]
    interpolated = [
        {"name": "rotate", "degrees": 0},
        {"name": "shift", "fraction": 0},
        {"name": "scale", "range": [1, 1]},
    ]

    assert torch.equal(augmented(x, *exact, seed=seed), x)
    assert torch.allclose(augmented(x, *interpolated, seed=seed), x, atol=1e-5)


@with_settings
@given(seeds, st.permutations(ALL), st.integers(1, 8))
def test_draws_of_an_image_depend_on_its_position_and_not_on_other_images(
    seed: int, specs: list[dict[str, Any]], count: int
) -> None:
    x = batch((8, 3, 12, 12), seed)
    with_others = x.clone()
    with_others[count:] = 0.5

    expected = augmented(x, *specs, seed=seed)[:count]

    assert torch.equal(augmented(with_others, *specs, seed=seed)[:count], expected)


@with_settings
@given(seeds, st.permutations(GEOMETRIC), st.integers(1, 8))
def test_geometric_draws_do_not_depend_on_the_batch_size(seed: int, specs: list[dict[str, Any]], count: int) -> None:
    x = batch((8, 3, 12, 12), seed)
    smaller = augmented(x[:count], *specs, seed=seed)
    assert torch.allclose(augmented(x, *specs, seed=seed)[:count], smaller, atol=1e-6)


@with_settings
@given(shapes, seeds)
def test_flipping_twice_is_the_identity(shape: tuple[int, ...], seed: int) -> None:
    x = batch(shape, seed)
    flip = {"name": "flip", "probability": 1.0}

    assert torch.equal(augmented(x, flip), x.flip(3))
    assert torch.equal(augmented(x, flip, flip), x)


@with_settings
@given(seeds, st.integers(0, 5))
def test_a_crop_is_a_window_of_the_padded_image(seed: int, padding: int) -> None:
    x = batch((6, 3, 10, 10), seed)
    cropped = augmented(x, {"name": "crop", "padding": padding}, seed=seed)

    windows = torch.nn.functional.pad(x, (padding,) * 4).unfold(2, 10, 1).unfold(3, 10, 1)  # (B, C, y, x, 10, 10)
    same = (windows == cropped[:, :, None, None]).all(dim=-1).all(dim=-1).all(dim=1)  # (B, y, x)

    assert same.any(dim=-1).any(dim=-1).all()


def test_every_offset_of_a_crop_is_equally_likely() -> None:
    x = torch.zeros(9000, 1, 9, 9)
    x[:, :, 4, 4] = 1
    rows = augmented(x, {"name": "crop", "padding": 1}).sum(dim=(0, 1))[3:6, 3:6]
    assert rows.sum() == 9000
    assert (rows - 1000).abs().max() < 120  # 4 standard deviations


def test_about_half_of_the_images_are_flipped() -> None:
    x = torch.zeros(4000, 1, 4, 4)
    x[..., 0] = 1
    assert abs(augmented(x, {"name": "flip"})[:, 0, 0, 0].mean() - 0.5) < 0.04


def test_a_rotation_is_by_at_most_its_degrees_in_either_direction() -> None:
    x = torch.zeros(500, 1, 41, 41)
    x[:, :, 20, 35] = 1  # 15 pixels to the right of the centre
    weights = (augmented(x, {"name": "rotate", "degrees": 30})[:, 0] + 1e-12).flatten(1)
    weights = weights / weights.sum(dim=1, keepdim=True)
    down = (weights * torch.arange(41).repeat_interleave(41)).sum(dim=1) - 20
    across = (weights * torch.arange(41).repeat(41)).sum(dim=1) - 20
    degrees = torch.atan2(down, across) * 180 / math.pi

    assert degrees.abs().max() < 31
    assert degrees.min() < -25
    assert degrees.max() > 25
    assert ((down**2 + across**2).sqrt() - 15).abs().max() < 0.3


def test_a_shift_by_whole_pixels_takes_every_integer_up_to_its_fraction() -> None:
    x = batch((600, 1, 28, 28), seed=3)
    shifted = augmented(x, {"name": "shift", "fraction": 0.1, "whole_pixels": True})  # 2.8 pixels, rounded

    windows = torch.nn.functional.pad(x, (3,) * 4).unfold(2, 28, 1).unfold(3, 28, 1)  # (B, C, y, x, 28, 28)
    same = (windows == shifted[:, :, None, None]).all(dim=-1).all(dim=-1)[:, 0]  # (B, y, x)
    offsets = same.nonzero()
    counts = torch.bincount(offsets[:, 1], minlength=7)

    assert len(offsets) == 600
    assert counts.min() > 10
    assert counts[0] < counts[1]  # only draws from 2.5 to 2.8 are rounded to 3
    assert counts[6] < counts[5]


def test_nearest_rotation_keeps_the_levels_and_bilinear_rotation_adds_some() -> None:
    x = (batch((50, 1, 28, 28)) > 0.5).float()
    rotate = {"name": "rotate", "degrees": 10}

    assert set(augmented(x, {**rotate, "interpolation": "nearest"}).unique().tolist()) == {0.0, 1.0}
    assert len(augmented(x, rotate).unique()) > 100


def test_nearest_rotation_and_integer_shift_equal_pillows() -> None:
    x = (batch((60, 1, 28, 28)) * 255).round() / 255
    for image, degrees in zip(x, torch.linspace(-10, 10, 60).tolist(), strict=True):
        picture = Image.fromarray((image[0] * 255).round().to(torch.uint8).numpy())
        across, down = round(degrees / 4), round(degrees / 5)

        rotated = resample(image[None], rotation(torch.tensor([math.radians(-degrees)]))[:, :2], "nearest")
        shifted = resample(image[None], translation(torch.tensor([[-across, -down]]) * (2 / 28))[:, :2], "nearest")

        theirs = picture.rotate(degrees, Image.Resampling.NEAREST)
        moved = picture.transform((28, 28), Image.Transform.AFFINE, (1, 0, -across, 0, 1, -down))
        assert torch.equal((rotated[0, 0] * 255).round(), torch.from_numpy(np.array(theirs)).float())
        assert torch.equal((shifted[0, 0] * 255).round(), torch.from_numpy(np.array(moved)).float())


def test_rotation_and_shift_as_in_torchvision_are_two_resamplings() -> None:
    x = batch((20, 1, 28, 28))
    rotate = {"name": "rotate", "degrees": 10, "interpolation": "nearest"}
    shift = {"name": "shift", "fraction": 0.1, "whole_pixels": True}
    both = build([rotate, shift])
    uniform = torch.rand(20, 3, generator=torch.Generator().manual_seed(5))

    rotated = resample(x, both.affine[0].maps(uniform[:, :1], 28)[:, :2], "nearest")
    shifted = resample(rotated, both.affine[1].maps(uniform[:, 1:], 28)[:, :2], "nearest")

    assert torch.equal(both(x, torch.Generator().manual_seed(5)), shifted)
    assert (shifted[:, :, 0] == 0).flatten(1).all(1).any()  # cut off and filled with black


def test_a_shift_is_by_at_most_its_fraction_of_the_side() -> None:
    x = torch.zeros(500, 1, 20, 20)
    x[:, :, 10, 10] = 1
    shifted = augmented(x, {"name": "shift", "fraction": 0.1})[:, 0]  # 2 pixels
    down = (shifted.sum(dim=2) * torch.arange(20)).sum(dim=1) - 10

    assert down.abs().max() <= 2 + 1e-4
    assert down.abs().max() > 1.8
    assert torch.allclose(shifted.sum(dim=(1, 2)), torch.ones(500), atol=1e-4)


def test_scaling_by_two_enlarges_the_centre() -> None:
    x = torch.zeros(1, 1, 8, 8)
    x[:, :, 2:6, 2:6] = 1
    assert augmented(x, {"name": "scale", "range": [2, 2]})[0, 0, 1:7, 1:7].min() > 0.99


def test_the_area_outside_the_image_is_black() -> None:
    shifted = augmented(torch.ones(64, 1, 10, 10), {"name": "shift", "fraction": 1.0})
    assert (shifted.amin(dim=(1, 2, 3)) == 0).all()


def test_geometric_augmentations_are_composed_in_order_into_one_resampling() -> None:
    x = batch((1, 1, 16, 16))
    turn = {"name": "rotate", "degrees": 180}
    maps = [part.maps(torch.full((1, part.draws), 0.75), 16) for part in build([turn, {"name": "shift"}]).affine]
    corner = torch.tensor([0.0, 0.0, 1.0])

    # A draw of 0.75 from +-180 degrees rotates by 90 degrees, so that the shift, which is second, is rotated, too.
    assert torch.allclose((maps[0] @ maps[1] @ corner)[0, :2], torch.tensor([0.1, -0.1]), atol=1e-6)
    assert augmented(x, turn, {"name": "shift"}).shape == x.shape


def test_augmentations_by_integer_pixels_keep_values_exactly() -> None:
    x = batch((32, 3, 32, 32))
    moved = augmented(x, {"name": "crop", "padding": 4}, {"name": "flip"}, {"name": "crop", "padding": 2})
    assert set(moved.unique().tolist()) <= {0.0, *x.unique().tolist()}


@with_settings
@given(seeds, st.integers(1, 12))
def test_cutout_blackens_one_square_clipped_at_the_edge(seed: int, size: int) -> None:
    x = augmented(torch.ones(20, 3, 12, 12), {"name": "cutout", "size": size}, seed=seed)
    black = x[:, 0] == 0
    rows, columns = black.any(dim=2).sum(dim=1), black.any(dim=1).sum(dim=1)

    assert (x[:, :1] == x).all()
    assert torch.equal(black.sum(dim=(1, 2)), rows * columns)
    assert torch.maximum(rows, columns).max() <= size
    assert torch.minimum(rows, columns).min() >= min(size // 2, 1)


def erased(**keys: Any) -> Tensor:
    """The changed pixels of 600 white images of 20 x 20."""
    x = augmented(torch.ones(600, 3, 20, 20), {"name": "erase", "fill": "zero", "probability": 1.0, **keys})
    assert (x == x[:, :1]).all()
    return x[:, 0] < 1


def test_the_erased_part_is_one_rectangle_with_the_given_area_and_aspect() -> None:
    black = erased(area=[0.1, 0.3], aspect=[0.5, 2.0])
    rows, columns = black.any(dim=2).sum(dim=1), black.any(dim=1).sum(dim=1)
    area, aspect = rows * columns / 400, rows / columns

    assert torch.equal(black.sum(dim=(1, 2)), rows * columns)
    assert 0.08 < area.min() < 0.12
    assert 0.28 < area.max() < 0.33
    assert 0.4 < aspect.min() < 0.6
    assert 1.7 < aspect.max() < 2.4


def test_every_pixel_is_erased_in_some_image() -> None:
    assert erased().any(dim=0).all()
    assert erased(area=[1, 1], aspect=[1, 1]).all()


def test_probability_is_the_fraction_of_erased_images() -> None:
    assert abs(erased(probability=0.25).flatten(1).any(dim=1).float().mean() - 0.25) < 0.08
    assert not erased(probability=0).any()


def test_the_erased_part_is_filled_with_mean_or_noise_and_the_rest_is_unchanged() -> None:
    x = batch((50, 3, 16, 16))
    always = {"name": "erase", "probability": 1.0, "area": [0.2, 0.3]}
    zero, mean, noise = (augmented(x, {**always, "fill": fill}) for fill in ("zero", "mean", "noise"))
    inside = (zero == 0).all(dim=1, keepdim=True).expand_as(x)

    for filled in (zero, mean, noise):
        assert torch.equal(filled[~inside], x[~inside])
    assert torch.equal(mean[inside], x.mean(dim=(2, 3), keepdim=True).expand_as(x)[inside])
    assert abs(noise[inside].mean() - 0.5) < 0.02
    assert abs(noise[inside].std() - 12**-0.5) < 0.02


def test_erasing_and_policies_are_applied_in_order_after_geometric_augmentations() -> None:
    x = torch.ones(50, 1, 12, 12)
    erase, turn = {"name": "erase", "probability": 1.0, "fill": "zero"}, {"name": "rotate", "degrees": 45}
    invert = {"name": "rand_augment", "magnitude": 30}

    assert torch.equal(augmented(x, erase, turn, seed=3), augmented(x, turn, erase, seed=3))
    assert not torch.equal(augmented(x, erase, invert), augmented(x, invert, erase))


def test_all_tensors_are_moved_to_the_device_of_the_batch() -> None:
    x = torch.empty(64, 3, 8, 8, device="meta")  # represents any device: torch does not mix it with the CPU
    labels = torch.zeros(64, dtype=torch.int64, device="meta")

    x, y = build(ALL).mix(augmented(x, *ALL), labels, 10, torch.Generator())

    assert (x.device.type, y.device.type) == ("meta", "meta")


def test_without_specs_the_batch_is_returned_unchanged() -> None:
    x = batch((2, 1, 5, 5))
    assert build([]).is_identity
    assert augmented(x) is x


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"name": "rotat"}, "unknown augmentation 'rotat'; did you mean 'rotate'"),
        ({"name": "rotate", "degree": 3}, "unknown key 'degree' in the augmentation rotate; did you mean 'degrees'"),
        ({"name": "rotate", "degrees": "10"}, "degrees = '10' in the augmentation rotate: expected a valid number"),
        ({"name": "rotate", "degrees": math.nan}, "degrees = nan"),
        ({"name": "shift", "fraction": 10}, "fraction = 10 in the augmentation shift: .* less than or equal to 1"),
        ({"name": "shift", "whole_pixels": 1}, "whole_pixels = 1 .*: expected a valid boolean"),
        ({"name": "crop", "padding": 1.5}, "padding = 1.5 in the augmentation crop: expected a valid integer"),
        ({"name": "flip", "probability": True}, "probability = True .*: expected a valid number"),
        (
            {"name": "scale", "range": [1.1, 0.9]},
            "range = .* augmentation scale: expected the lower number first",
        ),
        ({"name": "scale", "range": 0.9}, "expected two numbers"),
        ({"name": "scale", "range": [0.9]}, "expected two numbers"),
        ({"name": "scale", "range": [0.9, "1"]}, "range.1 = '1'"),
        ({"name": "cutout", "size": -1}, "size = -1"),
        ({"name": "rand_augment", "magnitude": 31}, "magnitude = 31 .* less than or equal to 30"),
        ({"name": "erase", "area": [0.3, 0.1]}, "area = .*: expected the lower number first"),
        ({"name": "erase", "fill": "zeros"}, "unknown fill 'zeros' in the augmentation erase; did you mean 'zero'"),
        ({"name": "erase", "fill": 0}, "fill = 0 in the augmentation erase: expected 'zero', 'mean' or 'noise'"),
    ],
)
def test_an_invalid_table_is_an_error_with_the_allowed_values(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build([spec])

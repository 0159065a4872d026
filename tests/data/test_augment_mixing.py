from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from convoy.data.augment import build
from convoy.data.augment_mixing import beta

N, SIDE = 400, 16


def mixed(*specs: dict[str, object], x: Tensor | None = None, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Mixes images that are alternately black (class 0) and white (class 1), so that the mean shows the weights."""
    labels = torch.arange(N) % 2
    x = labels.view(N, 1, 1, 1).expand(N, 1, SIDE, SIDE).float() if x is None else x
    return build(specs).mix(x, labels, 2, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("alpha", [0.2, 1.0, 5.0])
def test_weights_follow_the_beta_distribution(alpha: float) -> None:
    uniform = torch.rand(20_000, generator=torch.Generator().manual_seed(0))
    weights, exact = beta(uniform, alpha).double().numpy(), stats.beta(alpha, alpha)
    error, cdf_error = weights - exact.ppf(uniform.double()), exact.cdf(weights) - uniform.double().numpy()
    assert np.minimum(np.abs(error), np.abs(cdf_error)).max() < 1 / 4096


def test_beta_with_alpha_1_is_uniform() -> None:
    uniform = torch.rand(1000)
    assert torch.allclose(beta(uniform, 1.0), uniform, atol=1e-6)


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_the_label_weight_is_the_fraction_of_the_image(name: str) -> None:
    x, y = mixed({"name": name, "alpha": 1.0})
    white = x.mean(dim=(1, 2, 3))
    assert torch.allclose(white, y[:, 1], atol=1e-5)
    assert y[:, 1].std() > 0.2


def test_mixup_weights_all_pixels_equally() -> None:
    images = torch.rand(N, 3, 8, 8)
    x, y = mixed({"name": "mixup", "alpha": 1.0}, x=images)
    weight = y[torch.arange(N), torch.arange(N) % 2].view(N, 1, 1, 1)
    assert torch.allclose(x, weight * images + (1 - weight) * images.roll(1, 0), atol=1e-6)


def test_cutmix_replaces_one_rectangle_by_the_previous_image() -> None:
    images = torch.rand(N, 3, SIDE, SIDE)
    x, _ = mixed({"name": "cutmix"}, x=images)
    is_kept, is_replaced = (x == images).all(dim=1), (x == images.roll(1, 0)).all(dim=1)
    rows, columns = is_replaced.any(dim=2).sum(dim=1), is_replaced.any(dim=1).sum(dim=1)

    assert (is_kept ^ is_replaced).all()
    assert torch.equal(is_replaced.sum(dim=(1, 2)), rows * columns)
    assert (rows * columns).max() > SIDE**2 / 2


def test_every_pixel_is_replaced_in_some_images() -> None:
    images = torch.arange(N).float().view(N, 1, 1, 1).expand(N, 1, SIDE, SIDE)
    is_replaced = mixed({"name": "cutmix"}, x=images)[0] != images
    assert is_replaced.float().mean(dim=0).min() > 0.05


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_probability_is_the_fraction_of_mixed_images(name: str) -> None:
    _, y = mixed({"name": name, "alpha": 5.0, "probability": 0.3})
    assert abs((y.max(dim=1).values < 1).float().mean() - 0.3) < 0.1

    x, y = mixed({"name": name, "probability": 0.0})
    assert (x.mean(dim=(1, 2, 3)) == torch.arange(N) % 2).all()
    assert torch.equal(y.argmax(dim=1), torch.arange(N) % 2)


def test_each_image_draws_one_of_two_mixers() -> None:
    x, y = mixed({"name": "mixup", "alpha": 5.0}, {"name": "cutmix", "alpha": 5.0})
    is_blend = ((x > 0) & (x < 1)).flatten(1).any(dim=1)
    is_cut = ((x == 0).flatten(1).any(dim=1)) & ((x == 1).flatten(1).any(dim=1))

    assert not (is_blend & is_cut).any()
    assert abs(is_blend.float().mean() - 0.5) < 0.1
    assert abs(is_cut.float().mean() - 0.5) < 0.1
    assert torch.allclose(x.mean(dim=(1, 2, 3)), y[:, 1], atol=1e-5)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"name": "mixup", "alpha": 0}, "alpha = 0 in the augmentation mixup: .* 0.01"),
        ({"name": "cutmix", "probability": 2}, "probability = 2 in the augmentation cutmix: .* 1"),
        ({"name": "mix_up"}, "unknown augmentation 'mix_up'; did you mean 'mixup'"),
    ],
)
def test_an_invalid_table_is_an_error_with_the_allowed_values(spec: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build([spec])

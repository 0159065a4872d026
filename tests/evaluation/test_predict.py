from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from convoy.evaluation.predict import predict, watched
from convoy.training.run.finish import first_layer_filters


def to_unit(x: torch.Tensor) -> torch.Tensor:
    return x.float() / 255


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (25, 1, 6, 6), dtype=np.uint8)


@pytest.fixture
def module() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 3))


def test_logits_do_not_depend_on_the_batch_size(module: nn.Module, images: np.ndarray) -> None:
    one_batch, batches = predict(module, images, to_unit), predict(module, images, to_unit, batch_size=7)
    assert one_batch.shape == (25, 3)
    assert one_batch.dtype == np.float32
    np.testing.assert_allclose(one_batch, batches, atol=1e-5)


@pytest.mark.parametrize("mode", [True, False])
def test_predicting_keeps_mode_and_statistics(module: nn.Module, images: np.ndarray, mode: bool) -> None:
    module.train(mode)
    before = module[1].running_mean.clone()
    first, second = predict(module, images, to_unit), predict(module, images, to_unit)
    assert module.training == mode
    assert torch.equal(module[1].running_mean, before)
    assert np.array_equal(first, second)  # no dropout


def test_mode_is_restored_after_an_error(module: nn.Module, images: np.ndarray) -> None:
    module.train()
    with pytest.raises(RuntimeError):
        predict(module, images[:, :, :3], to_unit)
    assert module.training


@pytest.mark.filterwarnings("error")
def test_read_only_memory_map_is_read_without_a_warning(module: nn.Module, images: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    assert np.array_equal(predict(module, mapped, to_unit), predict(module, images, to_unit))


def test_watcher_is_called_after_each_batch(module: nn.Module, images: np.ndarray) -> None:
    calls: list[tuple[int, int]] = []
    size = len(images) // 2 + 1
    with watched(lambda done, count: calls.append((done, count))):
        predict(module, images, to_unit, batch_size=size)
    predict(module, images, to_unit, batch_size=size)
    assert calls == [(size, len(images)), (len(images), len(images))]


def test_first_layer_filters_are_a_copy_of_the_first_convolution(module: nn.Module) -> None:
    filters = first_layer_filters(module.to(memory_format=torch.channels_last))
    assert filters is not None
    assert filters.shape == (4, 1, 3, 3)
    assert np.array_equal(filters, module[0].weight.detach().numpy())
    with torch.no_grad():
        module[0].weight.zero_()
    assert filters.any()


def test_network_without_convolution_has_no_filters() -> None:
    assert first_layer_filters(nn.Linear(3, 3)) is None


def test_batches_of_large_images_are_smaller() -> None:
    counts: list[int] = []

    class Counting(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            counts.append(len(x))
            return x.mean((2, 3))

    for side in (16, 32, 128):
        predict(Counting(), np.zeros((40, 1, side, side), np.uint8), to_unit, batch_size=40)

    assert counts == [40, 40] + [2] * 20

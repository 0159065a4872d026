from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.forks import run_code
from torch import nn

from convoy.evaluation.cost import Milliseconds, flops_per_image, ms_per_image, parameters
from convoy.models import create


def test_flops_and_parameters_of_lenet_are_those_counted_by_hand() -> None:
    lenet = create("lenet", in_chans=1, num_classes=10, image_size=28)
    convolutions = 24 * 24 * 6 * (1 * 5 * 5) + 8 * 8 * 16 * (6 * 5 * 5)
    linear = 256 * 120 + 120 * 84 + 84 * 10
    assert flops_per_image(lenet, (1, 28, 28)) == 2 * (convolutions + linear)
    weights = 6 * 25 + 16 * 150 + linear
    assert parameters(lenet) == weights + 6 + 16 + 120 + 84 + 10


def test_wide_kernel_cnn_has_the_published_number_of_multiply_adds() -> None:
    network = create("wide_kernel_cnn", in_chans=1, num_classes=10, image_size=28)
    assert round(flops_per_image(network, (1, 28, 28)) / 2e6, 1) == 14.5


def test_latency_of_a_larger_network_is_longer_and_measuring_changes_nothing() -> None:
    small = nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, 10))
    large = nn.Sequential(nn.Conv2d(1, 64, 3), nn.Conv2d(64, 64, 3), nn.BatchNorm2d(64))
    threads = torch.get_num_threads()
    assert 0 < ms_per_image(small, (1, 28, 28)).median < ms_per_image(large, (1, 28, 28)).median
    assert large.training
    assert large[2].num_batches_tracked == 0
    assert torch.get_num_threads() == threads


def test_median_and_quartiles_of_latencies() -> None:
    assert Milliseconds.of([0.004, 0.001, 0.005, 0.002, 0.003]) == pytest.approx((3, 2, 4))
    assert Milliseconds.of([0.001]) == pytest.approx((1, 1, 1))


def test_peak_memory_includes_a_freed_tensor(tmp_path: Path) -> None:
    # In a separate process: a process that has trained reuses freed memory for the tensor.
    code = (
        "import torch; from convoy.evaluation.cost import PeakMemory\n"
        "peak = PeakMemory(torch.device('cpu')); before = peak.bytes()\n"
        "torch.ones(40_000_000)\n"  # 160 MB
        "print(peak.bytes() - before)"
    )
    assert 120e6 < int(run_code(tmp_path, code, ()).out) < 250e6

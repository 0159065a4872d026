"""What a network costs: parameters, FLOPs, milliseconds, bytes."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from convoy.evaluation.predict import evaluating

WARM_UP, REPEATS, LATENCY_SECONDS = 3, 50, 2.0


class Milliseconds(NamedTuple):
    """Of a forward pass, over several: the median, and the lower and upper quartile."""

    median: float
    lower: float
    upper: float

    @classmethod
    def of(cls, seconds: list[float]) -> Milliseconds:
        lower, median, upper = 1000 * np.quantile(seconds, (0.25, 0.5, 0.75))
        return cls(float(median), float(lower), float(upper))


def parameters(module: nn.Module) -> int:
    """All of them, those that forward never reaches included."""
    return sum(parameter.numel() for parameter in module.parameters())


def flops_per_image(module: nn.Module, shape: tuple[int, int, int]) -> int:
    """FLOPs of one forward pass of an image (C, H, W), counted by torch: 2 per multiply-add, so half of it is MACs.

    Convolutions and matrix products count; norms, activations, pooling and resampling do not, as is the custom.
    """
    with evaluating(module), torch.no_grad(), countable(), FlopCounterMode(display=False) as counter:
        module(_blank(module, shape))
    return counter.get_total_flops()


@contextmanager
def countable() -> Iterator[None]:
    """Attention as the matrix products that it consists of: torch counts nothing of its fused kernels on the CPU."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def ms_per_image(module: nn.Module, shape: tuple[int, int, int]) -> Milliseconds:
    """Of forward passes of one image (batch 1) on the module's own device, after a warm-up.

    From input tensor to finished logits; neither decoding nor normalisation, nor the copy to the device. On a CPU with
    one thread, so that the number does not depend on how many runs share the cores.
    """
    threads = torch.get_num_threads()
    image = _blank(module, shape)
    torch.set_num_threads(1)
    try:
        return Milliseconds.of(timed_passes(module, image))
    finally:
        torch.set_num_threads(threads)


def timed_passes(module: nn.Module, images: torch.Tensor, longest: float | None = None) -> list[float]:
    """Seconds of each of up to 50 forward passes, after a warm-up of up to 3; neither begins a pass after `longest`
    seconds (2 where nothing is said)."""
    seconds: list[float] = []
    with evaluating(module), torch.inference_mode():
        for passes in (WARM_UP, REPEATS):
            seconds = []
            while len(seconds) < passes and sum(seconds) < (LATENCY_SECONDS if longest is None else longest):
                seconds.append(_seconds(module, images))
    return seconds


class PeakMemory:
    """The most memory used since this was made, in bytes.

    On a CPU: the resident-set high-water mark of the whole process, that is Python, the loaded libraries (torch alone
    is 200 to 400 MB) and the resident data set as well as the network. Linux lets a process restart its mark; elsewhere
    it counts from the start of the process, so that an earlier run in it may have set it.
    On CUDA: the most that torch's allocator held in tensors; no context, no library workspace, no other process.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        elif sys.platform == "linux":
            _restart_high_water_mark()

    def bytes(self) -> int:
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device)
        if sys.platform == "linux" and (mark := _high_water_mark()):
            return mark
        mark = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return mark if sys.platform == "darwin" else mark * 1024  # macOS gives bytes, others KiB


def _high_water_mark() -> int:
    """VmHWM. getrusage's mark is inherited: a worker would count what the process that started it once used."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


def _restart_high_water_mark() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # man 5 proc
    except OSError:  # a container may mount /proc read-only; the docstring above says what then counts
        return


def _blank(module: nn.Module, shape: tuple[int, int, int]) -> torch.Tensor:
    weight = next(module.parameters())
    return torch.zeros(1, *shape, device=weight.device, dtype=weight.dtype)


def _seconds(module: nn.Module, image: torch.Tensor) -> float:
    start = time.perf_counter()
    module(image)
    if image.is_cuda:
        torch.cuda.synchronize(image.device)
    return time.perf_counter() - start

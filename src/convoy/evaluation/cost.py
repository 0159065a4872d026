"""Costs of a network: parameters, FLOPs, latency, memory."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from convoy.evaluation.predict import evaluating

WARM_UP, REPEATS, LATENCY_SECONDS = 3, 50, 2.0


class Milliseconds(NamedTuple):
    """Latency of forward passes: median, lower and upper quartile."""

    median: float
    lower: float
    upper: float

    @classmethod
    def of(cls, seconds: list[float]) -> Milliseconds:
        lower, median, upper = 1000 * np.quantile(seconds, (0.25, 0.5, 0.75))
        return cls(float(median), float(lower), float(upper))


def parameters(module: nn.Module) -> int:
    """Number of parameters, including those that `forward` does not use."""
    return sum(parameter.numel() for parameter in module.parameters())


def flops_per_image(module: nn.Module, shape: tuple[int, int, int]) -> int:
    """FLOPs of a forward pass of one image (C, H, W), counted by torch: 2 per multiply-add, so MACs are half.

    Counts convolutions and matrix products, but not norms, activations, pooling and resampling.
    """
    counter = _FlopCounter()
    with evaluating(module), torch.no_grad(), countable_attention(), counter:
        module(_blank(module, shape))
    return counter.flops


class DispatchMode(TorchDispatchMode):
    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Called by torch. With True, the default, the first call of a mode imports the compiler, which is slow."""
        return False


class _FlopCounter(DispatchMode):
    """torch's FlopCounterMode without its table of modules."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.flops += flops_of_call(func.overloadpacket, args, kwargs or {}, result)
        return result


def flops_of_call(packet: Any, args: Any, kwargs: Any, result: Any) -> int:
    count = flop_registry.get(packet)
    if count is None:
        return 0
    formula = getattr(count, "__wrapped__", None)  # of shapes; torch's conversion of tensors to shapes is slow
    if formula is None:
        return int(count(*args, **kwargs, out_val=result))
    keywords = {key: _shape(value) for key, value in kwargs.items()}
    return int(formula(*map(_shape, args), **keywords, out_shape=_shape(result)))


def _shape(value: Any) -> Any:
    if isinstance(value, list | tuple) and any(isinstance(each, torch.Tensor) for each in value):
        return [_shape(each) for each in value]
    return value.shape if isinstance(value, torch.Tensor) else value


@contextmanager
def countable_attention() -> Iterator[None]:
    """Computes attention with matrix products, because torch does not count the FLOPs of its fused CPU kernels."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


@contextmanager
def one_thread() -> Iterator[None]:
    """Limits torch to one CPU thread, and restores its thread count."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@one_thread()
def ms_per_image(module: nn.Module, shape: tuple[int, int, int]) -> Milliseconds:
    """Latency of one image (batch size 1) on the module's device, from input tensor to logits.

    Excludes decoding, normalisation and the copy to the device. A CPU uses one thread, so that the latency does not
    depend on how many runs share the cores.
    """
    return Milliseconds.of(timed_passes(module, _blank(module, shape)))


def timed_passes(module: nn.Module, images: torch.Tensor, longest: float | None = None) -> list[float]:
    """Seconds of each of up to 50 forward passes, after up to 3 warm-up passes.

    No pass starts after `longest` seconds (default 2).
    """
    seconds: list[float] = []
    with evaluating(module), torch.inference_mode():
        for passes in (WARM_UP, REPEATS):
            seconds = []
            while len(seconds) < passes and sum(seconds) < (LATENCY_SECONDS if longest is None else longest):
                seconds.append(_seconds(module, images))
    return seconds


class PeakMemory:
    """Peak memory in bytes since this object was created.

    On a CPU: the peak resident memory of the process. It includes Python, the loaded libraries (torch alone is 200 to
    400 MB) and the resident part of the data set. Only Linux can reset the peak; elsewhere, or if that fails, it is
    the peak since the start of the process.
    On CUDA: the peak of torch's allocated tensors, without context, library workspace and other processes.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        elif sys.platform == "linux":
            with suppress(OSError):  # a read-only /proc
                Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # man 5 proc

    def bytes(self) -> int:
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device)
        if sys.platform == "linux" and (mark := _high_water_mark()):
            return mark
        mark = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return mark if sys.platform == "darwin" else mark * 1024  # macOS gives bytes, others KiB


def _high_water_mark() -> int:
    """VmHWM in bytes, or 0. Unlike the peak of getrusage, it does not include the memory of the parent process."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


def _blank(module: nn.Module, shape: tuple[int, int, int]) -> torch.Tensor:
    weight = next(module.parameters())
    return torch.zeros(1, *shape, device=weight.device, dtype=weight.dtype)


def _seconds(module: nn.Module, image: torch.Tensor) -> float:
    start = time.perf_counter()
    module(image)
    if image.is_cuda:
        torch.cuda.synchronize(image.device)
    elif image.is_mps:
        torch.mps.synchronize()
    return time.perf_counter() - start

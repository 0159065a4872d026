"""BatchNorm over the images of all ranks, with torch's parameters, buffers and results.

torch.nn.SyncBatchNorm does not support CPU tensors. Mean and variance are computed in two passes, so that they equal
those of a single process up to rounding; a sum of squares would lose precision.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from convoy.training.step.ranks import Ranks

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)  # exact types only; subclasses may compute something else


class _Sum(torch.autograd.Function):
    """The sum over all ranks. Its gradient is the sum of their gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, ranks: Ranks) -> Tensor:
        ctx.ranks = ranks
        return ranks.sum(x.clone())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.ranks.sum(gradients[0].clone()), None


class RanksBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Replaces nn.BatchNorm1d, 2d or 3d; shares its parameters and buffers."""

    def __init__(self, norm: nn.modules.batchnorm._BatchNorm, ranks: Ranks) -> None:
        super().__init__(
            norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats, device="meta"
        )
        self._parameters, self._buffers, self.training = norm._parameters, norm._buffers, norm.training
        self._ranks = ranks

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002 (torch's name)
        pass  # not needed: a user's network is first tested with torch's own layers

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (torch's name)
        ranks = self._ranks
        uses_batch = self.training or self.running_mean is None
        if not uses_batch or ranks.images_ratio == 1 or not torch.is_grad_enabled():
            return super().forward(input)
        x = input.float() if input.dtype in (torch.bfloat16, torch.float16) else input
        axes = [axis for axis in range(x.ndim) if axis != 1]
        shape = [1, -1] + [1] * (x.ndim - 2)
        count = round(x.numel() // x.shape[1] * ranks.images_ratio)  # values per channel in all ranks
        mean = _Sum.apply(x.sum(axes), ranks) / count  # (C,)
        centred = x - mean.view(shape)
        variance = _Sum.apply(centred.square().sum(axes), ranks) / count
        self._update(mean.detach(), variance.detach() * (count / max(count - 1, 1)))
        y = centred * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            y = y * self.weight.view(shape) + self.bias.view(shape)
        return y.to(input.dtype)

    @torch.no_grad()
    def _update(self, mean: Tensor, variance: Tensor) -> None:
        if not (self.training and self.track_running_stats):
            return
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        momentum = 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), momentum)
        self.running_var.lerp_(variance.to(self.running_var.dtype), momentum)


def replace_batch_norms(module: nn.Module, ranks: Ranks) -> None:
    """Replaces the BatchNorms in a network, in place. A norm that is used in several places stays one module."""
    replaced: dict[nn.Module, nn.Module] = {}
    for parent in list(module.modules()):
        for name, child in parent._modules.items():
            if isinstance(child, nn.modules.batchnorm._BatchNorm) and type(child) in _NORMS:
                replaced.setdefault(child, RanksBatchNorm(child, ranks))
                setattr(parent, name, replaced[child])

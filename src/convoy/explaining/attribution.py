"""Grad-CAM and integrated gradients: the parts of an image that are evidence for a class.

In both, the output for an image must not depend on the other images of a batch, as in evaluation mode.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from convoy.evaluation.predict import evaluating
from convoy.explaining.layers import Place, outputs_of

BATCH = 64  # images of 32 x 32 pixels in a backward pass, which stores the outputs of all layers


class IntegratedGradients(NamedTuple):
    """Integrated gradients of B images for one class each."""

    attributions: torch.Tensor  # (B, C, H, W): the contribution of each input value to the change of the output
    change: torch.Tensor  # (B,): output for the image minus output for the baseline

    @property
    def error(self) -> torch.Tensor:
        """The completeness error (B,): the sum of the attributions minus the change of the output."""
        return self.attributions.flatten(1).sum(1) - self.change


def grad_cam(module: nn.Module, x: torch.Tensor, classes: torch.Tensor, place: Place) -> torch.Tensor:
    """Returns class activation maps (B, h, w) >= 0 of inputs (B, C, H, W), each for its class (B,).

    They have the size of the layer's maps. The weight of a channel is the mean gradient of the class's output over its
    map; the class activation map is the weighted sum of the channels, with negative values set to 0 (Selvaraju et al.
    2017, equations 1 and 2).
    """
    cams = []
    with evaluating(module), torch.enable_grad():
        for images, targets in _batches(x, classes):
            outputs, (maps,) = outputs_of(module, images.detach().requires_grad_(), [place])
            (gradients,) = torch.autograd.grad(_of_class(outputs, targets).sum(), maps, materialize_grads=True)
            cams.append(F.relu((gradients.mean(dim=(2, 3), keepdim=True) * maps).sum(1)).detach())
    return torch.cat(cams)


def integrated_gradients(
    module: nn.Module, x: torch.Tensor, classes: torch.Tensor, baseline: torch.Tensor, steps: int
) -> IntegratedGradients:
    """Attributes inputs (B, C, H, W), each for its class (B,), relative to a baseline (C, H, W) or (C, 1, 1).

    Computes the integral of the gradients along the straight line from the baseline to the input, times the difference
    between the two (Sundararajan et al. 2017, equation 1), by Gauss-Legendre quadrature with `steps` points. A batch
    can contain points of several images.
    """
    nodes, weights = np.polynomial.legendre.leggauss(steps)  # quadrature on the interval from -1 to 1
    positions = torch.tensor((nodes + 1) / 2, dtype=x.dtype)
    shares = torch.tensor(weights / 2, dtype=x.dtype)
    start = baseline.expand_as(x[0])
    sums = torch.zeros_like(x)
    every = torch.arange(len(x) * steps)
    with evaluating(module), torch.enable_grad():
        for numbers in every.split(_batch_size(x)):
            image, step = numbers // steps, numbers % steps
            points = torch.lerp(start[None], x[image], positions[step][:, None, None, None]).requires_grad_()
            (gradients,) = torch.autograd.grad(_of_class(module(points), classes[image]).sum(), points)
            sums.index_add_(0, image, gradients * shares[step][:, None, None, None])
        with torch.no_grad():
            after = torch.cat([_of_class(module(images), targets) for images, targets in _batches(x, classes)])
            before = module(start[None])[0][classes]
    return IntegratedGradients((x - start) * sums, after - before)


def _of_class(outputs: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """Returns the output for the class of each image, (B,)."""
    return outputs.gather(1, classes[:, None])[:, 0]


def _batches(x: torch.Tensor, classes: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    size = _batch_size(x)
    return zip(x.split(size), classes.split(size), strict=True)


def _batch_size(x: torch.Tensor) -> int:
    return max(1, BATCH * 32**2 // max(32, x.shape[-1]) ** 2)

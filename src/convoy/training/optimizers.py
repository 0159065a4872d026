"""Optimizers by the recipe's name.

SGD, Adam and AdamW are torch's fused ones: on the CPU the update of two_conv_cnn is one kernel over all parameters, and
all three can leave an update out on the device (`found_inf`) without the host asking what the loss was.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from convoy.recipe import SGD, Adam, AdamW, OptimBase, RMSprop


def build(spec: OptimBase, module: nn.Module) -> torch.optim.Optimizer:
    """Norms' weights and all biases (tensors of one dimension) carry no weight decay unless the recipe asks for it."""
    groups: list[dict[str, Any]] = [
        {"params": [], "weight_decay": spec.weight_decay},
        {"params": [], "weight_decay": 0.0},
    ]
    for parameter in module.parameters():
        if parameter.requires_grad:
            groups[parameter.ndim <= 1 and not spec.decay_norms_and_biases]["params"].append(parameter)
    groups = [group for group in groups if group["params"]]
    match spec:
        case SGD():
            optimizer = torch.optim.SGD(groups, lr=spec.lr, momentum=spec.momentum, nesterov=spec.nesterov, fused=True)
            if spec.momentum:  # torch leaves them uninitialised where the very first update is left out
                for parameter in (parameter for group in groups for parameter in group["params"]):
                    optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
            return optimizer
        case Adam():
            return torch.optim.Adam(groups, lr=spec.lr, betas=spec.betas, eps=spec.eps, fused=True)
        case AdamW():
            return torch.optim.AdamW(groups, lr=spec.lr, betas=spec.betas, eps=spec.eps, fused=True)
        case RMSprop():
            return torch.optim.RMSprop(groups, lr=spec.lr, alpha=spec.alpha, momentum=spec.momentum, eps=spec.eps)
    raise AssertionError(spec)


def kept_per_parameter(spec: OptimBase, *, ema_decay: float = 0.0) -> int:
    """Numbers that training remembers for each weight: none, one (momentum) or two (Adam), seen after a step; and one
    of a moving average."""
    probe = nn.Linear(8, 8, bias=False)
    optimizer = build(spec, probe)
    probe.weight.grad = torch.zeros_like(probe.weight)
    optimizer.step()
    kept = [value for value in optimizer.state[probe.weight].values() if isinstance(value, torch.Tensor)]
    return sum(value.numel() for value in kept) // probe.weight.numel() + (ema_decay > 0)

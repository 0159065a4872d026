"""Optimizers by the recipe's name.

SGD, Adam and AdamW are torch's fused versions: on the CPU, one kernel updates all parameters of two_conv_cnn, and all
three can skip a step on the device (`found_inf`) without the host reading the loss.
"""

from __future__ import annotations

from typing import assert_never

import torch
from torch import nn

from convoy.recipe import sections


def build(spec: sections.Optim, module: nn.Module) -> torch.optim.Optimizer:
    """One-dimensional tensors (norm weights, biases) have no weight decay unless the recipe says so."""
    decayed: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for parameter in module.parameters():
        if parameter.requires_grad:
            (others if parameter.ndim <= 1 and not spec.decay_norms_and_biases else decayed).append(parameter)
    pairs = ((decayed, spec.weight_decay), (others, 0.0))
    groups = [{"params": parameters, "weight_decay": decay} for parameters, decay in pairs if parameters]
    match spec:
        case sections.SGD():
            optimizer = torch.optim.SGD(groups, lr=spec.lr, momentum=spec.momentum, nesterov=spec.nesterov, fused=True)
            if spec.momentum:  # torch leaves them uninitialised if the first step is skipped
                for parameter in (*decayed, *others):
                    optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
            return optimizer
        case sections.Adam():
            return torch.optim.Adam(groups, lr=spec.lr, betas=spec.betas, eps=spec.eps, fused=True)
        case sections.AdamW():
            return torch.optim.AdamW(groups, lr=spec.lr, betas=spec.betas, eps=spec.eps, fused=True)
        case sections.RMSprop():
            return torch.optim.RMSprop(groups, lr=spec.lr, alpha=spec.alpha, momentum=spec.momentum, eps=spec.eps)
    assert_never(spec)


def state_per_parameter(spec: sections.Optim, *, ema_decay: float = 0.0) -> int:
    """Numbers of optimizer state per weight: none, one (momentum) or two (Adam); one more for a moving average."""
    probe = nn.Linear(8, 8, bias=False)
    optimizer = build(spec, probe)
    probe.weight.grad = torch.zeros_like(probe.weight)
    optimizer.step()
    state = [value for value in optimizer.state[probe.weight].values() if isinstance(value, torch.Tensor)]
    return sum(value.numel() for value in state) // probe.weight.numel() + (ema_decay > 0)

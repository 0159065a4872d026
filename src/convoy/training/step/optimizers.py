"""Builds the optimizer of a recipe.

All optimizers are torch's kernels, called through its functional interface. The kernels of SGD, Adam and AdamW are
fused: one call updates all parameters of a group and can skip a step on the device (`found_inf`), so the host does not
have to read the loss. `torch.optim.Adam` is not used for two reasons. It imports torch's compiler, which takes longer
than a short run. And each step looks up the state parameter by parameter, which takes longer than the kernel for
LeNet's 10 tensors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, TypedDict, assert_never

import torch
from torch import nn
from torch.optim.adam import adam
from torch.optim.rmsprop import rmsprop
from torch.optim.sgd import sgd

from convoy.models.depth import depth_groups
from convoy.recipe import sections


class OptimizerState(TypedDict):
    """The layout of torch's `state_dict`, without its `param_groups`."""

    state: dict[int, dict[str, torch.Tensor]]  # by parameter index, then by name


class Optimizer(Protocol):
    lr: float

    def step(self, skipped: torch.Tensor | None = None) -> None:
        """Updates the parameters that have a gradient, unless `skipped` (scalar, on the device) is 1."""

    def state_dict(self) -> OptimizerState: ...

    def load_state_dict(self, state: OptimizerState) -> None: ...


class Kernel(Protocol):
    """Updates one parameter group in place. Changes nothing if `found_inf` (scalar, on the device) is 1.

    torch's kernels do not record gradients; one that is written by hand needs `@torch.no_grad()`.
    """

    def __call__(
        self,
        parameters: list[torch.Tensor],
        gradients: list[torch.Tensor],
        state: list[list[torch.Tensor]],
        *,
        lr: float,
        weight_decay: float,
        found_inf: torch.Tensor | None,
    ) -> None: ...


@dataclass(frozen=True)
class Group:
    parameters: list[torch.Tensor]
    weight_decay: float
    lr_factor: float  # 1 except with `layer_decay`
    state: dict[str, list[torch.Tensor]] = field(default_factory=dict)  # by name, one tensor per parameter


class KernelOptimizer:
    """An optimizer that calls a kernel and can skip a step on the device. The state is one list of tensors per name."""

    def __init__(self, groups: list[Group], lr: float, names: Sequence[str], kernel: Kernel) -> None:
        """`names`: the state tensors of a parameter. `step` is a scalar; the others have the parameter's shape."""
        self.lr = lr
        self.groups = groups
        for group in groups:
            group.state.update({name: _zeros(name, group.parameters) for name in names})
        self._kernel = kernel

    def step(self, skipped: torch.Tensor | None = None) -> None:
        for group in self.groups:
            parameters, state = group.parameters, list(group.state.values())
            gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
            if len(gradients) < len(parameters):
                used = [number for number, parameter in enumerate(parameters) if parameter.grad is not None]
                parameters, *state = ([tensors[number] for number in used] for tensors in (parameters, *state))
            lr, decay = self.lr * group.lr_factor, group.weight_decay
            self._kernel(parameters, gradients, state, lr=lr, weight_decay=decay, found_inf=skipped)

    def state_dict(self) -> OptimizerState:
        return {"state": dict(enumerate(self._states()))}

    def load_state_dict(self, state: OptimizerState) -> None:
        for number, tensors in enumerate(self._states()):
            for name, tensor in tensors.items():
                if number in state["state"]:  # torch keeps no state for a parameter without a gradient
                    tensor.copy_(state["state"][number][name])

    def _states(self) -> list[dict[str, torch.Tensor]]:
        return [
            {name: tensors[number] for name, tensors in group.state.items()}
            for group in self.groups
            for number in range(len(group.parameters))
        ]


def _zeros(name: str, parameters: list[torch.Tensor]) -> list[torch.Tensor]:
    if name == "step":
        return [torch.zeros((), device=parameter.device) for parameter in parameters]
    return [torch.zeros_like(parameter, requires_grad=False) for parameter in parameters]


def build(spec: sections.Optim, module: nn.Module) -> Optimizer:
    """One-dimensional tensors (norm weights, biases) have no weight decay unless `decay_norms_and_biases` is set."""
    factors = lr_factors(spec, module)
    by_rule: dict[tuple[float, bool], list[torch.Tensor]] = {(1.0, True): [], (1.0, False): []}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            decays = parameter.ndim > 1 or spec.decay_norms_and_biases
            by_rule.setdefault((factors.get(name, 1.0), decays), []).append(parameter)
    groups = [
        Group(tensors, spec.weight_decay if decays else 0.0, factor)
        for (factor, decays), tensors in by_rule.items()
        if tensors
    ]
    kernel: Kernel
    match spec:
        case sections.SGD():
            names = ["momentum_buffer"] if spec.momentum else []
            kernel = partial(_sgd, momentum=spec.momentum, nesterov=spec.nesterov)
        case sections.Adam() | sections.AdamW():
            decoupled = isinstance(spec, sections.AdamW)
            kernel = partial(_adam, betas=spec.betas, eps=spec.eps, decoupled=decoupled)
            names = ["step", "exp_avg", "exp_avg_sq"]
        case sections.RMSprop():
            kernel = partial(_rmsprop, alpha=spec.alpha, momentum=spec.momentum, eps=spec.eps)
            names = ["step", "square_avg", *(["momentum_buffer"] if spec.momentum else [])]
        case _:
            assert_never(spec)
    return KernelOptimizer(groups, spec.lr, names, kernel)


def lr_factors(spec: sections.Optim, module: nn.Module) -> dict[str, float]:
    """Returns the factor of the learning rate by parameter name; empty if all have the same rate."""
    if spec.layer_decay == 1:
        return {}
    groups = depth_groups(module)
    return {
        name: spec.layer_decay**depth_from_head
        for depth_from_head, names in enumerate(reversed(groups))
        for name in names
    }


def _sgd(
    parameters: list[torch.Tensor],
    gradients: list[torch.Tensor],
    state: list[list[torch.Tensor]],
    *,
    momentum: float,
    nesterov: bool,
    **options: Any,
) -> None:
    # The first step adds the gradient to a momentum of zero.
    buffers: list[torch.Tensor | None] = [*state[0]] if state else [None] * len(parameters)
    sgd(
        parameters, gradients, buffers, fused=True, momentum=momentum, nesterov=nesterov, dampening=0, maximize=False,
        **options,
    )  # fmt: skip


def _adam(
    parameters: list[torch.Tensor],
    gradients: list[torch.Tensor],
    state: list[list[torch.Tensor]],
    *,
    betas: tuple[float, float],
    eps: float,
    decoupled: bool,
    **options: Any,
) -> None:
    steps, means, squares = state
    adam(
        parameters, gradients, means, squares, [], steps, fused=True, amsgrad=False, maximize=False,
        beta1=betas[0], beta2=betas[1], eps=eps, decoupled_weight_decay=decoupled, **options,
    )  # fmt: skip


@torch.no_grad()
def _rmsprop(
    parameters: list[torch.Tensor],
    gradients: list[torch.Tensor],
    state: list[list[torch.Tensor]],
    *,
    found_inf: torch.Tensor | None,
    **options: Any,
) -> None:
    steps, squares, *buffers = state
    with reverted_if(found_inf, [*parameters, *(tensor for tensors in state for tensor in tensors)]):
        rmsprop(parameters, gradients, squares, [], buffers[0] if buffers else [], steps, centered=False, **options)


@contextmanager
def reverted_if(found_inf: torch.Tensor | None, tensors: list[torch.Tensor]) -> Iterator[None]:
    """For a kernel that cannot skip a step: restores the tensors afterwards, on their device, if `found_inf` is 1."""
    if found_inf is None:
        yield
        return
    before = [tensor.clone() for tensor in tensors]
    yield
    for tensor, value in zip(tensors, before, strict=True):
        tensor.copy_(torch.where(found_inf > 0, value, tensor))


def state_per_parameter(spec: sections.Optim, *, ema_decay: float = 0.0) -> int:
    """Returns the number of state values per weight: 0, 1 (momentum) or 2 (Adam), plus 1 for a moving average."""
    probe = nn.Linear(8, 8, bias=False)
    optimizer = build(spec, probe)
    probe.weight.grad = torch.zeros_like(probe.weight)
    optimizer.step()
    state = [value for value in optimizer.state_dict()["state"][0].values() if isinstance(value, torch.Tensor)]
    return sum(value.numel() for value in state) // probe.weight.numel() + (ema_decay > 0)

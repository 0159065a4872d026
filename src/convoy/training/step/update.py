"""The optimizer's step without the overhead that torch repeats in each call.

torch.optim.Adam looks up its state parameter by parameter and calls profiler and compiler hooks before the kernel; for
LeNet's 10 tensors this takes longer than the kernel. Here the lists are made once and passed to torch's functional
Adam. Other optimizers, and steps in which a parameter has no gradient, use `Optimizer.step`. The state is the
optimizer's own, so that its state_dict stays correct.
"""

from __future__ import annotations

from operator import itemgetter
from typing import Any, NamedTuple

import torch
from torch.optim.adam import adam

OPTIONS = itemgetter("betas", "lr", "weight_decay", "eps", "decoupled_weight_decay")


class _Group(NamedTuple):
    options: dict[str, Any]  # the optimizer's param_group: a schedule changes its learning rate
    parameters: list[torch.Tensor]
    means: list[torch.Tensor]
    squares: list[torch.Tensor]
    steps: list[torch.Tensor]


class Update:
    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._optimizer = optimizer
        self._groups: list[_Group] = []  # empty before the first step, which creates the state

    def forget(self) -> None:
        """Call it after the optimizer's state was replaced."""
        self._groups = []

    def __call__(self, found_inf: torch.Tensor | None = None) -> None:
        """One step; if `found_inf` is 1, the fused kernels skip it on the device."""
        if not self._groups and isinstance(self._optimizer, torch.optim.Adam):  # AdamW is one
            self._groups = self._prepared()
        gradients = [[parameter.grad for parameter in group.parameters] for group in self._groups]
        if not self._groups or any(gradient is None for of_group in gradients for gradient in of_group):
            self._optimizer.found_inf = found_inf  # type: ignore[attr-defined]
            self._optimizer.step()
            return
        for group, of_group in zip(self._groups, gradients, strict=True):
            (beta1, beta2), lr, weight_decay, eps, decoupled = OPTIONS(group.options)
            adam(
                group.parameters,
                of_group,  # type: ignore[arg-type]
                group.means,
                group.squares,
                [],
                group.steps,
                fused=True,
                found_inf=found_inf,
                decoupled_weight_decay=decoupled,
                amsgrad=False,
                beta1=beta1,
                beta2=beta2,
                lr=lr,
                weight_decay=weight_decay,
                eps=eps,
                maximize=False,
            )

    def _prepared(self) -> list[_Group]:
        states, groups = self._optimizer.state, []
        for options in self._optimizer.param_groups:
            parameters = options["params"]
            if not all(parameter in states for parameter in parameters):
                return []
            columns = ([states[each][key] for each in parameters] for key in ("exp_avg", "exp_avg_sq", "step"))
            groups.append(_Group(options, parameters, *columns))
        return groups

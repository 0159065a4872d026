"""Finds the operation that first returns NaN or infinity: in a forward pass, or in the backward pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn

from convoy.diagnosing.watch import Place, Watch


def first_bad_output(module: nn.Module, x: torch.Tensor) -> Place | None:
    watch = Watch(x, looks_for_not_finite=True)
    with torch.no_grad(), watch.hooked(module), watch:
        module(x.clone())
    return watch.not_finite


def first_bad_gradient(
    module: nn.Module, x: torch.Tensor, loss_of: Callable[[torch.Tensor], torch.Tensor]
) -> Place | None:
    """Repeats the step, and returns the operation whose gradient is not finite although that of its output is."""
    watch = _Outputs(x)
    with watch.hooked(module), watch:
        outputs = module(x.clone())
    loss, found = loss_of(outputs), list[Place]()
    places = {tensor.grad_fn: place for tensor, place in watch.outputs}

    def look(
        node: Any, of_inputs: tuple[torch.Tensor | None, ...], of_outputs: tuple[torch.Tensor | None, ...]
    ) -> None:
        if not found and _are_finite(of_outputs) and not _are_finite(of_inputs):
            found.append(places.get(node) or Place(node.name().partition("Backward")[0].lower(), ""))

    steps, seen = [loss.grad_fn], set[Any]()
    while steps:
        node = steps.pop()
        if node is not None and node not in seen:
            seen.add(node)
            steps += [before for before, _index in node.next_functions]
            if node.next_functions:  # else it adds to the gradient of a parameter
                node.register_hook(partial(look, node))
    parameters = [each for each in module.parameters() if each.requires_grad]
    torch.autograd.grad(loss, parameters, allow_unused=True)
    return found[0] if found else None


@dataclass(eq=False)
class _Outputs(Watch):
    """Keeps the results of all operations, because autograd adds their `grad_fn` after the dispatch."""

    outputs: list[tuple[torch.Tensor, Place]] = field(default_factory=list)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for output in result if isinstance(result, tuple | list) else (result,):
            if isinstance(output, torch.Tensor):
                self.outputs.append((output, self.place(func._overloadpacket.__name__.strip("_"))))
        return result


def _are_finite(gradients: tuple[torch.Tensor | None, ...]) -> bool:
    return all(each is None or bool(torch.isfinite(each).all()) for each in gradients)

"""Layers and tensors in attributes of a network that it does not register."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

COMPUTED_FROM = ("_g", "_orig")  # suffixes of the parameters of weight norm, spectral norm and pruning


def unregistered_values(module: nn.Module) -> Iterator[tuple[str, list[object]]]:
    """Yields the name of each attribute with the values (or elements of them) that `module` does not register."""
    registered = {id(each) for each in (*module.modules(), *module.parameters(), *module.buffers())}
    of_torch = {name for name in vars(nn.Module()) if name.startswith("_")}
    for name, part in module.named_modules():
        computed = {key.removesuffix(end) for key in part._parameters for end in COMPUTED_FROM if key.endswith(end)}
        for attribute, value in vars(part).items():
            if attribute in of_torch or (attribute in computed and isinstance(value, torch.Tensor)):
                continue
            values = [each for each in _elements(value, set()) if id(each) not in registered]
            yield f"{name}.{attribute}".lstrip("."), values


def _elements(value: object, seen: set[int]) -> Iterator[object]:
    """Yields the values in lists and dictionaries of any depth, or the value itself."""
    if not isinstance(value, dict | list | tuple | set):
        yield value
    elif id(value) not in seen:
        seen.add(id(value))
        for each in value.values() if isinstance(value, dict) else value:
            yield from _elements(each, seen)

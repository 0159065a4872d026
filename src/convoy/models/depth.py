"""Groups the parameters of any network by depth, for frozen layers and for learning rates by layer."""

from __future__ import annotations

from torch import nn


def depth_groups(module: nn.Module) -> list[list[str]]:
    """Returns the names of the parameters by layer or block, from the input to the head.

    Layers are ordered as the network defines them. A network is split into its children. A child that is an
    nn.Sequential or nn.ModuleList, or has more than half of all parameters, is split again. A norm belongs to the layer
    before it; direct parameters of a split module, such as position embeddings, belong to its first layer.
    """
    parameters = dict(module.named_parameters())
    half = sum(parameter.numel() for parameter in parameters.values()) / 2
    groups: list[list[str]] = []
    norms: list[str] = []  # before the first layer
    for unit in _split(module, "", half):
        names = [name for name in unit if name in parameters]  # a tied parameter has the name of its first use
        if any(parameters[name].ndim > 1 for name in names):
            groups.append(norms + names)
            norms = []
        elif groups:
            groups[-1] += names
        else:
            norms += names
    return groups if groups or not norms else [norms]


def _split(module: nn.Module, prefix: str, half: float) -> list[list[str]]:
    units: list[list[str]] = []
    for name, child in module.named_children():
        if type(child) in (nn.Sequential, nn.ModuleList) or _size(child) > half:
            units += _split(child, f"{prefix}{name}.", half)
        else:
            units.append([f"{prefix}{name}.{inner}" for inner, _ in child.named_parameters()])
    own = [f"{prefix}{name}" for name, _ in module.named_parameters(recurse=False)]
    first = next((position for position, unit in enumerate(units) if unit), 0)
    return [*units[:first], own + units[first], *units[first + 1 :]] if units else [own]


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())

"""The operations of a network in the order in which the page's interpreter runs them. Does not import torch.

A value is the image (number 0) or the result of operation k (number k + 1). All values are float32 and have a batch
dimension of one image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

MAX_PARAMETERS = 1_200_000  # a larger network would need more than 6 MB and seconds per image

Setting = bool | int | float | str | tuple[int, ...]


@dataclass(frozen=True)
class Operation:
    """One step. `name` is a key of OPERATIONS in js/operations.js."""

    name: str
    inputs: tuple[int, ...]  # numbers of values
    shape: tuple[int, ...]  # shape of the result, with the batch dimension
    layer: str  # name of the module that runs it, as in the state dict; empty for the network itself
    kind: str  # class of that module, such as "Conv2d"; empty for an operation in another module's `forward`
    settings: Mapping[str, Setting] = field(default_factory=dict)
    weights: Mapping[str, int] = field(default_factory=dict)  # role, such as "bias" -> index in Graph.weights


@dataclass(frozen=True)
class Graph:
    operations: tuple[Operation, ...]
    weights: tuple[np.ndarray, ...]  # float32
    parameters: int  # all parameters of the network, including those that no operation uses


class UnsupportedError(ValueError):
    """Raised for a network that the page cannot run: too large, or with an operation that is not supported."""

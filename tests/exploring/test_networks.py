"""The trace of a network: errors for unsupported networks, and results that do not depend on the image."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from convoy.exploring.graph import UnsupportedError
from convoy.exploring.trace import trace


def test_a_network_that_is_too_large_is_an_error() -> None:
    with pytest.raises(UnsupportedError, match="1,440,010 parameters"):
        trace(nn.Sequential(nn.Flatten(), nn.Linear(144_000, 10)), (1, 379, 380))


class Rolled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.ModuleDict({"twist": Twist()})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body["twist"](x).flatten(1)


class Twist(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cumsum(x, 1)


def test_error_names_an_unsupported_operation_and_its_layer() -> None:
    with pytest.raises(UnsupportedError, match=r"body\.twist \(Twist\).* cumsum"):
        trace(Rolled(), (1, 4, 4))


def test_a_result_that_does_not_depend_on_the_image_is_a_weight() -> None:
    """The positions of a vision transformer are added to the image: one weight and one sum."""

    class Positions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rows = nn.Parameter(torch.ones(1, 1, 2, 1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x + 2 * self.rows).flatten(1)

    graph = trace(Positions(), (1, 2, 2))

    assert [operation.name for operation in graph.operations] == ["weight", "add", "reshape"]
    assert graph.weights[0].ravel().tolist() == [2.0, 2.0]

"""The trace of a network: errors for unsupported networks, and results that do not depend on the image."""

from __future__ import annotations

from collections.abc import Callable

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


class Of(nn.Module):
    """A network of a function of the image."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)


def doubled_in_part(x: torch.Tensor) -> torch.Tensor:
    changed = x.clone()
    changed[:, :1].mul_(2)
    return changed.flatten(1)


UNSUPPORTED: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], str]] = {
    "an argument that differs from its default": (nn.functional.selu, r"elu \(scale="),
    "rounded division": (lambda x: torch.div(x, 0.3, rounding_mode="floor"), "div .*floor"),
    "integers": (lambda x: x.to(torch.int64).float(), "_to_copy .*int64"),
    "half precision": (lambda x: x.sum((2, 3), dtype=torch.float16), "sum .*float16"),
    "a scale that is not the ratio of the sizes": (
        lambda x: nn.functional.interpolate(x, scale_factor=1.3, mode="bilinear"),
        "1.3",
    ),
    "a convolution with the image as weight": (lambda x: nn.functional.conv2d(x, x), "depend on the image"),
    "a bias that depends on the image": (
        lambda x: torch.addmm(x.flatten(1)[:, :3], x.flatten(1), torch.ones(16, 3)),
        "depend on the image",
    ),
    "indices": (lambda x: x.flatten(1).max(1)[1] + torch.ones(1), "indices"),
    "an older view of a changed tensor": (doubled_in_part, "in place"),
    "several images": (lambda x: nn.functional.max_pool2d(x.reshape(4, 1, 2, 2), 2), r"\(4, 1, 2, 2\)"),
    "maps without a batch": (lambda x: nn.functional.max_pool2d(x[0], 2), r"one image"),
}


@pytest.mark.parametrize("what", UNSUPPORTED)
def test_what_the_page_would_compute_differently_is_an_error(what: str) -> None:
    function, message = UNSUPPORTED[what]
    with pytest.raises(UnsupportedError, match=message):
        trace(Of(function), (1, 4, 4))


def test_sums_in_place_have_the_values_before_the_sum() -> None:
    def add_to_ones(x: torch.Tensor) -> torch.Tensor:
        total = torch.ones(1, 4)
        total += x.flatten(1)
        return total

    graph = trace(Of(add_to_ones), (1, 2, 2))

    assert [operation.name for operation in graph.operations] == ["reshape", "weight", "add"]
    assert graph.weights[0].tolist() == [[1, 1, 1, 1]]


def test_changes_in_place_of_separate_parts_are_supported() -> None:
    def rectified_half(x: torch.Tensor) -> torch.Tensor:
        first, second = x.clone().chunk(2, 1)
        return torch.cat([first.relu_(), second], 1)

    names = [operation.name for operation in trace(Of(rectified_half), (2, 2, 2)).operations]

    assert names == ["slice", "slice", "relu", "concatenate"]


def test_a_slice_begins_inside_the_tensor() -> None:
    graph = trace(Of(lambda x: x.flatten(1)[:, -9:]), (1, 2, 2))
    assert graph.operations[-1].settings["start"] == 0


def test_an_elementwise_maximum_has_two_inputs() -> None:
    graph = trace(Of(lambda x: torch.max(x, 0 * x)), (1, 2, 2))
    assert (graph.operations[-1].name, len(graph.operations[-1].inputs)) == ("maximum", 2)

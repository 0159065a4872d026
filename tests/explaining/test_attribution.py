"""Attributions of networks whose attributions are known."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from convoy.explaining.attribution import grad_cam, integrated_gradients
from convoy.explaining.layers import Place


def rectifier(*, inplace: bool = False) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(inplace), nn.Conv2d(8, 8, 3), nn.ReLU(inplace), nn.Flatten(),
        nn.Linear(8 * 36, 4),
    )  # fmt: skip


def test_attributions_of_a_linear_network_are_weight_times_input() -> None:
    torch.manual_seed(0)
    network, x = nn.Sequential(nn.Flatten(), nn.Linear(12, 3)).double(), torch.randn(2, 3, 2, 2).double()
    baseline = torch.randn(3, 1, 1).double()

    found = integrated_gradients(network, x, torch.tensor([2, 0]), baseline, steps=3)

    weights = network[1].weight[[2, 0]].view(2, 3, 2, 2)
    torch.testing.assert_close(found.attributions, weights * (x - baseline))
    torch.testing.assert_close(found.error, torch.zeros(2).double(), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("steps", "limit"), [(16, 0.02), (256, 0.002)])
def test_attributions_add_up_to_the_change_of_the_output(steps: int, limit: float) -> None:
    network, x = rectifier(), torch.randn(3, 3, 8, 8)
    classes = torch.tensor([0, 1, 3])

    found = integrated_gradients(network, x, classes, torch.zeros(3, 1, 1), steps)

    expected = network(x)[range(3), classes] - network(torch.zeros(1, 3, 8, 8))[0, classes]
    torch.testing.assert_close(found.change, expected.detach())
    assert found.error.abs().max() < limit


def test_images_of_several_batches_have_the_attributions_of_single_images(monkeypatch: pytest.MonkeyPatch) -> None:
    network, x, classes = rectifier(), torch.randn(3, 3, 8, 8), torch.tensor([0, 1, 3])
    single = [
        integrated_gradients(network, x[i : i + 1], classes[i : i + 1], torch.zeros(3, 1, 1), 8) for i in range(3)
    ]
    maps = [grad_cam(network, x[i : i + 1], classes[i : i + 1], Place("2")) for i in range(3)]
    monkeypatch.setattr("convoy.explaining.attribution.BATCH", 2)

    together = integrated_gradients(network, x, classes, torch.zeros(3, 1, 1), 8)

    torch.testing.assert_close(together.attributions, torch.cat([each.attributions for each in single]))
    torch.testing.assert_close(grad_cam(network, x, classes, Place("2")), torch.cat(maps))


def test_a_class_activation_map_weights_channels_by_their_mean_gradient() -> None:
    """With a linear layer after the maps, the gradient of a channel is its mean weight."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.Flatten(), nn.Linear(2 * 9, 2))
    x = torch.randn(1, 1, 3, 3)
    maps = network[0](x)[0]
    weights = network[2].weight[1].view(2, 9).mean(1)

    found = grad_cam(network, x, torch.tensor([1]), Place("0"))

    torch.testing.assert_close(found[0], (weights[:, None, None] * maps).sum(0).relu().detach())


def test_a_class_activation_map_finds_the_patch_that_the_class_depends_on() -> None:
    """Class 1 counts bright squares of 3 x 3 pixels, class 0 dark ones."""
    network = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1).expand(2, 1, 3, 3))
        network[0].bias.fill_(-8.5)
    x = torch.zeros(1, 1, 16, 16)
    x[0, 0, 9:12, 4:7] = 1

    (found,) = grad_cam(network, x, torch.tensor([1]), Place("1"))

    assert divmod(int(found.argmax()), 16) == (10, 5)
    assert int((found > 0).sum()) == 1
    assert not grad_cam(network, x, torch.tensor([0]), Place("1")).any()


def test_a_layer_that_works_in_place_does_not_change_the_map_before_it() -> None:
    x, classes = torch.randn(2, 3, 8, 8), torch.tensor([0, 2])

    in_place = grad_cam(rectifier(inplace=True), x, classes, Place("2"))

    torch.testing.assert_close(in_place, grad_cam(rectifier(), x, classes, Place("2")))


def test_dropout_is_off_and_the_mode_is_restored() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Dropout(0.5), nn.Flatten(), nn.Linear(8, 2)).train()
    x, classes = torch.ones(1, 1, 4, 4), torch.tensor([1])

    first, second = (grad_cam(network, x, classes, Place("0")) for _ in range(2))

    assert torch.equal(first, second)
    assert network[1].training


def test_maps_that_the_output_does_not_use_give_an_empty_map() -> None:
    class Branch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nn.Conv2d(1, 2, 1), nn.Conv2d(1, 2, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.unused(x)
            return self.used(x).mean((2, 3))

    assert not grad_cam(Branch(), torch.ones(1, 1, 4, 4), torch.tensor([1]), Place("unused")).any()

"""Which layers a network has, and their statistics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from convoy.evaluation.loaded import normaliser_of
from convoy.explaining.embedding import embed
from convoy.explaining.layers import Passes, cam_layer, gradient_norms, layers_of, outputs_of, passes
from convoy.explaining.sample import confused_pairs, examples
from convoy.models import create
from convoy.run_contents import RunData

GREY = RunData("grey", ("a", "b"), 1, 8, {}, {}, "", "", (0.0,), (1.0,))


class Functional(nn.Module):
    """Calls one convolution twice and its activations as functions."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.again = nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.conv(x))
        x = torch.relu_(self.again(self.again(x)))
        return self.head(x.mean((2, 3)))


def images(count: int = 60) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 1, 8, 8), dtype=np.uint8)


def run(network: nn.Module, pixels: np.ndarray) -> Passes:
    return passes(network.eval(), pixels, normaliser_of(GREY), {})


def test_dead_units_are_counted() -> None:
    convolution = nn.Conv2d(1, 6, 3)
    network = nn.Sequential(convolution, nn.ReLU(), nn.Flatten(), nn.Linear(6 * 36, 10), nn.ReLU(), nn.Linear(10, 2))
    with torch.no_grad():
        convolution.bias.copy_(torch.tensor([-100.0, -100.0, 2.0, 2.0, 2.0, 2.0]))
        network[3].weight[4:7] = 0.0

    found = {row.name: row for row in run(network, images()).statistics}

    assert [found[name].dead_units for name in ("0", "1", "3", "5")] == [0, 2, 3, 0]
    assert [row.units for row in found.values()] == [6, 6, 10, 10, 2]


def test_a_unit_that_varies_only_with_position_is_dead() -> None:
    """With padding, a constant channel gives other numbers at the edge."""
    network = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Conv2d(1, 3, 3, padding=1), nn.Flatten(), nn.Linear(3 * 64, 2))
    with torch.no_grad():
        network[0].weight.zero_()

    found = {row.name: row for row in run(network, images()).statistics}

    assert found["1"].sd > 0
    assert (found["0"].dead_units, found["1"].dead_units) == (1, 3)


def test_mean_sd_and_zeros_are_computed_over_all_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convoy.explaining.layers.BATCH", 7)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 36, 2)).eval()
    with torch.no_grad():
        expected = network[:2](torch.from_numpy(images()) / 255).numpy().astype(np.float64)

    row = run(network, images()).statistics[1]

    assert row.mean == pytest.approx(expected.mean(), rel=1e-6)
    assert row.sd == pytest.approx(expected.std(), rel=1e-6)
    assert row.zeros == (expected == 0).mean() > 0


def test_activation_functions_in_forward_and_repeated_calls_have_rows() -> None:
    network = Functional()
    with torch.no_grad():
        network.conv.bias[1] = -100.0

    found = run(network, images())

    assert [row.name for row in found.statistics] == ["conv", "relu()", "again", "again (2)", "relu() (2)", "head"]
    assert found.statistics[1].dead_units == 1
    assert (found.last_layer, found.features.shape) == ("head", (60, 4))


def test_gradient_norms_agree_with_gradients_of_the_loss() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.Dropout(0.5), nn.Linear(5, 2))
    x, labels = torch.randn(20, 1, 8, 8), torch.arange(20) % 2
    norms = gradient_norms(network, x, labels, F.cross_entropy)
    F.cross_entropy(network.eval()(x), labels).backward()

    assert norms.keys() == {"1", "3"}
    for name, (gradient, weight) in norms.items():
        parameters = list(network[int(name)].parameters())
        assert gradient == pytest.approx(float(torch.cat([p.grad.flatten() for p in parameters]).norm()), rel=1e-5)
        assert weight == pytest.approx(float(torch.cat([p.detach().flatten() for p in parameters]).norm()), rel=1e-5)


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("lenet", "features.3"),  # pooling follows
        ("wide_kernel_cnn", "features.3"),
        ("cifar_resnet20", "blocks.8"),  # the sum of the last block
        ("densenet_bc_100_12", "blocks.54.1"),  # the activation after the last norm
        ("squeezenet1_1", "head.1"),  # a map for each class
        ("vit_tiny", "patches"),
    ],
)
def test_grad_cam_reads_the_last_maps(name: str, layer: str) -> None:
    found = cam_layer(layers_of(create(name, in_chans=1, num_classes=10, image_size=28), (1, 28, 28)))

    assert found is not None
    assert found.label == layer


def test_a_network_without_convolutions_has_no_layer_for_grad_cam() -> None:
    assert cam_layer(layers_of(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), (1, 8, 8))) is None


def test_units_of_tokens_are_the_last_dimension() -> None:
    network = create("vit_tiny", in_chans=1, num_classes=2, image_size=8)

    rows = {row.name: row for row in run(network, images(4)).statistics}

    assert {row.units for name, row in rows.items() if "norm" in name} == {192}
    assert rows["head"].units == 2


def test_examples_are_confident_mistakes_and_correct_images_of_each_class() -> None:
    labels = np.arange(40) % 4
    predicted = labels.copy()
    predicted[[3, 8, 21, 30]] = (labels[[3, 8, 21, 30]] + 1) % 4
    predicted[5] = -1
    confidence = np.linspace(1, 0.5, 40)

    chosen = examples(labels, predicted, confidence, 9)

    assert chosen[:3] == [3, 8, 21]
    assert (predicted == labels)[chosen[3:]].all()
    assert sorted({*labels[chosen[3:]].tolist()}) == [0, 1, 2, 3]
    assert len({*chosen}) == 9


def test_confused_pairs_are_counted_and_their_most_confident_images_are_first() -> None:
    labels, predicted = np.array([0, 0, 0, 1, 1, 2, 2]), np.array([1, 1, 0, 1, 2, -1, 2])
    confidence = np.array([0.4, 0.9, 1, 1, 0.5, 0, 1])

    first, second = confused_pairs(labels, predicted, confidence, ("a", "b", "c"))

    assert first == (0, 1, 2, 3, [1, 0])
    assert second == (1, 2, 1, 2, [4])


def test_the_map_is_the_same_for_a_seed_and_keeps_groups_apart() -> None:
    random = np.random.default_rng(0)
    groups = np.arange(60) % 3
    features = (10 * np.eye(5)[groups] + random.normal(size=(60, 5))).astype(np.float32)

    one, same = embed(features, seed=1), embed(features, seed=1)

    assert one is not None
    assert same is not None
    assert np.array_equal(one.tsne, same.tsne)
    assert one.explained[0] > one.explained[1] > 0.2
    for points in (one.components, one.tsne):
        centres = np.stack([points[groups == k].mean(axis=0) for k in range(3)])
        nearest = np.linalg.norm(points[:, None] - centres, axis=2).argmin(axis=1)
        assert np.array_equal(nearest, groups)
    assert embed(features[:9], seed=1) is None
    assert embed(np.ones((60, 5), np.float32), seed=1) is None


def test_a_layer_that_does_not_run_for_every_image_is_an_error() -> None:
    class Branching(Functional):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x if x.sum() else F.silu(x))

    network = Branching()
    places = [layer.place for layer in layers_of(network, (1, 8, 8))]
    with pytest.raises(ValueError, match=r"^silu\(\): this layer does not run for every image"):
        outputs_of(network, torch.ones(1, 1, 8, 8), places)

from __future__ import annotations

import torch
from torch import nn

from convoy.models import create
from convoy.models.depth import depth_groups
from convoy.models.network import without_weights


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(width)
        self.conv = nn.Conv2d(width, width, 3)


class Backbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.zeros(1, 8, 4, 4))
        self.stem = nn.Conv2d(1, 8, 3)
        self.norm = nn.BatchNorm2d(8)
        self.blocks = nn.Sequential(Block(8), Block(8), nn.ReLU(), nn.BatchNorm2d(8))


class Wrapped(nn.Module):
    """Has a backbone that is not a sequence, but contains most of the parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.BatchNorm2d(1)
        self.backbone = Backbone()
        self.head = nn.Linear(8, 3)


def test_groups_are_layers_and_blocks_from_the_input_to_the_head() -> None:
    assert depth_groups(Wrapped()) == [
        [
            *("scale.weight", "scale.bias", "backbone.position", "backbone.stem.weight", "backbone.stem.bias"),
            *("backbone.norm.weight", "backbone.norm.bias"),
        ],
        [f"backbone.blocks.0.{name}" for name in ("norm.weight", "norm.bias", "conv.weight", "conv.bias")],
        [
            *(f"backbone.blocks.1.{name}" for name in ("norm.weight", "norm.bias", "conv.weight", "conv.bias")),
            *("backbone.blocks.3.weight", "backbone.blocks.3.bias"),
        ],
        ["head.weight", "head.bias"],
    ]


def test_tied_parameter_is_in_its_first_group_and_a_single_layer_is_one_group() -> None:
    module = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False), nn.Linear(4, 3))
    module[1].weight = module[0].weight
    assert depth_groups(module) == [["0.weight"], ["2.weight", "2.bias"]]
    assert depth_groups(nn.Linear(4, 3)) == [["weight", "bias"]]
    assert depth_groups(nn.BatchNorm2d(4)) == [["weight", "bias"]]
    assert depth_groups(nn.Flatten()) == []


def test_registered_networks_are_split_into_layers_or_blocks() -> None:
    counts = {"lenet": 5, "vgg11_bn": 11, "resnet18": 10, "vit_tiny": 14, "mobilenet_v2": 20}
    for name, count in counts.items():
        with without_weights():
            module = create(name, in_chans=3, num_classes=10, image_size=32)
        groups = depth_groups(module)
        assert len(groups) == count, name
        assert sorted(name for group in groups for name in group) == sorted(
            name for name, _ in module.named_parameters()
        )
        assert all(name.startswith("head.") for name in groups[-1])

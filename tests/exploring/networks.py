"""A network that is large enough for the worker, and one with other operations: both with random weights."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from convoy import models
from convoy.exploring.content import Images, PageContent, RunContent
from convoy.exploring.trace import trace
from convoy.run_contents import RunData

SHAPE = (3, 16, 16)


class Everything(nn.Module):
    """Has the operations that are missing in small networks of the catalogue."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=2, dilation=2, groups=1)
        self.group_norm = nn.GroupNorm(4, 8)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
        self.token_norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 10)
        self.scale = nn.Parameter(torch.rand(1, 8, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.silu(self.group_norm(self.stem(x)))
        x = F.gelu(self.depthwise(x)) * self.scale
        x = F.interpolate(x, scale_factor=2) + F.interpolate(x, size=(16, 16), mode="bilinear")
        x = F.adaptive_avg_pool2d(x, (5, 7)) - F.adaptive_max_pool2d(x, (5, 7)) / 2
        x = F.avg_pool2d(F.hardswish(x), 2, stride=2, padding=1, ceil_mode=True)
        x = F.max_pool2d(x, 2, stride=2, ceil_mode=True)
        tokens = self.token_norm(x.flatten(2).transpose(1, 2))
        weights = (tokens @ tokens.transpose(1, 2)).softmax(-1)
        x = F.elu(weights @ tokens) + F.leaky_relu(tokens, 0.1) + F.softplus(tokens).tanh() + F.hardsigmoid(tokens)
        return F.log_softmax(self.head(torch.maximum(x, tokens).mean(1)), dim=1)


def build() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    large = models.create("cifar_resnet20", in_chans=3, num_classes=10, image_size=16)
    built = {"cifar_resnet20": large, "everything": Everything()}
    for network in built.values():  # statistics of batch norm that are not those of the start
        network.train()
        with torch.no_grad():
            network(torch.randn(16, *SHAPE))
    return built


def content_of(network: nn.Module, label: str, scored: Images) -> RunContent:
    network.eval()
    with torch.no_grad():
        logits = network(torch.from_numpy(scored.pixels) / 255).numpy()
    return RunContent(
        label=label,
        name=label,
        correct=0,
        images=1,
        flags=tuple,
        mean=(0.0,) * 3,
        std=(1.0,) * 3,
        graph=trace(network, SHAPE),
        confusion=np.zeros((10, 10), int).tolist(),
        predicted=logits.argmax(1),
        logits=logits,
        features=None,
        epochs=(),
    )


def page_content(runs: tuple[RunContent, ...], scored: Images) -> PageContent:
    data = RunData("noise", [str(k) for k in range(10)], *SHAPE[::2], {}, {}, "", "", [0.0] * 3, [1.0] * 3)
    return PageContent(data, "test", False, scored, scored, runs, None)

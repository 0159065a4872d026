"""A network with batch norms of both shapes and a layer without gradient, for ranks_worker.py."""

from __future__ import annotations

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 6, 5, stride=2), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(864, 20)
        )
        self.norm = nn.BatchNorm1d(20, momentum=None)
        self.unused = nn.Linear(20, 20)
        self.head = nn.Linear(20, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.norm(self.features(x))))

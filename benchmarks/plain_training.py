"""Three small CNNs of published lab reports, trained by plain PyTorch loops.

    python -m benchmarks.plain_training lenet DATA.npz --seed 0 --epochs 5

Written only from the descriptions in the reports, without code of Convoy. `training_parity.py` compares the results of
these loops with those of Convoy. DATA.npz contains x_train, y_train, x_test and y_test, images as uint8 [N, C, H, W].
The last line of the output is the test accuracy as a fraction.

The reports stop after 6 or 8 epochs without improvement. These runs are shorter, so there is no early stopping.
"""

from __future__ import annotations

import argparse
import copy

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F


class LeNet(nn.Module):
    """With sigmoid activations, max pooling and a log-softmax at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(256, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(torch.sigmoid(self.conv1(x)), 2)
        x = F.max_pool2d(torch.sigmoid(self.conv2(x)), 2)
        x = x.flatten(1)
        x = torch.sigmoid(self.fc1(x))
        x = torch.sigmoid(self.fc2(x))
        return F.log_softmax(self.fc3(x), dim=1)


class TwoConvCNN(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(32)
        self.fc1 = nn.Linear(1568, 392)
        self.fc2 = nn.Linear(392, 196)
        self.fc3 = nn.Linear(196, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 2)
        x = F.max_pool2d(F.relu(self.bn2(self.conv2(x))), 2)
        x = x.flatten(1)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return self.fc3(x)  # without the softmax of the published network


class BasicCNN(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 3, padding=1)
        self.conv2 = nn.Conv2d(32, 64, 3, padding=1)
        self.conv3 = nn.Conv2d(64, 128, 3, padding=1)
        self.fc1 = nn.Linear(2048, 512)
        self.fc2 = nn.Linear(512, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.max_pool2d(F.relu(self.conv3(x)), 2)
        x = x.flatten(1)
        return self.fc2(F.relu(self.fc1(x)))


def lenet_optimizer(net: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(net.parameters(), lr=1e-3)


def two_conv_cnn_optimizer(net: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(net.parameters(), lr=3e-4, weight_decay=1e-5)


def basic_cnn_optimizer(net: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=5e-4)


def step(
    net: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, clip_norm: float | None = None
) -> None:
    optimizer.zero_grad()
    F.cross_entropy(net(x), y).backward()
    if clip_norm is not None:
        nn.utils.clip_grad_norm_(net.parameters(), clip_norm)
    optimizer.step()


def load(path: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    with np.load(path) as arrays:
        x_train = torch.from_numpy(arrays["x_train"]).float() / 255
        x_test = torch.from_numpy(arrays["x_test"]).float() / 255
        return x_train, torch.from_numpy(arrays["y_train"]), x_test, torch.from_numpy(arrays["y_test"])


@torch.no_grad()
def accuracy(net: nn.Module, x: Tensor, y: Tensor) -> float:
    net.eval()
    correct = sum((net(x[i : i + 500]).argmax(1) == y[i : i + 500]).sum().item() for i in range(0, len(x), 500))
    net.train()
    return correct / len(x)


def crop_and_flip(x: Tensor) -> Tensor:
    """Random 32x32 crop of each image padded by 4 black pixels, flipped with probability 0.5. x: (N, 3, 32, 32)"""
    padded = F.pad(x, (4, 4, 4, 4))
    images = []
    for image in padded:
        top, left = np.random.randint(0, 9, 2)
        image = image[:, top : top + 32, left : left + 32]
        images.append(image.flip(2) if np.random.rand() < 0.5 else image)
    return torch.stack(images)


def train_lenet(path: str, epochs: int) -> float:
    """As published: random 80 / 20 split, pixels from 0 to 1, AdamW; the weights of the last epoch are tested."""
    x, y, x_test, y_test = load(path)
    train = torch.randperm(len(x))[len(x) // 5 :]  # the validation images are not used
    net = LeNet()
    optimizer = lenet_optimizer(net)
    for _ in range(epochs):
        for batch in train[torch.randperm(len(train))].split(128):
            step(net, optimizer, x[batch], y[batch])
    return accuracy(net, x_test, y_test)


def train_two_conv_cnn(path: str, epochs: int) -> float:
    """The corrected protocol: a tenth of the images, for validation, selects the epoch; one test."""
    x, y, x_test, y_test = load(path)
    order = torch.randperm(len(x))
    val, train = order[: len(x) // 10], order[len(x) // 10 :]
    mean, std = x[train].mean(), x[train].std()
    x, x_test = (x - mean) / std, (x_test - mean) / std
    net = TwoConvCNN()
    optimizer = two_conv_cnn_optimizer(net)
    best, best_weights = -1.0, {}
    for _ in range(epochs):
        for batch in train[torch.randperm(len(train))].split(16):
            step(net, optimizer, x[batch], y[batch], clip_norm=10)
        if (current := accuracy(net, x[val], y[val])) > best:
            best, best_weights = current, copy.deepcopy(net.state_dict())
    net.load_state_dict(best_weights)
    return accuracy(net, x_test, y_test)


def train_basic_cnn(path: str, epochs: int) -> float:
    """The corrected protocol, as in train_two_conv_cnn; crop and flip in training."""
    x, y, x_test, y_test = load(path)
    order = torch.randperm(len(x))
    val, train = order[: len(x) // 10], order[len(x) // 10 :]
    mean = x[train].mean((0, 2, 3))[:, None, None]
    std = x[train].std((0, 2, 3))[:, None, None]
    net = BasicCNN()
    optimizer = basic_cnn_optimizer(net)
    best, best_weights = -1.0, {}
    for _ in range(epochs):
        for batch in train[torch.randperm(len(train))].split(128):
            step(net, optimizer, (crop_and_flip(x[batch]) - mean) / std, y[batch])
        if (current := accuracy(net, (x[val] - mean) / std, y[val])) > best:
            best, best_weights = current, copy.deepcopy(net.state_dict())
    net.load_state_dict(best_weights)
    return accuracy(net, (x_test - mean) / std, y_test)


TRAININGS = {"lenet": train_lenet, "two_conv_cnn": train_two_conv_cnn, "basic_cnn": train_basic_cnn}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", choices=TRAININGS)
    parser.add_argument("data", help="an .npz file")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--epochs", type=int, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(arguments.seed)
    np.random.seed(arguments.seed)
    print(TRAININGS[arguments.network](arguments.data, arguments.epochs))


if __name__ == "__main__":
    main()

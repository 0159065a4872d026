"""The networks of the catalogue on test images of MNIST, as pages with one network each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from tests.fake_runs import mnist
from torch import nn

from convoy import models
from convoy.evaluation.cost import parameters
from convoy.exploring.content import Images, PageContent, RunContent
from convoy.exploring.graph import MAX_PARAMETERS
from convoy.exploring.trace import trace
from convoy.models import MODELS
from convoy.run_contents import RunData

SHAPE = (1, 28, 28)


def networks(names: Iterable[str] = MODELS) -> Iterator[tuple[str, nn.Module]]:
    """Those that are small enough, with initial weights and the batch-norm statistics of 16 images."""
    x = torch.from_numpy(test_images(16).pixels) / 255
    for name in names:
        if MODELS[name].parameters > 3 * MAX_PARAMETERS:  # with 1,000 classes; building it with ten takes long
            continue
        torch.manual_seed(0)
        network = models.create(name, in_chans=1, num_classes=10, image_size=SHAPE[1])
        if parameters(network) <= MAX_PARAMETERS:
            with torch.no_grad():
                network.train()(x)
            yield name, network.eval()


def test_images(count: int) -> Images:
    pixels, labels = mnist("t10k")
    return Images(pixels[:count].copy(), labels[:count].astype(np.int64))


def content_of(name: str, network: nn.Module, images: Images) -> PageContent:
    graph = trace(network, SHAPE)
    with torch.no_grad():
        logits = torch.cat([network(batch / 255) for batch in torch.from_numpy(images.pixels).split(50)]).numpy()
    confusion = np.zeros((10, 10), int).tolist()
    run = RunContent(name, name, 0, 1, tuple, (0.0,), (1.0,), graph, confusion, logits.argmax(1), logits, None, ())
    data = RunData("mnist", [str(k) for k in range(10)], *SHAPE[:2], {}, {}, "", "", [0.0], [1.0])
    return PageContent(data, "test", True, images, images, (run,), None)

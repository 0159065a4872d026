"""Does the page of `convoy explore` compute the logits of PyTorch? All models below its limit, on test images of MNIST.

    python -m benchmarks.explore --images 500

The weights are those of the initialisation, the statistics of batch norm those of 64 images; grey images of 28 x 28
pixels, in a headless Chromium. Prints parameters, size of the page, largest difference of two logits, largest logit,
and the processor time of the page per image, which does not depend on what else runs on the machine.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from tests.exploring.browser import Browser
from tests.fake_runs import mnist

from convoy import models
from convoy.exploring.content import Images, PageContent, RunContent
from convoy.exploring.graph import UnsupportedError
from convoy.exploring.page import write_page
from convoy.exploring.trace import trace
from convoy.models import MODELS
from convoy.run_contents import RunData

SHAPE = (1, 28, 28)


def content_of(name: str, images: Images) -> PageContent:
    """Raises UnsupportedError for a network that is too large."""
    torch.manual_seed(0)
    network = models.create(name, in_chans=1, num_classes=10, image_size=SHAPE[1])
    x = torch.from_numpy(images.pixels) / 255
    trace(network, SHAPE)  # before the passes, which take long for a large network
    with torch.no_grad():
        network.train()(x[:64])
        logits = torch.cat([network.eval()(batch) for batch in x.split(50)]).numpy()
    graph = trace(network, SHAPE)
    confusion = np.zeros((10, 10), int).tolist()
    run = RunContent(name, name, 0, 1, (), (0.0,), (1.0,), graph, confusion, logits.argmax(1), logits, None, ())
    data = RunData("mnist", [str(k) for k in range(10)], *SHAPE[:2], {}, {}, "", "", [0.0], [1.0])
    return PageContent(data, "test", False, images, images, (run,), None)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("models", nargs="*", default=list(MODELS))
    parser.add_argument("--images", type=int, default=500)
    arguments = parser.parse_args()
    pixels, labels = mnist("t10k")
    images = Images(pixels[: arguments.images].copy(), labels[: arguments.images].astype(np.int64))
    with TemporaryDirectory() as folder, Browser(Path(folder, "profile")) as browser:
        browser.send("Performance.enable", timeDomain="threadTicks")

        def seconds() -> float:
            metrics = {each["name"]: each["value"] for each in browser.send("Performance.getMetrics")["metrics"]}
            return float(metrics["ThreadTime"])

        for name in arguments.models:
            try:
                content = content_of(name, images)
            except UnsupportedError:
                continue
            page = write_page(content, Path(folder, "page.html"))
            browser.open(page)
            before = seconds()
            difference = browser.evaluate(f"convoy.largestDifference({len(images.labels)})")
            each = (seconds() - before) / len(images.labels)
            (run,) = content.runs
            print(
                f"{name:28s}{run.graph.parameters:>10,} parameters{page.stat().st_size / 1e6:6.2f} MB  "
                f"{difference:.1e} of {np.abs(run.logits).max():.2f}  {1000 * each:6.1f} ms",
                flush=True,
            )


if __name__ == "__main__":
    main()
